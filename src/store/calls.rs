//! What is still to be posted to webhooks. It crosses tenants: for the dispatcher and the callers.
//!
//! Invariant: of one webhook and one message, a row is claimed only with or after all rows before it.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, Id, TenantId, WebhookId};

use super::StoreError;
use super::events::{self, Position};

/// What one step of dispatching did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatched {
    /// Events that were looked at.
    pub events: usize,
    /// How many calls they became.
    pub calls: usize,
    /// Whether there may be more.
    pub more: bool,
}

/// Whether there is anything to read: asked before the reader's place is taken, so that an idle
/// installation writes nothing.
///
/// # Errors
/// See [`StoreError`].
pub async fn anything_new(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT 1 FROM events e
                       WHERE e.txid >= f.txid AND e.txid < txid_snapshot_xmin(txid_current_snapshot())
                         AND (e.txid > f.txid OR e.id > f.event_id)) AS "new!"
        FROM followers f WHERE f.name = 'webhooks'
        "#
    )
    .fetch_one(connection)
    .await?)
}

/// Takes the reader's place for this transaction; `None`: somebody else has it.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock_follower(connection: &mut PgConnection) -> Result<Option<Position>, StoreError> {
    let row =
        sqlx::query!("SELECT txid, event_id FROM followers WHERE name = 'webhooks' FOR UPDATE SKIP LOCKED")
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|row| Position { txid: row.txid, id: row.event_id }))
}

/// Turns the events after `after` into calls, up to the horizon or `limit` events, and moves the reader on. The
/// caller's transaction holds the reader's place, so that events become calls exactly once.
///
/// # Errors
/// See [`StoreError`].
pub async fn dispatch(
    connection: &mut PgConnection,
    after: Position,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Dispatched, StoreError> {
    let horizon = events::horizon(connection).await?;
    let from = sqlx::query_scalar!(
        "SELECT min(txid_snapshot_xmin(from_snapshot)) FROM webhooks WHERE disabled_at IS NULL"
    )
    .fetch_one(&mut *connection)
    .await?;
    // What was before the first webhook is nobody's.
    let after = match from {
        None => return Ok(Dispatched { events: 0, calls: 0, more: false }),
        Some(from) if from > after.txid => Position { txid: from, id: Uuid::nil() },
        Some(_) => after,
    };
    let row = sqlx::query!(
        r#"
        WITH page AS MATERIALIZED (
            SELECT e.txid, e.id, e.lane, e.delivery_id, e.tenant_id, e.type::text AS type
            FROM events e
            WHERE e.txid >= $1 AND e.txid < $3 AND (e.txid > $1 OR e.id > $2)
              AND e.tenant_id IN (SELECT w.tenant_id FROM webhooks w WHERE w.disabled_at IS NULL)
            ORDER BY e.txid, e.id LIMIT $4
        ),
        -- Only webhooks that are narrowed to streams or tags need the message.
        wanted AS (
            SELECT p.txid, p.id, p.delivery_id, p.tenant_id, w.id AS webhook_id
            FROM page p
            JOIN webhooks w ON w.tenant_id = p.tenant_id
            WHERE w.disabled_at IS NULL AND NOT txid_visible_in_snapshot(p.txid, w.from_snapshot)
              AND (w.types IS NULL OR p.type = ANY (w.types))
              AND ((w.streams IS NULL AND w.tags IS NULL)
                   OR EXISTS (SELECT 1 FROM messages m
                              WHERE m.lane = p.lane AND m.id = message_of(p.delivery_id)
                                AND (w.streams IS NULL OR m.stream = ANY (w.streams))
                                AND (w.tags IS NULL OR m.tags && w.tags)))
        ),
        -- Numbered in the order of commits.
        called AS (
            INSERT INTO webhook_calls (webhook_id, tenant_id, group_id, delivery_id, event_id, due_at)
            SELECT w.webhook_id, w.tenant_id, message_of(w.delivery_id), w.delivery_id, w.id, $5
            FROM wanted w ORDER BY w.txid, w.id
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM page) AS "events!",
               (SELECT count(*) FROM called) AS "calls!",
               (SELECT p.txid FROM page p ORDER BY p.txid DESC, p.id DESC LIMIT 1) AS last_txid,
               (SELECT p.id FROM page p ORDER BY p.txid DESC, p.id DESC LIMIT 1) AS last_id
        "#,
        after.txid,
        after.id,
        horizon.txid,
        limit,
        now,
    )
    .fetch_one(&mut *connection)
    .await?;
    let more = row.events >= limit;
    let reached = match row.last_txid.zip(row.last_id) {
        Some((txid, id)) if more => Position { txid, id },
        _ => horizon,
    };
    if reached.txid > after.txid || reached.id != after.id {
        sqlx::query!(
            "UPDATE followers SET txid = $1, event_id = $2 WHERE name = 'webhooks'",
            reached.txid,
            reached.id,
        )
        .execute(connection)
        .await?;
    }
    Ok(Dispatched { events: row.events as usize, calls: row.calls as usize, more })
}

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

/// Which events are posted again.
#[derive(Debug, Clone, Copy)]
pub struct Again {
    /// Of this moment or later.
    pub since: OffsetDateTime,
    /// Before this moment.
    pub until: OffsetDateTime,
    /// After this event: where an earlier call stopped.
    pub after: Option<EventId>,
    /// The most of them.
    pub limit: i64,
}

/// Queues a tenant's events of a time for a webhook that takes them, oldest first. Gives how many, and the
/// last event that was looked at if there may be more.
///
/// # Errors
/// See [`StoreError`].
pub async fn replay(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    again: Again,
    now: OffsetDateTime,
) -> Result<(u64, Option<EventId>), StoreError> {
    let row = sqlx::query!(
        r#"
        WITH page AS MATERIALIZED (
            SELECT e.id, e.lane, e.delivery_id, e.type::text AS type FROM events e
            WHERE e.tenant_id = $1 AND e.id >= $3 AND e.id < $4 AND ($5::uuid IS NULL OR e.id > $5)
            ORDER BY e.id LIMIT $6
        ),
        called AS (
            INSERT INTO webhook_calls (webhook_id, tenant_id, group_id, delivery_id, event_id, due_at)
            SELECT w.id, w.tenant_id, message_of(p.delivery_id), p.delivery_id, p.id, $7
            FROM page p JOIN webhooks w ON w.tenant_id = $1 AND w.id = $2
            WHERE (w.types IS NULL OR p.type = ANY (w.types))
              AND ((w.streams IS NULL AND w.tags IS NULL)
                   OR EXISTS (SELECT 1 FROM messages m
                              WHERE m.lane = p.lane AND m.id = message_of(p.delivery_id)
                                AND (w.streams IS NULL OR m.stream = ANY (w.streams))
                                AND (w.tags IS NULL OR m.tags && w.tags)))
            ORDER BY p.id
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM page) AS "events!", (SELECT count(*) FROM called) AS "calls!",
               (SELECT p.id FROM page p ORDER BY p.id DESC LIMIT 1) AS last_id
        "#,
        tenant.uuid(),
        webhook.uuid(),
        crate::domain::id::floor_at(again.since),
        crate::domain::id::floor_at(again.until),
        again.after.map(Id::uuid),
        again.limit,
        now,
    )
    .fetch_one(connection)
    .await?;
    let last = row.last_id.filter(|_| row.events >= again.limit).map(Id::from_uuid);
    Ok((row.calls as u64, last))
}

/// Queues these events of a tenant for a webhook, in this order. Gives how many are still stored.
///
/// # Errors
/// See [`StoreError`].
pub async fn replay_events(
    connection: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    events: &[(DeliveryId, EventId)],
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let lanes: Vec<i16> = events.iter().map(|(delivery, _)| delivery.lane().number()).collect();
    let deliveries: Vec<Uuid> = events.iter().map(|(delivery, _)| delivery.uuid()).collect();
    let ids: Vec<Uuid> = events.iter().map(|(_, event)| event.uuid()).collect();
    let done = sqlx::query!(
        r#"
        INSERT INTO webhook_calls (webhook_id, tenant_id, group_id, delivery_id, event_id, due_at)
        SELECT $2, e.tenant_id, message_of(e.delivery_id), e.delivery_id, e.id, $6
        FROM unnest($3::smallint[], $4::uuid[], $5::uuid[]) WITH ORDINALITY AS w (lane, delivery_id, id, place)
        JOIN events e ON e.lane = w.lane AND e.delivery_id = w.delivery_id AND e.id = w.id
        WHERE e.tenant_id = $1 ORDER BY w.place
        "#,
        tenant.uuid(),
        webhook.uuid(),
        &lanes,
        &deliveries,
        &ids,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
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
