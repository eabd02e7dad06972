//! Groups of tasks that end together.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::http::Roles;

/// Tasks that belong together.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    failed: CancellationToken,
}

/// What is left until a moment; nothing, once it has passed.
pub fn before(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

impl Tasks {
    /// Starts a task. If it panics, the group has failed.
    pub fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let failed = self.failed.clone();
        self.set.spawn(async move {
            let running = Guard { name, failed, done: false };
            work.await;
            running.done();
        });
    }

    /// When a task of this group fails, the role is down. Stopping on purpose is no failure.
    pub fn watch(&self, role: &'static str, roles: &Roles, stops: [&CancellationToken; 2]) {
        let (failed, down) = (self.failed.clone(), roles.token(role));
        let stops = stops.map(CancellationToken::clone);
        tokio::spawn(async move {
            tokio::select! {
                () = failed.cancelled() => if let Some(down) = down { down.cancel() },
                () = stops[0].cancelled() => {}
                () = stops[1].cancelled() => {}
            }
        });
    }

    /// Waits until all have ended, but not longer than `patience`; then cuts off the rest.
    pub async fn end(&mut self, patience: Duration) {
        let all = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!(left = self.set.len(), "some tasks did not end in time");
            self.set.shutdown().await;
        }
    }
}

/// Notices a panic by not having been told that all is done.
struct Guard {
    name: &'static str,
    failed: CancellationToken,
    done: bool,
}

impl Guard {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.done && std::thread::panicking() {
            tracing::error!(task = self.name, "a task panicked");
            self.failed.cancel();
        }
    }
}
