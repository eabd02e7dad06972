//! Routes: which site a mail goes to. A tenant's relay that matches most specifically, else the installation's
//! own route.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::handoff::Leased;
use crate::domain::id::TenantId;
use crate::domain::relay::{Endpoint, Relay};

use super::site::{Reach, Site, Sites};

/// Knows the way.
#[derive(Debug)]
pub struct Router {
    sites: Sites,
    default: Arc<Site>,
    tenant_reach: Reach,
    relays: RwLock<Arc<RelayTable>>,
}

/// Tenants' relays with their sites.
type RelayTable = HashMap<TenantId, Vec<(Relay, Arc<Site>)>>;

impl Router {
    /// With the installation's own next hop. `tenant_reach`: where tenants' relays may be.
    pub fn new(default: &Endpoint, tenant_reach: Reach, sites: Sites) -> Router {
        let default = sites.of(default, Reach::Anywhere);
        Router { sites, default, tenant_reach, relays: RwLock::default() }
    }

    /// The site for a mail.
    pub fn site(&self, leased: &Leased) -> Arc<Site> {
        let relays = Arc::clone(&self.relays.read().unwrap_or_else(PoisonError::into_inner));
        let message = &leased.message;
        relays
            .get(&message.tenant)
            .into_iter()
            .flatten()
            .filter_map(|(relay, site)| Some((relay.rank(&message.stream, leased.recipient.domain())?, site)))
            .max_by_key(|(rank, _)| *rank)
            .map_or_else(|| Arc::clone(&self.default), |(_, site)| Arc::clone(site))
    }

    /// Takes over what tenants have set.
    pub fn replace_relays(&self, relays: Vec<Relay>) {
        let mut by_tenant: HashMap<TenantId, Vec<_>> = HashMap::new();
        for relay in relays {
            let site = self.sites.of(&relay.endpoint, self.tenant_reach);
            by_tenant.entry(relay.tenant).or_default().push((relay, site));
        }
        *self.relays.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(by_tenant);
    }

    /// All sites that have been used.
    pub fn sites(&self) -> Vec<Arc<Site>> {
        self.sites.all()
    }
}
