//! Events that a tenant wants posted once more.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{DeliveryId, EventId, Id, TenantId, WebhookId};

use super::super::StoreError;

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
