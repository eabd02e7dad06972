//! Brevo (developers.brevo.com, "Send a transactional email"). Quirks and what is not supported: README.md.

mod errors;
mod message;
pub mod send;

use super::credential;
use super::door::{Manner, every_path};

/// `api-key: <key>`; Bearer is taken too.
pub static MANNER: Manner = Manner {
    provider: "brevo",
    credential: |parts| credential::header(parts, "api-key").or_else(|| credential::bearer(parts)),
    owns: every_path,
    refuse: errors::refuse,
};
