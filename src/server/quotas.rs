//! What tenants are limited to: taken over when it changes; and what this process has taken of limits and not spent,
//! given back.

use std::time::Duration;

use super::Building;

/// What has not been touched for so long is given back.
const IDLE: Duration = Duration::from_secs(10);
/// How often that is looked for.
const INTERVAL: Duration = Duration::from_secs(5);
/// A drain waits no longer for it.
const LAST: Duration = Duration::from_secs(2);

impl Building {
    /// Follows changes, and gives back what is not needed: all of it in the end.
    pub(super) fn follow_quotas(&self) -> impl Future<Output = ()> + use<> {
        let (mut known, stop) = (self.known.clone(), self.stop_loops.clone());
        let quotas = self.quotas.clone();
        let mut seen = known.borrow().revisions.quotas;
        async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    changed = known.changed() => if changed.is_err() { break },
                    () = tokio::time::sleep(INTERVAL) => {
                        if let Err(error) = quotas.give_back(IDLE).await {
                            tracing::debug!(error = %error, "what was not spent of limits is given back later");
                        }
                        continue;
                    }
                }
                let now = known.borrow_and_update().revisions.quotas;
                if now == seen {
                    continue;
                }
                match quotas.reload().await {
                    Ok(()) => seen = now,
                    Err(error) => {
                        tracing::warn!(error = %error, "could not read the limits that have changed")
                    }
                }
            }
            // What is not given back in time is lost to its tenants until the period ends.
            let _ = tokio::time::timeout(LAST, quotas.give_back(Duration::ZERO)).await;
        }
    }
}
