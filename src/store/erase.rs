//! What erasing one recipient takes out of the tables: his deliveries are pseudonymised, with all that is told of
//! them; content that was his alone goes, and so do mails that came in from him or to him.
//!
//! The steps of one batch belong into one transaction. Each is by key, so that partitions are met one by one.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{DeliveryId, EventId, Id, InboundId, MessageId, TenantId};

use super::StoreError;

/// Deliveries to an address, by its key, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub async fn deliveries_to(
    connection: &mut PgConnection,
    tenant: TenantId,
    address: &str,
    limit: i64,
) -> Result<Vec<DeliveryId>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id FROM deliveries WHERE tenant_id = $1 AND lower(recipient) = lower($2) ORDER BY id LIMIT $3
        "#,
        tenant.uuid(),
        address,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().map(Id::from_uuid).collect())
}

/// Cancels what of these waits, and has workers stop what is in their hands. Gives what is still in hand.
///
/// # Errors
/// See [`StoreError`].
pub async fn stop(
    connection: &mut PgConnection,
    tenant: TenantId,
    deliveries: &[DeliveryId],
    now: OffsetDateTime,
) -> Result<Vec<DeliveryId>, StoreError> {
    let (lanes, ids) = keys(deliveries);
    let canceled = sqlx::query_scalar!(
        r#"
        DELETE FROM queue q USING unnest($2::smallint[], $3::uuid[]) AS w (lane, id)
        WHERE q.lane = w.lane AND q.delivery_id = w.id AND q.tenant_id = $1 AND q.leased_by IS NULL
        RETURNING q.delivery_id
        "#,
        tenant.uuid(),
        &lanes,
        &ids,
    )
    .fetch_all(&mut *connection)
    .await?;
    end_canceled(connection, tenant, &canceled, now).await?;
    let in_hand = sqlx::query_scalar!(
        r#"
        UPDATE queue q SET cancel_requested = true FROM unnest($2::smallint[], $3::uuid[]) AS w (lane, id)
        WHERE q.lane = w.lane AND q.delivery_id = w.id AND q.tenant_id = $1
        RETURNING q.delivery_id
        "#,
        tenant.uuid(),
        &lanes,
        &ids,
    )
    .fetch_all(&mut *connection)
    .await?;
    let in_hand: Vec<DeliveryId> = in_hand.into_iter().map(Id::from_uuid).collect();
    for delivery in &in_hand {
        let payload = delivery.message().to_string();
        sqlx::query!("SELECT pg_notify('postroad_cancel', $1)", payload).execute(&mut *connection).await?;
    }
    Ok(in_hand)
}

async fn end_canceled(
    connection: &mut PgConnection,
    tenant: TenantId,
    canceled: &[Uuid],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let deliveries: Vec<DeliveryId> = canceled.iter().copied().map(Id::from_uuid).collect();
    let (lanes, ids) = keys(&deliveries);
    let events: Vec<Uuid> = deliveries.iter().map(|id| EventId::of(now, *id).uuid()).collect();
    sqlx::query!(
        r#"
        WITH closed AS (
            INSERT INTO outcomes (lane, ordinal, delivery_id, tenant_id, status, hard, at, class)
            SELECT c.lane, 0, c.id, $1, 'canceled', false, $2, NULL
            FROM unnest($3::smallint[], $4::uuid[]) AS c (lane, id)
        )
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT x.txid, c.lane, 'canceled', c.id, c.event, $1, NULL
        FROM unnest($3::smallint[], $4::uuid[], $5::uuid[]) AS c (lane, id, event),
             (SELECT txid_current() AS txid) x
        "#,
        tenant.uuid(),
        now,
        &lanes,
        &ids,
        &events,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts a pseudonym in the place of these deliveries' recipient, and takes out what attempts, events, the log of
/// webhooks and captured copies tell of him.
///
/// # Errors
/// See [`StoreError`].
pub async fn pseudonymise(
    connection: &mut PgConnection,
    tenant: TenantId,
    deliveries: &[DeliveryId],
    pseudonym: &str,
) -> Result<(), StoreError> {
    let (lanes, ids) = keys(deliveries);
    sqlx::query!(
        r#"
        UPDATE deliveries d SET recipient = $4, particulars = NULL
        FROM unnest($2::smallint[], $3::uuid[]) AS w (lane, id)
        WHERE d.lane = w.lane AND d.id = w.id AND d.tenant_id = $1
        "#,
        tenant.uuid(),
        &lanes,
        &ids,
        pseudonym,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        UPDATE attempts a SET reply = '' FROM unnest($1::smallint[], $2::uuid[]) AS w (lane, id)
        WHERE a.lane = w.lane AND a.delivery_id = w.id
        "#,
        &lanes,
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        UPDATE events e
        -- What happened stays; where he was, with what, and what servers said of him does not.
        SET data = (e.data - ARRAY['ip', 'country', 'client', 'os', 'device', 'user_agent', 'url', 'source_ip'])
                   || CASE WHEN jsonb_typeof(e.data -> 'smtp') = 'object'
                           THEN jsonb_build_object('smtp', (e.data -> 'smtp') || '{"text": ""}') ELSE '{}' END
        FROM unnest($2::smallint[], $3::uuid[]) AS w (lane, id)
        WHERE e.lane = w.lane AND e.delivery_id = w.id AND e.tenant_id = $1 AND e.data IS NOT NULL
        "#,
        tenant.uuid(),
        &lanes,
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE posts SET request = '', response = '' WHERE tenant_id = $1 AND delivery_ids && $2",
        tenant.uuid(),
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM captured WHERE tenant_id = $1 AND delivery_id = ANY ($2)", tenant.uuid(), &ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// A message that names him.
#[derive(Debug)]
pub struct Naming {
    /// Which.
    pub id: MessageId,
    /// Its mailboxes as they are stored.
    pub addresses: Value,
    /// Whether it goes to somebody else, too.
    pub shared: bool,
}

/// The messages of these deliveries, whose pseudonym stands already.
///
/// # Errors
/// See [`StoreError`].
pub async fn messages_of(
    connection: &mut PgConnection,
    tenant: TenantId,
    deliveries: &[DeliveryId],
) -> Result<Vec<Naming>, StoreError> {
    let mut messages: Vec<MessageId> = deliveries.iter().map(|delivery| delivery.message()).collect();
    messages.sort_unstable();
    messages.dedup();
    let lanes: Vec<i16> = messages.iter().map(|id| id.lane().number()).collect();
    let ids: Vec<Uuid> = messages.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT m.id, m.addresses,
               EXISTS (SELECT 1 FROM deliveries d
                       WHERE d.lane = m.lane AND d.id > m.id AND d.id <= last_delivery_of(m.id)
                         AND d.recipient NOT LIKE 'erased-%@erased.invalid') AS "shared!"
        FROM unnest($2::smallint[], $3::uuid[]) AS w (lane, id)
        JOIN messages m ON m.lane = w.lane AND m.id = w.id AND m.tenant_id = $1
        "#,
        tenant.uuid(),
        &lanes,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let naming = rows.into_iter().map(|row| Naming {
        id: Id::from_uuid(row.id),
        addresses: row.addresses,
        shared: row.shared,
    });
    Ok(naming.collect())
}

/// Writes a message's mailboxes; without other recipients it loses its content, too. True: it had some.
///
/// # Errors
/// See [`StoreError`].
pub async fn rename(connection: &mut PgConnection, naming: &Naming) -> Result<bool, StoreError> {
    sqlx::query!(
        r#"
        UPDATE messages
        SET addresses = $3, subject = CASE WHEN $4 THEN subject ELSE '' END,
            metadata = CASE WHEN $4 THEN metadata ELSE '{}' END
        WHERE lane = $1 AND id = $2
        "#,
        naming.id.lane().number(),
        naming.id.uuid(),
        naming.addresses,
        naming.shared,
    )
    .execute(&mut *connection)
    .await?;
    if naming.shared {
        return Ok(false);
    }
    let done = sqlx::query!(
        "DELETE FROM bodies WHERE lane = $1 AND id = $2",
        naming.id.lane().number(),
        naming.id.uuid()
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes mails that came in from him or to him, up to `limit`; their events keep that something came. Gives how
/// many.
///
/// # Errors
/// See [`StoreError`].
pub async fn inbound(
    connection: &mut PgConnection,
    tenant: TenantId,
    address: &str,
    pseudonym: &str,
    limit: i64,
) -> Result<u64, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT id FROM inbound
        WHERE tenant_id = $1
          AND (lower(sender) = lower($2) OR lower(recipient) = lower($2) OR strpos(lower(author), lower($2)) > 0)
        LIMIT $3
        "#,
        tenant.uuid(),
        address,
        limit,
    )
    .fetch_all(&mut *connection)
    .await?;
    let lanes: Vec<i16> = found.iter().map(|id| InboundId::from_uuid(*id).lane().number()).collect();
    sqlx::query!(
        r#"
        UPDATE events e SET data = jsonb_build_object('recipient', $4::text)
        FROM unnest($2::smallint[], $3::uuid[]) AS w (lane, id)
        WHERE e.lane = w.lane AND e.delivery_id = w.id AND e.tenant_id = $1
        "#,
        tenant.uuid(),
        &lanes,
        &found,
        pseudonym,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM inbound_calls WHERE tenant_id = $1 AND inbound_id = ANY ($2)",
        tenant.uuid(),
        &found
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM inbound WHERE tenant_id = $1 AND id = ANY ($2)", tenant.uuid(), &found)
        .execute(connection)
        .await?;
    Ok(found.len() as u64)
}

/// Takes the address out of the audit log and of captured mail, and his entries off the suppression list.
///
/// # Errors
/// See [`StoreError`].
pub async fn the_rest(
    connection: &mut PgConnection,
    tenant: TenantId,
    address: &str,
    pseudonym: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE audit_log SET details = replace(details::text, to_json($2::text)::text, to_json($3::text)::text)::jsonb
        WHERE tenant_id = $1 AND action LIKE 'suppression.%' AND strpos(details::text, to_json($2::text)::text) > 0
        "#,
        tenant.uuid(),
        address,
        pseudonym,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        DELETE FROM captured
        WHERE tenant_id = $1 AND EXISTS (SELECT 1 FROM unnest(recipients) AS r (address) WHERE lower(r.address) = lower($2))
        "#,
        tenant.uuid(),
        address,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM suppressions WHERE tenant_id = $1 AND address = $2", tenant.uuid(), address)
        .execute(connection)
        .await?;
    Ok(())
}

fn keys(deliveries: &[DeliveryId]) -> (Vec<i16>, Vec<Uuid>) {
    deliveries.iter().map(|delivery| (delivery.lane().number(), delivery.uuid())).unzip()
}
