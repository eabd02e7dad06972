//! Where clients put their key: in a header of the provider's own, or as Bearer or Basic credentials. One key of ours
//! works in all of them.

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::key::KeySecret;
use crate::http::auth;

/// `Authorization: Bearer <key>`.
pub fn bearer(parts: &Parts) -> Option<KeySecret> {
    auth::bearer(&parts.headers)
}

/// A header that holds the key alone.
pub fn header(parts: &Parts, name: &str) -> Option<KeySecret> {
    let value = parts.headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| KeySecret::given(value))
}

/// The user name and the password of `Authorization: Basic` (RFC 7617).
pub fn basic(parts: &Parts) -> Option<(String, String)> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn parts(name: &str, value: &str) -> Parts {
        Request::builder().header(name, value).body(()).expect("a request").into_parts().0
    }

    #[test]
    fn keys_are_found_where_clients_put_them() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(basic(&parts("authorization", "Basic YXBpOnNlY3JldDoy")), pair("api", "secret:2"));
        assert_eq!(basic(&parts("authorization", "basic YXBpOg==")), pair("api", ""));
        for bad in ["Basic !", "Basic YXBp", "Bearer YXBpOng=", "Basic"] {
            assert_eq!(basic(&parts("authorization", bad)), None, "{bad}");
        }
        assert_eq!(header(&parts("x-token", " a "), "X-Token"), Some(KeySecret::given("a")));
        assert_eq!(header(&parts("x-token", ""), "X-Token"), None);
        assert_eq!(bearer(&parts("authorization", "Bearer a")), Some(KeySecret::given("a")));
    }
}
