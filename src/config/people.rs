//! Settings of the dashboard's people: the first of them, and the OpenID provider by which they may sign in.

use crate::account::users::oidc;
use crate::account::users::passwords::Password;
use crate::domain::user::Login;
use crate::seal::Secret;

use super::{PREFIX, Source};

/// The first person of the dashboard.
#[derive(Debug, Clone)]
pub struct Admin {
    /// What she signs in with.
    pub email: Login,
    /// Her first password.
    pub password: Password,
}

impl Source {
    /// Issuer and client id, or neither.
    pub(super) fn oidc(&mut self) -> Option<oidc::Settings> {
        let issuer = self.optional("OIDC_ISSUER", issuer);
        let (id, secret) = (self.text("OIDC_CLIENT_ID"), self.text("OIDC_CLIENT_SECRET"));
        match (issuer, id) {
            (Some(issuer), Some(client_id)) => {
                Some(oidc::Settings { issuer, client_id, client_secret: secret.map(Secret::new) })
            }
            (None, None) if secret.is_none() => None,
            _ => {
                self.wrong.push(format!("{PREFIX}OIDC_ISSUER and {PREFIX}OIDC_CLIENT_ID need each other"));
                None
            }
        }
    }

    /// Both or neither.
    pub(super) fn admin(&mut self) -> Option<Admin> {
        let email = self.optional("ADMIN_EMAIL", Login::parse);
        let had_password = self.values.contains_key("ADMIN_PASSWORD");
        let password = self.optional("ADMIN_PASSWORD", Password::of_operator);
        if email.is_some() != had_password && self.wrong.is_empty() {
            self.wrong.push(format!("{PREFIX}ADMIN_EMAIL and {PREFIX}ADMIN_PASSWORD need each other"));
        }
        Some(Admin { email: email?, password: password? })
    }
}

fn issuer(text: &str) -> Result<url::Url, &'static str> {
    let wanted = "a URL is needed, such as https://id.acme.example";
    let url = url::Url::parse(text).map_err(|_| wanted)?;
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    if fits { Ok(url) } else { Err(wanted) }
}
