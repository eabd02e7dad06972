//! The loop that mails notices about accounts.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::account::notices::{Announcer, NotAnnounced};

const INTERVAL: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(5);

/// Mails until `stop`.
pub async fn run(announcer: Announcer, stop: CancellationToken) {
    loop {
        let wait = match tick(&announcer).await {
            Ok(0) => INTERVAL,
            // There may be more.
            Ok(_) => Duration::ZERO,
            Err(error) => {
                tracing::warn!(error = %error, "could not mail notices about accounts");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Mails what is due.
///
/// # Errors
/// See [`NotAnnounced`]; what was not mailed is due again.
pub async fn tick(announcer: &Announcer) -> Result<usize, NotAnnounced> {
    announcer.announce_due(announcer.accept.clock.now()).await
}
