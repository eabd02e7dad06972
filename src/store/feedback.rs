//! What comes back about deliveries: late bounces, complaints, unsubscribes. The tenant is always the delivery's,
//! which a token of ours has named.
//!
//! Invariant: whoever changes something about a delivery here has locked it by [`lock`] in the same transaction, so
//! that the same report, come twice or on two nodes at once, takes effect once.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::delivery::{DeliveryStatus, Ending};
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId, Id, MessageId, SuppressionId, TenantId};
use crate::domain::outcome::{BounceClass, Hardness};

use super::StoreError;

/// A delivery that something came back about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Which.
    pub delivery: DeliveryId,
    /// Whose.
    pub tenant: TenantId,
    /// To whom.
    pub recipient: String,
    /// The message's stream.
    pub stream: String,
}

/// Finds a delivery and locks it until the transaction ends. `None`: there is none, or no longer.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock(
    connection: &mut PgConnection,
    delivery: DeliveryId,
) -> Result<Option<Subject>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT d.tenant_id, d.recipient, m.stream
        FROM deliveries d JOIN messages m ON m.lane = d.lane AND m.id = $3
        WHERE d.lane = $1 AND d.id = $2
        FOR UPDATE OF d
        "#,
        delivery.lane().number(),
        delivery.uuid(),
        delivery.message().uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Subject {
        delivery,
        tenant: Id::from_uuid(row.tenant_id),
        recipient: row.recipient,
        stream: row.stream,
    }))
}

/// How a delivery ended, a late bounce included; `None`: it has not yet. Asked after [`lock`], by a statement of
/// its own, which sees what was committed while that waited.
///
/// # Errors
/// See [`StoreError`].
pub async fn ended(connection: &mut PgConnection, subject: &Subject) -> Result<Option<Ending>, StoreError> {
    let status = sqlx::query_scalar!(
        r#"
        SELECT status::text AS "status!" FROM outcomes WHERE lane = $1 AND delivery_id = $2
        ORDER BY ordinal DESC LIMIT 1
        "#,
        subject.delivery.lane().number(),
        subject.delivery.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(match status.and_then(|status| status.parse().ok()) {
        Some(DeliveryStatus::Ended(ending)) => Some(ending),
        _ => None,
    })
}

/// A bounce after the peer had taken the mail.
#[derive(Debug, Clone, Copy)]
pub struct LateBounce {
    /// Of what class.
    pub class: BounceClass,
    /// Whether the address is dead.
    pub hardness: Hardness,
    /// When it became known.
    pub at: OffsetDateTime,
}

/// Moves a delivered delivery to bounced. False: it was so already, or never delivered.
///
/// # Errors
/// See [`StoreError`].
pub async fn bounce(
    connection: &mut PgConnection,
    subject: &Subject,
    bounce: LateBounce,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO outcomes (lane, ordinal, delivery_id, tenant_id, status, hard, at, class)
        SELECT o.lane, 1, o.delivery_id, o.tenant_id, 'bounced', $3, $4, $5 FROM outcomes o
        WHERE o.lane = $1 AND o.delivery_id = $2 AND o.ordinal = 0 AND o.status = 'delivered'
        ON CONFLICT DO NOTHING
        "#,
        subject.delivery.lane().number(),
        subject.delivery.uuid(),
        bounce.hardness == Hardness::Hard,
        bounce.at,
        bounce.class.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many deliveries to the same address bounced with this class in the 30 days up to `at`.
///
/// # Errors
/// See [`StoreError`].
pub async fn bounces_of_late(
    connection: &mut PgConnection,
    subject: &Subject,
    address: &str,
    class: BounceClass,
    at: OffsetDateTime,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!" FROM deliveries d
        JOIN outcomes o ON o.lane = d.lane AND o.delivery_id = d.id
        WHERE d.tenant_id = $1 AND lower(d.recipient) = $2 AND o.status = 'bounced' AND o.class = $3
          AND o.at > $4::timestamptz - interval '30 days'
        "#,
        subject.tenant.uuid(),
        address,
        class.as_str(),
        at,
    )
    .fetch_one(connection)
    .await?)
}

/// Whether an event of a type was told of a delivery.
///
/// # Errors
/// See [`StoreError`].
pub async fn was_told(
    connection: &mut PgConnection,
    subject: &Subject,
    kind: EventType,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT 1 FROM events
                       WHERE lane = $1 AND delivery_id = $2 AND type::text = $3) AS "told!"
        "#,
        subject.delivery.lane().number(),
        subject.delivery.uuid(),
        kind.as_str(),
    )
    .fetch_one(connection)
    .await?)
}

/// Whether a receipt was told of a delivery.
///
/// # Errors
/// See [`StoreError`].
pub async fn has_receipt(connection: &mut PgConnection, subject: &Subject) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT 1 FROM events WHERE lane = $1 AND delivery_id = $2 AND type = 'opened'
                                              AND data -> 'receipt' = 'true') AS "has!"
        "#,
        subject.delivery.lane().number(),
        subject.delivery.uuid(),
    )
    .fetch_one(connection)
    .await?)
}

/// Tells of a delivery.
///
/// # Errors
/// See [`StoreError`].
pub async fn tell(
    connection: &mut PgConnection,
    subject: &Subject,
    kind: EventType,
    data: &serde_json::Value,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        VALUES (txid_current(), $1, $2::text::event_type, $3, $4, $5, $6)
        "#,
        subject.delivery.lane().number(),
        kind.as_str(),
        subject.delivery.uuid(),
        EventId::of(at, subject.delivery).uuid(),
        subject.tenant.uuid(),
        data,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Why an address is not to be mailed, by what came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is dead.
    Bounce,
    /// Its owner calls the mail spam.
    Complaint,
    /// Its owner wants no more.
    Unsubscribe,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Reason::Bounce => "bounce",
            Reason::Complaint => "complaint",
            Reason::Unsubscribe => "unsubscribe",
        }
    }
}

/// Puts the recipient's address on its tenant's list: for one stream, or (empty) for all. What is there already
/// stays as it is.
///
/// # Errors
/// See [`StoreError`].
pub async fn suppress(
    connection: &mut PgConnection,
    subject: &Subject,
    address: &str,
    stream: &str,
    reason: Reason,
    at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO suppressions (tenant_id, id, address, stream, reason, delivery_id)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING
        "#,
        subject.tenant.uuid(),
        SuppressionId::new(at).uuid(),
        address,
        stream,
        reason.as_str(),
        subject.delivery.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes back what a complaint about this very delivery had put on the list; gives its name.
///
/// # Errors
/// See [`StoreError`].
pub async fn lift_complaint(
    connection: &mut PgConnection,
    subject: &Subject,
) -> Result<Option<SuppressionId>, StoreError> {
    let lifted = sqlx::query_scalar!(
        "DELETE FROM suppressions WHERE tenant_id = $1 AND delivery_id = $2 AND reason = 'complaint' RETURNING id",
        subject.tenant.uuid(),
        subject.delivery.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(lifted.map(Id::from_uuid))
}

/// The deliveries of a message with their recipients, in order. Crosses tenants: for reports that name a message
/// of ours by its Message-ID.
///
/// # Errors
/// See [`StoreError`].
pub async fn deliveries_of_any_tenant(
    connection: &mut PgConnection,
    message: MessageId,
) -> Result<Vec<(DeliveryId, String)>, StoreError> {
    let rows: Vec<(Uuid, String)> = sqlx::query!(
        "SELECT id, recipient FROM deliveries WHERE lane = $1 AND id > $2 AND id <= $3 ORDER BY id",
        message.lane().number(),
        message.uuid(),
        message.last_delivery().uuid(),
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|row| (row.id, row.recipient))
    .collect();
    Ok(rows.into_iter().map(|(id, recipient)| (Id::from_uuid(id), recipient)).collect())
}
