//! Receipts that come back (RFC 8098): a mail that was shown to its reader counts as opened, once.

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId, TenantId};
use crate::mail::returned::{Disposition, Receipt};
use crate::store::feedback;
use crate::store::visits::{self, Visited};
use crate::store::{PgConnection, StoreError};

use super::complaint;
use super::directory::Directory;

/// Applies a receipt that came to a delivery's return path.
///
/// # Errors
/// See [`StoreError`].
pub async fn apply(
    connection: &mut PgConnection,
    delivery: DeliveryId,
    receipt: &Receipt,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    record(connection, delivery, receipt, None, now).await
}

/// Applies a receipt that came to a tenant's own address, if it is about mail of this tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn apply_for(
    connection: &mut PgConnection,
    directory: &Directory,
    tenant: TenantId,
    receipt: &Receipt,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let delivery = match directory.token_in(&receipt.evidence) {
        Some(delivery) => Some(delivery),
        None => {
            complaint::by_message_id(connection, receipt.message_id.as_deref(), &receipt.recipients).await?
        }
    };
    match delivery {
        Some(delivery) => record(connection, delivery, receipt, Some(tenant), now).await,
        None => Ok(()),
    }
}

async fn record(
    connection: &mut PgConnection,
    delivery: DeliveryId,
    receipt: &Receipt,
    tenant: Option<TenantId>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if receipt.disposition != Disposition::Displayed {
        return Ok(());
    }
    let Some(subject) = feedback::lock(connection, delivery).await? else { return Ok(()) };
    let is_foreign = tenant.is_some_and(|tenant| tenant != subject.tenant);
    if is_foreign || feedback::has_receipt(connection, &subject).await? {
        return Ok(());
    }
    let data = json!({ "receipt": true, "user_agent": receipt.user_agent }).to_string();
    let id = EventId::of(now, delivery);
    let shown = Visited { delivery, kind: EventType::Opened, id, by_machine: false, data };
    visits::lock(connection).await?;
    visits::append(connection, &[shown]).await?;
    Ok(())
}
