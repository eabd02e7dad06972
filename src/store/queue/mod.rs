//! Everything else that moves rows of the queue: giving back, taking over, rescheduling, making due; and, in files of their
//! own, canceling (`cancel`) and looking (`seen`).
//! What a tenant asks for takes its id first; the rest crosses tenants and belongs to workers.

mod cancel;
mod seen;

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::domain::handoff::Claim;
use crate::domain::id::{DeliveryId, Id, Lane, MessageId, TenantId};

use super::StoreError;

pub use cancel::{cancel_domain, cancel_waiting, mark_canceled, mark_domain_canceled};
pub use seen::{
    Depth, Destination, LastError, MOST_COUNTED, OwnQueue, depth, destinations, last_errors, of_tenant,
};

/// A claim that is given back without having been tried.
#[derive(Debug, Clone, Copy)]
pub struct HandBack {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The claim it belongs to.
    pub claim_no: i32,
    /// When it may be claimed again.
    pub due_at: OffsetDateTime,
}

/// Gives claims back uncounted: a full or paused destination, a drain. Stale ones are left alone.
///
/// # Errors
/// Nothing was given back; the leases run out by themselves.
pub async fn hand_back(connection: &mut PgConnection, rows: &[HandBack]) -> Result<u64, StoreError> {
    let lanes: Vec<i16> = rows.iter().map(|row| row.delivery.lane().number()).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.delivery.uuid()).collect();
    let claims: Vec<i32> = rows.iter().map(|row| row.claim_no).collect();
    let due: Vec<OffsetDateTime> = rows.iter().map(|row| row.due_at).collect();
    let done = sqlx::query!(
        r#"
        UPDATE queue q
        SET due_at = i.due_at, leased_by = NULL, unresolved = 0, attempts = greatest(0, q.attempts - 1)
        FROM unnest($1::smallint[], $2::uuid[], $3::int[], $4::timestamptz[]) AS i (lane, id, claim_no, due_at)
        WHERE q.lane = i.lane AND q.delivery_id = i.id AND q.claim_no = i.claim_no
        "#,
        &lanes,
        &ids,
        &claims,
        &due,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Lets a claim end without a result: it comes again, and counts as one more without a result.
///
/// # Errors
/// See [`StoreError`].
pub async fn abandon(
    connection: &mut PgConnection,
    delivery: DeliveryId,
    claim_no: i32,
    due_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE queue SET due_at = $4, leased_by = NULL
        WHERE lane = $1 AND delivery_id = $2 AND claim_no = $3
        "#,
        delivery.lane().number(),
        delivery.uuid(),
        claim_no,
        due_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The claims that are leased to an incarnation.
///
/// # Errors
/// See [`StoreError`].
pub async fn leased_to(connection: &mut PgConnection, incarnation: i32) -> Result<Vec<Claim>, StoreError> {
    let rows =
        sqlx::query!("SELECT q.delivery_id, q.claim_no FROM queue q WHERE q.leased_by = $1", incarnation)
            .fetch_all(connection)
            .await?;
    let claim = |id, claim_no| Claim { delivery: Id::from_uuid(id), claim_no };
    Ok(rows.into_iter().map(|row| claim(row.delivery_id, row.claim_no)).collect())
}

/// Makes claims of an incarnation due that are in nobody's hands; counted, as claims without a result.
///
/// # Errors
/// See [`StoreError`].
pub async fn reclaim(
    connection: &mut PgConnection,
    incarnation: i32,
    claims: &[Claim],
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let lanes: Vec<i16> = claims.iter().map(|claim| claim.delivery.lane().number()).collect();
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.delivery.uuid()).collect();
    let numbers: Vec<i32> = claims.iter().map(|claim| claim.claim_no).collect();
    let done = sqlx::query!(
        r#"
        UPDATE queue q SET due_at = $4, leased_by = NULL
        FROM unnest($1::smallint[], $2::uuid[], $3::int[]) AS c (lane, id, claim_no)
        WHERE q.lane = c.lane AND q.delivery_id = c.id AND q.claim_no = c.claim_no AND q.leased_by = $5
        "#,
        &lanes,
        &ids,
        &numbers,
        now,
        incarnation,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Makes up to `limit` rows of one lane due that are leased to these incarnations.
///
/// # Errors
/// See [`StoreError`].
pub async fn rescue(
    connection: &mut PgConnection,
    lane: Lane,
    dead: &[i32],
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE queue q SET due_at = $3, leased_by = NULL
        FROM (SELECT s.delivery_id FROM queue s
              WHERE s.lane = $1 AND s.leased_by = ANY ($2)
              LIMIT $4 FOR UPDATE SKIP LOCKED) c
        WHERE q.lane = $1 AND q.delivery_id = c.delivery_id
        "#,
        lane.number(),
        dead,
        now,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Moves what has not been tried yet to another time. Gives the deliveries that were moved.
///
/// # Errors
/// See [`StoreError`].
pub async fn reschedule(
    connection: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
    send_at: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE queue q SET due_at = $5, expires_at = $6
        WHERE q.lane = $1 AND q.delivery_id > $2 AND q.delivery_id <= $3 AND q.tenant_id = $4
          AND q.leased_by IS NULL AND q.attempts = 0
        "#,
        message.lane().number(),
        message.uuid(),
        message.last_delivery().uuid(),
        tenant.uuid(),
        send_at,
        expires_at,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Makes due what was given back until a moment, or a little later, that need not be waited for any more. Crosses
/// tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn hasten(
    connection: &mut PgConnection,
    until: OffsetDateTime,
    spread: Duration,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE queue q SET due_at = $3
        WHERE q.leased_by IS NULL AND q.due_at > $3 AND q.due_at < q.expires_at AND q.due_at BETWEEN $1 AND $2
        "#,
        until,
        until + spread,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Makes up to `limit` deliveries to a recipient domain due that have been tried and wait for the next try; what a pause
/// holds stays held. Gives how many. Crosses tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn retry_domain(
    connection: &mut PgConnection,
    domain: &str,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE queue q SET due_at = $2
        FROM (SELECT w.lane, w.delivery_id FROM queue w
              WHERE w.domain = $1 AND w.leased_by IS NULL AND w.attempts > 0 AND w.due_at > $2
                AND NOT EXISTS (SELECT 1 FROM held h WHERE h.lane = w.lane AND h.delivery_id = w.delivery_id)
              LIMIT $3 FOR UPDATE SKIP LOCKED) c
        WHERE q.lane = c.lane AND q.delivery_id = c.delivery_id
        "#,
        domain,
        now,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
