//! Sender domains: what their owner must publish, when they are proved, and who may send as whom. Not how records
//! are looked up, nor where all this is stored.

pub mod judge;
pub mod records;
pub mod schedule;
pub mod senders;
pub mod settle;

use std::fmt;

use crate::mail::EmailAddress;

/// The name of a sender domain: lower-case A-labels, at least two, without a final dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(String);

/// Why a text names no sender domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a domain name is needed, such as acme.example")]
pub struct BadDomainName;

/// The longest name that leaves room for `selector._domainkey.` before it (RFC 1035 §2.3.4).
const MOST_OCTETS: usize = 200;

impl DomainName {
    /// Reads a name in any case, in A-labels or U-labels; one final dot is passed over.
    ///
    /// # Errors
    /// [`BadDomainName`].
    pub fn parse(text: &str) -> Result<DomainName, BadDomainName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let address = EmailAddress::parse(&format!("x@{text}")).map_err(|_| BadDomainName)?;
        let name = address.domain();
        let fits = !name.starts_with('[') && name.contains('.') && name.len() <= MOST_OCTETS;
        if fits { Ok(DomainName(name.to_owned())) } else { Err(BadDomainName) }
    }

    /// As it is stored and published.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a domain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainStatus {
    /// Not proved, or not any more: nothing is sent as it where senders must be verified.
    Pending,
    /// All required records are published.
    Verified,
    /// They were, and something is wrong now. It may still send, for a while or as long as one key is there.
    Failing,
}

impl DomainStatus {
    /// All of them.
    pub const ALL: [DomainStatus; 3] = [DomainStatus::Pending, DomainStatus::Verified, DomainStatus::Failing];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            DomainStatus::Pending => "pending",
            DomainStatus::Verified => "verified",
            DomainStatus::Failing => "failing",
        }
    }

    /// Reads what [`DomainStatus::as_str`] writes.
    pub fn parse(text: &str) -> Option<DomainStatus> {
        DomainStatus::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether its tenant may send as it.
    pub fn is_held(self) -> bool {
        self != DomainStatus::Pending
    }
}

/// What a DKIM key is for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// It signs as soon as its record is found.
    Next,
    /// It signs.
    Active,
    /// It signs no more; mail under way still needs its record.
    Retiring,
}

impl KeyState {
    const ALL: [KeyState; 3] = [KeyState::Next, KeyState::Active, KeyState::Retiring];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Next => "next",
            KeyState::Active => "active",
            KeyState::Retiring => "retiring",
        }
    }

    /// Reads what [`KeyState::as_str`] writes.
    pub fn parse(text: &str) -> Option<KeyState> {
        KeyState::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyOrigin {
    /// Made here: nobody else has it.
    Generated,
    /// Brought by its owner.
    Imported,
}

impl KeyOrigin {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyOrigin::Generated => "generated",
            KeyOrigin::Imported => "imported",
        }
    }

    /// Reads what [`KeyOrigin::as_str`] writes.
    pub fn parse(text: &str) -> Option<KeyOrigin> {
        [KeyOrigin::Generated, KeyOrigin::Imported].into_iter().find(|origin| origin.as_str() == text)
    }
}

/// The name itself, then each domain above it, down to two labels.
pub fn self_and_above(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, above)| above))
        .take_while(|name| name.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_what_is_none_is_refused() {
        for (text, wanted) in [
            ("Acme.Example", "acme.example"),
            ("acme.example.", "acme.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(DomainName::parse(text).map(|name| name.0), Ok(wanted.to_owned()), "{text}");
        }
        let long = format!("{}.example", ["a"; 100].join("."));
        for text in [
            "",
            "localhost",
            "[192.0.2.1]",
            "a b.example",
            "a..example",
            "x@y.example",
            "*.acme.example",
            &long,
        ] {
            assert_eq!(DomainName::parse(text), Err(BadDomainName), "{text}");
        }
    }

    #[test]
    fn what_is_above_a_name_ends_before_the_top() {
        let above: Vec<_> = self_and_above("a.b.acme.example").collect();
        assert_eq!(above, ["a.b.acme.example", "b.acme.example", "acme.example"]);
        assert_eq!(self_and_above("example").count(), 0);
    }
}
