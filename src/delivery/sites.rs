//! The sites of this process, each made at its first use and kept while it is worth knowing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;

use crate::domain::handoff::Leased;
use crate::domain::pacing::SiteKey;
use crate::domain::relay::Endpoint;
use crate::domain::sending::Source;

use super::mx::MxSite;
use super::policy::{Policies, Policy};
use super::share::Shares;
use super::site::{Reach, Site, Target};

/// All of them.
#[derive(Debug)]
pub struct Sites {
    known: Mutex<Known>,
    policies: Policies,
    shares: Arc<Shares>,
}

#[derive(Debug, Default)]
struct Known {
    relays: Vec<Arc<Site>>,
    exchanges: HashMap<ExchangeKey, Arc<Site>>,
    /// How many there may be of the latter before those that are done with are forgotten.
    roomy: usize,
    closed: bool,
}

/// Servers, where they may be, the name in the table of paces that goes by the recipient's domain, if any, and the
/// address of ours that they are dialled from.
type ExchangeKey = (MxSite, Reach, Option<String>, Option<Arc<Source>>);

/// Sites of strangers' servers in memory before the first cleaning.
const FIRST_CLEANING: usize = 256;

impl Sites {
    /// None yet; each will have what these policies say.
    pub fn new(policies: Policies, shares: Arc<Shares>) -> Sites {
        Sites { known: Mutex::default(), policies, shares }
    }

    /// The site of an endpoint, made at its first use. An endpoint that changed is another one: the old site
    /// ends when its mail is gone.
    pub fn relay(&self, endpoint: &Endpoint, reach: Reach) -> Arc<Site> {
        let mut known = self.known();
        known.relays.retain(|site| Arc::strong_count(site) > 1 || site.load() != (0, 0));
        let target = Target::Relay(endpoint.clone());
        let same = known.relays.iter().find(|site| site.target == target && site.reach == reach);
        if let Some(site) = same {
            return Arc::clone(site);
        }
        let policy = self.policies.of_relay(&endpoint.host, endpoint.port, endpoint.max_connections.into());
        let site = self.make(&known, target, reach, policy, None);
        known.relays.push(Arc::clone(&site));
        site
    }

    /// The site of some domains' servers, made at its first use. A domain that has a pace of its own has a site of
    /// its own.
    pub fn exchange(
        &self,
        exchange: MxSite,
        domain: &str,
        source: Option<Arc<Source>>,
        reach: Reach,
        now: OffsetDateTime,
    ) -> Arc<Site> {
        let named = self.policies.of_domain(domain).map(str::to_owned);
        let mut known = self.known();
        let key = (exchange, reach, named, source);
        if let Some(site) = known.exchanges.get(&key) {
            return Arc::clone(site);
        }
        if known.exchanges.len() >= known.roomy.max(FIRST_CLEANING) {
            known.exchanges.retain(|_, site| Arc::strong_count(site) > 1 || site.is_worth_knowing(now));
            known.roomy = 2 * known.exchanges.len();
        }
        let policy = self.policies.of_mx(&hosts(&key.0), key.2.as_ref().map(|_| domain));
        let site = self.make(&known, Target::Mx(key.0.clone()), reach, policy, key.3.clone());
        known.exchanges.insert(key, Arc::clone(&site));
        site
    }

    /// What is asked of us at some domains' servers.
    pub fn policy(&self, exchange: &MxSite, domain: &str) -> Policy {
        let named = self.policies.of_domain(domain).map(|_| domain);
        self.policies.of_mx(&hosts(exchange), named)
    }

    fn make(
        &self,
        known: &Known,
        target: Target,
        reach: Reach,
        policy: Policy,
        source: Option<Arc<Source>>,
    ) -> Arc<Site> {
        let from = source.as_ref().map(|source| source.address.to_string()).unwrap_or_default();
        let key = SiteKey { site: name(&target, &policy), source: from };
        let share = self.shares.of(key, policy.limits);
        let site = Site::new(target, reach, policy, share).from_source(source);
        if known.closed {
            // There is nothing in it yet.
            drop(site.close());
        }
        Arc::new(site)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Site>> {
        let known = self.known();
        known.relays.iter().chain(known.exchanges.values()).cloned().collect()
    }

    /// No more mail is taken, by sites that are there or come later. Gives back what waits.
    pub fn close(&self) -> Vec<Leased> {
        self.known().closed = true;
        self.all().into_iter().flat_map(|site| site.close()).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hosts(exchange: &MxSite) -> Vec<String> {
    exchange.hosts.iter().map(|mx| mx.host.clone()).collect()
}

/// What all processes call it. MX hosts of one provider are one, since the provider counts them together; those of
/// others by the best one, in which domains that are hosted together agree.
fn name(target: &Target, policy: &Policy) -> String {
    match target {
        Target::Relay(endpoint) => endpoint.site_name(),
        Target::Mx(_) if policy.is_named() => format!("mx:{}", policy.provider),
        Target::Mx(_) => format!("mx:{}", target.host().unwrap_or_default()),
    }
}
