//! Making and revoking API keys.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::id::{KeyId, TenantId};
use crate::domain::key::{ApiKey, KeyLimits, KeyMode, KeySecret, NoRandomness, Scopes};
use crate::store::audit::{self, Entry};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, PgConnection, StoreError, keys};

use super::Actor;

/// A key to make.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose it will be.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Whether what it sends leaves the house.
    pub mode: KeyMode,
    /// What it is restricted to.
    pub limits: KeyLimits,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The tenant does not exist, or the same secret is in use.
    #[error("there is no such tenant, or this key exists already")]
    Conflict,
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a key. The secret is told once, here.
///
/// # Errors
/// See [`KeyError`].
pub async fn create(
    database: &Database,
    actor: &Actor,
    new: NewKey,
    now: OffsetDateTime,
) -> Result<(ApiKey, KeySecret), KeyError> {
    let secret = KeySecret::generate(new.mode)?;
    let key = create_with(database, actor, new, &secret, now).await?;
    Ok((key, secret))
}

/// Makes a key of a secret that the operator chose.
///
/// # Errors
/// See [`KeyError`].
pub async fn create_with(
    database: &Database,
    actor: &Actor,
    new: NewKey,
    secret: &KeySecret,
    now: OffsetDateTime,
) -> Result<ApiKey, KeyError> {
    let key = ApiKey {
        id: KeyId::new(now),
        tenant: new.tenant,
        name: new.name,
        hint: secret.hint(),
        scopes: new.scopes,
        mode: new.mode,
        limits: new.limits,
        created_at: now,
        last_used_at: None,
        revoked_at: None,
    };
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    match keys::insert(&mut transaction, &key, secret.hash()).await {
        Err(StoreError::Conflict(_)) => return Err(KeyError::Conflict),
        other => other?,
    }
    changed(&mut transaction, actor, &key, "key.create", audit::made(shown(&key)), now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(key)
}

/// Revokes a key: within a second no node honours it. `None`: the tenant has no such key, or it is revoked.
///
/// # Errors
/// See [`StoreError`].
pub async fn revoke(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    id: KeyId,
    now: OffsetDateTime,
) -> Result<Option<ApiKey>, StoreError> {
    let mut transaction = database.serve().begin().await?;
    if !keys::revoke(&mut transaction, tenant, id, now).await? {
        return Ok(None);
    }
    let Some(key) = keys::find(&mut transaction, tenant, id).await? else { return Ok(None) };
    changed(&mut transaction, actor, &key, "key.revoke", audit::removed(shown(&key)), now).await?;
    transaction.commit().await?;
    Ok(Some(key))
}

/// As the audit log tells it.
fn shown(key: &ApiKey) -> Value {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    json!({ "name": key.name, "hint": key.hint, "scopes": scopes })
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    key: &ApiKey,
    action: &'static str,
    details: Value,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = key.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, key.tenant, entry, now).await?;
    revisions::raise(connection, Revised::Credentials).await
}
