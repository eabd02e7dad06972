//! Looking at the queue: how much there is, what waits for whom, and what the last try came to.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{DeliveryId, Id, TenantId};

use super::super::StoreError;

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
