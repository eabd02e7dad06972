//! Secrets: how they are kept out of logs, and sealed at rest. Level 0: pure but for randomness.
//!
//! One master key seals what the database stores (relay passwords, DKIM keys, webhook secrets) and keys the
//! tokens that leave the house. Each use has its own subkey by HKDF (RFC 5869), so that no two uses can be
//! played against each other. Sealed text is `version ‖ key id ‖ nonce ‖ AES-256-GCM`, bound to its owner by
//! the associated data: copied into another row, it does not open.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, RandomizedNonceKey, UnboundKey};
use aws_lc_rs::{digest, hkdf, hmac, rand};
use data_encoding::{BASE64, HEXLOWER};

/// A secret text. Its `Debug` prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, at the place that must use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a subkey is for. Adding a use adds a variant; a label is never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sealing secrets in the database.
    Seal,
    /// Tokens in return paths.
    ReturnPath,
    /// Tokens of opens and clicks.
    Tracking,
    /// Tokens by which a recipient takes leave.
    Unsubscribe,
    /// Sealed tokens in the links by which a recipient takes leave.
    UnsubscribeLink,
    /// Senders of mail that is passed on.
    Forwarding,
    /// What stands in the place of erased addresses.
    Erasure,
    /// Tokens of browsers that are signed in to the dashboard, and of their forms.
    Session,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Purpose::Seal => b"postroad seal v1",
            Purpose::ReturnPath => b"postroad return path v1",
            Purpose::Tracking => b"postroad tracking v1",
            Purpose::Unsubscribe => b"postroad unsubscribe v1",
            Purpose::UnsubscribeLink => b"postroad unsubscribe link v1",
            Purpose::Forwarding => b"postroad forwarding v1",
            Purpose::Erasure => b"postroad erasure v1",
            Purpose::Session => b"postroad session v1",
        }
    }
}

/// The installation's master key: 256 random bits.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

/// Why a text is no master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMasterKey {
    /// Not 32 bytes in base 64 or hexadecimal.
    #[error(
        "a master key is 32 random bytes, in base 64 or hexadecimal (make one with: openssl rand -base64 32)"
    )]
    Form,
    /// All bytes are equal: a placeholder.
    #[error("this master key is a placeholder: make one with: openssl rand -base64 32")]
    Placeholder,
}

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// Sealed text that does not open: another master key, another owner, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed secret does not open: it belongs to another master key or another row, or is damaged")]
pub struct DoesNotOpen;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;

impl MasterKey {
    /// A new random key.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn generate() -> Result<MasterKey, NoRandomness> {
        let mut bytes = [0u8; 32];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(MasterKey(bytes))
    }

    /// Reads 32 bytes in base 64 or hexadecimal.
    ///
    /// # Errors
    /// See [`BadMasterKey`].
    pub fn parse(text: &str) -> Result<MasterKey, BadMasterKey> {
        let text = text.trim();
        let bytes = HEXLOWER
            .decode(text.to_ascii_lowercase().as_bytes())
            .or_else(|_| BASE64.decode(text.as_bytes()))
            .map_err(|_| BadMasterKey::Form)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| BadMasterKey::Form)?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(BadMasterKey::Placeholder);
        }
        Ok(MasterKey(bytes))
    }

    /// The key as base 64, for the file that keeps it.
    pub fn to_base64(&self) -> Secret {
        Secret(BASE64.encode(&self.0))
    }

    /// What may be known of it: 16 hexadecimal digits that change with the key.
    pub fn fingerprint(&self) -> String {
        let labelled = [b"postroad master key fingerprint v1".as_slice(), &self.0].concat();
        HEXLOWER.encode(&digest::digest(&digest::SHA256, &labelled).as_ref()[..8])
    }

    /// The subkey for one purpose.
    pub fn derive(&self, purpose: Purpose) -> Subkey {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"postroad").extract(&self.0);
        let mut bytes = [0u8; 32];
        prk.expand(&[purpose.label()], Bits256)
            .and_then(|okm| okm.fill(&mut bytes))
            .expect("HKDF-SHA-256 gives 32 bytes for any label");
        Subkey(bytes)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

struct Bits256;

impl hkdf::KeyType for Bits256 {
    fn len(&self) -> usize {
        32
    }
}

/// A key for one purpose.
#[derive(Clone)]
pub struct Subkey([u8; 32]);

impl fmt::Debug for Subkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subkey(…)")
    }
}

impl Subkey {
    /// Its octets, for a library that brings its own HMAC.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// HMAC-SHA-256 key for tokens.
    pub fn mac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }

    /// Seals `clear` for `owner`.
    ///
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn seal(&self, owner: &str, clear: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).map_err(|_| NoRandomness)?;
        let mut text = clear.to_vec();
        let nonce =
            key.seal_in_place_append_tag(Aad::from(owner.as_bytes()), &mut text).map_err(|_| NoRandomness)?;
        let mut sealed = Vec::with_capacity(1 + KEY_ID_LEN + NONCE_LEN + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.key_id());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Seals `clear` for `owner`, the same way every time: for tokens of which two copies must be alike. The nonce
    /// is a MAC over what is sealed (a synthetic IV), so that no two texts share one.
    pub fn seal_alike(&self, owner: &str, clear: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.mac());
        context.update(b"nonce v1");
        context.update(owner.as_bytes());
        context.update(&[0]);
        context.update(clear);
        let mut nonce = [0u8; NONCE_LEN];
        nonce.copy_from_slice(&context.sign().as_ref()[..NONCE_LEN]);
        let key = UnboundKey::new(&AES_256_GCM, &self.0).expect("the key has AES-256's length");
        let mut text = clear.to_vec();
        LessSafeKey::new(key)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(owner.as_bytes()),
                &mut text,
            )
            .expect("a token is shorter than AES-GCM's longest text");
        [&[VERSION], self.key_id().as_slice(), &nonce, &text].concat()
    }

    /// Opens what [`Subkey::seal`] or [`Subkey::seal_alike`] sealed for the same `owner`.
    ///
    /// # Errors
    /// [`DoesNotOpen`].
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        let (&version, rest) = sealed.split_first().ok_or(DoesNotOpen)?;
        let (key_id, rest) = rest.split_at_checked(KEY_ID_LEN).ok_or(DoesNotOpen)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(DoesNotOpen)?;
        if version != VERSION || key_id != self.key_id() {
            return Err(DoesNotOpen);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).map_err(|_| DoesNotOpen)?;
        let mut text = text.to_vec();
        let clear =
            key.open_in_place(nonce, Aad::from(owner.as_bytes()), &mut text).map_err(|_| DoesNotOpen)?;
        Ok(clear.to_vec())
    }

    /// Which key sealed a text: needed once keys are rotated.
    fn key_id(&self) -> [u8; KEY_ID_LEN] {
        let digest = digest::digest(&digest::SHA256, &self.0);
        let mut id = [0u8; KEY_ID_LEN];
        id.copy_from_slice(&digest.as_ref()[..KEY_ID_LEN]);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Subkey {
        MasterKey::generate().expect("randomness").derive(Purpose::Seal)
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_alone() {
        let key = key();
        let sealed = key.seal("rly_1", b"hunter2").expect("randomness");

        assert_eq!(key.open("rly_1", &sealed).as_deref(), Ok(b"hunter2".as_slice()));
        assert_eq!(key.open("rly_2", &sealed), Err(DoesNotOpen));
        assert_eq!(self::key().open("rly_1", &sealed), Err(DoesNotOpen));
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
    }

    #[test]
    fn what_is_sealed_alike_is_alike_and_opens() {
        let key = key();
        let sealed = key.seal_alike("u", b"ann");
        assert_eq!(key.seal_alike("u", b"ann"), sealed);
        assert_ne!(key.seal_alike("u", b"bob")[..20], sealed[..20], "another nonce");
        assert_eq!(key.open("u", &sealed).as_deref(), Ok(b"ann".as_slice()));
        assert_eq!(key.open("v", &sealed), Err(DoesNotOpen));
    }

    #[test]
    fn no_flipped_bit_opens() {
        let key = key();
        let sealed = key.seal("rly_1", b"hunter2").expect("randomness");
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(key.open("rly_1", &flipped), Err(DoesNotOpen), "byte {at}");
            assert_eq!(key.open("rly_1", &sealed[..at]), Err(DoesNotOpen), "cut at {at}");
        }
    }

    #[test]
    fn a_key_reads_back_from_both_forms_and_placeholders_are_refused() {
        let key = MasterKey::generate().expect("randomness");
        let again = MasterKey::parse(key.to_base64().reveal()).expect("base 64");
        assert_eq!(key.fingerprint(), again.fingerprint());
        let hex = MasterKey::parse(&HEXLOWER.encode(&key.0)).expect("hexadecimal");
        assert_eq!(key.fingerprint(), hex.fingerprint());

        assert_eq!(MasterKey::parse(&"0".repeat(64)).err(), Some(BadMasterKey::Placeholder));
        assert_eq!(MasterKey::parse("changeme").err(), Some(BadMasterKey::Form));
    }

    #[test]
    fn purposes_have_keys_of_their_own_and_debug_shows_none() {
        let master = MasterKey::generate().expect("randomness");
        assert_ne!(master.derive(Purpose::Seal).0, master.derive(Purpose::ReturnPath).0);
        assert_eq!(
            format!("{master:?} {:?} {:?}", key(), Secret::new("x")),
            "MasterKey(…) Subkey(…) Secret(…)"
        );
    }
}
