//! Tenants' streams, and what becomes of mail of others.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::delivery::Priority;
use crate::domain::handling::Tracking;
use crate::domain::id::{Id, StreamId, TenantId};
use crate::domain::stream::{Stream, StreamKind, UnknownStreams, Watched};
use crate::domain::submission::StreamName;

use super::StoreError;

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    title: String,
    kind: String,
    priority: i16,
    track_opens: bool,
    track_clicks: bool,
    tracking_decides: bool,
    created_at: OffsetDateTime,
}

impl Row {
    fn stream(self) -> Option<Stream> {
        Some(Stream {
            id: Id::from_uuid(self.id),
            tenant: Id::from_uuid(self.tenant_id),
            // The schema's CHECKs have the forms of this binary, or those of a newer one during an upgrade.
            name: StreamName::parse(&self.name).ok()?,
            title: self.title,
            kind: self.kind.parse::<StreamKind>().ok()?,
            priority: Priority::from_number(self.priority),
            tracking: Tracking { opens: self.track_opens, clicks: self.track_clicks },
            watched: if self.tracking_decides { Watched::ByStream } else { Watched::ByDomain },
            created_at: self.created_at,
        })
    }
}

/// Stores a new stream.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant has one of that name.
pub async fn insert(connection: &mut PgConnection, stream: &Stream) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO streams (tenant_id, id, name, title, kind, priority, track_opens, track_clicks, created_at,
                             tracking_decides)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        stream.tenant.uuid(),
        stream.id.uuid(),
        stream.name.as_str(),
        stream.title,
        stream.kind.as_str(),
        stream.priority.number(),
        stream.tracking.opens,
        stream.tracking.clicks,
        stream.created_at,
        stream.decides_tracking(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what may change of a stream: all but its name.
///
/// # Errors
/// See [`StoreError`].
pub async fn update(connection: &mut PgConnection, stream: &Stream) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE streams SET title = $3, kind = $4, priority = $5, track_opens = $6, track_clicks = $7,
            tracking_decides = $8
        WHERE tenant_id = $1 AND id = $2
        "#,
        stream.tenant.uuid(),
        stream.id.uuid(),
        stream.title,
        stream.kind.as_str(),
        stream.priority.number(),
        stream.tracking.opens,
        stream.tracking.clicks,
        stream.decides_tracking(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One stream of a tenant. Nobody else changes it until the transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: StreamId,
) -> Result<Option<Stream>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, name, title, kind, priority, track_opens, track_clicks, tracking_decides, created_at
        FROM streams WHERE tenant_id = $1 AND id = $2 FOR UPDATE
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(Row::stream))
}

/// A page of a tenant's streams, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Option<StreamId>,
    limit: i64,
) -> Result<Vec<Stream>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, name, title, kind, priority, track_opens, track_clicks, tracking_decides, created_at
        FROM streams WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::stream).collect())
}

/// All streams of all tenants: what accept knows.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_all_tenants(connection: &mut PgConnection) -> Result<Vec<Stream>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, name, title, kind, priority, track_opens, track_clicks, tracking_decides, created_at
        FROM streams ORDER BY tenant_id, id
        "#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::stream).collect())
}

/// Deletes a stream's description; its mail and its suppressions stay. False: there is no such stream.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: StreamId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!("DELETE FROM streams WHERE tenant_id = $1 AND id = $2", tenant.uuid(), id.uuid())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// What becomes of mail of a tenant's undescribed streams.
///
/// # Errors
/// See [`StoreError`].
pub async fn policy(connection: &mut PgConnection, tenant: TenantId) -> Result<UnknownStreams, StoreError> {
    let unknown =
        sqlx::query_scalar!("SELECT unknown FROM stream_policies WHERE tenant_id = $1", tenant.uuid())
            .fetch_optional(connection)
            .await?;
    Ok(unknown.and_then(|text| UnknownStreams::parse(&text)).unwrap_or_default())
}

/// Decides what becomes of it.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_policy(
    connection: &mut PgConnection,
    tenant: TenantId,
    policy: UnknownStreams,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO stream_policies (tenant_id, unknown) VALUES ($1, $2)
        ON CONFLICT (tenant_id) DO UPDATE SET unknown = excluded.unknown
        "#,
        tenant.uuid(),
        policy.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The tenants that refuse mail of undescribed streams.
///
/// # Errors
/// See [`StoreError`].
pub async fn strict_tenants(connection: &mut PgConnection) -> Result<Vec<TenantId>, StoreError> {
    let ids = sqlx::query_scalar!("SELECT tenant_id FROM stream_policies WHERE unknown = 'refuse'")
        .fetch_all(connection)
        .await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}
