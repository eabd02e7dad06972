//! Suppressions: addresses a tenant is not to mail, and why.

use std::str::FromStr;

use time::OffsetDateTime;

use super::id::{DeliveryId, SuppressionId};

/// Why an address is not mailed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is dead: a peer said so.
    Bounce,
    /// Its owner called a mail spam.
    Complaint,
    /// Its owner wants no more.
    Unsubscribe,
    /// The tenant wants it so.
    Manual,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 4] = [Reason::Bounce, Reason::Complaint, Reason::Unsubscribe, Reason::Manual];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Bounce => "bounce",
            Reason::Complaint => "complaint",
            Reason::Unsubscribe => "unsubscribe",
            Reason::Manual => "manual",
        }
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Reason, UnknownReason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

/// Not the name of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reason is bounce, complaint, unsubscribe or manual")]
pub struct UnknownReason;

/// An address that is not mailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its name in the API; carries since when.
    pub id: SuppressionId,
    /// The address in canonical form ([`EmailAddress::key`](crate::mail::EmailAddress::key)).
    pub address: String,
    /// The one stream it is for; empty: all.
    pub stream: String,
    /// Why.
    pub reason: Reason,
    /// The delivery whose bounce, complaint or unsubscribing caused it.
    pub delivery: Option<DeliveryId>,
}

impl Suppression {
    /// Since when, to the millisecond.
    pub fn created_at(&self) -> OffsetDateTime {
        self.id.born()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert_eq!("spam".parse::<Reason>(), Err(UnknownReason));
    }
}
