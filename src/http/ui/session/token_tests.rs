//! Tokens that must not be read: the ways in which JWTs have been forged (RFC 8725, wycheproof's JSON web signatures).

use data_encoding::BASE64URL_NOPAD as B64;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-29 10:00 UTC);

fn site() -> Site {
    Site::new(&MasterKey::generate().expect("randomness"), "https://mail.acme.example/")
}

fn session() -> SessionId {
    SessionId::new(NOW)
}

fn claims(sub: SessionId) -> Value {
    let now = NOW.unix_timestamp();
    json!({ "iss": "postroad", "aud": "dashboard", "sub": sub.to_string(), "iat": now, "nbf": now, "exp": now + 600 })
}

/// A token with any header and claims, signed as HMAC-SHA-256 with `key`.
fn forge(header: &Value, claims: &Value, key: &[u8]) -> String {
    let signed = format!(
        "{}.{}",
        B64.encode(header.to_string().as_bytes()),
        B64.encode(claims.to_string().as_bytes())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", B64.encode(tag.as_ref()))
}

fn header() -> Value {
    json!({ "alg": "HS256", "typ": "postroad-session+jwt" })
}

#[test]
fn a_token_names_its_session_for_ten_minutes() {
    let (site, session) = (site(), session());
    let token = site.token(session, NOW);
    assert_eq!(site.session_of(&token, NOW), Some(session));
    assert_eq!(site.session_of(&token, NOW + Duration::seconds(599)), Some(session));
    assert_eq!(site.session_of(&token, NOW + Duration::minutes(10)), None, "expired");
    assert_eq!(site.session_of(&token, NOW - Duration::seconds(1)), None, "not yet valid");
    assert_eq!(self::site().session_of(&token, NOW), None, "of another installation");
    assert_eq!(site.session_of(&forge(&header(), &claims(session), site.key.octets()), NOW), Some(session));
}

#[test]
fn no_token_without_our_signature_is_read() {
    let (site, session) = (site(), session());
    let (key, other) = (site.key.octets().to_vec(), [7u8; 32]);
    let good = site.token(session, NOW);
    let parts: Vec<&str> = good.split('.').collect();
    let none = |alg: &str| {
        let header = json!({ "alg": alg, "typ": "postroad-session+jwt" });
        format!("{}.{}.", B64.encode(header.to_string().as_bytes()), parts[1])
    };
    let mut wrong = vec![
        none("none"),
        none("None"),
        none("NONE"),
        none(""),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{good}."),
        format!("{good}.x"),
        String::new(),
        "..".to_owned(),
        forge(&header(), &claims(session), &other),
        forge(&header(), &claims(session), b""),
    ];
    // The header chooses neither the algorithm nor the key.
    for extra in [
        json!({ "alg": "HS512", "typ": "postroad-session+jwt" }),
        json!({ "alg": "RS256", "typ": "postroad-session+jwt" }),
        json!({ "alg": "ES256", "typ": "postroad-session+jwt" }),
    ] {
        wrong.push(forge(&extra, &claims(session), &key));
    }
    for other in [Algorithm::HS384, Algorithm::HS512] {
        let header = Header { typ: Some("postroad-session+jwt".to_owned()), ..Header::new(other) };
        let signed = jsonwebtoken::encode(&header, &claims(session), &EncodingKey::from_secret(&key));
        wrong.push(signed.expect("signed"));
    }
    for extra in [
        json!({ "kid": "../../../../dev/null" }),
        json!({ "kid": "' UNION SELECT 'x" }),
        json!({ "jku": "https://evil.example/jwks.json" }),
        json!({ "x5u": "https://evil.example/cert.pem" }),
        json!({ "jwk": { "kty": "oct", "k": B64.encode(&other) } }),
    ] {
        let mut header = header();
        header.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        wrong.push(forge(&header, &claims(session), &other));
    }
    for token in wrong {
        assert_eq!(site.session_of(&token, NOW), None, "{token}");
    }
}

#[test]
fn no_flipped_character_is_read() {
    let site = site();
    let token = site.token(session(), NOW);
    // The last character of a part may hold bits that mean nothing; strict base 64 refuses those too.
    for at in 0..token.len() {
        let mut flipped = token.clone().into_bytes();
        flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).expect("ASCII");
        assert_eq!(site.session_of(&flipped, NOW), None, "{at}");
    }
}

#[test]
fn a_token_for_something_else_is_not_read_though_we_signed_it() {
    let (site, session) = (site(), session());
    let key = site.key.octets().to_vec();
    let changed = |name: &str, value: Value| {
        let mut claims = claims(session);
        claims[name] = value;
        forge(&header(), &claims, &key)
    };
    let without = |name: &str| {
        let mut claims = claims(session);
        claims.as_object_mut().expect("an object").remove(name);
        forge(&header(), &claims, &key)
    };
    let now = NOW.unix_timestamp();
    let mut wrong = vec![
        changed("aud", json!("second-factor")),
        changed("aud", json!("")),
        changed("iss", json!("someone")),
        changed("exp", json!(now)),
        changed("exp", json!(now - 1)),
        changed("exp", json!("never")),
        changed("nbf", json!(now + 1)),
        changed("sub", json!("user_0000000000000000000000000")),
        changed("sub", json!("")),
        forge(&json!({ "alg": "HS256", "typ": "JWT" }), &claims(session), &key),
        forge(&json!({ "alg": "HS256" }), &claims(session), &key),
        site.halfway_token(UserId::new(NOW), NOW),
    ];
    wrong.extend(["aud", "iss", "exp", "nbf", "sub"].map(without));
    for token in wrong {
        assert_eq!(site.session_of(&token, NOW), None, "{token}");
    }
    assert_eq!(site.halfway(&site.token(session, NOW), NOW), None);
}

// A token signed with RS256 over a key pair whose public half is our secret would pass, if the header chose.
#[test]
fn a_public_key_is_no_secret() {
    let site = site();
    let token = forge(
        &json!({ "alg": "RS256", "typ": "postroad-session+jwt" }),
        &claims(session()),
        site.key.octets(),
    );
    assert_eq!(site.session_of(&token, NOW), None);
}

#[test]
fn who_is_halfway_in_is_known_for_ten_minutes_and_debug_shows_no_key() {
    let (site, user) = (site(), UserId::new(NOW));
    let token = site.halfway_token(user, NOW);
    assert_eq!(site.halfway(&token, NOW + Duration::minutes(9)), Some((user, NOW)));
    assert_eq!(site.halfway(&token, NOW + Duration::minutes(10)), None);
    assert_eq!(format!("{site:?}"), "Site { origin: \"https://mail.acme.example\", .. }");
}

#[test]
fn forms_of_two_sessions_bear_different_tokens() {
    let site = site();
    assert_ne!(site.form_token("a"), site.form_token("b"));
    assert!(equal(&site.form_token("a"), &site.form_token("a")) && !equal("a", "b") && !equal("a", ""));
}
