//! From events to calls: what the one reader of all events writes.
//!
//! Invariant: calls and the reader's place are written by one transaction, which holds that place.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::StoreError;
use super::super::events::{self, Position};

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
