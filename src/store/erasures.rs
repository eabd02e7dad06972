//! Erasing what is stored of one recipient. Reading and writing the requests; what they erase is in `store/erase`.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{ErasureId, Id, TenantId};

use super::StoreError;

/// A request, and how far it is.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// Its id, which carries when it was made.
    pub id: ErasureId,
    /// Whether he is not to be mailed again.
    pub keep_suppressed: bool,
    /// So many deliveries have been pseudonymised.
    pub deliveries: i64,
    /// So many messages have lost their content.
    pub contents: i64,
    /// So many mails that came in have been deleted.
    pub inbound: i64,
    /// When it was done; `None`: it is not.
    pub finished_at: Option<OffsetDateTime>,
}

struct Row {
    id: Uuid,
    keep_suppressed: bool,
    deliveries: i64,
    contents: i64,
    inbound: i64,
    finished_at: Option<OffsetDateTime>,
}

impl From<Row> for Erasure {
    fn from(row: Row) -> Erasure {
        Erasure {
            id: Id::from_uuid(row.id),
            keep_suppressed: row.keep_suppressed,
            deliveries: row.deliveries,
            contents: row.contents,
            inbound: row.inbound,
            finished_at: row.finished_at,
        }
    }
}

/// Stores a new request, due now.
///
/// # Errors
/// See [`StoreError`].
pub async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    erasure: &Erasure,
    address_sealed: &[u8],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO erasures (tenant_id, id, keep_suppressed, due_at, address_sealed) VALUES ($1, $2, $3, $4, $5)
        "#,
        tenant.uuid(),
        erasure.id.uuid(),
        erasure.keep_suppressed,
        now,
        address_sealed,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One request of a tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: ErasureId,
) -> Result<Option<Erasure>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, keep_suppressed, deliveries, contents, inbound, finished_at
        FROM erasures WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Erasure::from))
}

/// A page of a tenant's requests, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    before: Option<ErasureId>,
    limit: i64,
) -> Result<Vec<Erasure>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, keep_suppressed, deliveries, contents, inbound, finished_at
        FROM erasures WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        "#,
        tenant.uuid(),
        before.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Erasure::from).collect())
}

/// A request whose next batch is being taken.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: ErasureId,
    /// Whom it is about, sealed for its id.
    pub address_sealed: Vec<u8>,
    /// Whether he is not to be mailed again.
    pub keep_suppressed: bool,
}

/// Takes a request that is due: nobody else does before `again_at`. Crosses tenants: for the chore.
///
/// # Errors
/// See [`StoreError`].
pub async fn begin(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    again_at: OffsetDateTime,
) -> Result<Option<Begun>, StoreError> {
    let row = sqlx::query!(
        r#"
        UPDATE erasures e SET due_at = $2
        FROM (SELECT tenant_id, id FROM erasures WHERE due_at <= $1 ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED) due
        WHERE e.tenant_id = due.tenant_id AND e.id = due.id
        RETURNING e.tenant_id, e.id, e.address_sealed AS "address_sealed!", e.keep_suppressed
        "#,
        now,
        again_at,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Begun {
        tenant: Id::from_uuid(row.tenant_id),
        id: Id::from_uuid(row.id),
        address_sealed: row.address_sealed,
        keep_suppressed: row.keep_suppressed,
    }))
}

/// What a batch erased.
#[derive(Debug, Clone, Copy, Default)]
pub struct Erased {
    /// Deliveries.
    pub deliveries: i64,
    /// Contents of messages.
    pub contents: i64,
    /// Mails that came in.
    pub inbound: i64,
}

/// Notes what a batch erased, and when the next one is due; `None`: it is done, and forgets whom it is about.
///
/// # Errors
/// See [`StoreError`].
pub async fn note(
    connection: &mut PgConnection,
    (tenant, id): (TenantId, ErasureId),
    erased: Erased,
    due_at: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE erasures
        SET deliveries = deliveries + $3, contents = contents + $4, inbound = inbound + $5, due_at = $6,
            finished_at = CASE WHEN $6::timestamptz IS NULL THEN $7::timestamptz END,
            address_sealed = CASE WHEN $6::timestamptz IS NULL THEN NULL ELSE address_sealed END
        WHERE tenant_id = $1 AND id = $2 AND finished_at IS NULL
        "#,
        tenant.uuid(),
        id.uuid(),
        erased.deliveries,
        erased.contents,
        erased.inbound,
        due_at,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Tenants whose suppression lists have entries that are known by a hash alone. Crosses tenants: for the doors.
///
/// # Errors
/// See [`StoreError`].
pub async fn tenants_with_hashes(connection: &mut PgConnection) -> Result<Vec<TenantId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT DISTINCT tenant_id FROM erasures WHERE keep_suppressed AND finished_at IS NOT NULL"
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}
