//! Tenants' sender domains: made, looked at, proved, taken over, given up. Keys are made and changed in `keys`,
//! records are looked up in `lookup`, and what follows is written in `verify`.

mod keys;
mod lookup;
mod verify;

use std::sync::Arc;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::dns::Resolver;
use crate::domain::handling::{Tracking, Transport};
use crate::domain::id::{DomainId, TenantId};
use crate::domain::identity::judge::{Finding, RecordStatus};
use crate::domain::identity::records::{KeyFacts, Places, Record, wanted};
use crate::domain::identity::schedule::next_check;
use crate::domain::identity::senders::Standing;
use crate::domain::identity::{DomainName, DomainStatus};
use crate::identities::Identities;
use crate::mail::dkim::BadKey;
use crate::seal::{NoRandomness, Subkey};
use crate::store::audit::{self, Details, Entry};
use crate::store::domain_keys::{self, StoredKey};
use crate::store::domains::{self, Checks, Note, StoredDomain};
use crate::store::{Database, PgConnection, StoreError};

use super::Actor;

pub use keys::Selector;
pub use verify::{Proof, Verified};

/// What working on domains takes. Cheap to clone.
#[derive(Clone)]
pub struct Domains {
    /// Where they are.
    pub database: Database,
    /// Seals their keys.
    pub seal: Subkey,
    /// Where their records are.
    pub dns: Resolver,
    /// What their records lead to.
    pub places: Places,
    /// How long a domain without any key may still send.
    pub grace: Duration,
    /// What this process knows of them.
    pub identities: Arc<Identities>,
}

/// A domain to make.
#[derive(Debug, Clone)]
pub struct NewDomain {
    /// Its name.
    pub name: DomainName,
    /// What stands before it in the name of its return-path domain.
    pub return_path_label: String,
}

/// What is to be changed of a domain; what is `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// Whether it may be used.
    pub standing: Option<Standing>,
    /// How the way of all mail from it is protected.
    pub transport: Option<Transport>,
}

/// What stands there unless the owner says otherwise.
pub const RETURN_PATH_LABEL: &str = "bounce";

/// A domain with its keys, and with its records as they were found last.
#[derive(Debug, Clone)]
pub struct DomainView {
    /// As it is stored.
    pub domain: StoredDomain,
    /// Its keys.
    pub keys: Vec<StoredKey>,
    /// What is to be published, and what was found.
    pub records: Vec<(Record, Finding)>,
}

/// Why something was not done with a domain.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// The tenant has no such domain.
    #[error("there is no such domain")]
    NotFound,
    /// It has one of this name.
    #[error("you have this domain already")]
    NameTaken,
    /// It has as many as it may.
    #[error("a tenant can have {MOST_DOMAINS} domains")]
    TooMany,
    /// Earlier keys wait to be published.
    #[error("the next keys are not published yet: publish their records and verify the domain first")]
    KeysPending,
    /// A key of the domain has the selector.
    #[error("a key of this domain has this selector already")]
    SelectorTaken,
    /// See [`BadKey`].
    #[error(transparent)]
    BadKey(#[from] BadKey),
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

const MOST_DOMAINS: i64 = 1000;
/// Lines of history that are shown.
const HISTORY: i64 = 50;

impl Domains {
    /// Makes a domain, with keys of its own.
    ///
    /// # Errors
    /// [`DomainError::NameTaken`], [`DomainError::TooMany`].
    pub async fn create(
        &self,
        actor: &Actor,
        tenant: TenantId,
        new: NewDomain,
        now: OffsetDateTime,
    ) -> Result<DomainView, DomainError> {
        let id = DomainId::new(now);
        let made = keys::make_both(id, now).await?;
        let domain = StoredDomain {
            tenant,
            id,
            return_path: format!("{}.{}", new.return_path_label, new.name),
            name: new.name.as_str().to_owned(),
            status: DomainStatus::Pending,
            returns: false,
            checks: Checks::default(),
            paused_at: None,
            transport: Transport::default(),
            tracking: Tracking::default(),
            created_at: now,
            verified_at: None,
            failing_since: None,
            checked_at: None,
            check_due_at: next_check(DomainStatus::Pending, now, None, now),
        };
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        if domains::count(&mut transaction, tenant).await? >= MOST_DOMAINS {
            return Err(DomainError::TooMany);
        }
        match domains::insert(&mut transaction, &domain).await {
            Err(StoreError::Conflict(_)) => return Err(DomainError::NameTaken),
            other => other?,
        }
        for made in &made {
            made.store(&mut transaction, &self.seal, tenant).await?;
        }
        let message = format!("{} was added. Publish its records, then verify it.", domain.name);
        domains::note(&mut transaction, (tenant, id), "created", &message, now).await?;
        audited(&mut transaction, actor, &domain, "domain.create", audit::made(shown(&domain)), now).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(self.view(domain, made.into_iter().map(|made| made.key).collect()))
    }

    /// One domain of a tenant.
    ///
    /// # Errors
    /// [`DomainError::NotFound`].
    pub async fn find(&self, tenant: TenantId, id: DomainId) -> Result<DomainView, DomainError> {
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        let domain = domains::find(&mut connection, tenant, id).await?.ok_or(DomainError::NotFound)?;
        let keys = domain_keys::of_domains(&mut connection, tenant, &[id]).await?;
        Ok(self.view(domain, keys))
    }

    /// Where a domain's owner may have aggregate reports sent (RFC 9990): at its own return-path domain where bounces
    /// to that reach us, since receivers then need no other proof that we want them.
    pub fn reports_to(&self, domain: &StoredDomain) -> String {
        let host = if domain.returns { &domain.return_path } else { &self.places.bounce };
        format!("dmarc@{host}")
    }

    /// What happened to a domain, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn history(&self, tenant: TenantId, id: DomainId) -> Result<Vec<Note>, DomainError> {
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        Ok(domains::history(&mut connection, tenant, id, HISTORY).await?)
    }

    /// A page of a tenant's domains, oldest first, after `after`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list(
        &self,
        tenant: TenantId,
        after: Option<DomainId>,
        limit: i64,
    ) -> Result<Vec<DomainView>, DomainError> {
        let mut connection = self.database.serve().acquire().await.map_err(StoreError::from)?;
        let found = domains::list(&mut connection, tenant, after, limit).await?;
        let ids: Vec<DomainId> = found.iter().map(|domain| domain.id).collect();
        let mut keys = domain_keys::of_domains(&mut connection, tenant, &ids).await?;
        let mut views = Vec::with_capacity(found.len());
        for domain in found {
            let (own, others) = keys.into_iter().partition(|key| key.domain == domain.id);
            keys = others;
            views.push(self.view(domain, own));
        }
        Ok(views)
    }

    /// Decides what is watched of a domain's mail that does not say, in streams that do not either.
    ///
    /// # Errors
    /// [`DomainError::NotFound`].
    pub async fn set_tracking(
        &self,
        actor: &Actor,
        (tenant, id): (TenantId, DomainId),
        tracking: Tracking,
        now: OffsetDateTime,
    ) -> Result<DomainView, DomainError> {
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let mut domain = locked(&mut transaction, tenant, id).await?;
        if tracking != domain.tracking {
            let before = shown(&domain);
            domain.tracking = tracking;
            domains::update(&mut transaction, &domain).await?;
            let change = audit::changed(before, shown(&domain));
            audited(&mut transaction, actor, &domain, "domain.update", change, now).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        self.known().await;
        self.find(tenant, id).await
    }

    /// Stops a domain, or lets it go on; and says how the way of its mail is protected.
    ///
    /// # Errors
    /// [`DomainError::NotFound`].
    pub async fn update(
        &self,
        actor: &Actor,
        (tenant, id): (TenantId, DomainId),
        changes: Changes,
        now: OffsetDateTime,
    ) -> Result<DomainView, DomainError> {
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let mut domain = locked(&mut transaction, tenant, id).await?;
        let mut notes = Vec::new();
        let paused_at = match changes.standing {
            Some(Standing::Paused) => domain.paused_at.or(Some(now)),
            Some(Standing::Active) => None,
            None => domain.paused_at,
        };
        match (domain.paused_at, paused_at) {
            (None, Some(_)) => notes.push(("paused", "is paused: nothing is sent as it")),
            (Some(_), None) => notes.push(("resumed", "is used again")),
            _ => {}
        }
        let transport = changes.transport.unwrap_or(domain.transport);
        match (domain.transport, transport) {
            (Transport::AsOffered, Transport::RequireTls) => {
                notes.push(("tls_required", "goes over verified TLS from now on, or not at all"));
            }
            (Transport::RequireTls, Transport::AsOffered) => {
                notes.push(("tls_as_offered", "goes as its recipients offer it"));
            }
            _ => {}
        }
        if !notes.is_empty() {
            let before = shown(&domain);
            (domain.paused_at, domain.transport) = (paused_at, transport);
            domains::update(&mut transaction, &domain).await?;
            for (kind, message) in notes {
                let message = format!("{} {message}.", domain.name);
                domains::note(&mut transaction, (tenant, id), kind, &message, now).await?;
            }
            let change = audit::changed(before, shown(&domain));
            audited(&mut transaction, actor, &domain, "domain.update", change, now).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        self.known().await;
        self.find(tenant, id).await
    }

    /// Deletes a domain with its keys.
    ///
    /// # Errors
    /// [`DomainError::NotFound`].
    pub async fn delete(
        &self,
        actor: &Actor,
        (tenant, id): (TenantId, DomainId),
        now: OffsetDateTime,
    ) -> Result<(), DomainError> {
        let mut transaction = self.database.serve().begin().await.map_err(StoreError::from)?;
        let domain = locked(&mut transaction, tenant, id).await?;
        domains::delete(&mut transaction, tenant, id).await?;
        audited(&mut transaction, actor, &domain, "domain.delete", audit::removed(shown(&domain)), now)
            .await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.known().await;
        Ok(())
    }

    /// This process knows of a change at once, so that who has just proved a domain can send as it; the others learn
    /// of it within a second.
    async fn known(&self) {
        if let Err(error) = self.identities.refresh().await {
            tracing::warn!(error = %error, "could not read what has changed of domains");
        }
    }

    fn view(&self, domain: StoredDomain, keys: Vec<StoredKey>) -> DomainView {
        let records = records(&domain, &keys, &self.places)
            .into_iter()
            .map(|record| {
                let found = domain.checks.of(record.kind.as_str(), &record.name, &record.value).cloned();
                (record, found.unwrap_or_else(not_looked_up))
            })
            .collect();
        DomainView { domain, keys, records }
    }
}

fn records(domain: &StoredDomain, keys: &[StoredKey], places: &Places) -> Vec<Record> {
    wanted(&domain.name, &domain.return_path, &facts(keys), places)
}

fn facts(keys: &[StoredKey]) -> Vec<KeyFacts> {
    keys.iter().map(|key| key.facts.clone()).collect()
}

fn not_looked_up() -> Finding {
    Finding { status: RecordStatus::Unknown, found: Vec::new(), advice: None }
}

/// The domain, with every tenant's domain of its name locked: changes of a name are made one after the other.
async fn locked(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: DomainId,
) -> Result<StoredDomain, DomainError> {
    let found = domains::find(connection, tenant, id).await?.ok_or(DomainError::NotFound)?;
    let of_name = domains::lock_name(connection, &found.name).await?;
    of_name.into_iter().find(|domain| domain.tenant == tenant && domain.id == id).ok_or(DomainError::NotFound)
}

/// As the audit log tells it.
fn shown(domain: &StoredDomain) -> Value {
    json!({
        "name": domain.name,
        "status": domain.status.as_str(),
        "paused": domain.paused_at.is_some(),
        "tracking": { "opens": domain.tracking.opens, "clicks": domain.tracking.clicks },
        "require_tls": domain.transport.is_required(),
    })
}

async fn audited(
    connection: &mut PgConnection,
    actor: &Actor,
    domain: &StoredDomain,
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = domain.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, domain.tenant, entry, now).await
}
