//! SparkPost (developers.sparkpost.com, "Transmissions", "Events", "Metrics", "Suppression list"). Quirks and what is not supported: README.md.

mod errors;
pub mod events;
mod message;
pub mod metrics;
mod recipients;
pub mod send;
pub mod suppressions;
pub mod transmissions;

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::domain::key::KeySecret;

use super::credential;
use super::door::{Manner, every_path};

/// `Authorization: <key>`, without a scheme; or Basic with the key as the user.
pub static MANNER: Manner =
    Manner { provider: "sparkpost", credential: key, owns: every_path, refuse: errors::refuse };

fn key(parts: &Parts) -> Option<KeySecret> {
    if let Some((user, password)) = credential::basic(parts) {
        let key = if user.is_empty() { password } else { user };
        return (!key.is_empty()).then(|| KeySecret::given(&key));
    }
    let bare = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    match bare.split_once(' ') {
        Some(_) => credential::bearer(parts),
        None if bare.is_empty() => None,
        None => Some(KeySecret::given(bare)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn the_key_stands_alone_or_is_the_user() {
        for (value, wanted) in [
            ("key", Some("key")),
            ("Basic a2V5Og==", Some("key")),
            ("Bearer key", Some("key")),
            ("Other key", None),
            ("", None),
        ] {
            let request = Request::builder().header("authorization", value).body(()).expect("a request");
            assert_eq!(key(&request.into_parts().0), wanted.map(KeySecret::given), "{value}");
        }
    }
}
