//! The loop that writes notices to submitters.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::feedback::notices::{NotTold, Teller};

const INTERVAL: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);

/// Writes until `stop`.
pub async fn run(teller: Teller, stop: CancellationToken) {
    loop {
        let wait = match tick(&teller).await {
            Ok(0) => INTERVAL,
            // There may be more.
            Ok(_) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(error = %error, "could not write notices to submitters");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Writes what is due.
///
/// # Errors
/// See [`NotTold`]; what was not written is due again.
pub async fn tick(teller: &Teller) -> Result<usize, NotTold> {
    teller.tell_due(teller.accept.clock.now()).await
}
