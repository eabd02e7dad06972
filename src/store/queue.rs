//! Everything else that moves rows of the queue: giving back, taking over, canceling, rescheduling, counting.
//! What a tenant asks for takes its id first; the rest crosses tenants and belongs to workers.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::domain::handoff::Claim;
use crate::domain::id::{DeliveryId, EventId, Id, Lane, MessageId, TenantId};

use super::StoreError;

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

/// Takes back what is not in hand: it ends `canceled`, with its event.
///
/// # Errors
/// See [`StoreError`].
pub async fn cancel_waiting(
    connection: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
    now: OffsetDateTime,
) -> Result<Vec<DeliveryId>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"
        DELETE FROM queue q
        WHERE q.lane = $1 AND q.delivery_id > $2 AND q.delivery_id <= $3 AND q.tenant_id = $4
          AND q.leased_by IS NULL
        RETURNING q.delivery_id
        "#,
        message.lane().number(),
        message.uuid(),
        message.last_delivery().uuid(),
        tenant.uuid(),
    )
    .fetch_all(&mut *connection)
    .await?;
    let canceled: Vec<DeliveryId> = rows.into_iter().map(Id::from_uuid).collect();
    let ids: Vec<Uuid> = canceled.iter().map(|id| id.uuid()).collect();
    let events: Vec<Uuid> = canceled.iter().map(|id| EventId::of(now, *id).uuid()).collect();
    sqlx::query!(
        r#"
        WITH closed AS (
            INSERT INTO outcomes (lane, ordinal, delivery_id, tenant_id, status, hard, at, class)
            SELECT $1, 0, c.id, $2, 'canceled', false, $3, NULL FROM unnest($4::uuid[]) AS c (id)
        )
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT x.txid, $1, 'canceled', c.id, c.event, $2, NULL
        FROM unnest($4::uuid[], $5::uuid[]) AS c (id, event), (SELECT txid_current() AS txid) x
        "#,
        message.lane().number(),
        tenant.uuid(),
        now,
        &ids,
        &events,
    )
    .execute(connection)
    .await?;
    Ok(canceled)
}

/// Marks what is in hand, and tells the workers that have it: it stops before MAIL FROM, or at its next
/// deferral.
///
/// # Errors
/// See [`StoreError`].
pub async fn mark_canceled(
    connection: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Vec<DeliveryId>, StoreError> {
    let rows = sqlx::query_scalar!(
        r#"
        UPDATE queue q SET cancel_requested = true
        WHERE q.lane = $1 AND q.delivery_id > $2 AND q.delivery_id <= $3 AND q.tenant_id = $4
          AND q.leased_by IS NOT NULL
        RETURNING q.delivery_id
        "#,
        message.lane().number(),
        message.uuid(),
        message.last_delivery().uuid(),
        tenant.uuid(),
    )
    .fetch_all(&mut *connection)
    .await?;
    if !rows.is_empty() {
        let payload = message.to_string();
        sqlx::query!("SELECT pg_notify('postroad_cancel', $1)", payload).execute(connection).await?;
    }
    Ok(rows.into_iter().map(Id::from_uuid).collect())
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

/// How much is in the queue, over all tenants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Depth {
    /// Due and not in hand.
    pub due: i64,
    /// Waits for its time.
    pub waiting: i64,
    /// In a worker's hands.
    pub leased: i64,
    /// Claimed three times without a result.
    pub suspects: i64,
    /// How long the oldest due row has been due, in seconds.
    pub oldest_due_seconds: f64,
}

/// Counts the queue. It reads all of it: at most once in some seconds.
///
/// # Errors
/// See [`StoreError`].
pub async fn depth(connection: &mut PgConnection, now: OffsetDateTime) -> Result<Depth, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT count(*) FILTER (WHERE q.leased_by IS NULL AND q.due_at <= $1) AS "due!",
               count(*) FILTER (WHERE q.leased_by IS NULL AND q.due_at > $1) AS "waiting!",
               count(*) FILTER (WHERE q.leased_by IS NOT NULL) AS "leased!",
               count(*) FILTER (WHERE q.unresolved >= 3) AS "suspects!",
               coalesce(extract(epoch FROM $1 - min(q.due_at) FILTER (WHERE q.leased_by IS NULL AND q.due_at <= $1)), 0)::float8
                   AS "oldest!"
        FROM queue q
        "#,
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(Depth {
        due: row.due,
        waiting: row.waiting,
        leased: row.leased,
        suspects: row.suspects,
        oldest_due_seconds: row.oldest,
    })
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

/// Takes up to `limit` deliveries to a recipient domain back that are not in hand: each ends `canceled`, with its event.
/// Gives how many. Crosses tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn cancel_domain(
    connection: &mut PgConnection,
    domain: &str,
    now: OffsetDateTime,
    limit: i64,
) -> Result<u64, StoreError> {
    let taken = sqlx::query!(
        r#"
        DELETE FROM queue q
        USING (SELECT w.lane, w.delivery_id FROM queue w
               WHERE w.domain = $1 AND w.leased_by IS NULL
               LIMIT $2 FOR UPDATE SKIP LOCKED) c
        WHERE q.lane = c.lane AND q.delivery_id = c.delivery_id
        RETURNING q.lane, q.delivery_id, q.tenant_id
        "#,
        domain,
        limit,
    )
    .fetch_all(&mut *connection)
    .await?;
    let lanes: Vec<i16> = taken.iter().map(|row| row.lane).collect();
    let ids: Vec<Uuid> = taken.iter().map(|row| row.delivery_id).collect();
    let tenants: Vec<Uuid> = taken.iter().map(|row| row.tenant_id).collect();
    let events: Vec<Uuid> =
        taken.iter().map(|row| EventId::of(now, Id::from_uuid(row.delivery_id)).uuid()).collect();
    sqlx::query!(
        r#"
        WITH taken AS (
            SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::uuid[]) AS t (lane, id, tenant, event)
        ),
        -- What a pause held of them, it holds no more.
        let_go AS (
            DELETE FROM held h USING taken t WHERE h.lane = t.lane AND h.delivery_id = t.id
        ),
        closed AS (
            INSERT INTO outcomes (lane, ordinal, delivery_id, tenant_id, status, hard, at, class)
            SELECT t.lane, 0, t.id, t.tenant, 'canceled', false, $5, NULL FROM taken t
        )
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT txid_current(), t.lane, 'canceled', t.id, t.event, t.tenant, NULL FROM taken t
        "#,
        &lanes,
        &ids,
        &tenants,
        &events,
        now,
    )
    .execute(connection)
    .await?;
    Ok(taken.len() as u64)
}

/// Marks what is in hand for a recipient domain: it ends as it ends, and is not tried again. Gives how many. Crosses
/// tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn mark_domain_canceled(connection: &mut PgConnection, domain: &str) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE queue q SET cancel_requested = true
        WHERE q.domain = $1 AND q.leased_by IS NOT NULL AND NOT q.cancel_requested
        "#,
        domain,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// What waits for one recipient domain, over all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The domain.
    pub domain: String,
    /// Deliveries that are not finished.
    pub depth: i64,
    /// Of these: due and not in hand.
    pub due: i64,
    /// Of these: in a worker's hands.
    pub leased: i64,
    /// Of these: put aside by a pause.
    pub held: i64,
    /// The one that was accepted first.
    pub oldest: DeliveryId,
    /// One that has been tried: the last that was accepted.
    pub tried: Option<DeliveryId>,
}

/// A page of domains for which mail waits, the deepest first, after `after`. It reads the whole queue.
///
/// # Errors
/// See [`StoreError`].
pub async fn destinations(
    connection: &mut PgConnection,
    domain: Option<&str>,
    after: Option<(i64, &str)>,
    limit: i64,
    now: OffsetDateTime,
) -> Result<Vec<Destination>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT q.domain, count(*) AS "depth!",
               count(*) FILTER (WHERE q.leased_by IS NULL AND q.due_at <= $5) AS "due!",
               count(*) FILTER (WHERE q.leased_by IS NOT NULL) AS "leased!",
               count(h.delivery_id) AS "held!",
               -- Ids sort as their texts do.
               min(q.delivery_id::text)::uuid AS "oldest!",
               (max(q.delivery_id::text) FILTER (WHERE q.attempts > 0))::uuid AS tried
        FROM queue q
        LEFT JOIN (SELECT DISTINCT lane, delivery_id FROM held) h
            ON h.lane = q.lane AND h.delivery_id = q.delivery_id
        WHERE $1::text IS NULL OR q.domain = $1
        GROUP BY q.domain
        HAVING $2::bigint IS NULL OR count(*) < $2 OR (count(*) = $2 AND q.domain > $3)
        ORDER BY 2 DESC, q.domain LIMIT $4
        "#,
        domain,
        after.map(|(depth, _)| depth),
        after.map(|(_, domain)| domain),
        limit,
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Destination {
            domain: row.domain,
            depth: row.depth,
            due: row.due,
            leased: row.leased,
            held: row.held,
            oldest: Id::from_uuid(row.oldest),
            tried: row.tried.map(Id::from_uuid),
        })
        .collect())
}

/// What the last attempt on a delivery came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// When it began.
    pub at: OffsetDateTime,
    /// How far it came.
    pub step: String,
    /// The peer that was spoken to.
    pub host: Option<String>,
    /// The reply's code.
    pub code: Option<i16>,
    /// The reply, or what went wrong.
    pub reply: String,
}

/// The last attempts on these deliveries.
///
/// # Errors
/// See [`StoreError`].
pub async fn last_errors(
    connection: &mut PgConnection,
    deliveries: &[DeliveryId],
) -> Result<Vec<LastError>, StoreError> {
    let lanes: Vec<i16> = deliveries.iter().map(|id| id.lane().number()).collect();
    let ids: Vec<Uuid> = deliveries.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT a.delivery_id, a.started_at, a.step, a.host, a.code, a.reply
        FROM unnest($1::smallint[], $2::uuid[]) AS d (lane, id)
        CROSS JOIN LATERAL (SELECT * FROM attempts t WHERE t.lane = d.lane AND t.delivery_id = d.id
                            ORDER BY t.claim_no DESC LIMIT 1) a
        "#,
        &lanes,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LastError {
            delivery: Id::from_uuid(row.delivery_id),
            at: row.started_at,
            step: row.step,
            host: row.host,
            code: row.code,
            reply: row.reply,
        })
        .collect())
}

/// What of a tenant's mail is not finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnQueue {
    /// Deliveries; at most [`MOST_COUNTED`] are counted.
    pub depth: i64,
    /// Of these: in a worker's hands.
    pub sending: i64,
    /// Of these: due and not in hand.
    pub due: i64,
    /// Of these: tried before.
    pub again: i64,
    /// Since when the one that has been due longest has been so.
    pub due_since: Option<OffsetDateTime>,
}

/// A longer queue is only said to be longer.
pub const MOST_COUNTED: i64 = 10_000;

/// Looks at a tenant's own queue.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_tenant(
    connection: &mut PgConnection,
    tenant: TenantId,
    now: OffsetDateTime,
) -> Result<OwnQueue, StoreError> {
    Ok(sqlx::query_as!(
        OwnQueue,
        r#"
        SELECT count(*) AS "depth!",
               count(*) FILTER (WHERE q.leased_by IS NOT NULL) AS "sending!",
               count(*) FILTER (WHERE q.leased_by IS NULL AND q.due_at <= $2) AS "due!",
               count(*) FILTER (WHERE q.attempts > 0) AS "again!",
               min(q.due_at) FILTER (WHERE q.leased_by IS NULL AND q.due_at <= $2) AS due_since
        FROM (SELECT x.leased_by, x.due_at, x.attempts FROM queue x WHERE x.tenant_id = $1 LIMIT $3) q
        "#,
        tenant.uuid(),
        now,
        MOST_COUNTED + 1,
    )
    .fetch_one(connection)
    .await?)
}
