//! Suppressions: addresses not to mail.

use std::collections::HashSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{Id, SuppressionId, TenantId, floor_at};
use crate::domain::suppression::{Reason, Suppression};

use super::StoreError;

struct Row {
    id: Uuid,
    address: String,
    stream: String,
    reason: String,
    delivery_id: Option<Uuid>,
}

impl Row {
    fn suppression(self) -> Option<Suppression> {
        Some(Suppression {
            id: Id::from_uuid(self.id),
            address: self.address,
            stream: self.stream,
            // The schema's CHECK has the reasons of this binary, or those of a newer one during an upgrade.
            reason: self.reason.parse().ok()?,
            delivery: self.delivery_id.map(Id::from_uuid),
        })
    }
}

/// Adds addresses to a tenant's list. Gives how many were not there; what was there stays as it is.
///
/// # Errors
/// See [`StoreError`].
pub async fn add(
    connection: &mut PgConnection,
    tenant: TenantId,
    suppressions: &[Suppression],
) -> Result<u64, StoreError> {
    // In one order, so that two imports of the same addresses wait for each other and never deadlock.
    let mut sorted: Vec<&Suppression> = suppressions.iter().collect();
    sorted.sort_by(|a, b| (&a.address, &a.stream).cmp(&(&b.address, &b.stream)));
    let ids: Vec<Uuid> = sorted.iter().map(|one| one.id.uuid()).collect();
    let addresses: Vec<&str> = sorted.iter().map(|one| one.address.as_str()).collect();
    let streams: Vec<&str> = sorted.iter().map(|one| one.stream.as_str()).collect();
    let reasons: Vec<&str> = sorted.iter().map(|one| one.reason.as_str()).collect();
    let deliveries: Vec<Option<Uuid>> = sorted.iter().map(|one| one.delivery.map(Id::uuid)).collect();
    let done = sqlx::query!(
        r#"
        INSERT INTO suppressions (tenant_id, id, address, stream, reason, delivery_id)
        SELECT $1, s.id, s.address, s.stream, s.reason, s.delivery_id
        FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[])
            AS s (id, address, stream, reason, delivery_id)
        ON CONFLICT DO NOTHING
        "#,
        tenant.uuid(),
        &ids,
        &addresses as _,
        &streams as _,
        &reasons as _,
        &deliveries as _,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// The entry of exactly this address and stream (empty: that for all).
///
/// # Errors
/// See [`StoreError`].
pub async fn of_address(
    connection: &mut PgConnection,
    tenant: TenantId,
    address: &str,
    stream: &str,
) -> Result<Option<Suppression>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, address, stream, reason, delivery_id FROM suppressions
        WHERE tenant_id = $1 AND address = $2 AND stream = $3
        "#,
        tenant.uuid(),
        address,
        stream,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(Row::suppression))
}

/// Those of these texts that are on a tenant's list, for whichever stream.
///
/// # Errors
/// See [`StoreError`].
pub async fn among(
    connection: &mut PgConnection,
    tenant: TenantId,
    addresses: &[String],
) -> Result<HashSet<String>, StoreError> {
    let known = sqlx::query_scalar!(
        "SELECT address FROM suppressions WHERE tenant_id = $1 AND address = ANY ($2)",
        tenant.uuid(),
        addresses,
    )
    .fetch_all(connection)
    .await?;
    Ok(known.into_iter().collect())
}

/// One entry of a tenant's list.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: SuppressionId,
) -> Result<Option<Suppression>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, address, stream, reason, delivery_id FROM suppressions WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(Row::suppression))
}

/// What a list is narrowed by. `None` everywhere: nothing.
#[derive(Debug, Clone, Default)]
pub struct SuppressionFilter {
    /// This address, in canonical form.
    pub address: Option<String>,
    /// For this reason.
    pub reason: Option<Reason>,
    /// For this stream alone.
    pub stream: Option<String>,
    /// Since this moment or later.
    pub since: Option<OffsetDateTime>,
    /// Since before this moment.
    pub until: Option<OffsetDateTime>,
}

/// A page of a tenant's list, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &SuppressionFilter,
    before: Option<SuppressionId>,
    limit: i64,
) -> Result<Vec<Suppression>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, address, stream, reason, delivery_id FROM suppressions
        WHERE tenant_id = $1
          AND ($2::uuid IS NULL OR id < $2)
          AND ($3::text IS NULL OR address = $3)
          AND ($4::text IS NULL OR reason = $4)
          AND ($5::text IS NULL OR stream = $5)
          AND ($6::uuid IS NULL OR id >= $6)
          AND ($7::uuid IS NULL OR id < $7)
        ORDER BY id DESC LIMIT $8
        "#,
        tenant.uuid(),
        before.map(Id::uuid),
        filter.address,
        filter.reason.map(Reason::as_str),
        filter.stream,
        filter.since.map(floor_at),
        filter.until.map(floor_at),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::suppression).collect())
}

/// A page of all of a tenant's list, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn walk(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<SuppressionId>,
    limit: i64,
) -> Result<Vec<Suppression>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, address, stream, reason, delivery_id FROM suppressions
        WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::suppression).collect())
}

/// Takes an entry off a tenant's list. False: it has no such entry.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: SuppressionId,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query!("DELETE FROM suppressions WHERE tenant_id = $1 AND id = $2", tenant.uuid(), id.uuid())
            .execute(connection)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes addresses off a tenant's list, of one stream's entries (empty: those for all streams) or, with
/// `None`, of every stream's. Gives how many entries there were.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete_addresses(
    connection: &mut PgConnection,
    tenant: TenantId,
    addresses: &[String],
    stream: Option<&str>,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM suppressions
        WHERE tenant_id = $1 AND address = ANY ($2) AND ($3::text IS NULL OR stream = $3)
        "#,
        tenant.uuid(),
        addresses,
        stream,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
