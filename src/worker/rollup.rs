//! Counts events for the statistics, on whichever node comes first; the others look on.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::reporting::rollup::{self, BATCH, Memory, Rolled};
use crate::store::{Link, StoreError};

const INTERVAL: Duration = Duration::from_secs(1);

/// What counts.
pub struct Rollup {
    /// Its own connection.
    pub link: Link,
    /// The time.
    pub clock: Clock,
    /// What it remembers between ticks.
    pub memory: Memory,
}

/// Counts until `stop`.
pub async fn run(mut rollup: Rollup, stop: CancellationToken) {
    loop {
        let began = Instant::now();
        let more = match tick(&mut rollup).await {
            Ok(Rolled::Counted(events)) => events >= BATCH as usize,
            Ok(Rolled::Elsewhere) => false,
            Err(error) => {
                rollup.link.broken();
                tracing::warn!(error = %error, "could not count events for the statistics");
                false
            }
        };
        // With a backlog it rests as long as it works: sending mail comes first.
        let rest = if more { began.elapsed().min(INTERVAL) } else { INTERVAL };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// Counts one batch.
///
/// # Errors
/// See [`rollup::batch`].
pub async fn tick(rollup: &mut Rollup) -> Result<Rolled, StoreError> {
    let now = rollup.clock.now();
    rollup::batch(&mut rollup.link, &mut rollup.memory, now).await
}
