//! What is held: asked for every mail before it goes to a site, and again before it is sent. Nothing is locked while
//! there is no pause at all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::handoff::Leased;
use crate::domain::id::{PauseId, TenantId};
use crate::domain::pause::{Held, Pause, Traits};

use super::site::{Site, Target};

/// The pauses of all tenants and sites.
#[derive(Debug, Default)]
pub struct Pauses {
    any: AtomicBool,
    table: RwLock<Arc<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    of_tenants: HashMap<TenantId, Vec<Pause>>,
    of_sites: Vec<Pause>,
    of_destinations: Vec<Pause>,
}

impl Pauses {
    /// These are all.
    pub fn replace(&self, pauses: Vec<Pause>) {
        let any = !pauses.is_empty();
        let mut table = Table::default();
        for pause in pauses {
            match &pause.held {
                Held::Mail { tenant, .. } => table.of_tenants.entry(*tenant).or_default().push(pause),
                Held::Site(_) => table.of_sites.push(pause),
                Held::Destination(_) => table.of_destinations.push(pause),
            }
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.any.store(any, Ordering::Release);
    }

    /// The pause that holds a mail, wherever it goes.
    pub fn of_mail(&self, leased: &Leased) -> Option<PauseId> {
        let table = self.table()?;
        let message = &leased.message;
        let of_tenant = table.of_tenants.get(&message.tenant).into_iter().flatten();
        let traits = Traits {
            stream: &message.stream,
            to: leased.recipient.domain(),
            from: &message.sender_domain,
            unsubscribe: message.handling.unsubscribe,
        };
        let holds = |pause: &&Pause| pause.held.has_mail(traits);
        of_tenant.chain(&table.of_destinations).find(holds).map(|pause| pause.id)
    }

    /// The pause that holds whatever goes to a site.
    pub fn of_site(&self, site: &Site) -> Option<PauseId> {
        let table = self.table()?;
        if table.of_sites.is_empty() {
            return None;
        }
        let names = names(site);
        let holds = |pause: &&Pause| pause.held.has_site(names.iter().map(String::as_str));
        table.of_sites.iter().find(holds).map(|pause| pause.id)
    }

    fn table(&self) -> Option<Arc<Table>> {
        let any = self.any.load(Ordering::Acquire);
        any.then(|| Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What operators may call it: as it is listed, its provider, its hosts.
fn names(site: &Site) -> Vec<String> {
    let mut names = vec![site.share.key.site.clone()];
    if site.policy.is_named() {
        names.push(site.policy.provider.clone());
    }
    match &site.target {
        Target::Relay(endpoint) => {
            names.push(endpoint.host.clone());
            names.push(format!("{}:{}", endpoint.host, endpoint.port));
        }
        Target::Mx(exchange) => names.extend(exchange.hosts.iter().map(|mx| mx.host.clone())),
    }
    names
}
