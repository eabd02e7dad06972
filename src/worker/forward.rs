//! The loop that passes mail on.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::feedback::forward::Forwarder;
use crate::store::StoreError;

const INTERVAL: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);

/// Passes on until `stop`.
pub async fn run(forwarder: Forwarder, stop: CancellationToken) {
    loop {
        let wait = match tick(&forwarder).await {
            Ok(0) => INTERVAL,
            // There may be more.
            Ok(_) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(error = %error, "mail waits to be passed on");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Passes on what is due.
///
/// # Errors
/// See [`StoreError`]; what was not passed on is due again.
pub async fn tick(forwarder: &Forwarder) -> Result<usize, StoreError> {
    forwarder.pass_due(forwarder.accept.clock.now()).await
}
