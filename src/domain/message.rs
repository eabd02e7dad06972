//! An accepted submission, ready to be stored: what `submission` hands to `store`. Immutable once it is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use crate::mail::EmailAddress;

use super::delivery::{Priority, Role};
use super::handling::Particulars;
use super::handoff::Outgoing;
use super::id::{DeliveryId, KeyId, MessageId, TenantId};
use super::submission::Sending;

/// A composed and checked mail.
#[derive(Debug)]
pub struct NewMessage {
    /// The key that sent it; `None`: postroad itself.
    pub key: Option<KeyId>,
    /// What delivery needs of it.
    pub outgoing: Arc<Outgoing>,
    /// The Message-ID header, with its angle brackets.
    pub message_id: String,
    /// The address of From.
    pub sender: String,
    /// As the recipient sees it.
    pub subject: String,
    /// As the caller gave them.
    pub addresses: Addresses,
    /// Before or after the tenant's other mail.
    pub priority: Priority,
    /// Labels.
    pub tags: Vec<String>,
    /// The caller's own data.
    pub metadata: BTreeMap<String, String>,
    /// Not before this moment.
    pub send_at: Option<OffsetDateTime>,
    /// How long it is tried.
    pub ttl: Duration,
    /// Whether it leaves the house.
    pub sending: Sending,
    /// Its deliveries, ordinals from 1.
    pub deliveries: Vec<NewDelivery>,
}

/// One recipient of a new message.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Which delivery.
    pub id: DeliveryId,
    /// How the header names it.
    pub role: Role,
    /// To whom.
    pub recipient: EmailAddress,
    /// What is this recipient's alone.
    pub particulars: Particulars,
    /// What the suppression list knows him by, if not by his address: see
    /// [`Pseudonyms`](super::erasure::Pseudonyms).
    pub suppressed_as: Option<String>,
}

/// The mailboxes of a message, as texts.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The author.
    pub from: String,
    /// Where answers go.
    pub reply_to: Vec<String>,
    /// Addressees.
    pub to: Vec<String>,
    /// Copies, seen by all.
    pub cc: Vec<String>,
    /// Copies, seen by none.
    pub bcc: Vec<String>,
}

impl NewMessage {
    /// Its id.
    pub fn id(&self) -> MessageId {
        self.outgoing.id
    }

    /// Whose it is.
    pub fn tenant(&self) -> TenantId {
        self.outgoing.tenant
    }

    /// When it is to be sent first.
    pub fn due_at(&self) -> OffsetDateTime {
        self.send_at.unwrap_or_else(|| self.id().born())
    }

    /// When its time runs out.
    pub fn expires_at(&self) -> OffsetDateTime {
        self.due_at() + self.ttl
    }
}
