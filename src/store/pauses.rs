//! Pauses, and the deliveries that they have put aside.
//!
//! `of` is the tenant whose pauses are meant; `None` means those of sites and destinations, which are the
//! installation's.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{DeliveryId, Id, PauseId, TenantId};
use crate::domain::pause::{Held, Kinds, Pause};

use super::StoreError;

struct Row {
    id: Uuid,
    tenant_id: Option<Uuid>,
    match_stream: Option<String>,
    match_domain: Option<String>,
    match_site: Option<String>,
    match_sender: Option<String>,
    match_kind: Option<String>,
    reason: String,
    created_at: OffsetDateTime,
}

impl From<Row> for Pause {
    fn from(row: Row) -> Pause {
        let held = match row.tenant_id {
            Some(tenant) => Held::Mail {
                tenant: Id::from_uuid(tenant),
                stream: row.match_stream,
                domain: row.match_domain,
                sender: row.match_sender,
                // The table's CHECK knows no other.
                kinds: row.match_kind.map_or(Kinds::All, |_| Kinds::Broadcast),
            },
            // The table's CHECK: who has no tenant has a site or a domain.
            None => match row.match_site {
                Some(site) => Held::Site(site),
                None => Held::Destination(row.match_domain.unwrap_or_default()),
            },
        };
        Pause { id: Id::from_uuid(row.id), held, reason: row.reason, created_at: row.created_at }
    }
}

/// Stores a new pause.
///
/// # Errors
/// See [`StoreError`].
pub async fn insert(connection: &mut PgConnection, pause: &Pause) -> Result<(), StoreError> {
    let (tenant, stream, domain, site) = match &pause.held {
        Held::Mail { tenant, stream, domain, .. } => {
            (Some(tenant.uuid()), stream.as_deref(), domain.as_deref(), None)
        }
        Held::Site(site) => (None, None, None, Some(site.as_str())),
        Held::Destination(domain) => (None, None, Some(domain.as_str()), None),
    };
    let (sender, kind) = match &pause.held {
        Held::Mail { sender, kinds, .. } => {
            (sender.as_deref(), (*kinds == Kinds::Broadcast).then_some("broadcast"))
        }
        Held::Site(_) | Held::Destination(_) => (None, None),
    };
    sqlx::query!(
        r#"
        INSERT INTO pauses (tenant_id, id, match_stream, match_domain, match_site, reason, created_at,
                            match_sender, match_kind)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        "#,
        tenant,
        pause.id.uuid(),
        stream,
        domain,
        site,
        pause.reason,
        pause.created_at,
        sender,
        kind,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One pause.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    of: Option<TenantId>,
    id: PauseId,
) -> Result<Option<Pause>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, match_stream, match_domain, match_site, match_sender, match_kind, reason, created_at
        FROM pauses WHERE tenant_id IS NOT DISTINCT FROM $1 AND id = $2
        "#,
        of.map(Id::uuid),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Pause::from))
}

/// A page of pauses, oldest first, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    of: Option<TenantId>,
    after: Option<PauseId>,
    limit: i64,
) -> Result<Vec<Pause>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, match_stream, match_domain, match_site, match_sender, match_kind, reason, created_at
        FROM pauses WHERE tenant_id IS NOT DISTINCT FROM $1 AND ($2::uuid IS NULL OR id > $2)
        ORDER BY id LIMIT $3
        "#,
        of.map(Id::uuid),
        after.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Pause::from).collect())
}

/// Deletes a pause: what it holds goes on. False: there is no such pause.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    connection: &mut PgConnection,
    of: Option<TenantId>,
    id: PauseId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM pauses WHERE tenant_id IS NOT DISTINCT FROM $1 AND id = $2",
        of.map(Id::uuid),
        id.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All pauses of all tenants and sites: what the workers obey.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_all_tenants(connection: &mut PgConnection) -> Result<Vec<Pause>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, tenant_id, match_stream, match_domain, match_site, match_sender, match_kind, reason, created_at
        FROM pauses ORDER BY id
        "#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Pause::from).collect())
}

/// Puts claims aside, uncounted, each for its pause: due only when its own time has run out. Stale ones are left
/// alone. Crosses tenants.
///
/// # Errors
/// Nothing was put aside; the leases run out by themselves.
pub async fn hold(
    connection: &mut PgConnection,
    claims: &[(DeliveryId, i32, PauseId)],
) -> Result<u64, StoreError> {
    let lanes: Vec<i16> = claims.iter().map(|(delivery, ..)| delivery.lane().number()).collect();
    let ids: Vec<Uuid> = claims.iter().map(|(delivery, ..)| delivery.uuid()).collect();
    let numbers: Vec<i32> = claims.iter().map(|(_, claim_no, _)| *claim_no).collect();
    let pauses: Vec<Uuid> = claims.iter().map(|(.., pause)| pause.uuid()).collect();
    let done = sqlx::query!(
        r#"
        WITH moved AS (
            UPDATE queue q
            SET due_at = q.expires_at, leased_by = NULL, unresolved = 0, attempts = greatest(0, q.attempts - 1)
            FROM unnest($1::smallint[], $2::uuid[], $3::int[], $4::uuid[]) AS i (lane, id, claim_no, pause_id)
            WHERE q.lane = i.lane AND q.delivery_id = i.id AND q.claim_no = i.claim_no
            RETURNING q.lane, q.delivery_id, i.pause_id
        )
        INSERT INTO held (lane, pause_id, delivery_id)
        SELECT m.lane, m.pause_id, m.delivery_id FROM moved m
        ON CONFLICT DO NOTHING
        "#,
        &lanes,
        &ids,
        &numbers,
        &pauses,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Makes up to `limit` deliveries due whose pauses are gone; gives how many rows were looked at. Crosses tenants.
///
/// # Errors
/// Nothing was made due.
pub async fn release(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"
        WITH over AS MATERIALIZED (
            SELECT h.pause_id, h.lane, h.delivery_id FROM held h
            WHERE NOT EXISTS (SELECT 1 FROM pauses p WHERE p.id = h.pause_id)
            LIMIT $2
            FOR UPDATE OF h SKIP LOCKED
        ),
        forgotten AS (
            DELETE FROM held h USING over o
            WHERE h.pause_id = o.pause_id AND h.lane = o.lane AND h.delivery_id = o.delivery_id
        ),
        due AS (
            UPDATE queue q SET due_at = $1 FROM over o
            WHERE q.lane = o.lane AND q.delivery_id = o.delivery_id AND q.leased_by IS NULL AND q.due_at > $1
        )
        SELECT count(*) AS "count!" FROM over
        "#,
        now,
        limit,
    )
    .fetch_one(connection)
    .await?;
    Ok(u64::try_from(rows).unwrap_or(0))
}
