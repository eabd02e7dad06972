//! Leave that a recipient takes by mail: by the mailto of List-Unsubscribe, or by a report that says so.

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::event::EventType;
use crate::domain::id::DeliveryId;
use crate::store::feedback::{self, Reason, Subject};
use crate::store::{PgConnection, StoreError};

/// The recipient of a delivery wrote to the address for it.
///
/// # Errors
/// See [`StoreError`].
pub async fn apply(
    connection: &mut PgConnection,
    delivery: DeliveryId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    match feedback::lock(connection, delivery).await? {
        Some(subject) => record(connection, &subject, "mailto", now).await,
        // Its history is gone, and with it whose mail it was.
        None => Ok(()),
    }
}

/// Tells the tenant, once, and puts the address on its list for the stream.
pub(super) async fn record(
    connection: &mut PgConnection,
    subject: &Subject,
    method: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if !feedback::was_told(connection, subject, EventType::Unsubscribed).await? {
        feedback::tell(connection, subject, EventType::Unsubscribed, &json!({ "method": method }), now)
            .await?;
    }
    let address = subject.recipient.to_ascii_lowercase();
    feedback::suppress(connection, subject, &address, &subject.stream, Reason::Unsubscribe, now).await
}
