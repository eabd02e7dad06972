//! DKIM signatures (RFC 6376, RFC 8463): the fields that go before a message, and the record that lets others check
//! them. Not who signs for whom, nor where keys come from.
//!
//! Invariant: the same keys, message and moment give the same octets. RSA by PKCS #1 v1.5 and Ed25519 are both
//! deterministic, and the moment is an argument.

mod canonical;
mod key;
mod record;

use std::fmt;

use mail_auth::common::crypto::{Algorithm as Method, DkimKey, Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::dkim::Signature;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::structure;

pub use key::{BadKey, KeyPair};
pub use record::{PublishedKey, Tags};

use canonical::{RelaxedBody, SignedHeader, signed_fields};

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `rsa-sha256`: what every receiver checks.
    Rsa,
    /// `ed25519-sha256` (RFC 8463): short and quick, and not checked by everybody yet.
    Ed25519,
}

impl Algorithm {
    /// All of them, the one that everybody checks first.
    pub const ALL: [Algorithm; 2] = [Algorithm::Rsa, Algorithm::Ed25519];

    /// As `k=` in the record, the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa",
            Algorithm::Ed25519 => "ed25519",
        }
    }

    /// Reads what [`Algorithm::as_str`] writes.
    pub fn parse(text: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }
}

/// The fields that are signed if the message has them (RFC 6376 §5.4.1): what the reader sees, what programs act
/// on, and what makes the message this one. From is always signed, and once more than it occurs, so that another
/// one cannot be added (§8.15).
const SIGNED: [&str; 24] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Disposition",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Help",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "Feedback-ID",
    "CFBL-Address",
];

/// A private key with the names under which its public half is published.
pub struct Signer {
    domain: String,
    selector: String,
    algorithm: Algorithm,
    key: DkimKey,
}

/// The cryptographic library refused to sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the mail could not be signed")]
pub struct CannotSign;

impl Signer {
    /// A signer for `domain`, whose public key is at `selector._domainkey.domain`. The key is PKCS #8.
    ///
    /// # Errors
    /// It is no such key.
    pub fn open(algorithm: Algorithm, pkcs8: &[u8], domain: &str, selector: &str) -> Result<Signer, BadKey> {
        let key = match algorithm {
            Algorithm::Rsa => {
                let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
                DkimKey::Rsa(RsaKey::<Sha256>::from_key_der(der).map_err(|_| BadKey::Unusable)?)
            }
            Algorithm::Ed25519 => DkimKey::Ed25519(
                Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8).map_err(|_| BadKey::Unusable)?,
            ),
        };
        Ok(Signer { domain: domain.to_owned(), selector: selector.to_owned(), algorithm, key })
    }

    /// What signs.
    pub(super) fn key(&self) -> &DkimKey {
        &self.key
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `d=` of its signatures.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The `s=` of its signatures.
    pub fn selector(&self) -> &str {
        &self.selector
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, {}, …)", self.domain, self.selector)
    }
}

/// The DKIM-Signature fields of a message, one for each signer, to be put before it. The message must have CRLF line
/// ends only. `at` becomes `t=`.
///
/// # Errors
/// [`CannotSign`]; also for a message without From, which nobody may sign (RFC 6376 §5.4).
pub fn sign<'a>(
    signers: impl IntoIterator<Item = &'a Signer>,
    message: &[u8],
    at: OffsetDateTime,
) -> Result<Vec<u8>, CannotSign> {
    let (header, body) = structure::split(message, 0..message.len());
    let fields = structure::fields(message, header);
    let (names, fields) = signed_fields(message, &fields, &SIGNED);
    if !names.iter().any(|name| name == "From") {
        return Err(CannotSign);
    }
    let mut body_hash: Option<Vec<u8>> = None;
    let mut written = Vec::with_capacity(1024);
    for signer in signers {
        let hash = body_hash
            .get_or_insert_with(|| signer.key.hash(RelaxedBody(&message[body.clone()])).as_ref().to_vec());
        let mut signature = Signature {
            v: 1,
            a: match signer.algorithm {
                Algorithm::Rsa => Method::RsaSha256,
                Algorithm::Ed25519 => Method::Ed25519Sha256,
            },
            d: signer.domain.clone(),
            s: signer.selector.clone(),
            h: names.clone(),
            bh: hash.clone(),
            t: u64::try_from(at.unix_timestamp()).unwrap_or(0),
            ..Signature::default()
        };
        let input = SignedHeader { message, fields: &fields, signature: &signature };
        signature.b = signer.key.sign(input).map_err(|_| CannotSign)?;
        signature.write(&mut written, true);
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
