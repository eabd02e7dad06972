//! What an account consists of: tenants, their keys, relays, templates, inbound routes, pauses and sender domains. Each change is one transaction that also
//! writes the audit log and raises the revision by which nodes learn of it.

pub mod addresses;
pub mod bootstrap;
pub mod credentials;
pub mod domains;
pub mod erasures;
pub mod inbound_filters;
pub mod inbound_routes;
pub mod ips;
pub mod keys;
pub mod notices;
pub mod pauses;
pub mod queue;
pub mod quotas;
pub mod rates;
pub mod relays;
pub mod reputation;
pub mod standing;
pub mod streams;
pub mod suppressions;
pub mod templates;
pub mod tenants;
pub mod unsubscribe;
pub mod users;
pub mod webhooks;

pub use crate::domain::actor::Actor;
