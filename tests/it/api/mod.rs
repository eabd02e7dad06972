//! The native API, through HTTP.

mod content;
mod idempotency;
mod isolation;
mod keys;
mod messages;
mod raw_mime;
mod recipients;
mod scheduling;
mod violations;
