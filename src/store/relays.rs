//! Tenants' relays. Credentials come and go sealed.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Id, RelayId, TenantId};

use super::StoreError;

/// A relay as it is stored.
#[derive(Debug, Clone)]
pub struct StoredRelay {
    /// Its name in the API.
    pub id: RelayId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// `smtp` or `direct`.
    pub route: String,
    /// Host name or address; empty with `direct`.
    pub host: String,
    /// TCP port.
    pub port: i32,
    /// The name of its TLS mode.
    pub tls: String,
    /// Sealed credentials.
    pub auth_sealed: Option<Vec<u8>>,
    /// Only mail of this stream.
    pub match_stream: Option<String>,
    /// Only mail to this recipient domain.
    pub match_domain: Option<String>,
    /// The most connections one process opens.
    pub max_connections: i32,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

struct Row {
    id: uuid::Uuid,
    tenant_id: uuid::Uuid,
    name: String,
    route: String,
    host: String,
    port: i32,
    tls: String,
    auth_sealed: Option<Vec<u8>>,
    match_stream: Option<String>,
    match_domain: Option<String>,
    max_connections: i32,
    created_at: OffsetDateTime,
}

impl From<Row> for StoredRelay {
    fn from(row: Row) -> StoredRelay {
        StoredRelay {
            id: Id::from_uuid(row.id),
            tenant: Id::from_uuid(row.tenant_id),
            name: row.name,
            route: row.route,
            host: row.host,
            port: row.port,
            tls: row.tls,
            auth_sealed: row.auth_sealed,
            match_stream: row.match_stream,
            match_domain: row.match_domain,
            max_connections: row.max_connections,
            created_at: row.created_at,
        }
    }
}

/// Stores a new relay.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant has one that matches the same mail.
pub async fn insert(connection: &mut PgConnection, relay: &StoredRelay) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO relays
            (tenant_id, id, name, host, port, tls, auth_sealed, match_stream, match_domain, max_connections,
             created_at, route)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        "#,
        relay.tenant.uuid(),
        relay.id.uuid(),
        relay.name,
        relay.host,
        relay.port,
        relay.tls,
        relay.auth_sealed.as_deref(),
        relay.match_stream,
        relay.match_domain,
        relay.max_connections,
        relay.created_at,
        relay.route,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One relay of a tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: RelayId,
) -> Result<Option<StoredRelay>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, name, route, host, port, tls, auth_sealed, match_stream, match_domain, max_connections,
               created_at
        FROM relays WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(StoredRelay::from))
}

/// A page of a tenant's relays, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<RelayId>,
    limit: i64,
) -> Result<Vec<StoredRelay>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, name, route, host, port, tls, auth_sealed, match_stream, match_domain, max_connections,
               created_at
        FROM relays WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredRelay::from).collect())
}

/// Deletes a relay. False: the tenant has no such relay.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: RelayId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!("DELETE FROM relays WHERE tenant_id = $1 AND id = $2", tenant.uuid(), id.uuid())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// All relays of all tenants: what the workers route by.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_all_tenants(connection: &mut PgConnection) -> Result<Vec<StoredRelay>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, name, route, host, port, tls, auth_sealed, match_stream, match_domain, max_connections,
               created_at
        FROM relays ORDER BY tenant_id, id
        "#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredRelay::from).collect())
}

/// Whether anything sealed is stored: then the master key must be the one that sealed it.
///
/// # Errors
/// See [`StoreError`].
pub async fn any_sealed(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM relays WHERE auth_sealed IS NOT NULL) AS "any!""#)
        .fetch_one(connection)
        .await?)
}
