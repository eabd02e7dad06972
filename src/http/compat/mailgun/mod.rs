//! Mailgun's API (documentation.mailgun.com): the key is the password of the user `api`, requests are forms, and the
//! sending domain is in the path.

pub mod domains;
pub mod errors;
pub mod events;
mod form;
mod message;
mod options;
pub mod send;
pub mod suppressions;
pub mod templates;

use axum::http::request::Parts;

use crate::domain::key::KeySecret;
use crate::http::compat::credential;
use crate::http::compat::door::Manner;

/// How its clients speak.
pub const MANNER: Manner = Manner { provider: "mailgun", credential: key, owns, refuse: errors::refuse };

/// The password; whatever the user is called, since keys of single domains were once used with other names.
fn key(parts: &Parts) -> Option<KeySecret> {
    let (_, password) = credential::basic(parts)?;
    (!password.is_empty()).then(|| KeySecret::given(&password))
}

/// `/v3/{domain}/…` has the form of many others' paths: a domain has a dot.
fn owns(path: &str) -> bool {
    match path.strip_prefix("/v3/") {
        Some(rest) => {
            let first = rest.split('/').next().unwrap_or_default();
            first.contains('.') || matches!(first, "domains" | "routes")
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_in_a_path_has_a_dot() {
        for (path, ours) in [
            ("/v3/acme.example/messages", true),
            ("/v3/mail/send", false),
            ("/v3/suppression/bounces", false),
            ("/v3/domains", true),
            ("/v4/domains/acme.example", true),
        ] {
            assert_eq!(owns(path), ours, "{path}");
        }
    }
}
