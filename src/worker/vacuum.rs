//! The queue's vacuum, by whichever node comes first.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Link, StoreError, vacuum};

/// How often somebody looks: after the database has died, nobody should write much before the first vacuum.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two vacuums.
const REST: Duration = Duration::from_secs(10);

/// Vacuums until `stop`.
pub async fn run(mut link: Link, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if let Err(error) = tick(&mut link).await {
            link.broken();
            tracing::warn!(error = %error, "could not vacuum the queue");
        }
    }
}

/// Vacuums, if there is something to take away.
///
/// # Errors
/// See [`vacuum::queue`].
pub async fn tick(link: &mut Link) -> Result<bool, StoreError> {
    vacuum::queue(link.get().await?, REST).await
}
