//! The native API, through HTTP.

mod content;
mod idempotency;
mod isolation;
mod messages;
mod raw_mime;
mod recipients;
mod scheduling;
mod violations;
