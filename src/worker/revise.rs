//! Revisions: twice a second every process asks what has changed of what it keeps in memory.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::revisions::{self, Known, Revisions};
use crate::store::{Link, StoreError};

const INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks until `stop`; readers see every answer.
pub async fn run(mut link: Link, known: watch::Sender<Known>, stop: CancellationToken) {
    loop {
        let as_of = Instant::now();
        match tick(&mut link).await {
            Ok(revisions) => {
                known.send_replace(Known { revisions, as_of });
            }
            Err(error) => {
                link.broken();
                tracing::debug!(error = %error, "could not read revisions");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Asks once.
///
/// # Errors
/// See [`StoreError`].
pub async fn tick(link: &mut Link) -> Result<Revisions, StoreError> {
    let work = async { revisions::read(link.get().await?).await };
    tokio::time::timeout(TIMEOUT, work).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
}
