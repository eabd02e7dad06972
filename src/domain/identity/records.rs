//! The DNS records that make a domain fit to send, as its owner must publish them.

use crate::mail::dkim::{Algorithm, PublishedKey};

use super::KeyState;

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A key that signatures are checked with.
    Dkim,
    /// Where bounces go: the domain of MAIL FROM, which SPF is checked for.
    ReturnPath,
    /// Who may send for the domain itself (RFC 7208).
    Spf,
    /// What receivers do with mail that fails (RFC 9989).
    Dmarc,
    /// Where links of tracked mail lead.
    Tracking,
    /// Where mail to the domain is received.
    Mx,
}

impl Purpose {
    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Dkim => "dkim",
            Purpose::ReturnPath => "return_path",
            Purpose::Spf => "spf",
            Purpose::Dmarc => "dmarc",
            Purpose::Tracking => "tracking",
            Purpose::Mx => "mx",
        }
    }
}

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordType {
    /// Text.
    Txt,
    /// An alias.
    Cname,
    /// A mail exchanger.
    Mx,
}

impl RecordType {
    /// As DNS has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordType::Txt => "TXT",
            RecordType::Cname => "CNAME",
            RecordType::Mx => "MX",
        }
    }
}

/// Whether a domain is proved without a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// It is not.
    Required,
    /// It is; the record is good to have.
    Advised,
}

/// A record to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is for.
    pub purpose: Purpose,
    /// Its type.
    pub kind: RecordType,
    /// Its full name, without a final dot.
    pub name: String,
    /// What it says. An MX without its preference.
    pub value: String,
    /// The preference of an MX.
    pub priority: Option<u16>,
    /// Whether the domain needs it.
    pub need: Need,
    /// The key it publishes: its place among those given.
    pub key: Option<usize>,
}

/// What of a DKIM key its record depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// Where it is published: `selector._domainkey`.
    pub selector: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// What it is for at the moment.
    pub state: KeyState,
    /// The public half.
    pub public: String,
}

/// The names of the installation that records lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its own return-path domain, which has an MX and an SPF record.
    pub bounce: String,
    /// The host that receives mail.
    pub host: String,
    /// The host of tracking links.
    pub tracking: String,
}

/// What stands before a domain's name in that of its host for links and pixels.
pub const TRACKING_LABEL: &str = "track";
/// The MX preference that is suggested.
const PREFERENCE: u16 = 10;

/// Everything the owner of `domain` is to publish.
pub fn wanted(domain: &str, return_path: &str, keys: &[KeyFacts], places: &Places) -> Vec<Record> {
    let mut records: Vec<Record> =
        keys.iter().enumerate().map(|(place, key)| dkim(domain, keys, place, key)).collect();
    records.push(bounces(return_path, places));
    let advised = |purpose, kind, name: String, value: String| Record {
        purpose,
        kind,
        name,
        value,
        priority: (kind == RecordType::Mx).then_some(PREFERENCE),
        need: Need::Advised,
        key: None,
    };
    let spf = format!("v=spf1 include:{} ~all", places.bounce);
    records.extend([
        advised(Purpose::Spf, RecordType::Txt, domain.to_owned(), spf),
        advised(Purpose::Dmarc, RecordType::Txt, format!("_dmarc.{domain}"), "v=DMARC1; p=none".to_owned()),
        advised(Purpose::Tracking, RecordType::Cname, tracking_host(domain), places.tracking.clone()),
        advised(Purpose::Mx, RecordType::Mx, format!("in.{domain}"), places.host.clone()),
    ]);
    records
}

/// Of each algorithm the key that signs is needed, or, before there is one, the next.
fn dkim(domain: &str, keys: &[KeyFacts], place: usize, key: &KeyFacts) -> Record {
    let has_active =
        keys.iter().any(|other| other.algorithm == key.algorithm && other.state == KeyState::Active);
    let needed = match key.state {
        KeyState::Active => true,
        KeyState::Next => !has_active,
        KeyState::Retiring => false,
    };
    Record {
        purpose: Purpose::Dkim,
        kind: RecordType::Txt,
        name: format!("{}._domainkey.{domain}", key.selector),
        value: PublishedKey::record(key.algorithm, &key.public),
        priority: None,
        need: if needed { Need::Required } else { Need::Advised },
        key: Some(place),
    }
}

/// An alias of the installation's return-path domain, so that its MX and SPF records hold for it too. The
/// installation's own is no alias of itself, and needs an MX.
/// The host of a domain's tracking links.
pub fn tracking_host(domain: &str) -> String {
    format!("{TRACKING_LABEL}.{domain}")
}

fn bounces(return_path: &str, places: &Places) -> Record {
    let is_own = return_path == places.bounce;
    let kind = if is_own { RecordType::Mx } else { RecordType::Cname };
    Record {
        purpose: Purpose::ReturnPath,
        kind,
        name: return_path.to_owned(),
        value: if is_own { places.host.clone() } else { places.bounce.clone() },
        priority: is_own.then_some(PREFERENCE),
        need: Need::Required,
        key: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(selector: &str, algorithm: Algorithm, state: KeyState) -> KeyFacts {
        KeyFacts { selector: selector.into(), algorithm, state, public: "AAAA".into() }
    }

    fn places() -> Places {
        Places {
            bounce: "b.host.example".into(),
            host: "mx.host.example".into(),
            tracking: "t.host.example".into(),
        }
    }

    fn lines(return_path: &str, keys: &[KeyFacts]) -> Vec<String> {
        let line = |record: Record| {
            let need = if record.need == Need::Required { "!" } else { "" };
            let priority = record.priority.map(|n| format!("{n} ")).unwrap_or_default();
            format!(
                "{}{need} {} {} {priority}{}",
                record.purpose.as_str(),
                record.kind.as_str(),
                record.name,
                record.value
            )
        };
        wanted("acme.example", return_path, keys, &places()).into_iter().map(line).collect()
    }

    #[test]
    fn a_new_domain_needs_its_keys_and_its_return_path() {
        let keys = [key("r1", Algorithm::Rsa, KeyState::Next), key("e1", Algorithm::Ed25519, KeyState::Next)];
        assert_eq!(
            lines("bounce.acme.example", &keys),
            [
                "dkim! TXT r1._domainkey.acme.example v=DKIM1; k=rsa; p=AAAA",
                "dkim! TXT e1._domainkey.acme.example v=DKIM1; k=ed25519; p=AAAA",
                "return_path! CNAME bounce.acme.example b.host.example",
                "spf TXT acme.example v=spf1 include:b.host.example ~all",
                "dmarc TXT _dmarc.acme.example v=DMARC1; p=none",
                "tracking CNAME track.acme.example t.host.example",
                "mx MX in.acme.example 10 mx.host.example",
            ]
        );
    }

    #[test]
    fn while_keys_change_only_the_one_that_signs_is_needed() {
        let keys = [
            key("r1", Algorithm::Rsa, KeyState::Active),
            key("r2", Algorithm::Rsa, KeyState::Next),
            key("r0", Algorithm::Rsa, KeyState::Retiring),
            key("e1", Algorithm::Ed25519, KeyState::Next),
        ];
        let needed: Vec<_> = lines("bounce.acme.example", &keys)
            .into_iter()
            .filter(|line| line.starts_with("dkim!"))
            .map(|line| line.split(' ').nth(2).unwrap_or_default().to_owned())
            .collect();
        assert_eq!(needed, ["r1._domainkey.acme.example", "e1._domainkey.acme.example"]);
    }

    #[test]
    fn the_installations_own_return_path_is_no_alias_of_itself() {
        assert!(
            lines("b.host.example", &[])
                .contains(&"return_path! MX b.host.example 10 mx.host.example".to_owned())
        );
    }
}
