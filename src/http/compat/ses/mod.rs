//! Amazon SES: API v2 (docs.aws.amazon.com/ses/latest/APIReference-V2), and what is used of the older query API
//! (…/ses/latest/APIReference). Requests are signed. Quirks and what is not supported: README.md.

pub mod account;
pub mod auth;
pub mod bulk;
mod content;
mod errors;
pub mod identities;
pub mod insights;
mod message;
mod older;
pub mod query;
pub mod send;
mod sigv4;
pub mod suppressions;
pub mod templates;
mod xml;

use super::door::{Manner, every_path};

/// A signature is not shown: see `auth`.
pub static MANNER: Manner =
    Manner { provider: "ses", credential: |_| None, owns: every_path, refuse: errors::refuse };
