//! What is asked of delivery beyond carrying a mail: of the whole message, and for one recipient alone. Stored
//! beside them as one optional document each, so that a new wish changes neither the hot tables nor the
//! statements that fill them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What is asked for a whole message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handling {
    /// What is watched.
    pub tracking: Tracking,
    /// How its way is to be protected.
    pub transport: Transport,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
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
}
