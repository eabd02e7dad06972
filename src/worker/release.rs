//! Resuming: what a pause had put aside is made due once the pause is gone.

use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::{Link, StoreError, pauses};

const INTERVAL: Duration = Duration::from_secs(1);
const BATCH: i64 = 2000;

/// Releases until `stop`.
pub async fn run(mut link: Link, clock: Clock, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        match tick(&mut link, clock.now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "mail that was held goes on"),
            Err(error) => {
                link.broken();
                tracing::warn!(error = %error, "could not release what was held");
            }
        }
    }
}

/// Releases all whose pauses are gone, batch by batch; gives how many.
///
/// # Errors
/// What was released stays so.
pub async fn tick(link: &mut Link, now: OffsetDateTime) -> Result<u64, StoreError> {
    let mut released = 0;
    loop {
        let rows = pauses::release(link.get().await?, now, BATCH).await?;
        released += rows;
        if rows < BATCH as u64 {
            return Ok(released);
        }
    }
}
