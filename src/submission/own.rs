//! A stored mail as one recipient gets it, where each gets one of its own.

use crate::domain::blueprint::Blueprint;
use crate::domain::handling::Form;
use crate::domain::id::{DeliveryId, MessageId, TenantId};
use crate::store::blueprint::blueprint;
use crate::store::messages;
use crate::store::recipients::{self, Recipient};
use crate::store::{PgConnection, StoreError};

/// The RFC 5322 form of a message as this delivery's recipient gets it, without what is put before it when it is
/// sent; `None` for the delivery: as the first one's does. `None`: there is no such message or delivery, or its
/// content has left by retention.
///
/// # Errors
/// See [`StoreError`].
pub async fn raw(
    connection: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
    delivery: Option<DeliveryId>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(row) = messages::find(connection, tenant, message).await? else { return Ok(None) };
    let Some(raw) = messages::raw(connection, tenant, message).await? else { return Ok(None) };
    let is_finished = row.handling().form == Form::Finished;
    if is_finished && delivery.is_none() {
        return Ok(Some(raw));
    }
    let recipients = recipients::of(connection, tenant, message).await?;
    let wanted = recipients.into_iter().find(|it| delivery.is_none_or(|delivery| it.delivery == delivery));
    Ok(match wanted {
        Some(_) if is_finished => Some(raw),
        Some(recipient) => blueprint(&raw).and_then(|blueprint| composed(&blueprint, &recipient)),
        None => None,
    })
}

fn composed(blueprint: &Blueprint, recipient: &Recipient) -> Option<Vec<u8>> {
    match blueprint.compose(recipient.delivery, &recipient.particulars) {
        Ok(octets) => Some(octets),
        Err(error) => {
            tracing::error!(delivery.id = %recipient.delivery, error = %error, "a stored mail cannot be composed");
            None
        }
    }
}
