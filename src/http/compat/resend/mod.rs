//! Resend's API (resend.com/docs/api-reference): the key is a Bearer token, ids are UUIDs, and an error says its name.

pub mod api_keys;
pub mod domains;
pub mod emails;
pub mod errors;
mod message;
pub mod metrics;
pub mod send;
pub mod suppressions;
pub mod templates;

use crate::http::compat::credential;
use crate::http::compat::door::{Manner, every_path};

/// How its clients speak.
pub const MANNER: Manner =
    Manner { provider: "resend", credential: credential::bearer, owns: every_path, refuse: errors::refuse };
