//! Reading events: by their tenant, and by followers in the order of commits.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::{Event, EventType};
use crate::domain::id::{EventId, Id, MessageId, TenantId, floor_at};

use super::StoreError;

/// What a list is narrowed by. `None` everywhere: nothing.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of these types.
    pub types: Option<Vec<EventType>>,
    /// Of this message.
    pub message: Option<MessageId>,
    /// To this recipient, in canonical form.
    pub recipient: Option<String>,
    /// Of messages with this tag.
    pub tag: Option<String>,
    /// Of messages of this stream.
    pub stream: Option<String>,
    /// At this moment or later.
    pub since: Option<OffsetDateTime>,
    /// Before this moment.
    pub until: Option<OffsetDateTime>,
}

impl EventFilter {
    /// Whether an event passes: for followers, which read all of a tenant's events.
    pub fn admits(&self, event: &Event) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&event.kind))
            && self.message.is_none_or(|message| message == event.message())
            && self.recipient.as_ref().is_none_or(|wanted| event.recipient.eq_ignore_ascii_case(wanted))
            && self.tag.as_ref().is_none_or(|tag| event.tags.contains(tag))
            && self.stream.as_ref().is_none_or(|stream| event.stream == *stream)
    }
}

struct Row {
    id: Uuid,
    kind: String,
    delivery_id: Uuid,
    data: Option<serde_json::Value>,
    recipient: String,
    stream: String,
    tags: Vec<String>,
    metadata: serde_json::Value,
}

impl Row {
    fn event(self) -> Option<Event> {
        Some(Event {
            id: Id::from_uuid(self.id),
            // The database's enum has the types of this binary, or those of a newer one during an upgrade.
            kind: self.kind.parse().ok()?,
            delivery: Id::from_uuid(self.delivery_id),
            recipient: self.recipient,
            stream: self.stream,
            tags: self.tags,
            metadata: self.metadata,
            data: self.data.unwrap_or_else(|| serde_json::json!({})),
        })
    }
}

/// A page of a tenant's events, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &EventFilter,
    before: Option<EventId>,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let types: Option<Vec<String>> =
        filter.types.as_ref().map(|types| types.iter().map(|kind| kind.as_str().to_owned()).collect());
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT e.id, e.type::text AS "kind!", e.delivery_id, e.data,
               coalesce(d.recipient, e.data->>'recipient', '') AS "recipient!", coalesce(m.stream, '') AS "stream!",
               coalesce(m.tags, '{}') AS "tags!",
               -- What the caller said of this recipient stands over what he said of the message.
               CASE WHEN d.particulars IS NULL THEN coalesce(m.metadata, '{}')
                    ELSE m.metadata || coalesce(d.particulars -> 'metadata', '{}') END AS "metadata!"
        FROM events e
        LEFT JOIN deliveries d ON d.lane = e.lane AND d.id = e.delivery_id
        LEFT JOIN messages m ON m.lane = e.lane AND m.id = message_of(e.delivery_id)
        WHERE (d.id IS NOT NULL OR e.type = 'received') AND e.tenant_id = $1
          AND ($2::uuid IS NULL OR e.id < $2)
          AND ($3::uuid IS NULL OR e.id >= $3)
          AND ($4::uuid IS NULL OR e.id < $4)
          AND ($5::text[] IS NULL OR e.type::text = ANY ($5))
          AND ($6::smallint IS NULL OR (e.lane = $6 AND e.delivery_id > $7 AND e.delivery_id <= $8))
          AND ($9::text IS NULL OR e.delivery_id IN (
                SELECT r.id FROM deliveries r WHERE r.tenant_id = $1 AND lower(r.recipient) = $9)
               OR (e.type = 'received' AND lower(e.data->>'recipient') = $9))
          AND ($10::text IS NULL OR m.tags @> ARRAY[$10])
          AND ($11::text IS NULL OR m.stream = $11)
        ORDER BY e.id DESC LIMIT $12
        "#,
        tenant.uuid(),
        before.map(Id::uuid),
        filter.since.map(floor_at),
        filter.until.map(floor_at),
        types.as_deref(),
        filter.message.map(|id| id.lane().number()),
        filter.message.map(Id::uuid),
        filter.message.map(|id| id.last_delivery().uuid()),
        filter.recipient,
        filter.tag,
        filter.stream,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::event).collect())
}

/// Where a follower stands: everything committed by transactions below `txid` has been seen, and of `txid`
/// itself everything up to `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// A transaction.
    pub txid: i64,
    /// An event of it; nil: none yet.
    pub id: Uuid,
}

/// The position below which nothing more will appear: every transaction before it has ended.
///
/// # Errors
/// See [`StoreError`].
pub async fn horizon(connection: &mut PgConnection) -> Result<Position, StoreError> {
    let txid = sqlx::query_scalar!(r#"SELECT txid_snapshot_xmin(txid_current_snapshot()) AS "txid!""#)
        .fetch_one(connection)
        .await?;
    Ok(Position { txid, id: Uuid::nil() })
}

/// An event and the position after it.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Whose it is.
    pub tenant: TenantId,
    /// The event.
    pub event: Event,
    /// Where a follower stands that has seen it.
    pub position: Position,
}

/// The next events of these tenants, from `after` up to `horizon`, in an order in which nothing that commits
/// later can appear before what was read. Crosses tenants: for followers.
///
/// # Errors
/// See [`StoreError`].
pub async fn follow_tenants(
    connection: &mut PgConnection,
    tenants: &[TenantId],
    after: Position,
    horizon: Position,
    limit: i64,
) -> Result<Vec<Followed>, StoreError> {
    let tenants: Vec<Uuid> = tenants.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT e.txid, e.id, e.tenant_id, e.type::text AS "kind!", e.delivery_id, e.data,
               coalesce(d.recipient, e.data->>'recipient', '') AS "recipient!", coalesce(m.stream, '') AS "stream!",
               coalesce(m.tags, '{}') AS "tags!",
               CASE WHEN d.particulars IS NULL THEN coalesce(m.metadata, '{}')
                    ELSE m.metadata || coalesce(d.particulars -> 'metadata', '{}') END AS "metadata!"
        FROM events e
        -- OFFSET 0: each is looked up by its key. Left to itself the planner may read a whole day instead.
        LEFT JOIN LATERAL (SELECT x.id, x.recipient, x.particulars FROM deliveries x
                           WHERE x.lane = e.lane AND x.id = e.delivery_id OFFSET 0) d ON true
        LEFT JOIN LATERAL (SELECT y.stream, y.tags, y.metadata FROM messages y
                           WHERE y.lane = e.lane AND y.id = message_of(e.delivery_id) OFFSET 0) m ON true
        WHERE (d.id IS NOT NULL OR e.type = 'received') AND e.txid >= $2 AND e.txid < $4 AND (e.txid > $2 OR e.id > $3) AND e.tenant_id = ANY ($1)
        ORDER BY e.txid, e.id LIMIT $5
        "#,
        &tenants,
        after.txid,
        after.id,
        horizon.txid,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let followed = rows.into_iter().filter_map(|row| {
        let position = Position { txid: row.txid, id: row.id };
        let tenant = Id::from_uuid(row.tenant_id);
        let event = Row {
            id: row.id,
            kind: row.kind,
            delivery_id: row.delivery_id,
            data: row.data,
            recipient: row.recipient,
            stream: row.stream,
            tags: row.tags,
            metadata: row.metadata,
        }
        .event()?;
        Some(Followed { tenant, event, position })
    });
    Ok(followed.collect())
}

/// The events of these keys, in no order. Crosses tenants: for those who hold keys that were theirs to hold.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn by_key(
    connection: &mut PgConnection,
    lanes: &[i16],
    deliveries: &[Uuid],
    ids: &[Uuid],
) -> Result<Vec<Event>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT e.id, e.type::text AS "kind!", e.delivery_id, e.data,
               coalesce(d.recipient, e.data->>'recipient', '') AS "recipient!", coalesce(m.stream, '') AS "stream!",
               coalesce(m.tags, '{}') AS "tags!",
               -- What the caller said of this recipient stands over what he said of the message.
               CASE WHEN d.particulars IS NULL THEN coalesce(m.metadata, '{}')
                    ELSE m.metadata || coalesce(d.particulars -> 'metadata', '{}') END AS "metadata!"
        FROM unnest($1::smallint[], $2::uuid[], $3::uuid[]) AS w (lane, delivery_id, id)
        CROSS JOIN LATERAL (SELECT z.id, z.lane, z.type, z.delivery_id, z.data FROM events z
                            WHERE z.lane = w.lane AND z.delivery_id = w.delivery_id AND z.id = w.id OFFSET 0) e
        -- OFFSET 0: each is looked up by its key. Left to itself the planner may read a whole day instead.
        LEFT JOIN LATERAL (SELECT x.id, x.recipient, x.particulars FROM deliveries x
                           WHERE x.lane = e.lane AND x.id = e.delivery_id OFFSET 0) d ON true
        LEFT JOIN LATERAL (SELECT y.stream, y.tags, y.metadata FROM messages y
                           WHERE y.lane = e.lane AND y.id = message_of(e.delivery_id) OFFSET 0) m ON true
        WHERE d.id IS NOT NULL OR e.type = 'received'
        "#,
        lanes,
        deliveries,
        ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::event).collect())
}

/// Appends a complaint about a delivery; the tenant is the delivery's.
///
/// # Errors
/// See [`StoreError`].
pub async fn append_complaint(
    connection: &mut PgConnection,
    delivery: crate::domain::id::DeliveryId,
    id: EventId,
    data: &serde_json::Value,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT txid_current(), d.lane, 'complained', d.id, $3, d.tenant_id, $4
        FROM deliveries d WHERE d.lane = $1 AND d.id = $2
        "#,
        delivery.lane().number(),
        delivery.uuid(),
        id.uuid(),
        data,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Appends that the recipient of a delivery wants no more, if the delivery is still stored; the tenant is the
/// delivery's.
///
/// # Errors
/// See [`StoreError`].
pub async fn append_unsubscribed(
    connection: &mut PgConnection,
    delivery: crate::domain::id::DeliveryId,
    id: EventId,
    data: &serde_json::Value,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT txid_current(), d.lane, 'unsubscribed', d.id, $3, d.tenant_id, $4
        FROM deliveries d WHERE d.lane = $1 AND d.id = $2
        "#,
        delivery.lane().number(),
        delivery.uuid(),
        id.uuid(),
        data,
    )
    .execute(connection)
    .await?;
    Ok(())
}
