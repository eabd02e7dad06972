//! Routes: which way a mail goes. A tenant's relay that matches most specifically, else the installation's
//! own route.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use time::OffsetDateTime;

use crate::domain::handling::Transport;
use crate::domain::handoff::Leased;
use crate::domain::id::TenantId;
use crate::domain::relay::{Endpoint, Hop, Relay, TlsMode};
use crate::domain::sending::Source;

use super::mx::MxSite;
use super::policy::Policy;
use super::site::{Reach, Site};
use super::sites::Sites;

/// Knows the way.
#[derive(Debug)]
pub struct Router {
    sites: Sites,
    default: Route,
    strangers: Reach,
    relays: RwLock<Arc<RelayTable>>,
}

/// Tenants' relays with their ways.
type RelayTable = HashMap<TenantId, Vec<(Relay, Route)>>;

/// A hop, with the site of a server that is known already.
#[derive(Debug, Clone)]
enum Route {
    /// Nothing is demanded of it.
    Kept(Arc<Site>),
    Relay(Arc<Site>),
    Direct(Transport),
}

/// Which way a mail goes.
#[derive(Debug, Clone)]
pub enum Way {
    /// To this site.
    Site(Arc<Site>),
    /// To the servers its recipient's domain names, protected at least so.
    Direct(Transport),
}

impl Router {
    /// With the installation's own next hop. `strangers`: where servers may be that others named, in relays of
    /// tenants or in the DNS.
    pub fn new(default: &Hop, strangers: Reach, sites: Sites) -> Router {
        let default = match default {
            Hop::Kept(endpoint) => Route::Kept(sites.relay(endpoint, Reach::Anywhere)),
            Hop::Relay(endpoint) => Route::Relay(sites.relay(endpoint, Reach::Anywhere)),
            Hop::Direct(transport) => Route::Direct(*transport),
        };
        Router { sites, default, strangers, relays: RwLock::default() }
    }

    /// The way of a mail.
    pub fn way(&self, leased: &Leased) -> Way {
        let relays = Arc::clone(&self.relays.read().unwrap_or_else(PoisonError::into_inner));
        let message = &leased.message;
        let route = relays
            .get(&message.tenant)
            .into_iter()
            .flatten()
            .filter_map(|(relay, route)| {
                Some((relay.rank(&message.stream, leased.recipient.domain())?, route))
            })
            .max_by_key(|(rank, _)| *rank)
            .map_or(&self.default, |(_, route)| route);
        let wanted = message.handling.transport;
        match (route, wanted) {
            (Route::Kept(site), _) | (Route::Relay(site), Transport::AsOffered) => {
                Way::Site(Arc::clone(site))
            }
            (Route::Relay(site), Transport::RequireTls) => Way::Site(self.protected(site)),
            (Route::Direct(Transport::AsOffered), wanted) => Way::Direct(wanted),
            (Route::Direct(Transport::RequireTls), _) => Way::Direct(Transport::RequireTls),
        }
    }

    /// The site of the same relay, spoken to over verified TLS only.
    fn protected(&self, site: &Arc<Site>) -> Arc<Site> {
        match &site.target {
            super::site::Target::Relay(endpoint)
                if matches!(endpoint.tls, TlsMode::None | TlsMode::Opportunistic) =>
            {
                self.sites.relay(&Endpoint { tls: TlsMode::Required, ..endpoint.clone() }, site.reach)
            }
            _ => Arc::clone(site),
        }
    }

    /// The site of some domains' servers, dialled from this address of ours.
    pub fn exchange(
        &self,
        exchange: MxSite,
        domain: &str,
        source: Option<Arc<Source>>,
        now: OffsetDateTime,
    ) -> Arc<Site> {
        self.sites.exchange(exchange, domain, source, self.strangers, now)
    }

    /// What is asked of us at some domains' servers.
    pub fn policy(&self, exchange: &MxSite, domain: &str) -> Policy {
        self.sites.policy(exchange, domain)
    }

    /// Takes over what tenants have set.
    pub fn replace_relays(&self, relays: Vec<Relay>) {
        let mut by_tenant: HashMap<TenantId, Vec<_>> = HashMap::new();
        for relay in relays {
            let route = match &relay.hop {
                Hop::Kept(endpoint) | Hop::Relay(endpoint) => {
                    Route::Relay(self.sites.relay(endpoint, self.strangers))
                }
                Hop::Direct(transport) => Route::Direct(*transport),
            };
            by_tenant.entry(relay.tenant).or_default().push((relay, route));
        }
        *self.relays.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(by_tenant);
    }

    /// Where servers may be that others named.
    pub fn strangers(&self) -> Reach {
        self.strangers
    }

    /// All sites that have been used.
    pub fn sites(&self) -> Vec<Arc<Site>> {
        self.sites.all()
    }

    /// Takes nothing more; gives back what waits.
    pub fn close(&self) -> Vec<Leased> {
        self.sites.close()
    }
}
