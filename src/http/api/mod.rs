//! The native API: `/v1`. Each file translates one resource and calls one operation.

pub mod addresses;
pub mod audit;
pub mod captured;
pub mod dmarc;
pub mod docs;
pub mod domains;
pub mod erasures;
pub mod events;
pub mod export;
pub mod health;
pub mod inbound;
pub mod inbound_filters;
pub mod inbound_routes;
pub mod ips;
pub mod keys;
pub mod messages;
pub mod notices;
pub mod pauses;
pub mod queue;
pub mod relays;
pub mod reputation;
pub mod stats;
pub mod streams;
pub mod suppressions;
pub mod templates;
pub mod tenants;
pub mod usage;
pub mod variables;
pub mod webhooks;
pub mod wire;

pub use wire::moment;
