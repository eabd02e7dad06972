//! Notices that are still to be written to submitters. They cross tenants: for the worker that writes them.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use crate::domain::handling::{Handling, Particulars};
use crate::domain::id::{DeliveryId, EventId, Id, TenantId};
use crate::domain::notice::{DsnPolicy, NoticeKind};

use super::{StoreError, handling};

/// A notice that was begun.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// The event it tells of.
    pub event: EventId,
    /// Whose mail it was.
    pub tenant: TenantId,
    /// Which delivery.
    pub delivery: DeliveryId,
    /// What it tells.
    pub kind: NoticeKind,
    /// How often it was begun, this time included.
    pub tries: i16,
}

/// Begins notices that are due: nobody else does before `again_at`.
///
/// # Errors
/// See [`StoreError`].
pub async fn begin(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    again_at: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Begun>, StoreError> {
    let rows = sqlx::query!(
        r#"
        UPDATE notices n SET due_at = $2, tries = least(n.tries, 1000) + 1
        WHERE n.event_id IN (SELECT d.event_id FROM notices d WHERE d.due_at <= $1
                             ORDER BY d.due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING n.event_id, n.tenant_id, n.delivery_id, n.kind, n.tries
        "#,
        now,
        again_at,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let begun = rows.into_iter().filter_map(|row| {
        Some(Begun {
            event: Id::from_uuid(row.event_id),
            tenant: Id::from_uuid(row.tenant_id),
            delivery: Id::from_uuid(row.delivery_id),
            // The table's CHECK has the same words.
            kind: row.kind.parse().ok()?,
            tries: row.tries,
        })
    });
    Ok(begun.collect())
}

/// Has a submitter told that a mail was not sent on because its recipient was suppressed when it was accepted. What is
/// known of already stays as it is.
///
/// # Errors
/// See [`StoreError`].
pub async fn tell_suppressed(
    connection: &mut PgConnection,
    delivery: DeliveryId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO notices (event_id, lane, delivery_id, tenant_id, kind, due_at)
        SELECT e.id, e.lane, e.delivery_id, e.tenant_id, 'failed', $3 FROM events e
        WHERE e.lane = $1 AND e.delivery_id = $2 AND e.type = 'suppressed'
        ON CONFLICT DO NOTHING
        "#,
        delivery.lane().number(),
        delivery.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a notice: it was written, or nobody wants it.
///
/// # Errors
/// See [`StoreError`].
pub async fn finish(connection: &mut PgConnection, event: EventId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM notices WHERE event_id = $1", event.uuid()).execute(connection).await?;
    Ok(())
}

/// What a notice is written from.
#[derive(Debug)]
pub struct Facts {
    /// What the event tells.
    pub event: serde_json::Value,
    /// To whom the mail went.
    pub recipient: String,
    /// What was said about this recipient.
    pub particulars: Particulars,
    /// What was said about the mail.
    pub handling: Handling,
    /// When its time runs out.
    pub expires_at: OffsetDateTime,
    /// The tenant's choice.
    pub policy: DsnPolicy,
}

/// Reads them; `None`: mail or tenant are gone.
///
/// # Errors
/// See [`StoreError`].
pub async fn facts(connection: &mut PgConnection, notice: &Begun) -> Result<Option<Facts>, StoreError> {
    let message = notice.delivery.message();
    let row = sqlx::query!(
        r#"
        SELECT e.data AS "data?", d.recipient, d.particulars, m.handling, m.send_at, m.ttl_seconds, t.dsn
        FROM deliveries d
        JOIN messages m ON m.lane = d.lane AND m.id = $3
        JOIN tenants t ON t.id = d.tenant_id
        LEFT JOIN events e ON e.lane = d.lane AND e.delivery_id = d.id AND e.id = $4
        WHERE d.lane = $1 AND d.id = $2
        "#,
        notice.delivery.lane().number(),
        notice.delivery.uuid(),
        message.uuid(),
        notice.event.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Facts {
        event: row.data.unwrap_or_default(),
        recipient: row.recipient,
        particulars: handling::particulars(row.particulars.as_ref()),
        handling: handling::handling(row.handling.as_ref()),
        expires_at: row.send_at.unwrap_or_else(|| message.born()) + Duration::seconds(row.ttl_seconds.into()),
        policy: row.dsn.parse().unwrap_or_default(),
    }))
}
