//! What is still to be posted to webhooks. It crosses tenants: for the dispatcher and the callers.
//!
//! Invariant: of one webhook and one message, a row is claimed only with or after all rows before it.

mod dispatch;
mod replay;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, Id, TenantId, WebhookId};

use super::StoreError;
use super::events;

pub use dispatch::{Dispatched, anything_new, dispatch, lock_follower};
pub use replay::{Again, replay, replay_events};

/// Which of these webhooks have something due.
///
/// # Errors
/// See [`StoreError`].
pub async fn with_due(
    connection: &mut PgConnection,
    webhooks: &[Uuid],
    now: OffsetDateTime,
) -> Result<Vec<WebhookId>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT w.id AS "id!" FROM unnest($1::uuid[]) AS w (id)
        WHERE EXISTS (SELECT 1 FROM webhook_calls c WHERE c.webhook_id = w.id AND c.due_at <= $2)
        "#,
        webhooks,
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}

/// A claimed call.
#[derive(Debug, Clone)]
pub struct ClaimedCall {
    /// Its place in the order of commits.
    pub seq: i64,
    /// The webhook.
    pub webhook: WebhookId,
    /// The message, or the notice's own.
    pub group: Uuid,
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Which event.
    pub event: EventId,
    /// The whole body, if it is a notice.
    pub notice: Option<String>,
    /// The first seq of its batch.
    pub batch: Option<i64>,
    /// Attempts, the coming one included.
    pub attempts: i32,
    /// The fence.
    pub claim_no: i32,
}

/// How calls are claimed.
#[derive(Debug, Clone, Copy)]
pub struct CallTerms {
    /// Now.
    pub now: OffsetDateTime,
    /// When the lease ends.
    pub lease_until: OffsetDateTime,
    /// The most messages whose turn it is.
    pub heads: i64,
    /// The most calls of one message.
    pub depth: i64,
}

/// Locks a webhook for the claim that follows in the same transaction: two processes that claimed for it at
/// once could pass each other within a message. False: somebody else is at it, or it is disabled or gone.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock_webhook(connection: &mut PgConnection, webhook: WebhookId) -> Result<bool, StoreError> {
    let row = sqlx::query_scalar!(
        "SELECT id FROM webhooks WHERE id = $1 AND disabled_at IS NULL FOR NO KEY UPDATE SKIP LOCKED",
        webhook.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

struct Row {
    seq: i64,
    group_id: Uuid,
    delivery_id: Uuid,
    event_id: Uuid,
    notice: Option<String>,
    batch: Option<i64>,
    attempts: i32,
    claim_no: i32,
}

fn calls(webhook: WebhookId, mut rows: Vec<Row>) -> Vec<ClaimedCall> {
    rows.sort_by_key(|row| row.seq);
    let call = |row: Row| ClaimedCall {
        seq: row.seq,
        webhook,
        group: row.group_id,
        delivery: Id::from_uuid(row.delivery_id),
        event: Id::from_uuid(row.event_id),
        notice: row.notice,
        batch: row.batch,
        attempts: row.attempts,
        claim_no: row.claim_no,
    };
    rows.into_iter().map(call).collect()
}

/// Claims due calls of a webhook, counting the attempt: of each message whose turn it is, the first few in
/// order. In order of seq.
///
/// # Errors
/// See [`StoreError`].
pub async fn claim(
    connection: &mut PgConnection,
    webhook: WebhookId,
    terms: CallTerms,
) -> Result<Vec<ClaimedCall>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        WITH heads AS MATERIALIZED (
            SELECT c.group_id, c.seq FROM webhook_calls c
            WHERE c.webhook_id = $1 AND c.due_at <= $2
              AND NOT EXISTS (SELECT 1 FROM webhook_calls e
                              WHERE e.webhook_id = c.webhook_id AND e.group_id = c.group_id AND e.seq < c.seq)
            ORDER BY c.due_at, c.seq LIMIT $4
        ),
        picked AS MATERIALIZED (
            SELECT h.group_id, f.seq FROM heads h
            CROSS JOIN LATERAL (
                SELECT c.seq FROM webhook_calls c
                WHERE c.webhook_id = $1 AND c.group_id = h.group_id AND c.seq >= h.seq
                ORDER BY c.seq LIMIT $5
            ) f
        )
        UPDATE webhook_calls c SET due_at = $3, attempts = c.attempts + 1, claim_no = c.claim_no + 1
        FROM picked p
        WHERE c.webhook_id = $1 AND c.group_id = p.group_id AND c.seq = p.seq
        RETURNING c.seq, c.group_id, c.delivery_id, c.event_id, c.notice, c.batch, c.attempts, c.claim_no
        "#,
        webhook.uuid(),
        terms.now,
        terms.lease_until,
        terms.heads,
        terms.depth,
    )
    .fetch_all(connection)
    .await?;
    Ok(calls(webhook, rows))
}

/// Claims the batch that is due first, as it was when it was tried before; empty: none is due.
///
/// # Errors
/// See [`StoreError`].
pub async fn claim_batch(
    connection: &mut PgConnection,
    webhook: WebhookId,
    terms: CallTerms,
) -> Result<Vec<ClaimedCall>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        WITH due AS (
            SELECT c.batch FROM webhook_calls c
            WHERE c.webhook_id = $1 AND c.batch IS NOT NULL AND c.due_at <= $2 ORDER BY c.due_at LIMIT 1
        )
        UPDATE webhook_calls c SET due_at = $3, attempts = c.attempts + 1, claim_no = c.claim_no + 1
        FROM due d
        WHERE c.webhook_id = $1 AND c.batch = d.batch
        RETURNING c.seq, c.group_id, c.delivery_id, c.event_id, c.notice, c.batch, c.attempts, c.claim_no
        "#,
        webhook.uuid(),
        terms.now,
        terms.lease_until,
    )
    .fetch_all(connection)
    .await?;
    Ok(calls(webhook, rows))
}

/// Claims up to `limit` calls that were never tried and makes them a batch; empty: there are none.
///
/// # Errors
/// See [`StoreError`].
pub async fn claim_new_batch(
    connection: &mut PgConnection,
    webhook: WebhookId,
    terms: CallTerms,
    limit: i64,
) -> Result<Vec<ClaimedCall>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        -- Not behind a batch that waits for its next try.
        WITH picked AS MATERIALIZED (
            SELECT c.group_id, c.seq FROM webhook_calls c
            WHERE c.webhook_id = $1 AND c.due_at <= $2 AND c.batch IS NULL
              AND NOT EXISTS (SELECT 1 FROM webhook_calls e
                              WHERE e.webhook_id = c.webhook_id AND e.group_id = c.group_id AND e.seq < c.seq
                                AND (e.batch IS NOT NULL OR e.due_at > $2))
            ORDER BY c.due_at, c.seq LIMIT $4
        )
        UPDATE webhook_calls c
        SET due_at = $3, attempts = c.attempts + 1, claim_no = c.claim_no + 1,
            batch = (SELECT min(p.seq) FROM picked p)
        FROM picked p
        WHERE c.webhook_id = $1 AND c.group_id = p.group_id AND c.seq = p.seq
        RETURNING c.seq, c.group_id, c.delivery_id, c.event_id, c.notice, c.batch, c.attempts, c.claim_no
        "#,
        webhook.uuid(),
        terms.now,
        terms.lease_until,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(calls(webhook, rows))
}

/// Reads the events of claimed calls; those whose partition is gone are missing.
///
/// # Errors
/// See [`StoreError`].
pub async fn load_events(
    connection: &mut PgConnection,
    calls: &[ClaimedCall],
) -> Result<Vec<Event>, StoreError> {
    let of_mail = || calls.iter().filter(|call| call.notice.is_none());
    let lanes: Vec<i16> = of_mail().map(|call| call.delivery.lane().number()).collect();
    let deliveries: Vec<Uuid> = of_mail().map(|call| call.delivery.uuid()).collect();
    let events: Vec<Uuid> = of_mail().map(|call| call.event.uuid()).collect();
    events::by_key(connection, &lanes, &deliveries, &events).await
}

/// What follows for a claimed call.
#[derive(Debug, Clone, Copy)]
pub struct CallResult {
    /// The webhook.
    pub webhook: WebhookId,
    /// The message.
    pub group: Uuid,
    /// Its place.
    pub seq: i64,
    /// The claim it belongs to.
    pub claim_no: i32,
    /// When it is tried again; `None`: it is done with.
    pub due_at: Option<OffsetDateTime>,
    /// It was not tried after all: the attempt does not count.
    pub refund: i32,
}

/// Writes results; a call that was claimed again since is not touched.
///
/// # Errors
/// See [`StoreError`].
pub async fn finish(connection: &mut PgConnection, results: &[CallResult]) -> Result<(), StoreError> {
    let webhooks: Vec<Uuid> = results.iter().map(|result| result.webhook.uuid()).collect();
    let groups: Vec<Uuid> = results.iter().map(|result| result.group).collect();
    let seqs: Vec<i64> = results.iter().map(|result| result.seq).collect();
    let claims: Vec<i32> = results.iter().map(|result| result.claim_no).collect();
    let due: Vec<Option<OffsetDateTime>> = results.iter().map(|result| result.due_at).collect();
    let refunds: Vec<i32> = results.iter().map(|result| result.refund).collect();
    sqlx::query!(
        r#"
        WITH input AS (
            SELECT r.webhook_id, r.group_id, r.seq, r.claim_no, r.due_at, r.refund
            FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::int[], $5::timestamptz[], $6::int[])
                AS r (webhook_id, group_id, seq, claim_no, due_at, refund)
        ),
        done AS (
            DELETE FROM webhook_calls c USING input i
            WHERE c.webhook_id = i.webhook_id AND c.group_id = i.group_id AND c.seq = i.seq
              AND c.claim_no = i.claim_no AND i.due_at IS NULL
        )
        UPDATE webhook_calls c SET due_at = i.due_at, attempts = c.attempts - i.refund
        FROM input i
        WHERE c.webhook_id = i.webhook_id AND c.group_id = i.group_id AND c.seq = i.seq
          AND c.claim_no = i.claim_no AND i.due_at IS NOT NULL
        "#,
        &webhooks,
        &groups,
        &seqs,
        &claims,
        &due as _,
        &refunds,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds a body of its own for every enabled webhook of a tenant that takes notices of this type. Gives for how
/// many.
///
/// # Errors
/// See [`StoreError`].
pub async fn add_notice(
    connection: &mut PgConnection,
    tenant: TenantId,
    notice: &Notice<'_>,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO webhook_calls (webhook_id, tenant_id, group_id, delivery_id, event_id, notice, due_at)
        SELECT w.id, w.tenant_id, $3, $3, $3, $4, $5 FROM webhooks w
        WHERE w.tenant_id = $1 AND w.disabled_at IS NULL AND (w.types IS NULL OR $2 = ANY (w.types))
        "#,
        tenant.uuid(),
        notice.kind,
        notice.id.uuid(),
        notice.body,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// A body that is no event of mail.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// Its name.
    pub id: EventId,
    /// Its type.
    pub kind: &'a str,
    /// The whole body.
    pub body: &'a str,
}

/// Forgets the calls of webhooks that are gone, and those nobody has claimed for so long that their webhook
/// must be disabled.
///
/// # Errors
/// See [`StoreError`].
pub async fn sweep(connection: &mut PgConnection, due_before: OffsetDateTime) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM webhook_calls c
        WHERE c.due_at < $1 OR NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.id = c.webhook_id)
        "#,
        due_before,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
