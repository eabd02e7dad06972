//! Claims: how a worker gets mail that waits in the table. They cross tenants.
//!
//! A claim is one short statement of its own: it counts the attempt, raises the fence and sets the lease
//! before anything is dialled. It takes from one lane; from each tenant with due mail an equal share; and from
//! one tenant by priority, keeping a twentieth for low priority.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::handling::{Handling, Particulars};
use crate::domain::id::{DeliveryId, Id, Lane, MessageId, TenantId};

use super::{StoreError, handling};

/// A row that was claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Whose.
    pub tenant: TenantId,
    /// The fence.
    pub claim_no: i32,
    /// SMTP attempts, the coming one included.
    pub attempts: i32,
    /// 0 high, 1 normal, 2 low.
    pub priority: i16,
    /// How many delay thresholds have been told.
    pub delay_notices: i16,
    /// When its time runs out.
    pub expires_at: OffsetDateTime,
    /// Its sender took it back while it was in hand.
    pub cancel_requested: bool,
    /// The address of ours that the last attempt was made from.
    pub source: Option<String>,
}

/// The terms of a claim.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Now: what is due before it may be claimed.
    pub now: OffsetDateTime,
    /// When the lease ends.
    pub lease_until: OffsetDateTime,
    /// Who claims.
    pub incarnation: i32,
    /// At most so many rows.
    pub limit: i64,
}

/// Three claims without a result make a row a poison suspect: from then on it is claimed alone.
pub const SUSPECT_AFTER: i16 = 3;

/// Claims due mail of one lane, fairly between tenants. Poison suspects are left out.
///
/// # Errors
/// Nothing was claimed, but for [`StoreError::Unavailable`], after which the leases run out by themselves.
pub async fn claim(
    connection: &mut PgConnection,
    lane: Lane,
    terms: Terms,
) -> Result<Vec<Claimed>, StoreError> {
    let mut rows = sqlx::query!(
        r#"
        -- The tenants of this lane, by skipping from one to the next in the index.
        WITH RECURSIVE tenant (id) AS (
            (SELECT q.tenant_id FROM queue q WHERE q.lane = $1 ORDER BY q.tenant_id LIMIT 1)
            UNION ALL
            SELECT (SELECT q.tenant_id FROM queue q WHERE q.lane = $1 AND q.tenant_id > t.id
                    ORDER BY q.tenant_id LIMIT 1)
            FROM tenant t WHERE t.id IS NOT NULL
        ),
        -- Those that may send and have something due.
        active AS MATERIALIZED (
            SELECT t.id FROM tenant t
            WHERE t.id IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM tenants x WHERE x.id = t.id AND x.suspended_at IS NOT NULL)
              AND EXISTS (SELECT 1 FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) p (priority)
                          CROSS JOIN LATERAL (SELECT 1 FROM queue q
                                WHERE q.lane = $1 AND q.tenant_id = t.id AND q.priority = p.priority
                                  AND q.due_at <= $2 LIMIT 1) due)
        ),
        share AS MATERIALIZED (SELECT greatest(1, $5::bigint / greatest(1, count(*))) AS size FROM active),
        -- Each tenant's share of every priority, oldest first; rows in other hands are skipped.
        offered AS (
            SELECT a.id AS tenant_id, p.priority, c.delivery_id, c.nth
            FROM active a
            CROSS JOIN (VALUES (0::smallint), (1::smallint), (2::smallint)) p (priority)
            CROSS JOIN LATERAL (
                SELECT s.delivery_id, row_number() OVER (ORDER BY s.due_at) AS nth
                FROM (SELECT q.delivery_id, q.due_at FROM queue q
                      WHERE q.lane = $1 AND q.tenant_id = a.id AND q.priority = p.priority
                        AND q.due_at <= $2 AND q.unresolved < $6
                      ORDER BY q.due_at LIMIT (SELECT size FROM share)
                      FOR UPDATE SKIP LOCKED) s) c
        ),
        -- High before normal before low, but a twentieth of the share is kept for low.
        chosen AS (
            SELECT r.delivery_id FROM (
                SELECT o.delivery_id, row_number() OVER (
                    PARTITION BY o.tenant_id
                    ORDER BY (o.priority = 2 AND o.nth <= greatest(1, share.size / 20)) DESC, o.priority, o.nth
                ) AS rank, share.size
                FROM offered o, share) r
            WHERE r.rank <= r.size
        )
        UPDATE queue q
        SET due_at = $3, leased_by = $4, claim_no = q.claim_no + 1, attempts = q.attempts + 1,
            unresolved = q.unresolved + 1
        -- An array, and no join: a planner that believes the queue to be empty would choose anew for each of its rows.
        WHERE q.lane = $1 AND q.delivery_id = ANY (ARRAY(SELECT c.delivery_id FROM chosen c))
        RETURNING q.delivery_id, q.tenant_id, q.claim_no, q.attempts, q.priority, q.delay_notices,
                  q.expires_at, q.cancel_requested, q.source,
                  array_position(ARRAY(SELECT c.delivery_id FROM chosen c), q.delivery_id) AS "nth!"
        "#,
        lane.number(),
        terms.now,
        terms.lease_until,
        terms.incarnation,
        terms.limit,
        SUSPECT_AFTER,
    )
    .fetch_all(connection)
    .await?;
    // In the order in which they were chosen: what is to go first is dispatched first.
    rows.sort_unstable_by_key(|row| row.nth);
    Ok(rows
        .into_iter()
        .map(|row| Claimed {
            delivery: Id::from_uuid(row.delivery_id),
            tenant: Id::from_uuid(row.tenant_id),
            claim_no: row.claim_no,
            attempts: row.attempts,
            priority: row.priority,
            delay_notices: row.delay_notices,
            expires_at: row.expires_at,
            cancel_requested: row.cancel_requested,
            source: row.source,
        })
        .collect())
}

/// A poison suspect, claimed alone, and how many claims it has had without a result.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// The row.
    pub claimed: Claimed,
    /// Claims without a result, this one included.
    pub unresolved: i16,
}

/// Claims one due poison suspect of a lane, if there is one.
///
/// # Errors
/// As [`claim`].
pub async fn claim_suspect(
    connection: &mut PgConnection,
    lane: Lane,
    terms: Terms,
) -> Result<Option<Suspect>, StoreError> {
    let row = sqlx::query!(
        r#"
        UPDATE queue q
        SET due_at = $3, leased_by = $4, claim_no = q.claim_no + 1, attempts = q.attempts + 1,
            unresolved = q.unresolved + 1
        FROM (SELECT s.delivery_id FROM queue s
              WHERE s.lane = $1 AND s.due_at <= $2 AND s.unresolved >= $5
              ORDER BY s.delivery_id LIMIT 1
              FOR UPDATE SKIP LOCKED) c
        WHERE q.lane = $1 AND q.delivery_id = c.delivery_id
        RETURNING q.delivery_id, q.tenant_id, q.claim_no, q.attempts, q.priority, q.delay_notices,
                  q.expires_at, q.cancel_requested, q.source, q.unresolved
        "#,
        lane.number(),
        terms.now,
        terms.lease_until,
        terms.incarnation,
        SUSPECT_AFTER,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Suspect {
        unresolved: row.unresolved,
        claimed: Claimed {
            delivery: Id::from_uuid(row.delivery_id),
            tenant: Id::from_uuid(row.tenant_id),
            claim_no: row.claim_no,
            attempts: row.attempts,
            priority: row.priority,
            delay_notices: row.delay_notices,
            expires_at: row.expires_at,
            cancel_requested: row.cancel_requested,
            source: row.source,
        },
    }))
}

/// Whether a claim is still without a result.
///
/// # Errors
/// See [`StoreError`].
pub async fn is_unresolved(connection: &mut PgConnection, claimed: &Claimed) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT 1 FROM queue WHERE lane = $1 AND delivery_id = $2 AND claim_no = $3
                         AND unresolved > 0 AND leased_by IS NOT NULL) AS "held!"
        "#,
        claimed.delivery.lane().number(),
        claimed.delivery.uuid(),
        claimed.claim_no,
    )
    .fetch_one(connection)
    .await?)
}

/// What delivering a claimed row needs of its delivery.
#[derive(Debug)]
pub struct LoadedDelivery {
    /// Which delivery.
    pub id: DeliveryId,
    /// To whom, as it was stored.
    pub recipient: String,
    /// What is this recipient's alone.
    pub particulars: Particulars,
    /// The recipient is not to be mailed any more.
    pub suppressed: bool,
}

/// Reads the recipients of claimed deliveries, each with the stream of its message, and whether they have been
/// suppressed since.
///
/// # Errors
/// See [`StoreError`].
pub async fn load_deliveries(
    connection: &mut PgConnection,
    claimed: &[(DeliveryId, &str)],
) -> Result<Vec<LoadedDelivery>, StoreError> {
    let lanes: Vec<i16> = claimed.iter().map(|(delivery, _)| delivery.lane().number()).collect();
    let ids: Vec<Uuid> = claimed.iter().map(|(delivery, _)| delivery.uuid()).collect();
    let streams: Vec<&str> = claimed.iter().map(|(_, stream)| *stream).collect();
    let rows = sqlx::query!(
        r#"
        -- OFFSET 0: each row is looked up by its whole key. Left to itself the planner may read all of a lane.
        SELECT d.id, d.recipient, d.particulars,
               EXISTS (SELECT 1 FROM suppressions s
                       WHERE s.tenant_id = d.tenant_id AND s.address = lower(d.recipient)
                         AND s.stream IN ('', c.stream)) AS "suppressed!"
        FROM unnest($1::smallint[], $2::uuid[], $3::text[]) AS c (lane, id, stream)
        CROSS JOIN LATERAL (SELECT x.id, x.tenant_id, x.recipient, x.particulars FROM deliveries x
                            WHERE x.lane = c.lane AND x.id = c.id OFFSET 0) d
        "#,
        &lanes,
        &ids,
        &streams as _,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LoadedDelivery {
            id: Id::from_uuid(row.id),
            recipient: row.recipient,
            particulars: handling::particulars(row.particulars.as_ref()),
            suppressed: row.suppressed,
        })
        .collect())
}

/// What delivering a claimed row needs of its message.
#[derive(Debug)]
pub struct LoadedMessage {
    /// Which message.
    pub id: MessageId,
    /// Whose.
    pub tenant: TenantId,
    /// Its stream.
    pub stream: String,
    /// The address of From.
    pub sender: String,
    /// How long it is tried.
    pub ttl_seconds: i32,
    /// The headers hold UTF-8.
    pub needs_smtputf8: bool,
    /// There are octets above 127 in it.
    pub eight_bit: bool,
    /// Signed or encrypted.
    pub protected: bool,
    /// What is asked of delivery.
    pub handling: Handling,
    /// The RFC 5322 form; `None`: its content has left by retention.
    pub raw: Option<Vec<u8>>,
}

/// Reads the messages of claimed deliveries, each once.
///
/// # Errors
/// See [`StoreError`].
pub async fn load_messages(
    connection: &mut PgConnection,
    messages: &[MessageId],
) -> Result<Vec<LoadedMessage>, StoreError> {
    let lanes: Vec<i16> = messages.iter().map(|id| id.lane().number()).collect();
    let ids: Vec<Uuid> = messages.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        -- OFFSET 0: as in `load_deliveries`.
        SELECT m.id, m.tenant_id, m.stream, m.sender, m.ttl_seconds, m.needs_smtputf8, m.eight_bit,
               m.protected, m.handling, b.raw AS "raw?"
        FROM unnest($1::smallint[], $2::uuid[]) AS c (lane, id)
        CROSS JOIN LATERAL (SELECT x.id, x.tenant_id, x.stream, x.sender, x.ttl_seconds, x.needs_smtputf8,
                                   x.eight_bit, x.protected, x.handling
                            FROM messages x WHERE x.lane = c.lane AND x.id = c.id OFFSET 0) m
        LEFT JOIN LATERAL (SELECT y.raw FROM bodies y WHERE y.lane = c.lane AND y.id = c.id OFFSET 0) b ON true
        "#,
        &lanes,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| LoadedMessage {
            id: Id::from_uuid(row.id),
            tenant: Id::from_uuid(row.tenant_id),
            stream: row.stream,
            sender: row.sender,
            ttl_seconds: row.ttl_seconds,
            needs_smtputf8: row.needs_smtputf8,
            eight_bit: row.eight_bit,
            protected: row.protected,
            handling: handling::handling(row.handling.as_ref()),
            raw: row.raw,
        })
        .collect())
}

/// Which of these tenants have due mail waiting in the table, in any lane below `lanes`.
///
/// # Errors
/// See [`StoreError`].
pub async fn tenants_with_due_mail(
    connection: &mut PgConnection,
    tenants: &[TenantId],
    lanes: i16,
    now: OffsetDateTime,
) -> Result<Vec<TenantId>, StoreError> {
    let ids: Vec<Uuid> = tenants.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_scalar!(
        r#"
        SELECT t.id AS "id!" FROM unnest($1::uuid[]) AS t (id)
        WHERE EXISTS (SELECT 1 FROM generate_series(0, $2::int - 1) l (lane)
                      CROSS JOIN (VALUES (0::smallint), (1::smallint), (2::smallint)) p (priority)
                      CROSS JOIN LATERAL (SELECT 1 FROM queue q
                            WHERE q.lane = l.lane::smallint AND q.tenant_id = t.id
                              AND q.priority = p.priority AND q.due_at <= $3 LIMIT 1) due)
        "#,
        &ids,
        i32::from(lanes),
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Id::from_uuid).collect())
}
