//! Which address of ours a mail that goes directly leaves from. Nothing is looked at, and nothing locked, while no
//! address is set up: then the system picks one.
//!
//! An address that is warmed up gives out what this process has taken of its day (`worker/warm` takes it from the
//! database); what finds nothing goes from a warm address instead, or waits. So all processes together never send more
//! than the day allows, but for mail that must come again from where it came before.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use time::{Date, Duration, OffsetDateTime};
use tokio::sync::Notify;

use crate::domain::handoff::Leased;
use crate::domain::sending::{
    DEFAULT_POOL, Ip, IpRule, IpState, Mail, Source, after_warmup, allowed, pool, preferred, warmup_day,
};
use crate::store::ips::WarmupKey;

use super::Delivery;
use super::mx::MxSite;
use super::policy::Policy;
use super::site::{Refused, Site};

/// The addresses that this process sends from.
#[derive(Debug, Default)]
pub struct Sources {
    any: AtomicBool,
    table: RwLock<Arc<Table>>,
    warmth: Mutex<Warmth>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// Those that this machine has.
    ips: Vec<Ip>,
    rules: Vec<IpRule>,
}

/// What this process has of the warm-ups.
#[derive(Debug, Default)]
struct Warmth {
    budgets: HashMap<(Ipv4Addr, String), Budget>,
    /// What is to be taken, and what its day allows.
    wanted: HashMap<WarmupKey, (Ipv4Addr, u32)>,
}

#[derive(Debug)]
struct Budget {
    day: WarmupKey,
    left: u32,
    /// All processes together have taken what the day allows.
    spent: bool,
}

/// A portion of a warm-up to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Of which day.
    pub key: WarmupKey,
    /// Of which address.
    pub address: Ipv4Addr,
    /// What the day allows.
    pub allowed: u32,
}

/// Where a mail goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Chosen {
    From(Arc<Source>),
    /// Nowhere now.
    Wait(OffsetDateTime),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spent {
    Yes,
    /// There may be more in a moment.
    Asked,
    /// Not today.
    No,
}

/// How long mail waits for which no address is in use.
const NONE_WAIT: Duration = Duration::MINUTE;
/// How long it waits for a portion to be taken.
const ASKED_WAIT: Duration = Duration::SECOND;

impl Sources {
    /// These are all. Those that this machine does not have are others': a warning tells of them.
    pub fn replace(&self, ips: Vec<Ip>, rules: Vec<IpRule>) {
        let any = !ips.is_empty();
        let (own, others): (Vec<Ip>, Vec<Ip>) = ips.into_iter().partition(|ip| is_here(&ip.source));
        for ip in others {
            tracing::warn!(ip.id = %ip.id, "this machine does not have the address; mail does not leave from it here");
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Table { ips: own, rules });
        self.any.store(any, Ordering::Release);
    }

    fn table(&self) -> Option<Arc<Table>> {
        let any = self.any.load(Ordering::Acquire);
        any.then(|| Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn choose(&self, table: &Table, leased: &Leased, policy: &Policy, now: OffsetDateTime) -> Chosen {
        if let Some(ip) = leased.source.and_then(|before| table.in_use(before)) {
            self.overspend(ip, policy, now);
            return Chosen::From(Arc::clone(&ip.source));
        }
        let message = &leased.message;
        let recipient = leased.recipient.key();
        let mail = Mail { tenant: message.tenant, stream: &message.stream, recipient: &recipient };
        let own = pool(&table.rules, mail);
        let spare = Some(DEFAULT_POOL).filter(|spare| *spare != own);
        let mut wait = now + NONE_WAIT;
        for pool in std::iter::once(own).chain(spare) {
            for ip in preferred(&table.ips, pool, mail) {
                match self.spend(ip, policy, now) {
                    Spent::Yes => return Chosen::From(Arc::clone(&ip.source)),
                    Spent::Asked => wait = now + ASKED_WAIT,
                    Spent::No => wait = wait.max(after_warmup(now)),
                }
            }
        }
        Chosen::Wait(wait)
    }

    /// Takes one mail of an address's day, if that is counted.
    fn spend(&self, ip: &Ip, policy: &Policy, now: OffsetDateTime) -> Spent {
        let Some((key, allowed)) = counted(ip, policy, now) else { return Spent::Yes };
        let mut warmth = self.warmth();
        let budget = warmth.budget(ip.source.address, key.clone());
        let (had, spent) = (budget.left, budget.spent);
        budget.left = had.saturating_sub(1);
        if had <= 1 && !spent {
            // The last one, or none: more is taken before it is needed.
            warmth.wanted.insert(key, (ip.source.address, allowed));
            drop(warmth);
            self.wanted.notify_one();
        }
        match had {
            1.. => Spent::Yes,
            0 if spent => Spent::No,
            0 => Spent::Asked,
        }
    }

    /// The same, whether there is one or not.
    fn overspend(&self, ip: &Ip, policy: &Policy, now: OffsetDateTime) {
        let _ = self.spend(ip, policy, now);
    }

    /// So many mails that had been taken for a site were not sent.
    pub fn unused(&self, site: &Site, mails: usize) {
        let Some(source) = site.source.as_ref().filter(|_| mails > 0) else { return };
        let mut warmth = self.warmth();
        if let Some(budget) = warmth.budgets.get_mut(&(source.address, site.policy.provider.clone())) {
            budget.left = budget.left.saturating_add(u32::try_from(mails).unwrap_or(0));
        }
    }

    /// Waits until something is wanted of a warm-up.
    pub async fn wanting(&self) {
        self.wanted.notified().await;
    }

    /// What is wanted.
    pub fn wants(&self) -> Vec<Want> {
        let wanted = std::mem::take(&mut self.warmth().wanted);
        wanted.into_iter().map(|(key, (address, allowed))| Want { key, address, allowed }).collect()
    }

    /// A portion was taken; `None`: the day has no more.
    pub fn granted(&self, want: &Want, portion: Option<u32>) {
        let mut warmth = self.warmth();
        let budget = warmth.budget(want.address, want.key.clone());
        budget.left = budget.left.saturating_add(portion.unwrap_or(0));
        budget.spent = portion.is_none();
    }

    /// Gives up what was taken and not used.
    pub fn unspent(&self) -> Vec<(WarmupKey, u32)> {
        let mut warmth = self.warmth();
        let left = warmth.budgets.drain().filter(|(_, budget)| budget.left > 0);
        left.map(|(_, budget)| (budget.day, budget.left)).collect()
    }

    fn warmth(&self) -> MutexGuard<'_, Warmth> {
        self.warmth.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The address that a mail left from before, if it is still used.
    fn in_use(&self, address: IpAddr) -> Option<&Ip> {
        self.ips.iter().find(|ip| {
            let source = &ip.source;
            let is_it = address == source.address || source.address6.is_some_and(|own| address == own);
            is_it && ip.state != IpState::Paused
        })
    }
}

impl Warmth {
    /// What there is of a day; what was left of another is over.
    fn budget(&mut self, address: Ipv4Addr, day: WarmupKey) -> &mut Budget {
        let fresh = |day| Budget { day, left: 0, spent: false };
        let budget =
            self.budgets.entry((address, day.provider.clone())).or_insert_with(|| fresh(day.clone()));
        if budget.day != day {
            *budget = fresh(day);
        }
        budget
    }
}

/// The day that a mail counts to, and what it allows; `None`: nothing is counted.
fn counted(ip: &Ip, policy: &Policy, now: OffsetDateTime) -> Option<(WarmupKey, u32)> {
    let since = ip.warming_since.filter(|_| ip.state == IpState::Warming)?;
    let allowed = allowed(&policy.warmup, warmup_day(since, now))?;
    let day: Date = now.date();
    Some((WarmupKey { ip: ip.id, day, provider: policy.provider.clone() }, allowed))
}

/// Whether this machine has an address: then something can be bound to it.
fn is_here(source: &Source) -> bool {
    let here = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    here(source.address.into()) && source.address6.is_none_or(|address| here(address.into()))
}

impl Delivery {
    /// Brings mail to a domain's servers, each from its address.
    pub(super) fn bring_from_sources(
        self: &Arc<Self>,
        exchange: MxSite,
        domain: &str,
        mails: Vec<Leased>,
        now: OffsetDateTime,
    ) {
        let Some(table) = self.sources.table() else {
            return self.bring(self.router.exchange(exchange, domain, None, now), mails, now);
        };
        let policy = self.router.policy(&exchange, domain);
        let mut by_source: Vec<(Arc<Source>, Vec<Leased>)> = Vec::new();
        let mut refused = Vec::new();
        for leased in mails {
            match self.sources.choose(&table, &leased, &policy, now) {
                Chosen::Wait(due_at) => refused.push(Refused { leased, due_at }),
                Chosen::From(source) => match by_source.iter_mut().find(|(known, _)| *known == source) {
                    Some((_, waiting)) => waiting.push(leased),
                    None => by_source.push((source, vec![leased])),
                },
            }
        }
        for (source, mails) in by_source {
            let site = self.router.exchange(exchange.clone(), domain, Some(source), now);
            self.bring(site, mails, now);
        }
        self.refuse(refused);
    }
}
