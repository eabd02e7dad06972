//! A tenant's suppressions, changed by its own hand. What bounces, complaints and unsubscribing add is written
//! where those are recorded.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::id::{SuppressionId, TenantId};
use crate::domain::suppression::{Reason, Suppression};
use crate::mail::EmailAddress;
use crate::store::audit::{self, Details, Entry};
use crate::store::{Database, PgConnection, StoreError, suppressions};

use super::Actor;

/// An address to be suppressed.
#[derive(Debug, Clone)]
pub struct NewSuppression {
    /// The address.
    pub address: EmailAddress,
    /// The one stream it is for; empty: all.
    pub stream: String,
    /// Why.
    pub reason: Reason,
    /// Since when; `None`: now.
    pub since: Option<OffsetDateTime>,
}

impl NewSuppression {
    fn born(&self, now: OffsetDateTime) -> Suppression {
        let since = self.since.filter(|since| *since <= now).unwrap_or(now);
        Suppression {
            id: SuppressionId::new(since),
            address: self.address.key(),
            stream: self.stream.clone(),
            reason: self.reason,
            delivery: None,
        }
    }
}

/// What adding one address did.
#[derive(Debug)]
pub enum Added {
    /// It is on the list now.
    New(Suppression),
    /// It was there, and stays as it was.
    Already(Suppression),
}

/// Suppresses an address.
///
/// # Errors
/// See [`StoreError`].
pub async fn create(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    new: &NewSuppression,
    now: OffsetDateTime,
) -> Result<Added, StoreError> {
    let born = new.born(now);
    let mut transaction = database.serve().begin().await?;
    let added = suppressions::add(&mut transaction, tenant, std::slice::from_ref(&born)).await?;
    if added == 0 {
        let known = suppressions::of_address(&mut transaction, tenant, &born.address, &born.stream).await?;
        // It may have been deleted at this very moment: then the caller's word came first.
        return Ok(Added::Already(known.unwrap_or(born)));
    }
    let change = audit::made(shown(&born));
    tell(&mut transaction, actor, (tenant, born.id), "suppression.create", change, now).await?;
    transaction.commit().await?;
    Ok(Added::New(born))
}

/// Suppresses many addresses in one transaction; gives how many were not on the list.
///
/// # Errors
/// None was stored, but for [`StoreError::Unavailable`], after which nobody knows; doing it again is safe.
pub async fn create_many(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    new: &[NewSuppression],
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    if new.is_empty() {
        return Ok(0);
    }
    let born: Vec<Suppression> = new.iter().map(|one| one.born(now)).collect();
    let mut transaction = database.serve().begin().await?;
    let added = suppressions::add(&mut transaction, tenant, &born).await?;
    if added > 0 {
        let details = audit::made(json!({ "given": born.len(), "added": added }));
        let entry =
            Entry { actor: &actor.name, ip: actor.ip, action: "suppression.import", target: "", details };
        audit::append(&mut transaction, tenant, entry, now).await?;
    }
    transaction.commit().await?;
    Ok(added)
}

/// Takes an entry off the list. False: the tenant has no such entry.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    id: SuppressionId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(known) = suppressions::find(&mut transaction, tenant, id).await? else { return Ok(false) };
    suppressions::delete(&mut transaction, tenant, id).await?;
    let change = audit::removed(shown(&known));
    tell(&mut transaction, actor, (tenant, id), "suppression.delete", change, now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Takes addresses off the list: the entries of one stream (empty: those for all), or with `None` every entry.
/// Gives how many entries there were.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete_many(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    addresses: &[String],
    stream: Option<&str>,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let deleted = suppressions::delete_addresses(&mut transaction, tenant, addresses, stream).await?;
    if deleted > 0 {
        let details = audit::removed(json!({ "addresses": addresses, "stream": stream, "deleted": deleted }));
        let entry =
            Entry { actor: &actor.name, ip: actor.ip, action: "suppression.delete", target: "", details };
        audit::append(&mut transaction, tenant, entry, now).await?;
    }
    transaction.commit().await?;
    Ok(deleted)
}

/// As the audit log tells it.
fn shown(suppression: &Suppression) -> Value {
    json!({
        "email": suppression.address,
        "stream": suppression.stream,
        "reason": suppression.reason.as_str(),
    })
}

async fn tell(
    connection: &mut PgConnection,
    actor: &Actor,
    (tenant, id): (TenantId, SuppressionId),
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, tenant, entry, now).await
}
