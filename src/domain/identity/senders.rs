//! Who may send as whom, in memory: asked for every mail, and so never in the database. Filled by `identities`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::handling::{Tracking, Transport};
use crate::domain::id::{DomainId, TenantId};
use crate::mail::dkim::Signer;

use super::self_and_above;

/// A domain that its tenant has proved.
#[derive(Debug)]
pub struct SenderDomain {
    /// Which.
    pub id: DomainId,
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// Its own return-path domain, if that is published.
    pub return_path: Option<String>,
    /// Whether it may be used.
    pub standing: Standing,
    /// How the way of all mail from it is protected.
    pub transport: Transport,
    /// What is watched of mail that does not say, in a stream that does not either.
    pub tracking: Tracking,
    /// Its own host for links and pixels, if that leads to us.
    pub tracking_host: Option<String>,
    /// What signs its mail. Empty in a process that delivers none.
    pub signers: Vec<Signer>,
}

/// Whether a domain may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Active,
    /// Its owner has stopped it.
    Paused,
}

#[derive(Debug, Default)]
struct Table {
    by_tenant: HashMap<TenantId, HashMap<String, Arc<SenderDomain>>>,
    by_return_path: HashMap<String, Arc<SenderDomain>>,
}

/// All proved domains. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Senders(Arc<RwLock<Arc<Table>>>);

impl Senders {
    /// The tenant's domain that lets it send as `domain`: that one, or the nearest above it. Who has proved
    /// `acme.example` has proved to rule over all that is below it, and DMARC's relaxed alignment (RFC 9989) takes a
    /// signature of `acme.example` for mail of `news.acme.example`.
    pub fn find(&self, tenant: TenantId, domain: &str) -> Option<Arc<SenderDomain>> {
        let table = self.table();
        let domains = table.by_tenant.get(&tenant)?;
        self_and_above(domain).find_map(|name| domains.get(name)).cloned()
    }

    /// The domain whose return-path domain this is.
    pub fn of_return_path(&self, domain: &str) -> Option<Arc<SenderDomain>> {
        self.table().by_return_path.get(domain).cloned()
    }

    /// Takes over what is proved now.
    pub fn replace(&self, domains: impl IntoIterator<Item = Arc<SenderDomain>>) {
        let mut table = Table::default();
        for domain in domains {
            if let Some(return_path) = &domain.return_path {
                table.by_return_path.insert(return_path.clone(), Arc::clone(&domain));
            }
            table.by_tenant.entry(domain.tenant).or_default().insert(domain.name.clone(), domain);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    #[test]
    fn a_domain_stands_for_itself_and_what_is_below_it_for_its_own_tenant_alone() {
        let (mine, theirs) =
            (TenantId::new(OffsetDateTime::UNIX_EPOCH), TenantId::new(OffsetDateTime::UNIX_EPOCH));
        let domain = |tenant, name: &str| {
            Arc::new(SenderDomain {
                id: DomainId::new(OffsetDateTime::UNIX_EPOCH),
                tenant,
                name: name.to_owned(),
                return_path: Some(format!("bounce.{name}")),
                standing: Standing::Active,
                transport: Transport::AsOffered,
                tracking: Tracking::default(),
                tracking_host: None,
                signers: Vec::new(),
            })
        };
        let senders = Senders::default();
        senders.replace([
            domain(mine, "acme.example"),
            domain(mine, "eu.acme.example"),
            domain(theirs, "other.example"),
        ]);
        let found = |tenant, name: &str| senders.find(tenant, name).map(|domain| domain.name.clone());
        assert_eq!(found(mine, "acme.example").as_deref(), Some("acme.example"));
        assert_eq!(found(mine, "news.acme.example").as_deref(), Some("acme.example"));
        assert_eq!(found(mine, "x.eu.acme.example").as_deref(), Some("eu.acme.example"));
        for name in ["example", "notacme.example", "acme.example.net", "other.example", "[192.0.2.1]"] {
            assert_eq!(found(mine, name), None, "{name}");
        }
        assert_eq!(found(theirs, "acme.example"), None);
        assert_eq!(senders.of_return_path("bounce.other.example").map(|domain| domain.tenant), Some(theirs));
        senders.replace([]);
        assert_eq!(found(mine, "acme.example"), None);
    }
}
