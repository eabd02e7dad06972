//! API keys.

use ipnet::IpNet;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::access_key::AccessKeyId;
use crate::domain::id::{Id, KeyId, TenantId};
use crate::domain::key::{ApiKey, KeyHash, KeyLimits, KeyMode, KeyName, Scope};

use super::StoreError;

struct Row {
    tenant_id: uuid::Uuid,
    id: uuid::Uuid,
    name: String,
    hint: String,
    scopes: Vec<String>,
    test: bool,
    domains: Option<Vec<String>>,
    streams: Option<Vec<String>>,
    allow_ips: Option<Vec<String>>,
    rate_per_second: Option<i32>,
    access_key_id: Option<String>,
    smtp_networks: Option<Vec<String>>,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
}

impl Row {
    fn key(self) -> ApiKey {
        // A network that does not read back is left out: the key is then allowed from fewer places, not more.
        let nets = |texts: Vec<String>| texts.iter().filter_map(|text| text.parse::<IpNet>().ok()).collect();
        ApiKey {
            id: Id::from_uuid(self.id),
            tenant: Id::from_uuid(self.tenant_id),
            name: self.name,
            hint: self.hint,
            scopes: self.scopes.iter().filter_map(|text| text.parse::<Scope>().ok()).collect(),
            mode: if self.test { KeyMode::Test } else { KeyMode::Live },
            limits: KeyLimits {
                expires_at: self.expires_at,
                domains: self.domains,
                streams: self.streams,
                allow_ips: self.allow_ips.map(nets),
                rate_per_second: self.rate_per_second.and_then(|rate| u32::try_from(rate).ok()),
            },
            access_key_id: self.access_key_id.and_then(|text| AccessKeyId::parse(&text).ok()),
            smtp_networks: self.smtp_networks.map(nets),
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            revoked_at: self.revoked_at,
        }
    }
}

/// Stores a new key; of one that signs, its secret half is given sealed.
///
/// # Errors
/// [`StoreError::Conflict`] when the same secret is stored already, or the tenant is gone.
pub async fn insert(
    connection: &mut PgConnection,
    key: &ApiKey,
    hash: KeyHash,
    sealed_secret: Option<&[u8]>,
) -> Result<(), StoreError> {
    let scopes: Vec<String> = key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let texts = |nets: &Option<Vec<IpNet>>| -> Option<Vec<String>> {
        nets.as_ref().map(|nets| nets.iter().map(ToString::to_string).collect())
    };
    let (nets, smtp_networks) = (texts(&key.limits.allow_ips), texts(&key.smtp_networks));
    sqlx::query!(
        r#"
        INSERT INTO api_keys
            (tenant_id, id, name, hint, hash, scopes, test, domains, streams, allow_ips, rate_per_second,
             created_at, expires_at, access_key_id, sealed_secret, smtp_networks)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        "#,
        key.tenant.uuid(),
        key.id.uuid(),
        key.name,
        key.hint,
        hash.0.as_slice(),
        &scopes,
        key.mode == KeyMode::Test,
        key.limits.domains.as_deref(),
        key.limits.streams.as_deref(),
        nets.as_deref(),
        key.limits.rate_per_second.and_then(|rate| i32::try_from(rate).ok()),
        key.created_at,
        key.limits.expires_at,
        key.access_key_id.as_ref().map(AccessKeyId::as_str),
        sealed_secret,
        smtp_networks.as_deref(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A key as authentication needs it: with its tenant's state.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The key.
    pub key: ApiKey,
    /// Its tenant is suspended.
    pub suspended: bool,
    /// Of a key that signs: its secret half, sealed for the key's id.
    pub sealed_secret: Option<Vec<u8>>,
}

struct CredentialRow {
    tenant_id: uuid::Uuid,
    id: uuid::Uuid,
    name: String,
    hint: String,
    scopes: Vec<String>,
    test: bool,
    domains: Option<Vec<String>>,
    streams: Option<Vec<String>>,
    allow_ips: Option<Vec<String>>,
    rate_per_second: Option<i32>,
    access_key_id: Option<String>,
    smtp_networks: Option<Vec<String>>,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
    sealed_secret: Option<Vec<u8>>,
    suspended: bool,
}

impl CredentialRow {
    fn credential(self) -> Credential {
        let key = Row {
            tenant_id: self.tenant_id,
            id: self.id,
            name: self.name,
            hint: self.hint,
            scopes: self.scopes,
            test: self.test,
            domains: self.domains,
            streams: self.streams,
            allow_ips: self.allow_ips,
            rate_per_second: self.rate_per_second,
            access_key_id: self.access_key_id,
            smtp_networks: self.smtp_networks,
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            revoked_at: self.revoked_at,
        };
        Credential { key: key.key(), suspended: self.suspended, sealed_secret: self.sealed_secret }
    }
}

/// The key of this name, whoever's it is: a shown one revoked or not, a signing one if it is not.
///
/// # Errors
/// See [`StoreError`].
pub async fn find_by_name(
    connection: &mut PgConnection,
    name: &KeyName,
) -> Result<Option<Credential>, StoreError> {
    match name {
        KeyName::Shown(hash) => find_by_hash(connection, *hash).await,
        KeyName::Signing(id) => find_by_access_key_id(connection, id).await,
    }
}

async fn find_by_hash(
    connection: &mut PgConnection,
    hash: KeyHash,
) -> Result<Option<Credential>, StoreError> {
    let row = sqlx::query_as!(
        CredentialRow,
        r#"
        SELECT k.tenant_id, k.id, k.name, k.hint, k.scopes, k.test, k.domains, k.streams, k.allow_ips,
               k.rate_per_second, k.access_key_id, k.smtp_networks, k.created_at, k.expires_at, k.last_used_at,
               k.revoked_at, k.sealed_secret, t.suspended_at IS NOT NULL AS "suspended!"
        FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
        WHERE k.hash = $1
        "#,
        hash.0.as_slice(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(CredentialRow::credential))
}

async fn find_by_access_key_id(
    connection: &mut PgConnection,
    id: &AccessKeyId,
) -> Result<Option<Credential>, StoreError> {
    let row = sqlx::query_as!(
        CredentialRow,
        r#"
        SELECT k.tenant_id, k.id, k.name, k.hint, k.scopes, k.test, k.domains, k.streams, k.allow_ips,
               k.rate_per_second, k.access_key_id, k.smtp_networks, k.created_at, k.expires_at, k.last_used_at,
               k.revoked_at, k.sealed_secret, t.suspended_at IS NOT NULL AS "suspended!"
        FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
        WHERE k.access_key_id = $1 AND k.revoked_at IS NULL
        "#,
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(CredentialRow::credential))
}

/// Every key, of all tenants, whose networks need no login by SMTP.
///
/// # Errors
/// See [`StoreError`].
pub async fn with_smtp_networks(connection: &mut PgConnection) -> Result<Vec<Credential>, StoreError> {
    let rows = sqlx::query_as!(
        CredentialRow,
        r#"
        SELECT k.tenant_id, k.id, k.name, k.hint, k.scopes, k.test, k.domains, k.streams, k.allow_ips,
               k.rate_per_second, k.access_key_id, k.smtp_networks, k.created_at, k.expires_at, k.last_used_at,
               k.revoked_at, k.sealed_secret, t.suspended_at IS NOT NULL AS "suspended!"
        FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
        WHERE k.smtp_networks IS NOT NULL AND k.revoked_at IS NULL
        ORDER BY k.id
        "#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(CredentialRow::credential).collect())
}

/// Whether any key, of whatever tenant, has a sealed secret.
///
/// # Errors
/// See [`StoreError`].
pub async fn any_sealed(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let any = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM api_keys WHERE sealed_secret IS NOT NULL) AS "any!""#
    )
    .fetch_one(connection)
    .await?;
    Ok(any)
}

/// One key of a tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: KeyId,
) -> Result<Option<ApiKey>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT tenant_id, id, name, hint, scopes, test, domains, streams, allow_ips, rate_per_second,
               access_key_id, smtp_networks, created_at, expires_at, last_used_at, revoked_at
        FROM api_keys WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Row::key))
}

/// A page of a tenant's keys, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<KeyId>,
    limit: i64,
) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT tenant_id, id, name, hint, scopes, test, domains, streams, allow_ips, rate_per_second,
               access_key_id, smtp_networks, created_at, expires_at, last_used_at, revoked_at
        FROM api_keys
        WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2)
        ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Row::key).collect())
}

/// Revokes a key. False: the tenant has no such key, or it is revoked already.
///
/// # Errors
/// See [`StoreError`].
pub async fn revoke(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: KeyId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant.uuid(),
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes when keys were last used.
///
/// # Errors
/// See [`StoreError`].
pub async fn touch(
    connection: &mut PgConnection,
    used: &[(TenantId, KeyId, OffsetDateTime)],
) -> Result<(), StoreError> {
    let tenants: Vec<_> = used.iter().map(|(tenant, _, _)| tenant.uuid()).collect();
    let ids: Vec<_> = used.iter().map(|(_, id, _)| id.uuid()).collect();
    let moments: Vec<_> = used.iter().map(|(_, _, at)| *at).collect();
    sqlx::query!(
        r#"
        UPDATE api_keys k SET last_used_at = u.at
        FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS u (tenant_id, id, at)
        WHERE k.tenant_id = u.tenant_id AND k.id = u.id
          AND (k.last_used_at IS NULL OR k.last_used_at < u.at)
        "#,
        &tenants,
        &ids,
        &moments,
    )
    .execute(connection)
    .await?;
    Ok(())
}
