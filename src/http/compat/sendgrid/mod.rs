//! SendGrid's v3 API (docs.sendgrid.com/api-reference): the key is a Bearer token, a send answers 202 with an empty
//! body, and what is refused is a list of errors that name their field with dots.

pub mod account;
pub mod domains;
mod errors;
mod message;
pub mod messages;
mod read;
pub mod send;
pub mod stats;
pub mod suppressions;
pub mod templates;

use crate::http::compat::credential;
use crate::http::compat::door::{Manner, every_path};

/// How its clients speak.
pub const MANNER: Manner =
    Manner { provider: "sendgrid", credential: credential::bearer, owns: every_path, refuse: errors::refuse };
