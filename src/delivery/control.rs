//! What a sender may still do with mail that is on its way: take it back, or move its time.

use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::domain::actor::Actor;
use crate::domain::id::{DeliveryId, MessageId, TenantId};
use crate::store::audit::{self, Details, Entry};
use crate::store::messages::{self, DeliveryRow};
use crate::store::{Database, PgConnection, StoreError, queue};

/// What became of a cancellation.
#[derive(Debug)]
pub enum Canceled {
    /// The tenant has no such message.
    NotFound,
    /// Every delivery has ended: none could be canceled.
    TooLate,
    /// Where each delivery stands now.
    Now {
        /// All deliveries.
        deliveries: Vec<DeliveryRow>,
        /// Those in a worker's hands: they stop before MAIL FROM, or at their next deferral.
        stopping: Vec<DeliveryId>,
    },
}

/// Takes a message back: what is not in hand ends now, what is in hand is marked.
///
/// # Errors
/// See [`StoreError`].
pub async fn cancel(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    message: MessageId,
    now: OffsetDateTime,
) -> Result<Canceled, StoreError> {
    let mut transaction = database.serve().begin().await?;
    if messages::find(&mut transaction, tenant, message).await?.is_none() {
        return Ok(Canceled::NotFound);
    }
    let ended = queue::cancel_waiting(&mut transaction, tenant, message, now).await?;
    let stopping = queue::mark_canceled(&mut transaction, tenant, message).await?;
    let deliveries = messages::deliveries(&mut transaction, tenant, message).await?;
    if ended.is_empty() && stopping.is_empty() {
        return Ok(Canceled::TooLate);
    }
    let details = audit::made(json!({ "canceled": ended.len(), "stopping": stopping.len() }));
    tell(&mut transaction, actor, (tenant, message), "message.cancel", details, now).await?;
    transaction.commit().await?;
    Ok(Canceled::Now { deliveries, stopping })
}

/// What became of a rescheduling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescheduled {
    /// The tenant has no such message.
    NotFound,
    /// Every delivery has been tried, or has ended.
    TooLate,
    /// It is sent at the new time.
    Done,
}

/// Moves what has not been tried yet to another time; its time to live counts from there.
///
/// # Errors
/// See [`StoreError`].
pub async fn reschedule(
    database: &Database,
    actor: &Actor,
    (tenant, message): (TenantId, MessageId),
    send_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Rescheduled, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(row) = messages::find(&mut transaction, tenant, message).await? else {
        return Ok(Rescheduled::NotFound);
    };
    let expires_at = send_at + Duration::seconds(row.ttl_seconds.into());
    let moved = queue::reschedule(&mut transaction, tenant, message, send_at, expires_at).await?;
    if moved == 0 {
        return Ok(Rescheduled::TooLate);
    }
    // Fails only for years that no clock here reaches.
    let at = send_at.format(&Rfc3339).unwrap_or_default();
    let details = audit::made(json!({ "send_at": at, "deliveries": moved }));
    tell(&mut transaction, actor, (tenant, message), "message.reschedule", details, now).await?;
    transaction.commit().await?;
    Ok(Rescheduled::Done)
}

async fn tell(
    connection: &mut PgConnection,
    actor: &Actor,
    (tenant, message): (TenantId, MessageId),
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = message.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, tenant, entry, now).await
}
