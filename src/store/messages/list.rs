//! Lists of messages.
//!
//! They are keyset pages, newest first. When a filter is about deliveries (recipient, status), the page's
//! candidates come from that filter's own index, some hundred at a time, and the rest is checked on them; any other
//! filter is checked on a bounded number of messages: no query ever reads through all of a tenant's mail. Such a
//! page may be shorter than asked for, or even empty, and still have a next one.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::delivery::{DeliveryStatus, Ending};
use crate::domain::id::{DeliveryId, Id, MessageId, TenantId, floor_at};
use crate::store::StoreError;

use super::MessageRow;

/// What a list is narrowed by. `None` everywhere: nothing.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// At least one delivery stands so.
    pub status: Option<DeliveryStatus>,
    /// A recipient, in canonical form.
    pub to: Option<String>,
    /// The author's address, in any case.
    pub from: Option<String>,
    /// Part of the subject, in any case.
    pub subject: Option<String>,
    /// One of its tags.
    pub tag: Option<String>,
    /// Its stream.
    pub stream: Option<String>,
    /// Born at this moment or later.
    pub since: Option<OffsetDateTime>,
    /// Born before this moment.
    pub until: Option<OffsetDateTime>,
}

/// A page of messages, and where the next one begins.
#[derive(Debug, Clone)]
pub struct MessagePage {
    /// Newest first.
    pub messages: Vec<MessageRow>,
    /// `None`: this is the last page.
    pub next: Option<MessageId>,
}

/// How many candidates are looked at in one round, and how many rounds make a page.
const CANDIDATES: i64 = 500;
const ROUNDS: usize = 6;

/// A page of a tenant's messages that match `filter`, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &MessageFilter,
    before: Option<MessageId>,
    limit: usize,
) -> Result<MessagePage, StoreError> {
    if filter.to.is_none() && filter.status.is_none() {
        return by_scan(connection, tenant, filter, before, limit).await;
    }
    by_candidates(connection, tenant, filter, before, limit).await
}

/// How many messages are looked at for a page whose filter has no index.
const SCANNED: i64 = 20_000;

async fn by_scan(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &MessageFilter,
    before: Option<MessageId>,
    limit: usize,
) -> Result<MessagePage, StoreError> {
    let (from, below) = bounds(filter, before);
    let narrows =
        [&filter.from, &filter.subject, &filter.tag, &filter.stream].iter().any(|one| one.is_some());
    let end = if narrows { scan_end(connection, tenant, from, below).await? } else { None };
    let range = (end.unwrap_or(from), below);
    let mut messages = matching(connection, tenant, filter, range, limit + 1).await?;
    let more = messages.len() > limit;
    messages.truncate(limit);
    let last = messages.last().filter(|_| more).map(MessageRow::id);
    Ok(MessagePage { messages, next: last.or(end.map(Id::from_uuid)) })
}

/// The last message that is looked at; `None`: there are fewer.
async fn scan_end(
    connection: &mut PgConnection,
    tenant: TenantId,
    from: Uuid,
    below: Uuid,
) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT m.id FROM messages m WHERE m.tenant_id = $1 AND m.id >= $2 AND m.id < $3
        ORDER BY m.id DESC OFFSET $4 LIMIT 1
        "#,
        tenant.uuid(),
        from,
        below,
        SCANNED - 1,
    )
    .fetch_optional(connection)
    .await?)
}

async fn by_candidates(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &MessageFilter,
    mut before: Option<MessageId>,
    limit: usize,
) -> Result<MessagePage, StoreError> {
    let mut page: Vec<MessageRow> = Vec::new();
    for _ in 0..ROUNDS {
        let deliveries = candidates(connection, tenant, filter, before).await?;
        let exhausted = deliveries.len() < CANDIDATES as usize;
        let mut ids: Vec<Uuid> = deliveries.iter().map(|id| id.message().uuid()).collect();
        ids.dedup();
        // The oldest message of a full round may have more deliveries in the next one.
        if !exhausted && ids.len() > 1 {
            ids.pop();
        }
        for message in matching_among(connection, tenant, filter, &ids, limit + 1).await? {
            page.push(message);
            if page.len() > limit {
                page.truncate(limit);
                let next = page.last().map(MessageRow::id);
                return Ok(MessagePage { messages: page, next });
            }
        }
        if exhausted {
            return Ok(MessagePage { messages: page, next: None });
        }
        before = ids.last().copied().map(Id::from_uuid);
    }
    Ok(MessagePage { messages: page, next: before })
}

/// Deliveries from the index of the narrowest filter about deliveries, newest first.
async fn candidates(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &MessageFilter,
    before: Option<MessageId>,
) -> Result<Vec<DeliveryId>, StoreError> {
    let (from, below) = bounds(filter, before);
    let ids = match (&filter.to, filter.status) {
        (Some(recipient), _) => by_recipient(connection, tenant, recipient, from, below).await?,
        (None, Some(DeliveryStatus::Ended(ending))) => {
            by_ending(connection, tenant, ending, from, below).await?
        }
        (None, status) => {
            let in_hand = status == Some(DeliveryStatus::Sending);
            in_queue(connection, tenant, in_hand, from, below).await?
        }
    };
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}

/// The range of ids a page may come from.
fn bounds(filter: &MessageFilter, before: Option<MessageId>) -> (Uuid, Uuid) {
    let from = filter.since.map_or(Uuid::nil(), floor_at);
    let until = filter.until.map_or(Uuid::max(), floor_at);
    (from, before.map_or(until, |before| until.min(before.uuid())))
}

async fn by_recipient(
    connection: &mut PgConnection,
    tenant: TenantId,
    recipient: &str,
    from: Uuid,
    below: Uuid,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT d.id FROM deliveries d
        WHERE d.tenant_id = $1 AND lower(d.recipient) = $2 AND d.id >= $3 AND d.id < $4
        ORDER BY d.id DESC LIMIT $5
        "#,
        tenant.uuid(),
        recipient,
        from,
        below,
        CANDIDATES,
    )
    .fetch_all(connection)
    .await?)
}

async fn by_ending(
    connection: &mut PgConnection,
    tenant: TenantId,
    ending: Ending,
    from: Uuid,
    below: Uuid,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT o.delivery_id FROM outcomes o
        WHERE o.tenant_id = $1 AND o.status = $2::text::delivery_status
          AND o.delivery_id >= $3 AND o.delivery_id < $4
        ORDER BY o.delivery_id DESC LIMIT $5
        "#,
        tenant.uuid(),
        ending.as_str(),
        from,
        below,
        CANDIDATES,
    )
    .fetch_all(connection)
    .await?)
}

async fn in_queue(
    connection: &mut PgConnection,
    tenant: TenantId,
    in_hand: bool,
    from: Uuid,
    below: Uuid,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT q.delivery_id FROM queue q
        WHERE q.tenant_id = $1 AND q.delivery_id >= $2 AND q.delivery_id < $3 AND (q.leased_by IS NOT NULL) = $5
        ORDER BY q.delivery_id DESC LIMIT $4
        "#,
        tenant.uuid(),
        from,
        below,
        CANDIDATES,
        in_hand,
    )
    .fetch_all(connection)
    .await?)
}

/// Messages of a range of ids that match, newest first. What is asked about deliveries is not looked at.
async fn matching(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &MessageFilter,
    (from, below): (Uuid, Uuid),
    limit: usize,
) -> Result<Vec<MessageRow>, StoreError> {
    let subject = filter.subject.as_deref().map(like_pattern);
    Ok(sqlx::query_as!(
        MessageRow,
        r#"
        SELECT m.id, m.send_at, m.ttl_seconds, m.size_bytes, m.priority, m.sandbox, m.message_id, m.subject,
               m.stream, m.tags, m.metadata, m.addresses, m.handling
        FROM messages m
        WHERE m.tenant_id = $1 AND m.id >= $2 AND m.id < $3
          AND ($4::text IS NULL OR lower(m.sender) = lower($4))
          AND ($5::text IS NULL OR m.subject ILIKE $5)
          AND ($6::text IS NULL OR (m.tags <> '{}' AND m.tags @> ARRAY[$6]))
          AND ($7::text IS NULL OR m.stream = $7)
        ORDER BY m.id DESC LIMIT $8
        "#,
        tenant.uuid(),
        from,
        below,
        filter.from,
        subject,
        filter.tag,
        filter.stream,
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(connection)
    .await?)
}

/// Of these messages, which come newest first, those that match. Each is found by its key, and how its deliveries stand is
/// looked up only until the page is full, whatever a planner thinks of it.
async fn matching_among(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &MessageFilter,
    among: &[Uuid],
    limit: usize,
) -> Result<Vec<MessageRow>, StoreError> {
    let subject = filter.subject.as_deref().map(like_pattern);
    let lanes: Vec<i16> = among.iter().map(|id| MessageId::from_uuid(*id).lane().number()).collect();
    Ok(sqlx::query_as!(
        MessageRow,
        r#"
        SELECT m.id, m.send_at, m.ttl_seconds, m.size_bytes, m.priority, m.sandbox, m.message_id, m.subject,
               m.stream, m.tags, m.metadata, m.addresses, m.handling
        FROM (SELECT u.lane, u.id FROM unnest($2::smallint[], $3::uuid[]) AS u (lane, id) ORDER BY u.id DESC) c
        JOIN messages m ON m.lane = c.lane AND m.id = c.id
        WHERE m.tenant_id = $1
          AND ($4::text IS NULL OR lower(m.sender) = lower($4))
          AND ($5::text IS NULL OR m.subject ILIKE $5)
          AND ($6::text IS NULL OR (m.tags <> '{}' AND m.tags @> ARRAY[$6]))
          AND ($7::text IS NULL OR m.stream = $7)
          AND ($8::text IS NULL OR EXISTS (
                SELECT 1 FROM deliveries d
                LEFT JOIN LATERAL (SELECT k.leased_by IS NULL AS waits FROM queue k
                                   WHERE k.lane = d.lane AND k.delivery_id = d.id LIMIT 1) q ON true
                LEFT JOIN LATERAL (SELECT x.status FROM outcomes x
                                   WHERE x.lane = d.lane AND x.delivery_id = d.id
                                   ORDER BY x.ordinal DESC LIMIT 1) o ON true
                WHERE d.lane = m.lane AND d.id > m.id AND d.id <= last_delivery_of(m.id)
                  AND $8 = CASE WHEN q.waits IS NULL THEN o.status::text
                                WHEN q.waits THEN 'queued' ELSE 'sending' END))
        ORDER BY c.id DESC LIMIT $9
        "#,
        tenant.uuid(),
        &lanes,
        among,
        filter.from,
        subject,
        filter.tag,
        filter.stream,
        filter.status.map(DeliveryStatus::as_str),
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(connection)
    .await?)
}

/// The text anywhere, with nothing in it meaning anything special.
fn like_pattern(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}
