//! Return paths: the MAIL FROM that brings a bounce back to its delivery, or, of mail that is passed on, to who wrote it.
//!
//! The local part is `b+` and the delivery's token: 44 octets of the 64 that RFC 5321 allows.

use time::OffsetDateTime;

use crate::mail::EmailAddress;
use crate::seal::{MasterKey, Purpose};

use super::id::DeliveryId;
use super::srs::{Original, Rewriter};
use super::token::DeliveryTokens;

/// Makes and reads return paths.
#[derive(Clone)]
pub struct ReturnPaths {
    tokens: DeliveryTokens,
    rewriter: Rewriter,
    domain: String,
}

const PREFIX: &str = "b+";

impl ReturnPaths {
    /// For return paths at `domain`, which must be a valid domain: it came from the configuration.
    pub fn new(master: &MasterKey, domain: &str) -> ReturnPaths {
        let tokens = DeliveryTokens::new(&master.derive(Purpose::ReturnPath));
        ReturnPaths { tokens, rewriter: Rewriter::new(master), domain: domain.to_owned() }
    }

    /// The tokens in them.
    pub fn tokens(&self) -> &DeliveryTokens {
        &self.tokens
    }

    /// The domain of the installation's own return paths.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The return path of a delivery: the same at every call.
    pub fn of(&self, delivery: DeliveryId) -> String {
        self.at(delivery, &self.domain)
    }

    /// The return path of mail of somebody else, passed on `at` that moment: the same at every call. `None`: it
    /// would not fit.
    pub fn of_stranger(&self, sender: &EmailAddress, at: OffsetDateTime, domain: &str) -> Option<String> {
        Some(format!("{}@{domain}", self.rewriter.rewrite(sender, at)?))
    }

    /// Whose mail was passed on under an address of ours; `None` for every other address.
    pub fn stranger(&self, address: &EmailAddress) -> Option<Original> {
        self.rewriter.read(address.local())
    }

    /// The return path of a delivery at another domain, whose mail reaches us too.
    pub fn at(&self, delivery: DeliveryId, domain: &str) -> String {
        format!("{PREFIX}{}@{domain}", self.tokens.of(delivery))
    }

    /// The delivery an address of ours names; `None` for every other address. The domain is not compared:
    /// who accepted the mail has done so.
    pub fn delivery(&self, address: &EmailAddress) -> Option<DeliveryId> {
        let (prefix, token) = untagged(address.local()).split_at_checked(PREFIX.len())?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return None;
        }
        self.tokens.read(token)
    }
}

/// Without what a relay on the way put before it: `prvs=…=` of BATV, and `btv1==…==` of its imitator. Both are
/// a keyword, some hash, and our local part after the last `=`, which ours has not.
fn untagged(local: &str) -> &str {
    let tagged = ["prvs=", "btv1="]
        .iter()
        .any(|tag| local.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag)));
    if tagged { local.rsplit('=').next().unwrap_or(local) } else { local }
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
        for tag in ["prvs=1234ABCDEF=", "PRVS=0123abcdef=", "btv1==0123abcd=="] {
            assert_eq!(paths.delivery(&address(&format!("{tag}{path}"))), Some(delivery), "{tag}");
        }
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
