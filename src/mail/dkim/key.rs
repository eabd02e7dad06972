//! Reading and writing DKIM keys. Making them needs chance, and is not done here.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::Algorithm;

/// A key pair for DKIM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// How it signs.
    pub algorithm: Algorithm,
    /// The public half, as `p=` has it: base 64 of a SubjectPublicKeyInfo for RSA (RFC 6376 §3.6.1), of the 32
    /// octets for Ed25519 (RFC 8463 §4).
    pub public: String,
    /// The private half: PKCS #8.
    pub pkcs8: Vec<u8>,
}

/// Why a text is no key to sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// No PEM, or one with something else in it.
    #[error(
        "a private key in PEM is needed, unencrypted: it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----"
    )]
    Form,
    /// RFC 8301 §3.2 and what large receivers ask for.
    #[error("an RSA key for DKIM has 2048 to 4096 bits")]
    Size,
    /// Neither RSA nor Ed25519, or damaged.
    #[error("the key is neither RSA nor Ed25519, or it is damaged")]
    Unusable,
}

/// Verifiers need not take longer ones (RFC 8301 §3.2), and no DNS answer holds much more.
const MOST_BITS: usize = 4096;
const LEAST_BITS: usize = 2048;

impl KeyPair {
    /// Reads a private key: PEM of PKCS #8, or of PKCS #1 for RSA.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_pem(pem: &str) -> Result<KeyPair, BadKey> {
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadKey::Form)? {
            PrivateKeyDer::Pkcs1(der) => KeyPair::of_rsa(rsa::KeyPair::from_der(der.secret_pkcs1_der())),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                    Ok(pair) => KeyPair::of_ed25519(&pair),
                    Err(_) => KeyPair::of_rsa(rsa::KeyPair::from_pkcs8(der)),
                }
            }
            _ => Err(BadKey::Unusable),
        }
    }

    /// An RSA key as the library made or read it.
    ///
    /// # Errors
    /// It is too short or too long, or was not read at all.
    pub fn of_rsa<E>(pair: Result<rsa::KeyPair, E>) -> Result<KeyPair, BadKey> {
        // The library refuses keys below 2048 bits, and those that are none, with one error.
        let pair = pair.map_err(|_| BadKey::Unusable)?;
        if !(LEAST_BITS..=MOST_BITS).contains(&(8 * pair.public_modulus_len())) {
            return Err(BadKey::Size);
        }
        let private: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| BadKey::Unusable)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| BadKey::Unusable)?;
        Ok(KeyPair {
            algorithm: Algorithm::Rsa,
            public: BASE64.encode(public.as_ref()),
            pkcs8: private.as_ref().to_vec(),
        })
    }

    /// An Ed25519 key as the library made or read it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn of_ed25519(pair: &Ed25519KeyPair) -> Result<KeyPair, BadKey> {
        let private = pair.to_pkcs8v1().map_err(|_| BadKey::Unusable)?;
        Ok(KeyPair {
            algorithm: Algorithm::Ed25519,
            public: BASE64.encode(pair.public_key().as_ref()),
            pkcs8: private.as_ref().to_vec(),
        })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({}, {}, …)", self.algorithm.as_str(), self.public)
    }
}
