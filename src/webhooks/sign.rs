//! What goes around a request in each shape: its headers, and the signature where the provider has one. Those that
//! have none are given Basic credentials instead, the user `postroad` with the webhook's secret, which is what their
//! receivers are told to ask for.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::webhook::WebhookSecret;
use crate::domain::webhook_format::Format;

use super::compose;

/// A header of a request.
pub type Header = (&'static str, String);

/// What one request is.
#[derive(Debug, Clone, Copy)]
pub struct Posting<'a> {
    /// The webhook's shape.
    pub format: Format,
    /// The request's own name, the same at every try.
    pub reference: &'a str,
    /// When it is made.
    pub now: OffsetDateTime,
}

/// The body as it is posted, and its headers; `standard` makes the signature of Standard Webhooks.
pub fn dress(
    posting: Posting<'_>,
    secret: &WebhookSecret,
    body: Value,
    standard: impl FnOnce(&[u8]) -> String,
) -> (Vec<u8>, Vec<Header>) {
    let Posting { format, reference, now } = posting;
    let timestamp = now.unix_timestamp().to_string();
    let json = ("content-type", "application/json".to_owned());
    match format {
        Format::Postroad | Format::Resend => {
            let octets = body.to_string().into_bytes();
            let signature = standard(&octets);
            let [id, at, signed] = if format == Format::Resend {
                ["svix-id", "svix-timestamp", "svix-signature"]
            } else {
                ["webhook-id", "webhook-timestamp", "webhook-signature"]
            };
            let headers = vec![json, (id, reference.to_owned()), (at, timestamp), (signed, signature)];
            (octets, headers)
        }
        Format::SendGrid => {
            let octets = body.to_string().into_bytes();
            let signature = ecdsa(secret, &[timestamp.as_bytes(), &octets].concat()).unwrap_or_default();
            let headers = vec![
                json,
                ("x-twilio-email-event-webhook-signature", signature),
                ("x-twilio-email-event-webhook-timestamp", timestamp),
            ];
            (octets, headers)
        }
        Format::Mailgun => {
            // A token of its own for each request, and the same when it is tried again.
            let token = HEXLOWER.encode(&sha256(reference.as_bytes())[..25]);
            let signed = hmac_hex(secret, format!("{timestamp}{token}").as_bytes());
            let signature = json!({ "timestamp": timestamp, "token": token, "signature": signed });
            let whole = json!({ "signature": signature, "event-data": body });
            (whole.to_string().into_bytes(), vec![json])
        }
        Format::MailerSend => {
            let octets = body.to_string().into_bytes();
            let signature = hmac_hex(secret, &octets);
            (octets, vec![json, ("signature", signature)])
        }
        Format::Ses => {
            let octets = notification(reference, now, &body).to_string().into_bytes();
            let headers = vec![
                ("content-type", "text/plain; charset=UTF-8".to_owned()),
                ("x-amz-sns-message-type", "Notification".to_owned()),
                ("x-amz-sns-message-id", reference.to_owned()),
                ("x-amz-sns-topic-arn", TOPIC.to_owned()),
                basic(secret),
            ];
            (octets, headers)
        }
        Format::SparkPost => {
            let octets = body.to_string().into_bytes();
            let batch = ("x-messagesystems-batch-id", reference.to_owned());
            (octets, vec![json, batch, basic(secret)])
        }
        Format::Postmark | Format::Brevo | Format::Mailjet => {
            (body.to_string().into_bytes(), vec![json, basic(secret)])
        }
    }
}

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:postroad";

/// docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html. SNS signs with a certificate of Amazon's, which
/// nobody else can: the signature is empty, and the credentials stand for it.
fn notification(reference: &str, now: OffsetDateTime, body: &Value) -> Value {
    json!({
        "Type": "Notification",
        "MessageId": reference,
        "TopicArn": TOPIC,
        "Message": body.to_string(),
        "Timestamp": compose::moment(now),
        "SignatureVersion": "1",
        "Signature": "",
        "SigningCertURL": "",
        "UnsubscribeURL": "",
    })
}

fn basic(secret: &WebhookSecret) -> Header {
    let credentials = BASE64.encode(format!("postroad:{}", secret.reveal()).as_bytes());
    ("authorization", format!("Basic {credentials}"))
}

/// With the secret as it is shown: what receivers are given as their signing key.
fn hmac_hex(secret: &WebhookSecret, octets: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    HEXLOWER.encode(hmac::sign(&key, octets).as_ref())
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
    out
}

/// The key pair that belongs to a secret: its private number is a hash of it, so that there is nothing more to keep.
fn key_pair(secret: &WebhookSecret) -> Option<EcdsaKeyPair> {
    let mut number = sha256(&[b"postroad sendgrid signing key".as_slice(), secret.octets()].concat());
    // About one number in four thousand million is none of the curve's: then the next hash is taken.
    for _ in 0..4 {
        if let Ok(key) = PrivateKey::from_private_key(&ECDH_P256, &number) {
            let public = key.compute_public_key().ok()?;
            let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
            return EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number, public.as_ref()).ok();
        }
        number = sha256(&number);
    }
    None
}

/// ECDSA over P-256 and SHA-256, in DER and base 64.
fn ecdsa(secret: &WebhookSecret, octets: &[u8]) -> Option<String> {
    let signature = key_pair(secret)?.sign(&SystemRandom::new(), octets).ok()?;
    Some(BASE64.encode(signature.as_ref()))
}

/// The public key that receivers of SendGrid's shape verify with: DER in base 64, as SendGrid shows it.
pub fn verification_key(secret: &WebhookSecret) -> Option<String> {
    let pair = key_pair(secret)?;
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
    Some(BASE64.encode(der.as_ref()))
}
