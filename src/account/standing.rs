//! What the world's DNS says of us: whether an address and its name lead to each other (FCrDNS), and which blocklists
//! have an address or a domain. Looks up; writes nothing but what was found.
//!
//! Invariant: what cannot be told is told as that. A list that refuses to answer (127.255.255.0/24), or whose answer
//! is none of its own, lists nobody.

use std::net::IpAddr;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::dns::{LookupError, Resolver};
use crate::domain::identity::DomainName;
use crate::store::reputation::{self, Standings};
use crate::store::{Database, StoreError, ips};

/// What is asked of whom.
#[derive(Debug, Clone)]
pub struct Lists {
    /// Lists of addresses.
    pub of_ips: Vec<DomainName>,
    /// Lists of domains.
    pub of_domains: Vec<DomainName>,
}

/// Whether an address and its name lead to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverse {
    /// It does.
    pub status: Told,
    /// The names that it has.
    pub names: Vec<String>,
}

/// What a question came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// All is well.
    Well,
    /// It is not.
    Ill,
    /// Nobody can tell.
    Unknown,
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Which list.
    pub zone: String,
    /// [`Told::Ill`]: it is listed.
    pub status: Told,
    /// The answer's codes.
    pub codes: Vec<String>,
    /// What it says about them.
    pub text: Option<String>,
}

/// Does the address lead to a name that leads back, and is it the one in EHLO?
pub async fn reverse(resolver: &Resolver, ip: IpAddr, ehlo: &str) -> Reverse {
    let names = match resolver.ptr(ip).await {
        Ok(answer) => answer.records,
        Err(LookupError::NotFound(_)) => return Reverse { status: Told::Ill, names: Vec::new() },
        Err(LookupError::Temporary(_)) => return Reverse { status: Told::Unknown, names: Vec::new() },
    };
    let status = match names.iter().any(|name| name.eq_ignore_ascii_case(ehlo)) {
        false => Told::Ill,
        true => match resolver.addresses(ehlo).await {
            Ok(answer) if answer.records.contains(&ip) => Told::Well,
            Ok(_) | Err(LookupError::NotFound(_)) => Told::Ill,
            Err(LookupError::Temporary(_)) => Told::Unknown,
        },
    };
    Reverse { status, names }
}

/// What the lists of addresses say of one.
pub async fn listings_of_ip(resolver: &Resolver, lists: &Lists, ip: IpAddr) -> Vec<Listing> {
    listings(resolver, &lists.of_ips, &reversed(ip)).await
}

/// What the lists of domains say of one.
pub async fn listings_of_domain(resolver: &Resolver, lists: &Lists, domain: &str) -> Vec<Listing> {
    listings(resolver, &lists.of_domains, domain).await
}

async fn listings(resolver: &Resolver, zones: &[DomainName], label: &str) -> Vec<Listing> {
    let mut found = Vec::with_capacity(zones.len());
    for zone in zones {
        found.push(listing(resolver, zone.as_str(), label).await);
    }
    found
}

async fn listing(resolver: &Resolver, zone: &str, label: &str) -> Listing {
    let name = format!("{label}.{zone}");
    let made = |status, codes, text| Listing { zone: zone.to_owned(), status, codes, text };
    let codes = match resolver.addresses(&name).await {
        Ok(answer) => answer.records,
        Err(LookupError::NotFound(_)) => return made(Told::Well, Vec::new(), None),
        Err(LookupError::Temporary(text)) => return made(Told::Unknown, Vec::new(), Some(text)),
    };
    let status = meaning(&codes);
    // What it says is worth a question only if it says something.
    let text = resolver.txt(&name).await.ok().and_then(|answer| answer.records.into_iter().next());
    made(status, codes.iter().map(ToString::to_string).collect(), text)
}

/// RFC 5782 §2.1, §2.3: who is listed has an address in 127.0.0.0/8, and 127.0.0.1 is none of them. Spamhaus and
/// others answer 127.255.255.0/24 to those whom they do not answer (https://www.spamhaus.org/faqs/dnsbl-usage/).
fn meaning(codes: &[IpAddr]) -> Told {
    let is_listing = |code: &IpAddr| match code {
        IpAddr::V4(code) => {
            let [first, second, third, last] = code.octets();
            let refuses = (second, third) == (255, 255) || (second, third, last) == (0, 0, 1) || last == 255;
            first == 127 && !refuses
        }
        IpAddr::V6(_) => false,
    };
    if codes.iter().any(is_listing) { Told::Ill } else { Told::Unknown }
}

/// RFC 5782 §2.1, §2.4.
fn reversed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            let digits: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            digits.into_iter().rev().collect::<Vec<_>>().join(".")
        }
    }
}

impl Told {
    /// Of a name that should lead back.
    pub const fn of_reverse(self) -> &'static str {
        match self {
            Told::Well => "ok",
            Told::Ill => "mismatch",
            Told::Unknown => "unknown",
        }
    }

    /// Of a list.
    pub const fn of_listing(self) -> &'static str {
        match self {
            Told::Well => "clear",
            Told::Ill => "listed",
            Told::Unknown => "unknown",
        }
    }
}

/// As it is kept, and shown.
fn shown(reverse: Option<&Reverse>, listings: &[Listing]) -> Value {
    let zone = |listing: &Listing| {
        json!({
            "zone": listing.zone, "status": listing.status.of_listing(), "codes": listing.codes,
            "text": listing.text,
        })
    };
    let fcrdns =
        reverse.map(|reverse| json!({ "status": reverse.status.of_reverse(), "names": reverse.names }));
    json!({ "fcrdns": fcrdns, "zones": listings.iter().map(zone).collect::<Vec<_>>() })
}

/// Looks up every address that mail leaves from, and every domain that is held; keeps what was found, and forgets
/// what is not ours any more.
///
/// # Errors
/// See [`StoreError`].
pub async fn look_up_all(
    database: &Database,
    resolver: &Resolver,
    lists: &Lists,
    own_name: Option<&str>,
    now: OffsetDateTime,
) -> Result<usize, StoreError> {
    let (sources, held) = {
        let mut connection = database.serve().acquire().await?;
        (ips::list(&mut connection, None, MOST).await?, reputation::held_domains(&mut connection).await?)
    };
    let mut addresses: Vec<(IpAddr, String)> = Vec::new();
    for ip in sources {
        addresses.push((ip.source.address.into(), ip.source.ehlo.clone()));
        addresses.extend(ip.source.address6.map(|address| (address.into(), ip.source.ehlo.clone())));
    }
    if let Some(name) = own_name.filter(|_| addresses.is_empty()) {
        // Whichever the system picks is one of those that our name leads to, or should be.
        let found = resolver.addresses(name).await.map(|answer| answer.records).unwrap_or_default();
        addresses.extend(found.into_iter().map(|address| (address, name.to_owned())));
    }
    let mut count = 0;
    for (address, ehlo) in addresses {
        let reverse = reverse(resolver, address, &ehlo).await;
        let listings = listings_of_ip(resolver, lists, address).await;
        gauge(&address.to_string(), Some(&reverse), &listings);
        keep(database, "ip", &address.to_string(), shown(Some(&reverse), &listings), now).await?;
        count += 1;
    }
    for domain in held {
        let listings = listings_of_domain(resolver, lists, &domain).await;
        keep(database, "domain", &domain, shown(None, &listings), now).await?;
        count += 1;
    }
    let mut connection = database.serve().acquire().await?;
    reputation::forget_standings(&mut connection, now).await?;
    Ok(count)
}

/// Addresses that are looked up.
const MOST: i64 = 1000;

async fn keep(
    database: &Database,
    subject: &str,
    name: &str,
    findings: Value,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let standing =
        Standings { subject: subject.to_owned(), name: name.to_owned(), checked_at: now, findings };
    let mut connection = database.serve().acquire().await?;
    reputation::put_standing(&mut connection, &standing).await
}

/// Our own addresses alone have gauges: they are few.
fn gauge(ip: &str, reverse: Option<&Reverse>, listings: &[Listing]) {
    if let Some(reverse) = reverse {
        let value = if reverse.status == Told::Ill { 0.0 } else { 1.0 };
        metrics::gauge!("postroad_ip_fcrdns", "ip" => ip.to_owned()).set(value);
    }
    for listing in listings {
        let value = if listing.status == Told::Ill { 1.0 } else { 0.0 };
        metrics::gauge!("postroad_ip_listed", "ip" => ip.to_owned(), "zone" => listing.zone.clone())
            .set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_refusals_list_nobody() {
        let cases: [(&[&str], Told); 7] = [
            (&["127.0.0.2"], Told::Ill),
            (&["127.0.0.4", "127.255.255.254"], Told::Ill),
            (&["127.255.255.254"], Told::Unknown),
            (&["127.255.255.252"], Told::Unknown),
            (&["127.0.0.1"], Told::Unknown),
            (&["127.0.1.255"], Told::Unknown),
            (&["203.0.113.9"], Told::Unknown),
        ];
        for (codes, expected) in cases {
            let parsed: Vec<IpAddr> = codes.iter().map(|code| code.parse().expect("an address")).collect();
            assert_eq!(meaning(&parsed), expected, "{codes:?}");
        }
    }

    #[test]
    fn addresses_are_asked_for_backwards() {
        let name = |ip: &str| reversed(ip.parse().expect("an address"));
        assert_eq!(name("192.0.2.99"), "99.2.0.192");
        assert_eq!(
            name("2001:db8:1:2:3:4:567:89ab"),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2"
        );
    }
}
