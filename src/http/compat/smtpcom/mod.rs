//! SMTP.com (smtp.com, "API v4"). Quirks and what is not supported: README.md.

mod errors;
mod message;
pub mod send;

use axum::http::request::Parts;

use crate::domain::key::KeySecret;

use super::credential;
use super::door::{Manner, every_path};

/// `X-SMTPCOM-API: <key>`, `?api_key=<key>`, Basic, or Bearer as its PHP SDK has it.
pub static MANNER: Manner = Manner {
    provider: "smtpcom",
    credential: |parts| {
        credential::header(parts, "x-smtpcom-api")
            .or_else(|| credential::bearer(parts))
            .or_else(|| in_query(parts))
            .or_else(|| basic(parts))
    },
    owns: every_path,
    refuse: errors::refuse,
};

fn in_query(parts: &Parts) -> Option<KeySecret> {
    let mut pairs = url::form_urlencoded::parse(parts.uri.query()?.as_bytes());
    let (_, key) = pairs.find(|(name, value)| name == "api_key" && !value.is_empty())?;
    Some(KeySecret::given(&key))
}

fn basic(parts: &Parts) -> Option<KeySecret> {
    let (user, password) = credential::basic(parts)?;
    let key = if password.is_empty() { user } else { password };
    (!key.is_empty()).then(|| KeySecret::given(&key))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn keys_are_found_wherever_clients_put_them() {
        for (uri, name, value) in [
            ("/v4/messages", "X-SMTPCOM-API", "key"),
            ("/v4/messages", "Authorization", "Bearer key"),
            ("/v4/messages", "Authorization", "Basic a2V5Og=="),
            ("/v4/messages", "Authorization", "Basic YXBpOmtleQ=="),
            ("/v4/messages?x=1&api_key=key", "Accept", "*/*"),
        ] {
            let request = Request::builder().uri(uri).header(name, value).body(()).expect("a request");
            let found = (MANNER.credential)(&request.into_parts().0);
            assert_eq!(found, Some(KeySecret::given("key")), "{uri} {value}");
        }
    }
}
