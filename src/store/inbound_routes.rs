//! Tenants' inbound routes. Secrets come and go sealed.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::filter::Filter;
use crate::domain::id::{Id, InboundRouteId, TenantId};

use super::{StoreError, filters};

/// A route as it is stored.
#[derive(Debug, Clone)]
pub struct StoredInboundRoute {
    /// Its name in the API.
    pub id: InboundRouteId,
    /// Whose it is.
    pub tenant: TenantId,
    /// For which local parts.
    pub local_pattern: String,
    /// At which domain.
    pub domain: String,
    /// Before or after others.
    pub priority: i32,
    /// The name of its action.
    pub action: String,
    /// Where mail is posted.
    pub url: Option<String>,
    /// Signs what is posted; sealed.
    pub secret_sealed: Option<Vec<u8>>,
    /// Where mail is passed on to.
    pub forward_to: Option<String>,
    /// What its mail is looked at for.
    pub filters: Vec<Filter>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

struct Row {
    id: uuid::Uuid,
    tenant_id: uuid::Uuid,
    local_pattern: String,
    domain: String,
    priority: i32,
    action: String,
    url: Option<String>,
    secret_sealed: Option<Vec<u8>>,
    forward_to: Option<String>,
    filters: serde_json::Value,
    created_at: OffsetDateTime,
}

impl From<Row> for StoredInboundRoute {
    fn from(row: Row) -> StoredInboundRoute {
        StoredInboundRoute {
            id: Id::from_uuid(row.id),
            tenant: Id::from_uuid(row.tenant_id),
            local_pattern: row.local_pattern,
            domain: row.domain,
            priority: row.priority,
            action: row.action,
            url: row.url,
            secret_sealed: row.secret_sealed,
            forward_to: row.forward_to,
            filters: filters::filters(&row.filters),
            created_at: row.created_at,
        }
    }
}

/// Stores a new route.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant has one with the same pattern.
pub async fn insert(connection: &mut PgConnection, route: &StoredInboundRoute) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO inbound_routes
            (tenant_id, id, local_pattern, domain, priority, action, url, secret_sealed, forward_to, filters,
             created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        "#,
        route.tenant.uuid(),
        route.id.uuid(),
        route.local_pattern,
        route.domain,
        route.priority,
        route.action,
        route.url,
        route.secret_sealed.as_deref(),
        route.forward_to,
        filters::filters_value(&route.filters),
        route.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One route of a tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: InboundRouteId,
) -> Result<Option<StoredInboundRoute>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, local_pattern, domain, priority, action, url, secret_sealed, forward_to, filters,
               created_at
        FROM inbound_routes WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(StoredInboundRoute::from))
}

/// A page of a tenant's routes, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<InboundRouteId>,
    limit: i64,
) -> Result<Vec<StoredInboundRoute>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, local_pattern, domain, priority, action, url, secret_sealed, forward_to, filters,
               created_at
        FROM inbound_routes WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredInboundRoute::from).collect())
}

/// Changes a route. Of two changes at once, the second sees the first.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant has another one with the same pattern.
pub async fn update(connection: &mut PgConnection, route: &StoredInboundRoute) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE inbound_routes
        SET local_pattern = $3, domain = $4, priority = $5, action = $6, url = $7, secret_sealed = $8,
            forward_to = $9, filters = $10
        WHERE tenant_id = $1 AND id = $2
        "#,
        route.tenant.uuid(),
        route.id.uuid(),
        route.local_pattern,
        route.domain,
        route.priority,
        route.action,
        route.url,
        route.secret_sealed.as_deref(),
        route.forward_to,
        filters::filters_value(&route.filters),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One route of a tenant, which nobody else changes until the transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub async fn find_to_change(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: InboundRouteId,
) -> Result<Option<StoredInboundRoute>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, local_pattern, domain, priority, action, url, secret_sealed, forward_to, filters,
               created_at
        FROM inbound_routes WHERE tenant_id = $1 AND id = $2 FOR UPDATE
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(StoredInboundRoute::from))
}

/// Deletes a route. False: the tenant has no such route.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: InboundRouteId,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query!("DELETE FROM inbound_routes WHERE tenant_id = $1 AND id = $2", tenant.uuid(), id.uuid())
            .execute(connection)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// All routes of all tenants: what the door takes mail by.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_all_tenants(connection: &mut PgConnection) -> Result<Vec<StoredInboundRoute>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, local_pattern, domain, priority, action, url, secret_sealed, forward_to, filters,
               created_at
        FROM inbound_routes ORDER BY tenant_id, id
        "#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(StoredInboundRoute::from).collect())
}

/// Makes whoever else would claim mail for this domain wait until the transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock_domain(connection: &mut PgConnection, domain: &str) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('inbound ' || $1, 0))", domain)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether another tenant has a route at this domain. Crosses tenants, and tells nothing but that.
///
/// # Errors
/// See [`StoreError`].
pub async fn is_of_another(
    connection: &mut PgConnection,
    tenant: TenantId,
    domain: &str,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM inbound_routes WHERE domain = $2 AND tenant_id <> $1) AS "any!""#,
        tenant.uuid(),
        domain,
    )
    .fetch_one(connection)
    .await?)
}

/// The domains of `names` that were proved, each with the tenant that holds it. Crosses tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn holders(
    connection: &mut PgConnection,
    names: &[String],
) -> Result<Vec<(String, TenantId)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT name, tenant_id FROM domains WHERE status <> 'pending' AND name = ANY ($1)",
        names,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, Id::from_uuid(row.tenant_id))).collect())
}
