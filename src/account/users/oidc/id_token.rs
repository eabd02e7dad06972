//! Reading ID tokens (OpenID Connect Core 1.0 §3.1.3.7): signed by one of the provider's keys, by an algorithm that
//! suits it; of this issuer, for us, of now, and for this very sign-in.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::domain::user::Login;

use super::{Identity, cut};

/// Seconds by which clocks may differ.
const LEEWAY: i64 = 120;

/// What a token must say.
pub(super) struct Wanted<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is no JWT, or is signed by nobody we know.
    Signature,
    /// It does not say all that a token of this kind says.
    Claims,
    /// It is somebody else's: issuer, audience or nonce.
    Addressee,
    /// It has run out, or begins later.
    Time,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bad::Signature => "its token is not signed by its keys",
            Bad::Claims => "its token does not say whom it is about, for whom it is, and until when",
            Bad::Addressee => "its token is not for this sign-in",
            Bad::Time => "its token has run out, or its clock is wrong",
        })
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    email: Option<String>,
    email_verified: Option<Flag>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Some providers write it as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Is(bool),
    Text(String),
}

/// Which key a token says that it is signed by.
pub(super) fn key_id(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).ok()?.kid
}

/// Whom a token names.
pub(super) fn read(
    token: &str,
    keys: &JwkSet,
    wanted: &Wanted<'_>,
    now: OffsetDateTime,
) -> Result<Identity, Bad> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| Bad::Signature)?;
    let candidates = keys.keys.iter().filter(|key| suits(key, header.alg, header.kid.as_deref()));
    let claims = candidates
        .into_iter()
        .find_map(|key| verify(token, key, header.alg, wanted))
        .ok_or(Bad::Signature)??;
    check(claims, wanted, now)
}

/// A key suits if it is of the algorithm's family, is for this algorithm and for signatures, where it says what it is
/// for (RFC 8725 §3.1), and is the one that is named, if one is. Secrets and `none` suit nothing: whoever can write a
/// token could else choose them.
fn suits(key: &Jwk, algorithm: Algorithm, id: Option<&str>) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let of_family = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
        AlgorithmParameters::EllipticCurve(_) => matches!(algorithm, ES256 | ES384),
        AlgorithmParameters::OctetKeyPair(_) => matches!(algorithm, EdDSA),
        _ => false,
    };
    let for_it = key.common.key_algorithm.is_none_or(|it| Algorithm::try_from(it) == Ok(algorithm));
    let verifies = |uses: &Vec<KeyOperations>| uses.contains(&KeyOperations::Verify);
    let for_signatures = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption))
        && key.common.key_operations.as_ref().is_none_or(verifies);
    let named = id.is_none_or(|id| key.common.key_id.as_deref() == Some(id));
    of_family && for_it && for_signatures && named
}

/// `None`: this key did not sign it.
fn verify(token: &str, key: &Jwk, algorithm: Algorithm, wanted: &Wanted<'_>) -> Option<Result<Claims, Bad>> {
    let key = DecodingKey::from_jwk(key).ok()?;
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[wanted.issuer]);
    validation.set_audience(&[wanted.client_id]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // By the clock of all nodes, below.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
        Ok(read) => Some(Ok(read.claims)),
        // What is signed is read only when the signature is right.
        Err(error) => match error.kind() {
            ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => Some(Err(Bad::Addressee)),
            ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) => Some(Err(Bad::Claims)),
            _ => None,
        },
    }
}

fn check(claims: Claims, wanted: &Wanted<'_>, now: OffsetDateTime) -> Result<Identity, Bad> {
    let second = now.unix_timestamp();
    let starts = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
    if claims.exp + LEEWAY <= second || starts - LEEWAY > second {
        return Err(Bad::Time);
    }
    let is_ours = match &claims.aud {
        Audience::One(one) => one == wanted.client_id,
        // §3.1.3.7, 3 and 4: if it is for several, it must say that it is for us.
        Audience::Many(many) => many.len() == 1 || claims.azp.is_some(),
    };
    let is_for_us = is_ours && claims.azp.as_deref().is_none_or(|azp| azp == wanted.client_id);
    if !is_for_us
        || claims.nonce.as_deref() != Some(wanted.nonce)
        || claims.sub.is_empty()
        || claims.sub.len() > 255
    {
        return Err(Bad::Addressee);
    }
    let is_verified = match claims.email_verified {
        Some(Flag::Is(is)) => is,
        Some(Flag::Text(text)) => text == "true",
        None => false,
    };
    let email = claims.email.filter(|_| is_verified).and_then(|email| Login::parse(&email).ok());
    Ok(Identity { subject: claims.sub, email, name: cut(&claims.name.unwrap_or_default()) })
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
mod tests;
