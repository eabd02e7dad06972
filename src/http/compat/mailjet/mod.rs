//! Mailjet (dev.mailjet.com, "Send API v3.1"). Quirks and what is not supported: README.md.

mod errors;
mod message;
pub mod send;

use crate::domain::key::KeySecret;

use super::credential;
use super::door::{Manner, every_path};

/// Basic, public and private half: the key is the password; without one, the user.
pub static MANNER: Manner = Manner {
    provider: "mailjet",
    credential: |parts| {
        let (user, password) = credential::basic(parts)?;
        let key = if password.is_empty() { user } else { password };
        (!key.is_empty()).then(|| KeySecret::given(&key))
    },
    owns: every_path,
    refuse: errors::refuse,
};
