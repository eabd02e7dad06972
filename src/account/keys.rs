//! Making and revoking API keys.

use ipnet::IpNet;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::access_key::AccessKey;
use crate::domain::id::{KeyId, TenantId};
use crate::domain::key::{ApiKey, KeyHash, KeyLimits, KeyMode, KeyName, KeySecret, NoRandomness, Scopes};
use crate::seal::{Secret, Subkey};
use crate::store::audit::{self, Details, Entry};
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
    /// Networks whose SMTP sessions need no login: they have this key.
    pub smtp_networks: Option<Vec<IpNet>>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The tenant does not exist, or the same secret is in use.
    #[error("there is no such tenant, or this key exists already")]
    Conflict,
    /// Another tenant's key has a network that overlaps with one of these.
    #[error("{0} overlaps with a network of another tenant")]
    NetworkTaken(IpNet),
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
    let key = key_of(new, secret.hint(), now);
    insert(database, actor, &key, secret.hash(), None, now).await?;
    Ok(key)
}

/// Makes a key that signs requests. Its secret half is told once, here, and kept sealed: whoever checks a signature
/// needs it.
///
/// # Errors
/// See [`KeyError`].
pub async fn create_access_key(
    database: &Database,
    seal: &Subkey,
    actor: &Actor,
    new: NewKey,
    now: OffsetDateTime,
) -> Result<(ApiKey, AccessKey), KeyError> {
    let access_key = AccessKey::generate()?;
    let key = create_access_key_with(database, seal, actor, new, &access_key, now).await?;
    Ok((key, access_key))
}

/// Makes a key that signs requests, of halves that the operator chose.
///
/// # Errors
/// See [`KeyError`].
pub async fn create_access_key_with(
    database: &Database,
    seal: &Subkey,
    actor: &Actor,
    new: NewKey,
    access_key: &AccessKey,
    now: OffsetDateTime,
) -> Result<ApiKey, KeyError> {
    let key = ApiKey { access_key_id: Some(access_key.id.clone()), ..key_of(new, access_key.hint(), now) };
    let sealed = seal.seal(&key.id.to_string(), access_key.secret.reveal().as_bytes());
    let sealed = sealed.map_err(|_| NoRandomness)?;
    insert(database, actor, &key, access_key.hash(), Some(&sealed), now).await?;
    Ok(key)
}

/// The secret half of a key that signs; `None`: it is not such a key, or its secret does not open.
pub fn open_secret(seal: &Subkey, credential: &keys::Credential) -> Option<Secret> {
    let clear = seal.open(&credential.key.id.to_string(), credential.sealed_secret.as_deref()?);
    if clear.is_err() {
        tracing::error!(key.id = %credential.key.id, "the secret of an access key does not open");
    }
    String::from_utf8(clear.ok()?).ok().map(Secret::new)
}

fn key_of(new: NewKey, hint: String, now: OffsetDateTime) -> ApiKey {
    ApiKey {
        id: KeyId::new(now),
        tenant: new.tenant,
        name: new.name,
        hint,
        scopes: new.scopes,
        mode: new.mode,
        limits: new.limits,
        access_key_id: None,
        smtp_networks: new.smtp_networks,
        created_at: now,
        last_used_at: None,
        revoked_at: None,
    }
}

async fn insert(
    database: &Database,
    actor: &Actor,
    key: &ApiKey,
    hash: KeyHash,
    sealed_secret: Option<&[u8]>,
    now: OffsetDateTime,
) -> Result<(), KeyError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    match keys::insert(&mut transaction, key, hash, sealed_secret).await {
        Err(StoreError::Conflict(_)) => return Err(KeyError::Conflict),
        other => other?,
    }
    changed(&mut transaction, actor, key, "key.create", audit::made(shown(key)), now).await?;
    // The revision's row is locked now: nobody else adds a network until this ends.
    if let Some(network) = taken(&mut transaction, key).await? {
        return Err(KeyError::NetworkTaken(network));
    }
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// A network of this key that overlaps with one of another tenant: whose mail it is would depend on which is smaller.
async fn taken(connection: &mut PgConnection, key: &ApiKey) -> Result<Option<IpNet>, StoreError> {
    let Some(own) = &key.smtp_networks else { return Ok(None) };
    let all = keys::with_smtp_networks(connection).await?;
    let foreign: Vec<&IpNet> = all
        .iter()
        .filter(|other| other.key.tenant != key.tenant)
        .flat_map(|other| other.key.smtp_networks.iter().flatten())
        .collect();
    let overlaps = |net: &&IpNet| foreign.iter().any(|other| other.contains(*net) || net.contains(*other));
    Ok(own.iter().find(overlaps).copied())
}

/// Makes sure that the access key the operator set exists, with every scope, in this tenant. Another secret for the
/// same id replaces the one before.
///
/// # Errors
/// See [`KeyError`].
pub async fn ensure_access_key(
    database: &Database,
    seal: &Subkey,
    new: NewKey,
    access_key: &AccessKey,
    now: OffsetDateTime,
) -> Result<(), KeyError> {
    let actor = Actor::cli();
    let mut connection = database.serve().acquire().await.map_err(StoreError::from)?;
    let known = keys::find_by_name(&mut connection, &KeyName::Signing(access_key.id.clone())).await?;
    drop(connection);
    if let Some(known) = known {
        if known.key.tenant != new.tenant {
            return Err(KeyError::Conflict);
        }
        if open_secret(seal, &known).is_some_and(|secret| secret == access_key.secret) {
            return Ok(());
        }
        revoke(database, &actor, new.tenant, known.key.id, now).await?;
    }
    match create_access_key_with(database, seal, &actor, new, access_key, now).await {
        // Another process was faster.
        Ok(_) | Err(KeyError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
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
    let mut shown = json!({ "name": key.name, "hint": key.hint, "scopes": scopes });
    if let Some(nets) = &key.smtp_networks {
        shown["smtp_networks"] = nets.iter().map(IpNet::to_string).collect();
    }
    shown
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    key: &ApiKey,
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = key.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, key.tenant, entry, now).await?;
    revisions::raise(connection, Revised::Credentials).await
}
