//! The follower: reads events as they are committed, for those who watch. It sleeps while nobody does.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::live::Live;
use crate::store::Database;

const INTERVAL: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(1);

/// Follows until `stop`.
pub async fn run(live: Live, database: Database, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = live.somebody() => {}
        }
        let wait = match live.tick(&database).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(error = %error, "could not follow events");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
