//! Where a domain takes mail: what its MX records say, made into a list of hosts to try. Pure.
//!
//! A **site** for mail that goes directly is such a list, with what is demanded of the hosts: domains that are
//! hosted at the same place share its connections.

use std::net::{IpAddr, Ipv6Addr};

use crate::dns::Mx;
use crate::domain::handling::Transport;

/// The servers of some domains.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MxSite {
    /// Its hosts, best ones first; never empty.
    pub hosts: Vec<Mx>,
    /// What is demanded of them.
    pub security: Security,
}

/// What is demanded of a site's hosts, and what is known of their names. Part of what a site is: mail that
/// demands more never shares a connection with mail that demands less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Security {
    /// By the sender.
    pub transport: Transport,
    /// By the domain itself.
    pub sts: Sts,
    /// That these are the domain's servers is signed (DNSSEC): what their TLSA records say is demanded of them.
    pub signed: Signed,
}

/// What a domain's MTA-STS policy demands (RFC 8461 §5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Sts {
    /// Nothing.
    #[default]
    Silent,
    /// Nothing yet: it tries its policy out, and wants to know who would not keep it (RFC 8461 §5).
    Tested {
        /// Hosts that the policy does not name.
        barred: Vec<String>,
    },
    /// Verified TLS. These of the hosts are not named by the policy: they get no mail, unless DANE vouches for them
    /// (§2: DANE goes before it).
    Enforced {
        /// Hosts that the policy does not name.
        barred: Vec<String>,
    },
}

/// Whether names are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Signed {
    /// They are, and the resolver says so.
    Yes,
    /// They are not, or nobody to be believed says so.
    #[default]
    No,
}

impl From<bool> for Signed {
    fn from(authenticated: bool) -> Signed {
        if authenticated { Signed::Yes } else { Signed::No }
    }
}

/// Hosts of a domain that are looked at.
const MOST_HOSTS: usize = 50;

/// Why a domain has no host for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nowhere {
    /// It says that it takes no mail (RFC 7505).
    NullMx,
    /// We are its best host ourselves, and do not know what to do with the mail (RFC 5321 §5.1).
    Ourselves,
}

/// The hosts to try of those that a domain names, sorted. `ourselves`: the name of this host.
///
/// # Errors
/// [`Nowhere`]: there is none, for good.
pub fn hosts(mut named: Vec<Mx>, ourselves: &str) -> Result<Vec<Mx>, Nowhere> {
    // RFC 7505 §3: a null MX stands alone; beside others the root is just no host.
    if named.iter().all(|mx| mx.host.is_empty()) {
        return Err(Nowhere::NullMx);
    }
    named.retain(|mx| !mx.host.is_empty());
    named.sort();
    named.dedup_by(|later, earlier| later.host == earlier.host);
    // RFC 5321 §5.1: who is among the hosts hands on only to better ones, else mail would go in circles.
    if let Some(own) = named.iter().filter(|mx| mx.host == ourselves).map(|mx| mx.preference).min() {
        named.retain(|mx| mx.preference < own);
    }
    named.truncate(MOST_HOSTS);
    if named.is_empty() { Err(Nowhere::Ourselves) } else { Ok(named) }
}

/// A domain without MX is its own host (RFC 5321 §5.1). A literal (`[192.0.2.1]`) is one, too.
pub fn implicit(domain: &str) -> Vec<Mx> {
    let inside = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = inside.map_or(domain, |inside| inside.strip_prefix("IPv6:").unwrap_or(inside));
    vec![Mx { preference: 0, host: host.to_owned() }]
}

/// The address, if a host is one: not what RFC 5321 wants of an MX, but met, and clear.
pub fn address_of(host: &str) -> Option<IpAddr> {
    let v6 = || host.parse::<Ipv6Addr>().map(IpAddr::V6);
    host.parse().or_else(|_| v6()).ok()
}

/// The hosts in the order of one attempt: better ones first, equal ones shuffled by `seed`, so that they share
/// the load (RFC 5321 §5.1).
pub fn order(hosts: &[Mx], seed: u64) -> Vec<Mx> {
    let mut ordered = hosts.to_vec();
    ordered.sort_by_cached_key(|mx| (mx.preference, scattered(&mx.host, seed)));
    ordered
}

/// Addresses of one host by turns, IPv6 first: neither family hides the other (RFC 8305 §4).
pub fn by_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut v6, mut v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    v6.reverse();
    v4.reverse();
    let mut turns = Vec::with_capacity(v6.len() + v4.len());
    while !(v6.is_empty() && v4.is_empty()) {
        turns.extend(v6.pop());
        turns.extend(v4.pop());
    }
    turns
}

/// A number that depends on all of the name and the seed (FNV-1a).
fn scattered(host: &str, seed: u64) -> u64 {
    let mixed = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    host.bytes().fold(mixed, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mx(preference: u16, host: &str) -> Mx {
        Mx { preference, host: host.to_owned() }
    }

    #[test]
    fn the_hosts_to_try_are_those_before_ourselves() {
        let us = "mail.us.example";
        let cases = [
            (
                vec![mx(20, "b.example"), mx(10, "a.example")],
                Ok(vec![mx(10, "a.example"), mx(20, "b.example")]),
            ),
            (vec![mx(0, "")], Err(Nowhere::NullMx)),
            (vec![mx(0, ""), mx(10, "a.example")], Ok(vec![mx(10, "a.example")])),
            (vec![mx(10, us), mx(20, "b.example")], Err(Nowhere::Ourselves)),
            (vec![mx(10, "a.example"), mx(10, us)], Err(Nowhere::Ourselves)),
            (
                vec![mx(10, "a.example"), mx(20, us), mx(20, "b.example"), mx(30, "c.example")],
                Ok(vec![mx(10, "a.example")]),
            ),
        ];
        for (named, expected) in cases {
            assert_eq!(hosts(named.clone(), us), expected, "{named:?}");
        }
        let many = (0..200).map(|n| mx(n, &format!("mx{n}.example"))).collect();
        assert_eq!(hosts(many, us).expect("hosts").len(), 50);
    }

    #[test]
    fn a_domain_without_mx_is_its_own_host() {
        assert_eq!(implicit("a.example"), [mx(0, "a.example")]);
        assert_eq!(implicit("[192.0.2.1]"), [mx(0, "192.0.2.1")]);
        assert_eq!(address_of(&implicit("[IPv6:2001:db8::1]")[0].host), "2001:db8::1".parse().ok());
        assert_eq!(address_of("mx.example"), None);
    }

    #[test]
    fn equal_hosts_take_turns_and_better_ones_stay_first() {
        let hosts = [mx(10, "a.example"), mx(10, "b.example"), mx(10, "c.example"), mx(20, "d.example")];
        let firsts: std::collections::BTreeSet<String> =
            (0..64).map(|seed| order(&hosts, seed).remove(0).host).collect();
        assert_eq!(firsts.into_iter().collect::<Vec<_>>(), ["a.example", "b.example", "c.example"]);
        for seed in 0..64 {
            assert_eq!(order(&hosts, seed), order(&hosts, seed));
            assert_eq!(order(&hosts, seed)[3], mx(20, "d.example"));
        }
    }

    #[test]
    fn both_families_come_early() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"].map(ip).to_vec();
        assert_eq!(by_turns(all), ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"].map(ip));
    }
}
