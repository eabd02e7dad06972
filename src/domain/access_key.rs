//! Keys that sign requests instead of being shown: a public id, and a secret that both sides know
//! (AWS Signature Version 4). Not how a signature is made.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use data_encoding::{BASE32_NOPAD, BASE64};

use crate::seal::Secret;

use super::key::{KeyHash, NoRandomness};

/// The public half: 8 to 128 visible ASCII characters without a comma.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccessKeyId(String);

/// Not the form of an access key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an access key id has 8 to 128 visible ASCII characters, no comma among them")]
pub struct BadAccessKeyId;

impl AccessKeyId {
    /// Checks the form.
    ///
    /// # Errors
    /// [`BadAccessKeyId`] tells the form.
    pub fn parse(text: &str) -> Result<AccessKeyId, BadAccessKeyId> {
        let fits = (8..=128).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic() && c != b',');
        if fits { Ok(AccessKeyId(text.to_owned())) } else { Err(BadAccessKeyId) }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Both halves, in memory only for as long as it takes to seal or show them.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// The public half.
    pub id: AccessKeyId,
    /// The secret half.
    pub secret: Secret,
}

impl AccessKey {
    /// A new random one: in length and letters like those its clients know.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn generate() -> Result<AccessKey, NoRandomness> {
        let mut id = [0u8; 10];
        let mut secret = [0u8; 30];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| NoRandomness)?;
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| NoRandomness)?;
        let id = AccessKeyId(format!("PRAK{}", BASE32_NOPAD.encode(&id)));
        Ok(AccessKey { id, secret: Secret::new(BASE64.encode(&secret)) })
    }

    /// What its row is known by. Nothing that is shown as a key has it: a secret of this kind opens no door alone.
    pub fn hash(&self) -> KeyHash {
        let text = format!("access key\0{}\0{}", self.id, self.secret.reveal());
        let mut hash = [0u8; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        KeyHash(hash)
    }

    /// The first characters of the id, to recognise it by in lists.
    pub fn hint(&self) -> String {
        self.id.0.chars().take(8).collect::<String>() + "…"
    }
}

/// The key that signs the requests of one day to one service of a region: AWS Signature Version 4, "Derive a signing
/// key". Services never learn the secret from it.
pub fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> hmac::Key {
    let begin = format!("AWS4{secret}").into_bytes();
    let derived = [date, region, service, "aws4_request"].into_iter().fold(begin, |key, text| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    });
    hmac::Key::new(hmac::HMAC_SHA256, &derived)
}

/// Where Amazon SES has an SMTP endpoint: a password is made for one of them, and does not say for which.
const REGIONS: [&str; 28] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-central-1",
    "eu-central-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "eu-south-1",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-5",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ca-central-1",
    "ca-west-1",
    "sa-east-1",
    "af-south-1",
    "me-south-1",
    "me-central-1",
    "il-central-1",
    "us-gov-west-1",
];

/// The SMTP password that is made of a secret: Amazon SES, "Obtaining Amazon SES SMTP credentials by converting
/// existing AWS credentials".
fn smtp_password(secret: &str, region: &str) -> String {
    let signature = hmac::sign(&signing_key(secret, "11111111", region, "ses"), b"SendRawEmail");
    BASE64.encode(&[&[4], signature.as_ref()].concat())
}

/// Whether this is the secret, or an SMTP password made of it.
pub fn is_password(secret: &Secret, given: &str) -> bool {
    let is =
        |wanted: &str| constant_time::verify_slices_are_equal(wanted.as_bytes(), given.as_bytes()).is_ok();
    is(secret.reveal()) || REGIONS.iter().any(|region| is(&smtp_password(secret.reveal(), region)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::KeySecret;

    #[test]
    fn a_password_is_the_secret_or_made_of_it() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        // As the program in Amazon's guide makes it.
        let made = "BEW1uMsJNijX9ThCfEJCkeH4gPo9MWFsAUXj6NZO5jyz";
        assert_eq!(smtp_password(secret.reveal(), "eu-west-1"), made);
        assert!(is_password(&secret, made) && is_password(&secret, secret.reveal()));
        let nowhere = smtp_password(secret.reveal(), "mars-1");
        for bad in ["", &made[1..], &nowhere] {
            assert!(!is_password(&secret, bad), "{bad}");
        }
    }

    #[test]
    fn a_new_one_looks_like_those_its_clients_know() {
        let (one, two) = (AccessKey::generate(), AccessKey::generate());
        let (one, two) = (one.expect("randomness"), two.expect("randomness"));
        assert_eq!((one.id.as_str().len(), one.secret.reveal().len()), (20, 40));
        assert_eq!(AccessKeyId::parse(one.id.as_str()), Ok(one.id.clone()));
        assert_ne!(one.hash(), two.hash());
        assert_ne!(one.hash(), KeySecret::given(one.secret.reveal()).hash());
        assert!(!format!("{one:?}").contains(one.secret.reveal()));
        for bad in ["short", "with a space", "with,comma", "ümläute-", &"a".repeat(129)] {
            assert_eq!(AccessKeyId::parse(bad), Err(BadAccessKeyId), "{bad}");
        }
    }
}
