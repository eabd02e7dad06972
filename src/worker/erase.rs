//! The loop that erases what is stored of recipients who asked for it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::account::erasures::Eraser;
use crate::clock::Clock;
use crate::store::StoreError;

const INTERVAL: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);
/// Between two batches, so that erasing much leaves the database to others.
const PAUSE: Duration = Duration::from_millis(50);

/// Erases until `stop`.
pub async fn run(eraser: Eraser, clock: Clock, stop: CancellationToken) {
    loop {
        let wait = match tick(&eraser, &clock).await {
            Ok(false) => INTERVAL,
            Ok(true) => PAUSE,
            Err(error) => {
                tracing::warn!(error = %error, "could not erase");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Takes one batch. False: nothing is due.
///
/// # Errors
/// See [`StoreError`]; the batch is taken again.
pub async fn tick(eraser: &Eraser, clock: &Clock) -> Result<bool, StoreError> {
    eraser.erase_due(clock.now()).await
}
