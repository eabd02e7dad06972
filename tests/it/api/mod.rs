//! The native API, through HTTP.

mod batch;
mod cancel;
mod content;
mod events;
mod idempotency;
mod isolation;
mod keys;
mod lists;
mod messages;
mod raw_mime;
mod recipients;
mod resend;
mod scheduling;
mod tenants;
mod violations;
