use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::Ed25519KeyPair;
use proptest::prelude::*;
use time::macros::datetime;

use super::*;

/// RFC 8463 §A.1, as PKCS #8.
const RFC_8463_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

fn rsa() -> KeyPair {
    KeyPair::of_rsa(aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048)).expect("a key")
}

fn signer(pair: &KeyPair) -> Signer {
    Signer::open(pair.algorithm, &pair.pkcs8, "acme.example", "s1").expect("it opens")
}

fn text(signature: &[u8]) -> String {
    String::from_utf8(signature.to_vec()).expect("ASCII").replace("\r\n\t", "")
}

const AT: OffsetDateTime = datetime!(2026-11-25 10:00 UTC);

#[test]
fn the_key_of_the_rfc_has_the_public_half_of_the_rfc() {
    let pair = KeyPair::from_pem(RFC_8463_KEY).expect("a key");
    assert_eq!(pair.algorithm, Algorithm::Ed25519);
    assert_eq!(pair.public, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    assert!(!format!("{pair:?} {:?}", signer(&pair)).contains("nWGx"));
}

#[test]
fn what_is_no_key_is_refused_with_a_reason() {
    let short = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    for (pem, wanted) in
        [("", BadKey::Form), ("hello", BadKey::Form), (public, BadKey::Form), (short, BadKey::Unusable)]
    {
        assert_eq!(KeyPair::from_pem(pem), Err(wanted), "{pem}");
    }
}

#[test]
fn a_signature_covers_what_is_there_and_oversigns_from() {
    let pair = KeyPair::of_ed25519(&Ed25519KeyPair::generate().expect("randomness")).expect("a key");
    let message =
        b"Subject: x\r\nFrom: a@acme.example\r\nX-Other: y\r\nList-Unsubscribe: <https://u>\r\n\r\nhi\r\n";
    let signed = text(&sign([&signer(&pair)], message, AT).expect("signed"));
    assert!(
        signed.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; s=s1; d=acme.example; c=relaxed/relaxed;")
    );
    assert!(signed.contains("h=From:Subject:List-Unsubscribe:From;"), "{signed}");
    assert!(signed.contains("t=1795600800;") && !signed.contains("l="), "{signed}");
}

#[test]
fn the_same_mail_is_signed_alike_and_each_key_signs() {
    let (one, other) = (rsa(), KeyPair::from_pem(RFC_8463_KEY).expect("a key"));
    let signers = [signer(&one), signer(&other)];
    let message = b"From: a@acme.example\r\n\r\nhi\r\n";
    let signed = sign(&signers, message, AT).expect("signed");
    assert_eq!(sign(&signers, message, AT).expect("signed"), signed);
    let signed = text(&signed);
    assert_eq!(signed.matches("DKIM-Signature:").count(), 2);
    assert!(signed.contains("a=rsa-sha256") && signed.contains("a=ed25519-sha256"));
}

#[test]
fn mail_without_an_author_is_not_signed() {
    let pair = KeyPair::from_pem(RFC_8463_KEY).expect("a key");
    assert_eq!(sign([&signer(&pair)], b"Subject: x\r\n\r\nhi\r\n", AT), Err(CannotSign));
}

proptest! {
    #[test]
    fn lines_of_a_signature_are_short_and_clean(subject in "[ -~]{0,300}", body in "([ -~]{0,80}\r\n){0,9}") {
        let pair = KeyPair::from_pem(RFC_8463_KEY).expect("a key");
        let message = format!("From: a@acme.example\r\nSubject: {subject}\r\n\r\n{body}");
        let signed = sign([&signer(&pair)], message.as_bytes(), AT).expect("signed");
        let signed = String::from_utf8(signed).expect("ASCII");
        prop_assert!(signed.ends_with("\r\n"));
        prop_assert!(signed.trim_end().split("\r\n").all(|line| line.len() <= 100));
        prop_assert!(signed.trim_end().split("\r\n").skip(1).all(|line| line.starts_with('\t')));
    }
}
