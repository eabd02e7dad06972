//! Tokens that name a delivery to the world: its id and a MAC over it. They tell nothing about the recipient,
//! and nobody can make one for a delivery that is not his.
//!
//! Invariant: a token is 42 characters of lower-case base 32, so that it fits a local part, passes hosts that
//! change the case of local parts, and can be told from the text around it.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use uuid::Uuid;

use crate::seal::Subkey;

use super::id::DeliveryId;

const ID_LEN: usize = 16;
const MAC_LEN: usize = 10;
/// The characters of a token.
pub const TOKEN_LEN: usize = 42;

/// Makes and reads the tokens of one purpose.
#[derive(Clone)]
pub struct DeliveryTokens {
    key: hmac::Key,
}

impl DeliveryTokens {
    /// Tokens of the purpose that the key was derived for; those of another purpose are not read.
    pub fn new(key: &Subkey) -> DeliveryTokens {
        DeliveryTokens { key: key.mac() }
    }

    /// The token of a delivery: the same at every call.
    pub fn of(&self, delivery: DeliveryId) -> String {
        let id = *delivery.uuid().as_bytes();
        let mut token = [0u8; ID_LEN + MAC_LEN];
        token[..ID_LEN].copy_from_slice(&id);
        token[ID_LEN..].copy_from_slice(&hmac::sign(&self.key, &id).as_ref()[..MAC_LEN]);
        BASE32_NOPAD.encode(&token).to_ascii_lowercase()
    }

    /// The delivery that a token names, in any case; `None`: it is none of ours.
    pub fn read(&self, token: &str) -> Option<DeliveryId> {
        if token.len() != TOKEN_LEN {
            return None;
        }
        let octets = BASE32_NOPAD.decode(token.to_ascii_uppercase().as_bytes()).ok()?;
        let (id, mac) = octets.split_at_checked(ID_LEN)?;
        let expected = hmac::sign(&self.key, id);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC_LEN], mac).ok()?;
        Uuid::from_slice(id).ok().map(DeliveryId::from_uuid)
    }

    /// The deliveries whose tokens stand somewhere in a text, each once, in order. No more than `limit` words
    /// that look like tokens are examined.
    pub fn find(&self, text: &str, limit: usize) -> Vec<DeliveryId> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() == TOKEN_LEN);
        let mut found = Vec::new();
        for delivery in words.take(limit).filter_map(|word| self.read(word)) {
            if !found.contains(&delivery) {
                found.push(delivery);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Lane, MessageId};
    use crate::seal::{MasterKey, Purpose};
    use time::macros::datetime;

    #[test]
    fn tokens_are_found_in_any_text_and_others_are_not() {
        let master = MasterKey::generate().expect("randomness");
        let tokens = DeliveryTokens::new(&master.derive(Purpose::ReturnPath));
        let other = DeliveryTokens::new(&master.derive(Purpose::Unsubscribe));
        let message = MessageId::in_lane(datetime!(2026-11-24 10:00 UTC), Lane::new(7));
        let (one, two) = (message.delivery(1), message.delivery(2));
        let text = format!(
            "Return-Path: <b+{}@acme.example>\nX: {}:{}\n{}",
            tokens.of(one),
            tokens.of(two).to_ascii_uppercase(),
            tokens.of(one),
            other.of(one),
        );
        assert_eq!(tokens.of(one).len(), TOKEN_LEN);
        assert_eq!(tokens.find(&text, 10), [one, two]);
        assert_eq!(tokens.find(&text, 1), [one]);
        assert_eq!(tokens.read(&other.of(one)), None, "a token of another purpose");
        assert_eq!(other.read(&other.of(one)), Some(one));
    }
}
