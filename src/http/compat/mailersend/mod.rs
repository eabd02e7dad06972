//! MailerSend (developers.mailersend.com, "Email"). Quirks and what is not supported: README.md.

mod errors;
mod message;
pub mod messages;
pub mod send;
pub mod suppressions;

use super::credential;
use super::door::{Manner, every_path};

/// `Authorization: Bearer <key>`.
pub static MANNER: Manner = Manner {
    provider: "mailersend",
    credential: credential::bearer,
    owns: every_path,
    refuse: errors::refuse,
};
