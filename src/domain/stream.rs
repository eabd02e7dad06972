//! Streams: kinds of a tenant's mail, which share reputation, suppressions and treatment.

use std::str::FromStr;

use time::OffsetDateTime;

use super::delivery::Priority;
use super::handling::Tracking;
use super::id::{StreamId, TenantId};
use super::submission::StreamName;

/// The stream for many, which every tenant has from the start beside the transactional one.
pub const BROADCAST: &str = "broadcast";

/// Whom a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// People who await the mail.
    Transactional,
    /// People who have subscribed, and may leave.
    Broadcast,
}

impl StreamKind {
    /// Both.
    pub const ALL: [StreamKind; 2] = [StreamKind::Transactional, StreamKind::Broadcast];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            StreamKind::Transactional => "transactional",
            StreamKind::Broadcast => "broadcast",
        }
    }
}

impl FromStr for StreamKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<StreamKind, UnknownKind> {
        StreamKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

/// Not a kind of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kind is transactional or broadcast")]
pub struct UnknownKind;

/// A stream that a tenant has described.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Its name in the API.
    pub id: StreamId,
    /// Whose it is.
    pub tenant: TenantId,
    /// As mail names it.
    pub name: StreamName,
    /// As recipients are shown it.
    pub title: String,
    /// Whom it is for.
    pub kind: StreamKind,
    /// Of mail that asks for none.
    pub priority: Priority,
    /// Of mail that asks for none.
    pub tracking: Tracking,
    /// Who decides what is watched.
    pub watched: Watched,
    /// When it was described.
    pub created_at: OffsetDateTime,
}

/// Who decides what is watched of a stream's mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// The stream.
    ByStream,
    /// The sender domain.
    ByDomain,
}

impl Stream {
    /// Whether it says what is watched of its mail.
    pub fn decides_tracking(&self) -> bool {
        self.watched == Watched::ByStream || self.tracking != Tracking::default()
    }
}

/// What becomes of mail of a stream that the tenant has not described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownStreams {
    /// It is transactional.
    #[default]
    Accept,
    /// It is refused.
    Refuse,
}

impl UnknownStreams {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            UnknownStreams::Accept => "accept",
            UnknownStreams::Refuse => "refuse",
        }
    }

    /// Reads what [`UnknownStreams::as_str`] writes.
    pub fn parse(text: &str) -> Option<UnknownStreams> {
        [UnknownStreams::Accept, UnknownStreams::Refuse].into_iter().find(|one| one.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_policies_read_back() {
        for kind in StreamKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for policy in [UnknownStreams::Accept, UnknownStreams::Refuse] {
            assert_eq!(UnknownStreams::parse(policy.as_str()), Some(policy));
        }
        assert_eq!("marketing".parse::<StreamKind>(), Err(UnknownKind));
    }
}
