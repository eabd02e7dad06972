//! Opens and clicks, appended to the events in batches. They cross tenants.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId};

use super::StoreError;

/// An open or a click.
#[derive(Debug)]
pub struct Visited {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// `opened` or `clicked`.
    pub kind: EventType,
    /// The event's id, made once: what is written a second time is there already.
    pub id: EventId,
    /// The request itself says that no person made it.
    pub by_machine: bool,
    /// What is known of it: a JSON object as text.
    pub data: String,
}

/// Serialises the writers of all nodes, so that of two opens of a delivery exactly one is the first.
const LOCK: i64 = 0x706f_7374_7669_7369;

/// Takes the lock, in the transaction of [`append`].
///
/// # Errors
/// See [`StoreError`].
pub async fn lock(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).execute(connection).await?;
    Ok(())
}

/// Appends their events; the tenant is the delivery's. What belongs to no delivery that is still stored is passed
/// over. Gives how many were appended.
///
/// # Errors
/// See [`StoreError`].
pub async fn append(connection: &mut PgConnection, visits: &[Visited]) -> Result<u64, StoreError> {
    let lanes: Vec<i16> = visits.iter().map(|visit| visit.delivery.lane().number()).collect();
    let deliveries: Vec<Uuid> = visits.iter().map(|visit| visit.delivery.uuid()).collect();
    let kinds: Vec<&str> = visits.iter().map(|visit| visit.kind.as_str()).collect();
    let ids: Vec<Uuid> = visits.iter().map(|visit| visit.id.uuid()).collect();
    let at: Vec<OffsetDateTime> = visits.iter().map(|visit| visit.id.at()).collect();
    let machines: Vec<bool> = visits.iter().map(|visit| visit.by_machine).collect();
    let data: Vec<&str> = visits.iter().map(|visit| visit.data.as_str()).collect();
    let appended = sqlx::query!(
        r#"
        WITH input AS (
            SELECT v.lane, v.delivery_id, v.type::event_type AS type, v.id, v.data::jsonb AS data, d.tenant_id,
                   -- Nobody reads a mail before it has arrived, nor within a second of it.
                   v.by_machine OR o.at IS NULL OR v.at < o.at + interval '1 second' AS machine,
                   NOT v.by_machine AND (o.at IS NULL OR v.at < o.at + interval '1 second') AS too_soon
            FROM unnest($1::smallint[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[], $6::bool[], $7::text[])
                AS v (lane, delivery_id, type, id, at, by_machine, data)
            -- OFFSET 0: each is looked up by its key, whatever the planner believes of the day's tables.
            CROSS JOIN LATERAL (SELECT x.tenant_id FROM deliveries x
                                WHERE x.lane = v.lane AND x.id = v.delivery_id OFFSET 0) d
            LEFT JOIN LATERAL (SELECT y.at FROM outcomes y
                               WHERE y.lane = v.lane AND y.delivery_id = v.delivery_id AND y.ordinal = 0
                               OFFSET 0) o ON true
        ),
        -- The first by a person: in this batch, and of all that there are.
        placed AS (
            SELECT i.lane, i.delivery_id, i.type, i.id, i.data, i.tenant_id, i.machine, i.too_soon,
                   NOT i.machine
                   AND row_number() OVER (PARTITION BY i.delivery_id, i.type, i.machine ORDER BY i.id) = 1
                   AND NOT EXISTS (SELECT 1 FROM events e WHERE e.lane = i.lane AND e.delivery_id = i.delivery_id
                                     AND e.type = i.type AND e.data -> 'first' = 'true') AS first
            FROM input i
        )
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT (SELECT txid_current()), p.lane, p.type, p.delivery_id, p.id, p.tenant_id,
               p.data || jsonb_build_object('first', p.first, 'machine', p.machine)
               || CASE WHEN p.too_soon THEN '{"machine_kind": "timing"}'::jsonb ELSE '{}'::jsonb END
        FROM placed p
        ON CONFLICT DO NOTHING
        "#,
        &lanes,
        &deliveries,
        &kinds as _,
        &ids,
        &at,
        &machines,
        &data as _,
    )
    .execute(connection)
    .await?;
    Ok(appended.rows_affected())
}
