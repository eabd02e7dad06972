//! The addresses to which a recipient writes to get no more mail of a stream: `u+token@…`, for the mailto of
//! List-Unsubscribe (RFC 2369 §3.2). Not the page behind the https address.
//!
//! Invariant: an address names one delivery, and with it recipient and stream; nobody can make one for another.

use crate::mail::EmailAddress;
use crate::seal::{MasterKey, Purpose};

use super::id::DeliveryId;
use super::token::DeliveryTokens;

const PREFIX: &str = "u+";

/// Makes and reads addresses for unsubscribing, and the token in them.
#[derive(Clone)]
pub struct Unsubscribes {
    tokens: DeliveryTokens,
    domain: String,
}

impl Unsubscribes {
    /// For addresses at `domain`, which must be one that this installation takes mail for.
    pub fn new(master: &MasterKey, domain: &str) -> Unsubscribes {
        let tokens = DeliveryTokens::new(&master.derive(Purpose::Unsubscribe));
        Unsubscribes { tokens, domain: domain.to_owned() }
    }

    /// The tokens themselves.
    pub fn tokens(&self) -> &DeliveryTokens {
        &self.tokens
    }

    /// The address for the recipient of a delivery.
    pub fn address(&self, delivery: DeliveryId) -> String {
        format!("{PREFIX}{}@{}", self.tokens.of(delivery), self.domain)
    }

    /// The delivery that an address of ours names; the domain is not compared.
    pub fn delivery(&self, address: &EmailAddress) -> Option<DeliveryId> {
        let (prefix, token) = address.local().split_at_checked(PREFIX.len())?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return None;
        }
        self.tokens.read(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Lane, MessageId};
    use crate::domain::return_path::ReturnPaths;
    use time::macros::datetime;

    #[test]
    fn an_address_leads_to_its_delivery_and_a_return_path_is_none() {
        let master = MasterKey::generate().expect("randomness");
        let unsubscribes = Unsubscribes::new(&master, "acme.example");
        let delivery = MessageId::in_lane(datetime!(2026-11-24 10:00 UTC), Lane::new(7)).delivery(3);
        let address = |text: &str| EmailAddress::parse(text).expect("an address");
        let own = unsubscribes.address(delivery);
        assert_eq!(unsubscribes.delivery(&address(&own)), Some(delivery));
        assert_eq!(unsubscribes.delivery(&address(&own.to_ascii_uppercase())), Some(delivery));
        let bounce = ReturnPaths::new(&master, "acme.example").of(delivery);
        for other in [bounce.replacen("b+", "u+", 1), "u+@acme.example".into(), "u@acme.example".into()] {
            assert_eq!(unsubscribes.delivery(&address(&other)), None, "{other}");
        }
    }
}
