//! The short-lived token of a browser that is signed in: a JWT (RFC 7519) that names its session and lasts for minutes.
//!
//! It is signed by a key of this installation, and read with one algorithm, one issuer and one audience only; nothing in
//! its header chooses how. It proves nothing by itself: the session's row must hold too.

use aws_lc_rs::{constant_time, hmac};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::domain::id::{SessionId, UserId};
use crate::domain::key::NoRandomness;
use crate::seal::{MasterKey, Purpose, Subkey};

/// How long a token lasts (ASVS 5.0, 9.2.1: short).
const LIFE: Duration = Duration::minutes(10);
/// How long somebody may take to give her second factor.
pub(super) const HALFWAY_LIFE: Duration = Duration::minutes(10);
const ISSUER: &str = "postroad";
/// RFC 8725 §3.11: tokens of different uses have types of their own.
const SESSION: Use = Use { typ: "postroad-session+jwt", audience: "dashboard" };
const HALFWAY: Use = Use { typ: "postroad-halfway+jwt", audience: "second-factor" };

struct Use {
    typ: &'static str,
    audience: &'static str,
}

/// Where the dashboard is, and the key of its tokens.
#[derive(Clone)]
pub struct Site {
    origin: String,
    key: Subkey,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl Site {
    /// The dashboard at `url`, which has no slash at its end.
    pub fn new(master: &MasterKey, url: &str) -> Site {
        Site { origin: url.trim_end_matches('/').to_owned(), key: master.derive(Purpose::Session) }
    }

    /// Where the world reaches it, such as `https://mail.acme.example`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it is reached over TLS alone.
    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// A token for a session.
    pub fn token(&self, session: SessionId, now: OffsetDateTime) -> String {
        self.sign(&SESSION, session.to_string(), now, LIFE)
    }

    /// The session that a token names, if it is one of ours and holds at `now`.
    pub fn session_of(&self, token: &str, now: OffsetDateTime) -> Option<SessionId> {
        self.read(&SESSION, token, now)?.sub.parse().ok()
    }

    /// A token for somebody whose password was right, and who has more to prove.
    pub fn halfway_token(&self, user: UserId, now: OffsetDateTime) -> String {
        self.sign(&HALFWAY, user.to_string(), now, HALFWAY_LIFE)
    }

    /// Who that is, and when her password was right.
    pub fn halfway(&self, token: &str, now: OffsetDateTime) -> Option<(UserId, OffsetDateTime)> {
        let claims = self.read(&HALFWAY, token, now)?;
        Some((claims.sub.parse().ok()?, OffsetDateTime::from_unix_timestamp(claims.iat).ok()?))
    }

    /// Seals what is kept of somebody in her own browser.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn seal(&self, clear: &str) -> Result<String, NoRandomness> {
        let sealed = self.key.seal("away", clear.as_bytes()).map_err(|_| NoRandomness)?;
        Ok(BASE64URL_NOPAD.encode(&sealed))
    }

    /// Opens what was sealed.
    pub fn open(&self, sealed: &str) -> Option<String> {
        let sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        String::from_utf8(self.key.open("away", &sealed).ok()?).ok()
    }

    /// What a form must bear that is shown to the holder of `key`: a session's id, or a cookie.
    pub fn form_token(&self, key: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key.mac());
        context.update(b"form v1");
        context.update(key.as_bytes());
        BASE64URL_NOPAD.encode(&context.sign().as_ref()[..24])
    }

    fn sign(&self, wanted: &Use, sub: String, now: OffsetDateTime, life: Duration) -> String {
        let header = Header { typ: Some(wanted.typ.to_owned()), ..Header::new(Algorithm::HS256) };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: wanted.audience.to_owned(),
            sub,
            iat: now.unix_timestamp(),
            nbf: now.unix_timestamp(),
            exp: (now + life).unix_timestamp(),
        };
        let key = EncodingKey::from_secret(self.key.octets());
        jsonwebtoken::encode(&header, &claims, &key).expect("six plain claims and an HMAC key make a token")
    }

    fn read(&self, wanted: &Use, token: &str, now: OffsetDateTime) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[wanted.audience]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        // Times are compared below, by the clock of all nodes.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let key = DecodingKey::from_secret(self.key.octets());
        let read = jsonwebtoken::decode::<Claims>(token, &key, &validation).ok()?;
        let (claims, second) = (read.claims, now.unix_timestamp());
        let holds =
            claims.nbf <= second && second < claims.exp && read.header.typ.as_deref() == Some(wanted.typ);
        holds.then_some(claims)
    }
}

/// Whether two tokens are equal, in a time that tells nothing.
pub(super) fn equal(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
