//! Who makes a change, as the audit log names him.

use std::net::IpAddr;

use super::id::UserId;

/// Who makes a change.
#[derive(Debug, Clone)]
pub struct Actor {
    /// `key_…`, `user_…`, `cli` or `postroad`.
    pub name: String,
    /// From where.
    pub ip: Option<IpAddr>,
}

impl Actor {
    /// Somebody at the dashboard.
    pub fn user(id: UserId, ip: IpAddr) -> Actor {
        Actor { name: id.to_string(), ip: Some(ip) }
    }

    /// The operator at the command line, or the process itself at its start.
    pub fn cli() -> Actor {
        Actor { name: "cli".to_owned(), ip: None }
    }

    /// The service itself, when something has become due or has been found.
    pub fn postroad() -> Actor {
        Actor { name: "postroad".to_owned(), ip: None }
    }
}
