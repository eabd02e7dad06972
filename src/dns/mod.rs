//! DNS: what names lead to, as far as mail has to know. Asks the system's resolvers, or those that are set.
//!
//! Not a resolver of its own: it asks recursive ones, and believes them. Invariants: every lookup ends within
//! [`Settings::patience`]; no answer is used for longer than its TTL, nor than an hour; and *there is none* is
//! never confused with *nobody knows*.

mod answer;
mod authenticator;
mod cache;
mod resolver;
mod settings;

pub use authenticator::authenticator;
pub use resolver::Resolver;
pub use settings::{BadServers, Servers, Settings, Trust};

/// Records that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The records, at least one, as the server ordered them.
    pub records: Vec<T>,
    /// The name they belong to in the end, in lower case and without a final dot: another one than was asked for
    /// if that is an alias (CNAME).
    pub name: String,
    /// Whether the resolver has checked the signatures of all of it (the AD bit, RFC 4035 §3.2.3), and is one to
    /// be believed about that.
    pub authenticated: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is none, for sure.
    #[error("{0}")]
    NotFound(Absence),
    /// Nobody knows at the moment: a server failed, refused, or said nothing in time. The text is for people.
    #[error("{0}")]
    Temporary(String),
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// The name itself (NXDOMAIN).
    #[error("there is no such name")]
    Name,
    /// The name is there, but has no record of this type.
    #[error("the name has no such record")]
    Record,
}

/// Where a domain takes mail (RFC 5321 §5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mx {
    /// Lower ones are tried first.
    pub preference: u16,
    /// The host, in lower case and without a final dot. Empty for `.`: the null MX of RFC 7505.
    pub host: String,
}

/// Which certificate a server has (RFC 6698 §2.1). Fields as on the wire; what they mean is the reader's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// Certificate usage: 2 is DANE-TA, 3 is DANE-EE.
    pub usage: u8,
    /// Selector: 0 is the whole certificate, 1 its public key.
    pub selector: u8,
    /// Matching type: 0 is the thing itself, 1 its SHA-256, 2 its SHA-512.
    pub matching: u8,
    /// What is to match.
    pub association: Vec<u8>,
}
