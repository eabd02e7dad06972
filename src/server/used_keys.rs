//! When keys were last used, written down now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::http::auth::Keys;
use crate::store::StoreError;

/// How often it is written down when keys were last used.
const USED_INTERVAL: Duration = Duration::from_secs(30);
/// A drain waits no longer for it.
const USED_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes them until `stop`, and once more then.
pub async fn run(keys: Arc<Keys>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // When the process drains, what was noted since is written too.
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(USED_INTERVAL) => {}
        }
        let written = tokio::time::timeout(USED_TIMEOUT, keys.write_used()).await;
        if let Err(error) = written.unwrap_or_else(|_| Err(StoreError::timed_out())) {
            tracing::debug!(error = %error, "could not write when keys were last used");
        }
    }
}
