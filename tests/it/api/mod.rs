//! The native API, through HTTP.

mod addresses;
mod batch;
mod cancel;
mod content;
mod domains;
mod events;
mod idempotency;
mod ips;
mod isolation;
mod keys;
mod limits;
mod lists;
mod messages;
mod raw_mime;
mod recipients;
mod relays;
mod resend;
mod scheduling;
mod see;
mod tenants;
mod violations;
