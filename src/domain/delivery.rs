//! A delivery: one message to one recipient, the unit of the queue.
//!
//! ```text
//!            accept                 claim, or born leased
//!  (nothing) ------> queued ------------------------------> sending
//!                      ^   deferral, hand-back, rescue        |
//!                      +--------------------------------------+---> delivered --late DSN--> bounced
//!                      |                                      +---> bounced
//!                      +--> canceled, expired, suppressed <---+
//! ```
//!
//! *queued* and *sending* are a row of the queue; the others are a row of `outcomes`, written in the
//! transaction that deletes the queue's row. A crash leaves a row *sending* under a lease; when the node is
//! found dead, or the lease ends, the row is due again.

use std::fmt;
use std::str::FromStr;

/// What a delivery shows to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// Waits: for its time, its turn, or the next try.
    Queued,
    /// In a worker's hands.
    Sending,
    /// It has ended.
    Ended(Ending),
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The peer took responsibility for it.
    Delivered,
    /// It cannot be delivered.
    Bounced,
    /// Its time ran out.
    Expired,
    /// The recipient is not to be mailed.
    Suppressed,
    /// The sender took it back.
    Canceled,
}

impl Ending {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ending::Delivered => "delivered",
            Ending::Bounced => "bounced",
            Ending::Expired => "expired",
            Ending::Suppressed => "suppressed",
            Ending::Canceled => "canceled",
        }
    }
}

impl DeliveryStatus {
    /// Every status, in the order of a delivery's life.
    pub const ALL: [DeliveryStatus; 7] = [
        DeliveryStatus::Queued,
        DeliveryStatus::Sending,
        DeliveryStatus::Ended(Ending::Delivered),
        DeliveryStatus::Ended(Ending::Bounced),
        DeliveryStatus::Ended(Ending::Expired),
        DeliveryStatus::Ended(Ending::Suppressed),
        DeliveryStatus::Ended(Ending::Canceled),
    ];

    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryStatus::Queued => "queued",
            DeliveryStatus::Sending => "sending",
            DeliveryStatus::Ended(ending) => ending.as_str(),
        }
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<DeliveryStatus, UnknownStatus> {
        DeliveryStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

/// Not the name of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a status: queued, sending, delivered, bounced, expired, suppressed or canceled")]
pub struct UnknownStatus;

/// Before or after the same tenant's other mail. Between tenants shares are equal, whatever they call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody waits for it: a password reset.
    High,
    /// Everything else that is awaited.
    Normal,
    /// Bulk. Always keeps a small share, so that it is never starved.
    Low,
}

impl Priority {
    /// Highest first.
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    /// As the database has it: lower goes first.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// From the database's number; the table's CHECK allows no other.
    pub fn from_number(number: i16) -> Priority {
        match number {
            0 => Priority::High,
            1 => Priority::Normal,
            _ => Priority::Low,
        }
    }

    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }
}

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Priority, UnknownPriority> {
        Priority::ALL.into_iter().find(|priority| priority.as_str() == text).ok_or(UnknownPriority)
    }
}

/// Not the name of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a priority: high, normal or low")]
pub struct UnknownPriority;

/// How the header names a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Addressee.
    To,
    /// Copy, seen by all.
    Cc,
    /// Copy, seen by none.
    Bcc,
}

impl Role {
    /// As the database has it.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// From the database's number; the table's CHECK allows no other.
    pub fn from_number(number: i16) -> Role {
        match number {
            0 => Role::To,
            1 => Role::Cc,
            _ => Role::Bcc,
        }
    }

    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::To => "to",
            Role::Cc => "cc",
            Role::Bcc => "bcc",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_and_priority_reads_back() {
        for status in DeliveryStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for priority in Priority::ALL {
            assert_eq!(priority.as_str().parse(), Ok(priority));
            assert_eq!(Priority::from_number(priority.number()), priority);
        }
        assert_eq!("done".parse::<DeliveryStatus>(), Err(UnknownStatus));
    }
}
