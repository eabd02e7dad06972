//! Reading messages and their deliveries, for the tenant that owns them.

mod list;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::delivery::{DeliveryStatus, Ending};
use crate::domain::handling::Handling;
use crate::domain::id::{DeliveryId, Id, MessageId, TenantId};

use super::StoreError;

pub use list::{MessageFilter, MessagePage, list};

/// A stored message.
#[derive(Debug, Clone)]
pub struct MessageRow {
    /// Its id; carries its birth.
    pub id: Uuid,
    /// Not before this moment.
    pub send_at: Option<OffsetDateTime>,
    /// How long it is tried.
    pub ttl_seconds: i32,
    /// Octets.
    pub size_bytes: i32,
    /// 0 high, 1 normal, 2 low.
    pub priority: i16,
    /// Never sent.
    pub sandbox: bool,
    /// The Message-ID header.
    pub message_id: String,
    /// As the recipient sees it.
    pub subject: String,
    /// Its stream.
    pub stream: String,
    /// Labels.
    pub tags: Vec<String>,
    /// The caller's own data.
    pub metadata: serde_json::Value,
    /// The mailboxes.
    pub addresses: serde_json::Value,
    /// What was asked of delivery, as stored.
    pub handling: Option<serde_json::Value>,
}

impl MessageRow {
    /// Its id.
    pub fn id(&self) -> MessageId {
        Id::from_uuid(self.id)
    }

    /// What was asked of delivery.
    pub fn handling(&self) -> Handling {
        super::handling::handling(self.handling.as_ref())
    }
}

/// One message.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: MessageId,
) -> Result<Option<MessageRow>, StoreError> {
    Ok(sqlx::query_as!(
        MessageRow,
        r#"
        SELECT id, send_at, ttl_seconds, size_bytes, priority, sandbox, message_id, subject, stream, tags,
               metadata, addresses, handling
        FROM messages WHERE tenant_id = $1 AND lane = $2 AND id = $3
        "#,
        tenant.uuid(),
        id.lane().number(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?)
}

/// The RFC 5322 form of a message; `None`: no such message, its content has left by retention, or it is its
/// recipients' alone.
///
/// # Errors
/// See [`StoreError`].
pub async fn raw(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: MessageId,
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT b.raw FROM messages m JOIN bodies b ON b.lane = m.lane AND b.id = m.id
        WHERE m.tenant_id = $1 AND m.lane = $2 AND m.id = $3 AND m.handling->'confidential' IS NULL
        "#,
        tenant.uuid(),
        id.lane().number(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?)
}

/// A delivery with its state.
#[derive(Debug, Clone)]
pub struct DeliveryRow {
    /// Which delivery.
    pub id: DeliveryId,
    /// 0 To, 1 Cc, 2 Bcc.
    pub role: i16,
    /// To whom.
    pub recipient: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// SMTP attempts so far.
    pub attempts: i32,
    /// When it is tried next, while it waits.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// Of what class the bounce is.
    pub class: Option<String>,
    /// Whether the address is dead.
    pub hard: Option<bool>,
}

/// The deliveries of a message, in their order.
///
/// # Errors
/// See [`StoreError`].
pub async fn deliveries(
    connection: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT d.id, d.role, d.recipient,
               CASE WHEN q.delivery_id IS NULL THEN o.status::text
                    WHEN q.leased_by IS NULL THEN 'queued' ELSE 'sending' END AS status,
               coalesce(q.attempts, t.attempts, 0) AS "attempts!",
               CASE WHEN q.leased_by IS NULL THEN q.due_at END AS next_attempt_at,
               o.at AS "ended_at?", o.class, o.hard AS "hard?"
        FROM deliveries d
        LEFT JOIN queue q ON q.lane = d.lane AND q.delivery_id = d.id
        LEFT JOIN LATERAL (SELECT x.status, x.at, x.class, x.hard FROM outcomes x
                           WHERE x.lane = d.lane AND x.delivery_id = d.id
                           ORDER BY x.ordinal DESC LIMIT 1) o ON true
        LEFT JOIN LATERAL (SELECT max(a.attempt) AS attempts FROM attempts a
                           WHERE a.lane = d.lane AND a.delivery_id = d.id) t ON true
        WHERE d.tenant_id = $1 AND d.lane = $2 AND d.id > $3 AND d.id <= $4
        ORDER BY d.id
        "#,
        tenant.uuid(),
        message.lane().number(),
        message.uuid(),
        message.last_delivery().uuid(),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DeliveryRow {
            id: Id::from_uuid(row.id),
            role: row.role,
            recipient: row.recipient,
            status: status_of(row.status.as_deref()),
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            ended_at: row.ended_at,
            class: row.class,
            hard: row.hard,
        })
        .collect())
}

/// A delivery without queue row or outcome exists only between two statements of a retention run.
fn status_of(text: Option<&str>) -> DeliveryStatus {
    text.and_then(|text| text.parse().ok()).unwrap_or(DeliveryStatus::Ended(Ending::Expired))
}

/// An attempt as it is kept.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    /// Of which delivery.
    pub delivery_id: Uuid,
    /// Its number.
    pub attempt: i32,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// How long it took.
    pub duration_ms: i32,
    /// How far it came.
    pub step: String,
    /// What it meant.
    pub result: String,
    /// Of what class the trouble was.
    pub class: Option<String>,
    /// The peer's name.
    pub host: Option<String>,
    /// The peer's address.
    pub ip: Option<String>,
    /// The address of ours.
    pub source: Option<String>,
    /// Version, cipher and verification.
    pub tls: Option<String>,
    /// The reply's code.
    pub code: Option<i16>,
    /// Its enhanced status.
    pub enhanced: Option<String>,
    /// Its text.
    pub reply: String,
}

/// The attempts of a message's deliveries, in order.
///
/// # Errors
/// See [`StoreError`].
pub async fn attempts(
    connection: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Vec<AttemptRow>, StoreError> {
    Ok(sqlx::query_as!(
        AttemptRow,
        r#"
        SELECT a.delivery_id, a.attempt, a.started_at, a.duration_ms, a.step, a.result, a.class, a.host,
               host(a.ip) AS ip, a.source, a.tls, a.code, a.enhanced, a.reply
        FROM attempts a JOIN deliveries d ON d.lane = a.lane AND d.id = a.delivery_id
        WHERE d.tenant_id = $1 AND d.lane = $2 AND d.id > $3 AND d.id <= $4
          AND a.lane = $2 AND a.delivery_id > $3 AND a.delivery_id <= $4
        ORDER BY a.delivery_id, a.claim_no
        "#,
        tenant.uuid(),
        message.lane().number(),
        message.uuid(),
        message.last_delivery().uuid(),
    )
    .fetch_all(connection)
    .await?)
}

/// How many deliveries of a message stand how.
#[derive(Debug, Clone)]
pub struct StatusCount {
    /// Which message.
    pub message: MessageId,
    /// Where they stand.
    pub status: DeliveryStatus,
    /// How many.
    pub count: i64,
}

/// Counts the deliveries of these messages by status.
///
/// # Errors
/// See [`StoreError`].
pub async fn status_counts(
    connection: &mut PgConnection,
    tenant: TenantId,
    messages: &[MessageId],
) -> Result<Vec<StatusCount>, StoreError> {
    let lanes: Vec<i16> = messages.iter().map(|id| id.lane().number()).collect();
    let first: Vec<Uuid> = messages.iter().map(|id| id.uuid()).collect();
    let last: Vec<Uuid> = messages.iter().map(|id| id.last_delivery().uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT r.first AS "message!", s.status, count(*) AS "count!"
        FROM unnest($2::smallint[], $3::uuid[], $4::uuid[]) AS r (lane, first, last)
        -- Each by its range of keys, and by its key: a planner that joins them otherwise reads all there are. A message has
        -- 1,000 deliveries at most.
        CROSS JOIN LATERAL (SELECT e.lane, e.id FROM deliveries e
                            WHERE e.tenant_id = $1 AND e.lane = r.lane AND e.id > r.first AND e.id <= r.last
                            LIMIT 1024) d
        LEFT JOIN LATERAL (SELECT k.leased_by IS NULL AS waits FROM queue k
                           WHERE k.lane = d.lane AND k.delivery_id = d.id LIMIT 1) q ON true
        LEFT JOIN LATERAL (SELECT x.status FROM outcomes x WHERE x.lane = d.lane AND x.delivery_id = d.id
                           ORDER BY x.ordinal DESC LIMIT 1) o ON true
        CROSS JOIN LATERAL (SELECT CASE WHEN q.waits IS NULL THEN o.status::text
                                        WHEN q.waits THEN 'queued' ELSE 'sending' END) s (status)
        GROUP BY r.first, s.status
        "#,
        tenant.uuid(),
        &lanes,
        &first,
        &last,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StatusCount {
            message: Id::from_uuid(row.message),
            status: status_of(row.status.as_deref()),
            count: row.count,
        })
        .collect())
}

/// How deliveries were answered at birth: what a replayed answer needs.
#[derive(Debug, Clone)]
pub struct Born {
    /// Which delivery.
    pub id: DeliveryId,
    /// To whom.
    pub recipient: String,
    /// It was suppressed from the start.
    pub suppressed: bool,
}

/// The deliveries of a message as they were at its birth, `at` its acceptance.
///
/// # Errors
/// See [`StoreError`].
pub async fn born(
    connection: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
    at: OffsetDateTime,
) -> Result<Vec<Born>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT d.id, d.recipient, EXISTS (
                   SELECT 1 FROM outcomes o WHERE o.lane = d.lane AND o.delivery_id = d.id AND o.ordinal = 0
                     AND o.status = 'suppressed' AND o.at <= $5
               ) AS "suppressed!"
        FROM deliveries d
        WHERE d.tenant_id = $1 AND d.lane = $2 AND d.id > $3 AND d.id <= $4 ORDER BY d.id
        "#,
        tenant.uuid(),
        message.lane().number(),
        message.uuid(),
        message.last_delivery().uuid(),
        at,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Born { id: Id::from_uuid(row.id), recipient: row.recipient, suppressed: row.suppressed })
        .collect())
}
