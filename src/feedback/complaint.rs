//! Complaints: a recipient called a mail spam.

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::id::{DeliveryId, EventId};
use crate::store::{Database, StoreError, events};

/// A simulated recipient complains: the tenant gets the event, and nobody is suppressed.
///
/// # Errors
/// See [`StoreError`].
pub async fn record_simulated(
    database: &Database,
    delivery: DeliveryId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let data = json!({ "feedback_type": "abuse", "simulated": true });
    let mut connection = database.claim().acquire().await?;
    events::append_complaint(&mut connection, delivery, EventId::of(now, delivery), &data).await
}
