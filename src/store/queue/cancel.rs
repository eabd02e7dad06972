//! Taking mail back: a tenant's message, or all that waits for a recipient domain. What is in hand is marked, and ends at
//! its next turn.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{DeliveryId, EventId, Id, MessageId, TenantId};

use super::super::StoreError;

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
    let taken: Vec<(TenantId, DeliveryId)> = canceled.iter().map(|id| (tenant, *id)).collect();
    end(connection, &taken, now).await?;
    Ok(canceled)
}

/// Writes that deliveries which were taken out of the queue have ended `canceled`. What a pause held of them, it holds no
/// more.
async fn end(
    connection: &mut PgConnection,
    taken: &[(TenantId, DeliveryId)],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let lanes: Vec<i16> = taken.iter().map(|(_, id)| id.lane().number()).collect();
    let ids: Vec<Uuid> = taken.iter().map(|(_, id)| id.uuid()).collect();
    let tenants: Vec<Uuid> = taken.iter().map(|(tenant, _)| tenant.uuid()).collect();
    let events: Vec<Uuid> = taken.iter().map(|(_, id)| EventId::of(now, *id).uuid()).collect();
    sqlx::query!(
        r#"
        WITH taken AS (
            SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::uuid[]) AS t (lane, id, tenant, event)
        ),
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
    Ok(())
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
        RETURNING q.delivery_id, q.tenant_id
        "#,
        domain,
        limit,
    )
    .fetch_all(&mut *connection)
    .await?;
    let taken: Vec<(TenantId, DeliveryId)> =
        taken.into_iter().map(|row| (Id::from_uuid(row.tenant_id), Id::from_uuid(row.delivery_id))).collect();
    end(connection, &taken, now).await?;
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
