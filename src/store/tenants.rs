//! Tenants. Operators' work: it crosses tenants by nature.

use std::collections::HashSet;

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::handling::Transport;
use crate::domain::id::{Id, TenantId};
use crate::domain::tenant::{Tenant, TenantName};

use super::StoreError;

struct Row {
    id: uuid::Uuid,
    name: String,
    created_at: OffsetDateTime,
    suspended_at: Option<OffsetDateTime>,
    dsn: String,
    require_tls: bool,
}

impl Row {
    fn tenant(self) -> Option<Tenant> {
        // The table's CHECKs have the same forms as the types.
        let name = TenantName::parse(&self.name).ok()?;
        Some(Tenant {
            id: Id::from_uuid(self.id),
            name,
            created_at: self.created_at,
            suspended_at: self.suspended_at,
            dsn: self.dsn.parse().ok()?,
            transport: Transport::required(self.require_tls),
        })
    }
}

/// Stores a new tenant.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken.
pub async fn insert(
    connection: &mut PgConnection,
    id: TenantId,
    name: &TenantName,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3)",
        id.uuid(),
        name.as_str(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores a tenant unless its name is taken; gives the one that has the name, and whether it is new.
///
/// # Errors
/// See [`StoreError`].
pub async fn ensure(
    connection: &mut PgConnection,
    id: TenantId,
    name: &str,
    now: OffsetDateTime,
) -> Result<(TenantId, bool), StoreError> {
    let done = sqlx::query!(
        "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        id.uuid(),
        name,
        now,
    )
    .execute(&mut *connection)
    .await?;
    let stored =
        sqlx::query_scalar!("SELECT id FROM tenants WHERE name = $1", name).fetch_one(connection).await?;
    Ok((Id::from_uuid(stored), done.rows_affected() == 1))
}

/// One tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(connection: &mut PgConnection, id: TenantId) -> Result<Option<Tenant>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, created_at, suspended_at, dsn, require_tls FROM tenants WHERE id = $1",
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(Row::tenant))
}

/// The tenant of this name.
///
/// # Errors
/// See [`StoreError`].
pub async fn find_by_name(connection: &mut PgConnection, name: &str) -> Result<Option<Tenant>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, created_at, suspended_at, dsn, require_tls FROM tenants WHERE name = $1",
        name,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(Row::tenant))
}

/// A page of tenants, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<Tenant>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, name, created_at, suspended_at, dsn, require_tls FROM tenants
        WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
        "#,
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::tenant).collect())
}

/// Those whose mail goes over verified TLS, or not at all.
///
/// # Errors
/// See [`StoreError`].
pub async fn that_require_tls(connection: &mut PgConnection) -> Result<HashSet<TenantId>, StoreError> {
    let ids = sqlx::query_scalar!("SELECT id FROM tenants WHERE require_tls").fetch_all(connection).await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}

/// Those that are suspended.
///
/// # Errors
/// See [`StoreError`].
pub async fn suspended(connection: &mut PgConnection) -> Result<HashSet<TenantId>, StoreError> {
    let ids = sqlx::query_scalar!("SELECT id FROM tenants WHERE suspended_at IS NOT NULL")
        .fetch_all(connection)
        .await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}

/// Writes what may change of a tenant. False: there is no such tenant.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken.
pub async fn update(connection: &mut PgConnection, tenant: &Tenant) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE tenants SET name = $2, suspended_at = $3, dsn = $4, require_tls = $5 WHERE id = $1",
        tenant.id.uuid(),
        tenant.name.as_str(),
        tenant.suspended_at,
        tenant.dsn.as_str(),
        tenant.transport.is_required(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a tenant with its keys, suppressions and relays. Its mail leaves by retention; what is still queued
/// keeps it from being deleted. False: there is no such tenant, or it has mail queued.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(connection: &mut PgConnection, id: TenantId) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM tenants t
        WHERE t.id = $1 AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.tenant_id = t.id)
        "#,
        id.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
