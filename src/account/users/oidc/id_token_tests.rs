//! ID tokens that must not be taken. The keys are made here; the tokens are signed as a provider signs them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD as B64;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-29 10:00 UTC);

struct Signer {
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

impl Signer {
    fn new() -> Signer {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.expect("a key").as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).expect("a key");
        Signer { public: pair.public_key().as_ref().to_vec(), pkcs8 }
    }

    fn jwk(&self, id: &str) -> Value {
        let (x, y) = (B64.encode(&self.public[1..33]), B64.encode(&self.public[33..]));
        json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256", "x": x, "y": y })
    }

    fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pkcs8)).expect("signed")
    }
}

fn set(keys: &[Value]) -> JwkSet {
    serde_json::from_value(json!({ "keys": keys })).expect("keys")
}

fn claims() -> Value {
    let now = NOW.unix_timestamp();
    json!({
        "iss": "https://id.example", "aud": "postroad", "sub": "42", "nonce": "n", "iat": now, "exp": now + 300,
        "email": "Ann@Acme.example", "email_verified": true, "name": "Ann",
    })
}

const WANTED: Wanted<'static> = Wanted { issuer: "https://id.example", client_id: "postroad", nonce: "n" };

#[test]
fn a_token_of_now_for_us_names_somebody() {
    let signer = Signer::new();
    let keys = set(&[Signer::new().jwk("old"), signer.jwk("new")]);
    let ann = Identity {
        subject: "42".to_owned(),
        email: Login::parse("ann@acme.example").ok(),
        name: "Ann".to_owned(),
    };
    assert_eq!(read(&signer.sign(Some("new"), &claims()), &keys, &WANTED, NOW), Ok(ann.clone()));
    assert_eq!(read(&signer.sign(None, &claims()), &keys, &WANTED, NOW), Ok(ann.clone()), "no key is named");
    let mut several = claims();
    (several["aud"], several["azp"]) = (json!(["postroad", "other"]), json!("postroad"));
    assert_eq!(read(&signer.sign(None, &several), &keys, &WANTED, NOW), Ok(ann));
    for unverified in [json!(false), json!("false"), json!("yes"), Value::Null] {
        let mut claims = claims();
        claims["email_verified"] = unverified;
        let known = read(&signer.sign(None, &claims), &keys, &WANTED, NOW).expect("known");
        assert_eq!(known.email, None, "an address that the provider has not verified may be anybody's");
    }
}

#[test]
fn what_was_signed_by_nobody_we_know_is_not_taken() {
    let signer = Signer::new();
    let keys = set(&[signer.jwk("new")]);
    let good = signer.sign(Some("new"), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let header = |value: Value| B64.encode(value.to_string().as_bytes());
    let by_secret = |secret: &[u8]| {
        let header = Header { kid: Some("new".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).expect("signed")
    };
    let wrong = [
        Signer::new().sign(Some("new"), &claims()),
        signer.sign(Some("other"), &claims()),
        format!("{}.{}.", header(json!({ "alg": "none" })), parts[1]),
        format!("{}.{}.{}", header(json!({ "alg": "none", "kid": "new" })), parts[1], parts[2]),
        format!("{}.{}.{}", header(json!({ "alg": "RS256", "kid": "new" })), parts[1], parts[2]),
        by_secret(&signer.public),
        by_secret(b""),
        format!("{}.{}", parts[0], parts[1]),
        String::new(),
    ];
    for token in wrong {
        assert_eq!(read(&token, &keys, &WANTED, NOW), Err(Bad::Signature), "{token}");
    }
    // A secret among the keys is no key for signatures.
    let oct = json!({ "kty": "oct", "kid": "new", "k": B64.encode(b"secret"), "alg": "HS256" });
    assert_eq!(read(&by_secret(b"secret"), &set(&[oct]), &WANTED, NOW), Err(Bad::Signature));
}

#[test]
fn what_is_not_for_this_sign_in_is_not_taken() {
    let signer = Signer::new();
    let keys = set(&[signer.jwk("k")]);
    let now = NOW.unix_timestamp();
    let cases = [
        ("iss", json!("https://evil.example"), Bad::Addressee),
        ("aud", json!("other"), Bad::Addressee),
        ("aud", json!(["postroad", "other"]), Bad::Addressee),
        ("azp", json!("other"), Bad::Addressee),
        ("nonce", json!("another"), Bad::Addressee),
        ("nonce", Value::Null, Bad::Addressee),
        ("sub", json!(""), Bad::Addressee),
        ("exp", json!(now - 121), Bad::Time),
        ("nbf", json!(now + 121), Bad::Time),
        ("iat", json!(now + 121), Bad::Time),
    ];
    for (name, value, bad) in cases {
        let mut claims = claims();
        claims[name] = value;
        assert_eq!(read(&signer.sign(Some("k"), &claims), &keys, &WANTED, NOW), Err(bad), "{name}");
    }
}

#[derive(Deserialize)]
struct Group {
    key: Value,
    /// The token, whether it is valid, and what is about it.
    tests: Vec<(String, bool, String)>,
}

// Project Wycheproof's vectors (Apache-2.0): keys and tokens, most of them forged. What they sign are no claims, so that
// the good ones fail too, but later.
#[test]
fn vectors_of_forged_signatures_are_refused_for_their_signature() {
    let groups: Vec<Group> = serde_json::from_str(include_str!("wycheproof_jws.json")).expect("the vectors");
    let (mut forged, mut good) = (0, 0);
    for Group { key, tests } in groups {
        // A set leaves out the keys of algorithms that it does not know.
        let keys: JwkSet =
            serde_json::from_value(json!({ "keys": [key] })).unwrap_or(JwkSet { keys: vec![] });
        for (token, is_valid, about) in tests {
            let refused = read(&token, &keys, &WANTED, NOW).expect_err("it has no claims");
            if is_valid {
                good += usize::from(refused == Bad::Claims);
            } else {
                assert_eq!(refused, Bad::Signature, "{about}: {token}");
                forged += 1;
            }
        }
    }
    println!("5.4: {forged} forged tokens refused, {good} good ones read");
    // The other good ones are by secrets, or by another algorithm than the key's own.
    assert_eq!((forged, good), (355, 32));
}
