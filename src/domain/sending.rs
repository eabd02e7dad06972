//! The addresses that mail leaves from: in pools, chosen by rules with weights, warmed up while they are new. Pure.
//!
//! Which address a mail gets depends on its tenant and recipient alone, as long as the addresses stay the same: a
//! recipient's servers see a sender always at the same place, and a greylisted mail comes again from there.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::id::{IpId, IpRuleId, TenantId};

/// Where connections come from, and who we say we are there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// For servers that have an IPv4 address.
    pub address: Ipv4Addr,
    /// For those that have an IPv6 address; `None`: they are not reached by it.
    pub address6: Option<Ipv6Addr>,
    /// The name in EHLO.
    pub ehlo: String,
}

impl Source {
    /// The address from which this one is dialled; `None`: it is not.
    pub fn towards(&self, peer: IpAddr) -> Option<IpAddr> {
        match peer {
            IpAddr::V4(_) => Some(self.address.into()),
            IpAddr::V6(_) => self.address6.map(IpAddr::V6),
        }
    }
}

/// An address that mail leaves from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// Its name in the API.
    pub id: IpId,
    /// What connections have of it.
    pub source: Arc<Source>,
    /// The pool it is in.
    pub pool: String,
    /// Whether it is used.
    pub state: IpState,
    /// The first day of its warm-up.
    pub warming_since: Option<OffsetDateTime>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// Whether an address is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpState {
    /// As much as its mail wants.
    Active,
    /// As much as the day of its warm-up allows.
    Warming,
    /// Not at all.
    Paused,
}

impl IpState {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            IpState::Active => "active",
            IpState::Warming => "warming",
            IpState::Paused => "paused",
        }
    }

    /// Reads it.
    pub fn parse(text: &str) -> Option<IpState> {
        [IpState::Active, IpState::Warming, IpState::Paused].into_iter().find(|state| state.as_str() == text)
    }
}

/// Which pool mail uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpRule {
    /// Its name in the API.
    pub id: IpRuleId,
    /// Whose mail; `None`: everybody's.
    pub tenant: Option<TenantId>,
    /// Only mail of this stream.
    pub stream: Option<String>,
    /// The pool.
    pub pool: String,
    /// How much of the mail, beside other rules that match as specifically.
    pub weight: u32,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// The pool of mail for which there is no rule, and of addresses that are given none.
pub const DEFAULT_POOL: &str = "default";

impl IpRule {
    /// How specifically it is about this mail: the tenant counts more than the stream. `None`: not at all.
    fn rank(&self, tenant: TenantId, stream: &str) -> Option<u8> {
        let of_tenant = self.tenant.is_none_or(|own| own == tenant);
        let of_stream = self.stream.as_deref().is_none_or(|own| own == stream);
        let rank = 2 * u8::from(self.tenant.is_some()) + u8::from(self.stream.is_some());
        (of_tenant && of_stream).then_some(rank)
    }
}

/// What a choice depends on.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// Whose.
    pub tenant: TenantId,
    /// Of which stream.
    pub stream: &'a str,
    /// To whom, in canonical form.
    pub recipient: &'a str,
}

/// The pool of a mail: of the most specific rules one, by weight.
pub fn pool<'a>(rules: &'a [IpRule], mail: Mail<'_>) -> &'a str {
    let ranked = || rules.iter().filter_map(|rule| Some((rule.rank(mail.tenant, mail.stream)?, rule)));
    let best = ranked().map(|(rank, _)| rank).max();
    let matching = ranked().filter(|(rank, _)| Some(*rank) == best);
    let chosen = matching.map(|(_, rule)| (score(mail, &rule.pool, rule.weight), rule));
    chosen.max_by(|(one, _), (other, _)| one.total_cmp(other)).map_or(DEFAULT_POOL, |(_, rule)| &rule.pool)
}

/// The addresses of a pool in the order in which a mail would have them. Of `ips`, those that are used at all.
pub fn preferred<'a>(ips: &'a [Ip], pool: &str, mail: Mail<'_>) -> Vec<&'a Ip> {
    let used = ips.iter().filter(|ip| ip.pool == pool && ip.state != IpState::Paused);
    let mut scored: Vec<(f64, &Ip)> = used.map(|ip| (score(mail, &ip.source.address, 1), ip)).collect();
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    scored.into_iter().map(|(_, ip)| ip).collect()
}

/// Rendezvous hashing with weights: who has the highest score wins, each in proportion to its weight, and a newcomer
/// takes its part without moving what others keep.
fn score(mail: Mail<'_>, of: &impl Hash, weight: u32) -> f64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    (mail.tenant.uuid(), mail.recipient).hash(&mut hasher);
    of.hash(&mut hasher);
    // Never 0 nor 1, whose logarithms are no use.
    let uniform = ((hasher.finish() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(weight) / uniform.ln()
}

/// FNV-1a, mixed at the end: the same in every process, as the standard library's need not be.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 33)
    }
}

/// The day of a warm-up, from 0.
pub fn warmup_day(since: OffsetDateTime, now: OffsetDateTime) -> usize {
    usize::try_from((now.date() - since.date()).whole_days()).unwrap_or(0)
}

/// What a curve allows on a day; `None`: it is over.
pub fn allowed(curve: &[u32], day: usize) -> Option<u32> {
    curve.get(day).copied()
}

/// How much of a day's mail a process takes at a time: enough not to ask for every mail, and so little that others
/// have some, too.
pub fn portion(allowed: u32) -> u32 {
    (allowed / 10).clamp(1, 1000)
}

/// When mail may be looked at again that a warm-up has no room for today: tomorrow, or when an operator may have
/// helped.
pub fn after_warmup(now: OffsetDateTime) -> OffsetDateTime {
    let midnight = now.replace_time(time::Time::MIDNIGHT) + Duration::DAY;
    midnight.min(now + Duration::minutes(15))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-29 10:00 UTC);

    fn ip(last: u8, pool: &str, state: IpState) -> Ip {
        let address = Ipv4Addr::new(192, 0, 2, last);
        let source = Arc::new(Source { address, address6: None, ehlo: format!("out{last}.example") });
        let warming_since = (state == IpState::Warming).then_some(NOW);
        Ip { id: IpId::new(NOW), source, pool: pool.to_owned(), state, warming_since, created_at: NOW }
    }

    fn rule(tenant: Option<TenantId>, stream: Option<&str>, pool: &str, weight: u32) -> IpRule {
        let stream = stream.map(str::to_owned);
        IpRule { id: IpRuleId::new(NOW), tenant, stream, pool: pool.to_owned(), weight, created_at: NOW }
    }

    fn shares(of: impl Fn(Mail<'_>) -> String, tenant: TenantId, stream: &str) -> HashMap<String, i32> {
        let mut counts = HashMap::new();
        for n in 0..10_000 {
            let recipient = format!("r{n}@example.net");
            *counts.entry(of(Mail { tenant, stream, recipient: &recipient })).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_most_specific_rules_share_mail_by_their_weights() {
        let (own, other) = (TenantId::new(NOW), TenantId::new(NOW));
        let rules = [
            rule(None, None, "all", 1),
            rule(None, Some("news"), "bulk", 1),
            rule(Some(own), None, "own", 1),
            rule(Some(own), Some("news"), "a", 3),
            rule(Some(own), Some("news"), "b", 1),
        ];
        let of = |tenant, stream| shares(|mail| pool(&rules, mail).to_owned(), tenant, stream);
        assert_eq!(of(other, "x"), HashMap::from([("all".to_owned(), 10_000)]));
        assert_eq!(of(other, "news"), HashMap::from([("bulk".to_owned(), 10_000)]));
        assert_eq!(of(own, "x"), HashMap::from([("own".to_owned(), 10_000)]));
        let both = of(own, "news");
        assert!((7_300..7_700).contains(&both["a"]) && both["a"] + both["b"] == 10_000, "{both:?}");
        let mail = Mail { tenant: own, stream: "x", recipient: "a@b" };
        assert_eq!(pool(&[], mail), DEFAULT_POOL);
    }

    #[test]
    fn addresses_share_a_pool_evenly_and_a_newcomer_moves_only_its_part() {
        let tenant = TenantId::new(NOW);
        let mut ips =
            vec![ip(1, "x", IpState::Active), ip(2, "x", IpState::Warming), ip(3, "y", IpState::Active)];
        ips.push(ip(4, "x", IpState::Paused));
        let first = |ips: &[Ip], mail: Mail<'_>| preferred(ips, "x", mail)[0].source.address.to_string();
        let two = shares(|mail| first(&ips, mail), tenant, "s");
        assert!((4_800..5_200).contains(&two["192.0.2.1"]) && two.len() == 2, "{two:?}");
        let before = ips.clone();
        ips.push(ip(5, "x", IpState::Active));
        let kept = shares(
            |mail| {
                let (was, is) = (first(&before, mail), first(&ips, mail));
                if was == is { "kept".to_owned() } else { is }
            },
            tenant,
            "s",
        );
        assert!((6_500..6_850).contains(&kept["kept"]), "{kept:?}");
        assert_eq!(kept["kept"] + kept["192.0.2.5"], 10_000, "whoever moves goes to the newcomer");
    }

    #[test]
    fn a_warm_up_follows_its_curve_by_days() {
        let since = datetime!(2026-11-29 23:00 UTC);
        let days = [(datetime!(2026-11-29 23:30 UTC), 0), (datetime!(2026-11-30 00:10 UTC), 1)];
        for (now, day) in days {
            assert_eq!(warmup_day(since, now), day);
        }
        assert_eq!([0, 1, 2].map(|day| allowed(&[20, 40], day)), [Some(20), Some(40), None]);
        assert_eq!([5, 50, 100_000].map(portion), [1, 5, 1000]);
        assert_eq!(after_warmup(datetime!(2026-11-29 23:50 UTC)), datetime!(2026-11-30 00:00 UTC));
    }
}
