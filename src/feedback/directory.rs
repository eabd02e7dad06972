//! Whom this installation takes mail for, and nobody else: no mail is ever relayed.
//!
//! Invariant: an answer is given from memory alone, so that asking it about recipients costs no query, however
//! many are tried. Tokens are checked, not looked up.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use time::OffsetDateTime;

use crate::domain::filter::Filter;
use crate::domain::id::{DeliveryId, InboundRouteId, TenantId};
use crate::domain::identity::senders::Senders;
use crate::domain::inbound::{self, Action, InboundRoute};
use crate::domain::return_path::ReturnPaths;
use crate::domain::srs::Original;
use crate::domain::unsubscribe::Unsubscribes;
use crate::mail::EmailAddress;

/// Who a recipient is.
#[derive(Debug, Clone)]
pub enum Addressee {
    /// The return path of a delivery.
    ReturnPath(DeliveryId),
    /// The address by which the recipient of a delivery takes leave.
    Unsubscribe(DeliveryId),
    /// `abuse@` or `fbl@`: for complaints.
    Feedback(Mailroom),
    /// `postmaster@` (RFC 5321 §4.5.1).
    Postmaster,
    /// Whose mail was passed on: notices about it go back to him.
    Stranger(EmailAddress),
    /// `dmarc@`: for aggregate reports (RFC 9990).
    Reports,
    /// Somebody at a tenant's domain.
    Routed(Arc<InboundRoute>),
}

/// What an address for complaints is besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mailroom {
    /// Nothing: machines write there.
    Machines,
    /// A person reads what is no report (RFC 2142 §4).
    Person,
}

/// Why there is no such recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwelcome {
    /// The domain is none of ours: this would be relaying.
    Foreign,
    /// The domain is ours, and there is no such mailbox.
    Unknown,
    /// A route refuses it.
    Refused,
}

/// Knows whom we take mail for. Clones agree.
#[derive(Clone)]
pub struct Directory(Arc<Parts>);

struct Parts {
    /// Domains of the installation itself, in A-labels.
    names: Vec<String>,
    return_paths: ReturnPaths,
    unsubscribes: Unsubscribes,
    senders: Senders,
    wishes: RwLock<Arc<Wishes>>,
}

/// What tenants want.
#[derive(Default)]
struct Wishes {
    routes: HashMap<String, Vec<Arc<InboundRoute>>>,
    filters: HashMap<TenantId, Vec<Filter>>,
}

impl Directory {
    /// For an installation of these names, and the return-path domains of `senders`; without routes.
    pub fn new(
        names: impl IntoIterator<Item = String>,
        return_paths: ReturnPaths,
        unsubscribes: Unsubscribes,
        senders: Senders,
    ) -> Directory {
        let names = names.into_iter().filter_map(|name| {
            EmailAddress::parse(&format!("x@{name}")).ok().map(|address| address.domain().to_owned())
        });
        Directory(Arc::new(Parts {
            names: names.collect(),
            return_paths,
            unsubscribes,
            senders,
            wishes: RwLock::default(),
        }))
    }

    /// Takes over the routes and filters of all tenants.
    pub fn replace(&self, routes: Vec<InboundRoute>, filters: HashMap<TenantId, Vec<Filter>>) {
        let mut by_domain: HashMap<String, Vec<Arc<InboundRoute>>> = HashMap::new();
        for route in routes {
            by_domain.entry(route.pattern.domain().to_owned()).or_default().push(Arc::new(route));
        }
        let wishes = Arc::new(Wishes { routes: by_domain, filters });
        *self.0.wishes.write().unwrap_or_else(PoisonError::into_inner) = wishes;
    }

    fn wishes(&self) -> Arc<Wishes> {
        Arc::clone(&self.0.wishes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A route that is in force.
    pub fn route(&self, id: InboundRouteId) -> Option<Arc<InboundRoute>> {
        self.wishes().routes.values().flatten().find(|route| route.id == id).map(Arc::clone)
    }

    /// What mail for a route is looked at for: the tenant's own filters first.
    pub fn filters(&self, route: &InboundRoute) -> Vec<Filter> {
        let wishes = self.wishes();
        let own = wishes.filters.get(&route.tenant).into_iter().flatten();
        own.chain(&route.filters).cloned().collect()
    }

    /// Whose mail was passed on under an address of ours, long ago or not.
    pub fn stranger(&self, address: &EmailAddress) -> Option<Original> {
        self.0.return_paths.stranger(address)
    }

    /// Who a recipient is.
    ///
    /// # Errors
    /// There is no such recipient here.
    pub fn find(&self, address: &EmailAddress, now: OffsetDateTime) -> Result<Addressee, Unwelcome> {
        let is_own = self.0.names.iter().any(|name| name == address.domain())
            || self.0.senders.of_return_path(address.domain()).is_some();
        if is_own {
            return self.own(address, now).ok_or(Unwelcome::Unknown);
        }
        let wishes = self.wishes();
        let Some(of_domain) = wishes.routes.get(address.domain()) else { return Err(Unwelcome::Foreign) };
        let chosen = inbound::choose(of_domain.iter().map(AsRef::as_ref), address);
        match chosen.and_then(|chosen| of_domain.iter().find(|route| route.id == chosen.id)) {
            Some(route) if matches!(route.action, Action::Reject) => Err(Unwelcome::Refused),
            Some(_) if is_source_routed(address.local()) => Err(Unwelcome::Foreign),
            Some(route) => Ok(Addressee::Routed(Arc::clone(route))),
            None => mailbox_of_every_host(address.local()).ok_or(Unwelcome::Unknown),
        }
    }

    /// Whose token a text holds, be it that of a return path or of an address for unsubscribing.
    pub fn token_in(&self, text: &str) -> Option<DeliveryId> {
        /// Words of a header that look like tokens; ours hold two or three.
        const LOOKED_AT: usize = 50;
        let found = self.0.return_paths.tokens().find(text, LOOKED_AT).into_iter().next();
        found.or_else(|| self.0.unsubscribes.tokens().find(text, LOOKED_AT).into_iter().next())
    }

    fn own(&self, address: &EmailAddress, now: OffsetDateTime) -> Option<Addressee> {
        if let Some(delivery) = self.0.return_paths.delivery(address) {
            return Some(Addressee::ReturnPath(delivery));
        }
        if let Some(delivery) = self.0.unsubscribes.delivery(address) {
            return Some(Addressee::Unsubscribe(delivery));
        }
        if let Some(original) = self.stranger(address).filter(|original| original.is_good(now)) {
            return Some(Addressee::Stranger(original.address));
        }
        if address.local().eq_ignore_ascii_case(REPORTS) {
            return Some(Addressee::Reports);
        }
        mailbox_of_every_host(address.local())
    }
}

/// Who takes aggregate reports, at the installation's own domains and at tenants' return-path domains.
pub const REPORTS: &str = "dmarc";

/// RFC 2142: what every host that takes mail has.
fn mailbox_of_every_host(local: &str) -> Option<Addressee> {
    match local.to_ascii_lowercase().as_str() {
        "postmaster" => Some(Addressee::Postmaster),
        "abuse" => Some(Addressee::Feedback(Mailroom::Person)),
        "fbl" => Some(Addressee::Feedback(Mailroom::Machines)),
        _ => None,
    }
}

/// `a%b`, `b!a`, `"a@b"`: ways to ask another host to relay. A program behind a route may do it.
fn is_source_routed(local: &str) -> bool {
    local.contains(['%', '!', '@'])
}
