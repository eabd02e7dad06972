//! Making, changing and deleting tenants: operators' work.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::handling::Transport;
use crate::domain::id::TenantId;
use crate::domain::notice::DsnPolicy;
use crate::domain::tenant::{Tenant, TenantName};
use crate::store::audit::{self, Details, Entry};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, PgConnection, StoreError, tenants};

use super::Actor;

/// Why a tenant was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is no such tenant.
    #[error("there is no such tenant")]
    NotFound,
    /// Another tenant has the name.
    #[error("another tenant has this name")]
    NameTaken,
    /// Mail of it is queued: it cannot be deleted.
    #[error("mail of this tenant is still queued")]
    HasMail,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a tenant.
///
/// # Errors
/// [`TenantError::NameTaken`].
pub async fn create(
    database: &Database,
    actor: &Actor,
    name: TenantName,
    now: OffsetDateTime,
) -> Result<Tenant, TenantError> {
    let (dsn, transport) = (DsnPolicy::default(), Transport::default());
    let tenant = Tenant { id: TenantId::new(now), name, created_at: now, suspended_at: None, dsn, transport };
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    named(tenants::insert(&mut transaction, tenant.id, &tenant.name, now).await)?;
    changed(&mut transaction, actor, &tenant, "tenant.create", audit::made(shown(&tenant)), now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(tenant)
}

/// Whether a tenant may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Active,
    /// Nothing is accepted from it, and what is queued is held.
    Suspended,
}

/// What is to be changed of a tenant; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Its name.
    pub name: Option<TenantName>,
    /// Whether it may send.
    pub standing: Option<Standing>,
    /// Which notices its submitters by SMTP get.
    pub dsn: Option<DsnPolicy>,
    /// How the way of all its mail is protected.
    pub transport: Option<Transport>,
}

/// Renames, suspends or reinstates a tenant, or chooses its notices.
///
/// # Errors
/// See [`TenantError`].
pub async fn update(
    database: &Database,
    actor: &Actor,
    id: TenantId,
    changes: Changes,
    now: OffsetDateTime,
) -> Result<Tenant, TenantError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let mut tenant = tenants::find(&mut transaction, id).await?.ok_or(TenantError::NotFound)?;
    let before = shown(&tenant);
    tenant.name = changes.name.unwrap_or(tenant.name);
    tenant.dsn = changes.dsn.unwrap_or(tenant.dsn);
    tenant.transport = changes.transport.unwrap_or(tenant.transport);
    tenant.suspended_at = match changes.standing {
        Some(Standing::Active) => None,
        Some(Standing::Suspended) => tenant.suspended_at.or(Some(now)),
        None => tenant.suspended_at,
    };
    named(tenants::update(&mut transaction, &tenant).await)?;
    // What accept keeps in memory of tenants is read with their streams.
    revisions::raise(&mut transaction, Revised::Streams).await?;
    let change = audit::changed(before, shown(&tenant));
    changed(&mut transaction, actor, &tenant, "tenant.update", change, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(tenant)
}

/// Deletes a tenant with its keys; its mail leaves by retention.
///
/// # Errors
/// [`TenantError::HasMail`] while mail of it is queued.
pub async fn delete(
    database: &Database,
    actor: &Actor,
    id: TenantId,
    now: OffsetDateTime,
) -> Result<(), TenantError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    let tenant = tenants::find(&mut transaction, id).await?.ok_or(TenantError::NotFound)?;
    if !tenants::delete(&mut transaction, id).await? {
        return Err(TenantError::HasMail);
    }
    changed(&mut transaction, actor, &tenant, "tenant.delete", audit::removed(shown(&tenant)), now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

fn named<T>(result: Result<T, StoreError>) -> Result<T, TenantError> {
    result.map_err(|error| match error {
        StoreError::Conflict(_) => TenantError::NameTaken,
        other => other.into(),
    })
}

/// As the audit log tells it.
fn shown(tenant: &Tenant) -> Value {
    json!({
        "name": tenant.name.as_str(),
        "suspended": tenant.suspended_at.is_some(),
        "dsn": tenant.dsn.as_str(),
        "require_tls": tenant.transport.is_required(),
    })
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    tenant: &Tenant,
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = tenant.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, tenant.id, entry, now).await?;
    revisions::raise(connection, Revised::Credentials).await
}
