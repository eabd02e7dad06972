//! Postmark's API (postmarkapp.com/developer): the key is in a header of its own, and errors are numbers with a sentence
//! that clients take apart.

pub mod bounces;
pub mod domains;
pub mod errors;
mod message;
pub mod messages;
pub mod send;
pub mod server;
pub mod suppressions;
pub mod templates;
pub mod visits;

use axum::http::request::Parts;

use crate::domain::key::KeySecret;
use crate::http::compat::credential;
use crate::http::compat::door::{Manner, every_path};

/// How its clients speak.
pub const MANNER: Manner =
    Manner { provider: "postmark", credential: key, owns: every_path, refuse: errors::refuse };

/// The token of a server or of an account: one key of ours is both.
fn key(parts: &Parts) -> Option<KeySecret> {
    credential::header(parts, "x-postmark-server-token")
        .or_else(|| credential::header(parts, "x-postmark-account-token"))
}
