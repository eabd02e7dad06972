//! Loops, and nothing else: each has a `run` that waits and logs, and a `tick` that does the work once and
//! that tests call. What they do lives in `delivery`, `feedback` and `store`.

pub mod alive;
pub mod announce;
pub mod apportion;
pub mod certify;
pub mod complain;
pub mod deliver;
pub mod erase;
pub mod follow;
pub mod forward;
pub mod guard;
pub mod listen;
pub mod notify;
pub mod post;
pub mod prune;
pub mod recheck;
pub mod reclaim;
pub mod release;
pub mod rescue;
pub mod revise;
pub mod rollup;
pub mod standing;
pub mod tls_reports;
pub mod vacuum;
pub mod warm;
pub mod webhooks;

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Calls `tick` every `interval` until `stop`. A tick that fails is logged by its own loop, and tried again.
pub async fn every<F, Fut>(interval: Duration, stop: &CancellationToken, mut tick: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = ()>,
{
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => tick().await,
        }
    }
}
