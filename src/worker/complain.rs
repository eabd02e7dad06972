//! Simulated complaints: follow once the simulated delivery is durable.

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::domain::id::DeliveryId;
use crate::feedback::complaint;
use crate::store::{Database, StoreError};

/// Records complaints until nobody sends any more.
pub async fn run(database: Database, clock: Clock, mut complaints: mpsc::UnboundedReceiver<DeliveryId>) {
    while let Some(delivery) = complaints.recv().await {
        if let Err(error) = tick(&database, &clock, delivery).await {
            tracing::warn!(error = %error, delivery.id = %delivery, "a simulated complaint was not recorded");
        }
    }
}

/// Records one.
///
/// # Errors
/// See [`StoreError`].
pub async fn tick(database: &Database, clock: &Clock, delivery: DeliveryId) -> Result<(), StoreError> {
    complaint::record_simulated(database, delivery, clock.now()).await
}
