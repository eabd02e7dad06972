//! Return paths: the MAIL FROM that brings a bounce back to its delivery.
//!
//! The local part is `b+` and a token: the delivery's id and a MAC over it, in lower-case base 32, because
//! local parts travel through hosts that change their case. It is 44 octets of the 64 that RFC 5321 allows.
//! A token tells nothing about the recipient, and no one can make one for a delivery that is not his.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use uuid::Uuid;

use crate::mail::EmailAddress;
use crate::seal::{MasterKey, Purpose};

use super::id::DeliveryId;

/// Makes and reads return paths.
#[derive(Clone)]
pub struct ReturnPaths {
    key: hmac::Key,
    domain: String,
}

const PREFIX: &str = "b+";
const ID_LEN: usize = 16;
const MAC_LEN: usize = 10;

impl ReturnPaths {
    /// For return paths at `domain`, which must be a valid domain: it came from the configuration.
    pub fn new(master: &MasterKey, domain: &str) -> ReturnPaths {
        ReturnPaths { key: master.derive(Purpose::ReturnPath).mac(), domain: domain.to_owned() }
    }

    /// The return path of a delivery: the same at every call.
    pub fn of(&self, delivery: DeliveryId) -> String {
        self.at(delivery, &self.domain)
    }

    /// The return path of a delivery at another domain, whose mail reaches us too.
    pub fn at(&self, delivery: DeliveryId, domain: &str) -> String {
        let id = *delivery.uuid().as_bytes();
        let mut token = [0u8; ID_LEN + MAC_LEN];
        token[..ID_LEN].copy_from_slice(&id);
        token[ID_LEN..].copy_from_slice(&hmac::sign(&self.key, &id).as_ref()[..MAC_LEN]);
        format!("{PREFIX}{}@{}", BASE32_NOPAD.encode(&token).to_ascii_lowercase(), domain)
    }

    /// The delivery an address of ours names; `None` for every other address. The domain is not compared:
    /// who accepted the mail has done so.
    pub fn delivery(&self, address: &EmailAddress) -> Option<DeliveryId> {
        let local = address.local();
        let at = PREFIX.len();
        let token = local
            .get(..at)
            .filter(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
            .and_then(|_| BASE32_NOPAD.decode(local[at..].to_ascii_uppercase().as_bytes()).ok())
            .filter(|token| token.len() == ID_LEN + MAC_LEN)?;
        let (id, mac) = token.split_at(ID_LEN);
        let expected = hmac::sign(&self.key, id);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC_LEN], mac).ok()?;
        Uuid::from_slice(id).ok().map(DeliveryId::from_uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Lane, MessageId};
    use time::macros::datetime;

    fn delivery() -> DeliveryId {
        MessageId::in_lane(datetime!(2026-11-24 10:00 UTC), Lane::new(7)).delivery(3)
    }

    fn paths() -> ReturnPaths {
        ReturnPaths::new(&MasterKey::generate().expect("randomness"), "bounce.acme.example")
    }

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).expect("an address")
    }

    #[test]
    fn a_return_path_leads_back_in_any_case() {
        let (paths, delivery) = (paths(), delivery());
        let path = paths.of(delivery);

        assert!(path.split('@').next().is_some_and(|local| local.len() <= 64), "{path}");
        assert_eq!(paths.delivery(&address(&path)), Some(delivery));
        assert_eq!(paths.delivery(&address(&path.to_ascii_uppercase())), Some(delivery));
        assert_eq!(paths.of(delivery), path);
    }

    #[test]
    fn nobody_else_can_make_one() {
        let (paths, delivery) = (paths(), delivery());
        let path = paths.of(delivery);
        assert_eq!(self::paths().delivery(&address(&path)), None, "another key");
        for at in 2..44 {
            let mut changed = path.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(paths.delivery(&address(&changed)), None, "{changed}");
        }
        for other in ["b+@acme.example", "ann@acme.example", "b@acme.example"] {
            assert_eq!(paths.delivery(&address(other)), None);
        }
    }
}
