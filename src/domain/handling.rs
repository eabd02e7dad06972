//! What is asked of delivery beyond carrying a mail: of the whole message, and for one recipient alone. Stored
//! beside them as one optional document each, so that a new wish changes neither the hot tables nor the
//! statements that fill them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::mail::Mailbox;

use super::id::TemplateId;

/// What is asked for a whole message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handling {
    /// What is watched.
    pub tracking: Tracking,
    /// How its way is to be protected.
    pub transport: Transport,
    /// In which form its content is stored.
    pub form: Form,
    /// Of which template it is made.
    pub template: Option<TemplateId>,
}

/// In which form the content of a message is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// As it is sent: RFC 5322, the same for all recipients.
    #[default]
    Finished,
    /// As what each recipient's own mail is composed of: see [`Blueprint`](super::blueprint::Blueprint).
    Blueprint,
}

/// What is watched of a mail once it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Whether it is opened.
    pub opens: bool,
    /// Which of its links are followed.
    pub clicks: bool,
}

/// How the way to the recipient is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// As the peer's own policy and the route have it.
    #[default]
    AsOffered,
    /// Over verified TLS, or not at all.
    RequireTls,
}

/// What is one recipient's alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Particulars {
    /// Values for the template, over those of the message.
    pub variables: Map<String, Value>,
    /// The caller's own data about this recipient, over that of the message.
    pub metadata: BTreeMap<String, String>,
    /// The header of the mail that this recipient gets, where each gets one of its own.
    pub own: Option<OwnMail>,
}

/// Of a mail that is one recipient's own: what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMail {
    /// The ordinal of its addressee's delivery: all its copies are one mail, with one Message-ID.
    pub ordinal: u16,
    /// The addressee.
    pub to: Mailbox,
    /// Copies, seen by all who get it.
    pub cc: Vec<Mailbox>,
}
