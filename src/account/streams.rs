//! Tenants' streams. Each change is one transaction that also writes the audit log.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::id::{StreamId, TenantId};
use crate::domain::stream::{Stream, UnknownStreams};
use crate::store::audit::{self, Details, Entry};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, PgConnection, StoreError, streams};

use super::Actor;

/// Describes a stream.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant has described one of that name.
pub async fn create(
    database: &Database,
    actor: &Actor,
    stream: &Stream,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut transaction = database.serve().begin().await?;
    streams::insert(&mut transaction, stream).await?;
    changed(&mut transaction, actor, stream, "stream.create", audit::made(shown(stream)), now).await?;
    transaction.commit().await?;
    Ok(())
}

/// Describes a stream otherwise. `None`: the tenant has no such stream.
///
/// # Errors
/// See [`StoreError`].
pub async fn update(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    id: StreamId,
    change: impl FnOnce(Stream) -> Stream + Send,
    now: OffsetDateTime,
) -> Result<Option<Stream>, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(before) = streams::find(&mut transaction, tenant, id).await? else { return Ok(None) };
    let known = shown(&before);
    let stream = change(before);
    streams::update(&mut transaction, &stream).await?;
    let change = audit::changed(known, shown(&stream));
    changed(&mut transaction, actor, &stream, "stream.update", change, now).await?;
    transaction.commit().await?;
    Ok(Some(stream))
}

/// Deletes a stream's description. False: the tenant has no such stream.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    id: StreamId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(stream) = streams::find(&mut transaction, tenant, id).await? else { return Ok(false) };
    streams::delete(&mut transaction, tenant, id).await?;
    changed(&mut transaction, actor, &stream, "stream.delete", audit::removed(shown(&stream)), now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Decides what becomes of mail of undescribed streams.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_policy(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    policy: UnknownStreams,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut transaction = database.serve().begin().await?;
    let before = streams::policy(&mut transaction, tenant).await?;
    streams::set_policy(&mut transaction, tenant, policy).await?;
    let known = |policy: UnknownStreams| json!({ "unknown": policy.as_str() });
    let details = audit::changed(known(before), known(policy));
    let entry = Entry { actor: &actor.name, ip: actor.ip, action: "stream.policy", target: "", details };
    audit::append(&mut transaction, tenant, entry, now).await?;
    revisions::raise(&mut transaction, Revised::Streams).await?;
    transaction.commit().await?;
    Ok(())
}

/// As the audit log tells it.
fn shown(stream: &Stream) -> Value {
    json!({
        "name": stream.name.as_str(),
        "title": stream.title,
        "kind": stream.kind.as_str(),
        "priority": stream.priority.as_str(),
    })
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    stream: &Stream,
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = stream.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, stream.tenant, entry, now).await?;
    revisions::raise(connection, Revised::Streams).await
}
