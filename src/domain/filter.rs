//! Filters: what mail that comes in is looked at for before a route takes it, and what is done with what is found.
//!
//! Pure: what must be asked for elsewhere (a blocklist, a scanner) is asked by `feedback/screen`. Invariant: what
//! cannot be found out holds against nobody.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::mail::trace;

use super::inbound::fits;

/// The most filters of a route, and of a tenant.
pub const MAX_FILTERS: usize = 20;
/// The most networks or results in one filter.
pub const MAX_LISTED: usize = 100;
/// The longest name, zone or pattern.
pub const MAX_TEXT: usize = 255;

/// One filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// What it looks for.
    pub test: Test,
    /// What is done with mail that it finds.
    pub measure: Measure,
}

/// What a filter looks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It comes from one of these networks.
    Network(Vec<IpNet>),
    /// Its client is listed there (RFC 5782).
    Blocklist(String),
    /// It is larger than so many octets.
    Size(u64),
    /// A header field has a value that fits a pattern, in which `*` stands for any characters, in any case.
    Header {
        /// The name of the field.
        name: String,
        /// What its value must fit as a whole.
        pattern: String,
    },
    /// A check of who it is from gave one of these results.
    Authentication {
        /// Which check.
        check: Check,
        /// Which results.
        results: Vec<String>,
    },
    /// The operator's rspamd gives it so many points, or more; `None`: as many as rspamd itself acts upon.
    Rspamd(Option<f64>),
}

/// A check of who a mail is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// RFC 7208.
    Spf,
    /// RFC 6376.
    Dkim,
    /// RFC 9989.
    Dmarc,
    /// RFC 8617.
    Arc,
}

impl Check {
    const ALL: [Check; 4] = [Check::Spf, Check::Dkim, Check::Dmarc, Check::Arc];

    /// As results and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Check::Spf => "spf",
            Check::Dkim => "dkim",
            Check::Dmarc => "dmarc",
            Check::Arc => "arc",
        }
    }

    /// Reads what [`Check::as_str`] writes.
    pub fn parse(text: &str) -> Option<Check> {
        Check::ALL.into_iter().find(|check| check.as_str() == text)
    }
}

/// Results that a check can give.
pub const RESULTS: [&str; 7] = ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"];

/// What is done with mail that a filter finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// It is refused at the door.
    Reject,
    /// It is marked, and goes its way.
    Tag,
    /// It is taken, and thrown away.
    Drop,
}

impl Measure {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Measure::Reject => "reject",
            Measure::Tag => "tag",
            Measure::Drop => "drop",
        }
    }

    /// Reads what [`Measure::as_str`] writes.
    pub fn parse(text: &str) -> Option<Measure> {
        [Measure::Reject, Measure::Tag, Measure::Drop].into_iter().find(|measure| measure.as_str() == text)
    }
}

/// What is known of a mail without asking anybody.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// From where it came.
    pub peer: IpAddr,
    /// The mail.
    pub raw: &'a [u8],
    /// What its authentication gave, by check.
    pub verdicts: &'a serde_json::Value,
}

impl Test {
    /// Whether it holds; `None`: somebody must be asked.
    pub fn holds(&self, facts: Facts<'_>) -> Option<bool> {
        Some(match self {
            Test::Network(networks) => {
                let peer = facts.peer.to_canonical();
                networks.iter().any(|network| network.contains(&peer))
            }
            Test::Size(most) => facts.raw.len() as u64 > *most,
            Test::Header { name, pattern } => {
                let pattern = pattern.to_lowercase();
                let is_it = |value: &String| fits(pattern.as_bytes(), value.to_lowercase().as_bytes());
                trace::all_decoded(facts.raw, name).iter().any(is_it)
            }
            Test::Authentication { check, results } => {
                let result = facts.verdicts[check.as_str()].as_str();
                results.iter().any(|wanted| Some(wanted.as_str()) == result)
            }
            Test::Blocklist(_) | Test::Rspamd(_) => return None,
        })
    }

    /// In one line, for notes and header fields.
    pub fn name(&self) -> String {
        match self {
            Test::Network(_) => "network".to_owned(),
            Test::Blocklist(zone) => format!("blocklist {zone}"),
            Test::Size(_) => "size".to_owned(),
            Test::Header { name, .. } => format!("header {name}"),
            Test::Authentication { check, .. } => format!("authentication {}", check.as_str()),
            Test::Rspamd(_) => "rspamd".to_owned(),
        }
    }
}

/// The name under which a blocklist has an address (RFC 5782 §2.1, §2.4).
pub fn listed_name(peer: IpAddr, zone: &str) -> String {
    let reversed: Vec<String> = match peer.to_canonical() {
        IpAddr::V4(ip) => ip.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            nibbles.rev().map(|nibble| format!("{nibble:x}")).collect()
        }
    };
    format!("{}.{zone}", reversed.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_finds_what_it_names_and_nothing_else() {
        let verdicts = json!({ "spf": "fail", "dmarc": "pass" });
        let raw = b"Subject: =?utf-8?q?Cheap_Zo=C3=AB?=\r\n pills\r\nX-A: 1\r\nX-A: two\r\n\r\nSubject: Cheap body\r\n";
        let facts = Facts { peer: "::ffff:192.0.2.7".parse().expect("an address"), raw, verdicts: &verdicts };
        let network = |text: &str| Test::Network(vec![text.parse().expect("a network")]);
        let header = |name: &str, pattern: &str| Test::Header { name: name.into(), pattern: pattern.into() };
        let result = |check, result: &str| Test::Authentication { check, results: vec![result.into()] };
        let cases = [
            (network("192.0.2.0/24"), Some(true)),
            (network("198.51.100.0/24"), Some(false)),
            (Test::Size(raw.len() as u64), Some(false)),
            (Test::Size(raw.len() as u64 - 1), Some(true)),
            (header("subject", "cheap*PILLS"), Some(true)),
            (header("Subject", "*zoë*"), Some(true)),
            (header("Subject", "cheap"), Some(false)),
            (header("X-A", "two"), Some(true)),
            (header("X-B", "*"), Some(false)),
            (result(Check::Spf, "fail"), Some(true)),
            (result(Check::Dmarc, "fail"), Some(false)),
            (result(Check::Arc, "fail"), Some(false)),
            (Test::Blocklist("bl.example".into()), None),
            (Test::Rspamd(None), None),
        ];
        for (test, expected) in cases {
            assert_eq!(test.holds(facts), expected, "{test:?}");
        }
    }

    #[test]
    fn addresses_are_listed_backwards() {
        let name = |ip: &str| listed_name(ip.parse().expect("an address"), "bl.example");
        assert_eq!(name("192.0.2.99"), "99.2.0.192.bl.example");
        assert_eq!(name("::ffff:192.0.2.99"), "99.2.0.192.bl.example");
        assert_eq!(
            name("2001:db8:1:2:3:4:567:89ab"),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example"
        );
    }
}
