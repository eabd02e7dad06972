//! What an account consists of: tenants, their keys, relays, templates, inbound routes, pauses and sender domains. Each change is one transaction that also
//! writes the audit log and raises the revision by which nodes learn of it.

pub mod bootstrap;
pub mod credentials;
pub mod domains;
pub mod inbound_routes;
pub mod ips;
pub mod keys;
pub mod pauses;
pub mod rates;
pub mod relays;
pub mod reputation;
pub mod standing;
pub mod streams;
pub mod suppressions;
pub mod templates;
pub mod tenants;
pub mod unsubscribe;
pub mod webhooks;

use std::net::IpAddr;

/// Who makes a change.
#[derive(Debug, Clone)]
pub struct Actor {
    /// `key_…`, `user_…`, `cli` or `postroad`.
    pub name: String,
    /// From where.
    pub ip: Option<IpAddr>,
}

impl Actor {
    /// The operator at the command line, or the process itself at its start.
    pub fn cli() -> Actor {
        Actor { name: "cli".to_owned(), ip: None }
    }

    /// The service itself, when something has become due or has been found.
    pub fn postroad() -> Actor {
        Actor { name: "postroad".to_owned(), ip: None }
    }
}
