//! Reclaiming: mail that is leased to this process and in nobody's hands here. It is left behind when the answer
//! to a commit or a claim is lost with its connection, or when a task panics; without this it would wait for the
//! end of its lease.
//!
//! Not for the dead, whose leases `rescue` takes over. Invariant: nothing is reclaimed that was in somebody's hands
//! at one of two looks, since a claim may be under way from the database to the ledger at one of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::handoff::{Claim, Ledger};
use crate::domain::incarnation::Incarnation;
use crate::store::{Database, StoreError, queue};

/// Between two looks: longer than any claim is on its way. A look reads the whole queue, so that a long one is
/// looked at less often: at most a fiftieth of the time, but every minute.
const INTERVAL: Duration = Duration::from_secs(6);
const SHARE: u32 = 50;
const LONGEST: Duration = Duration::from_secs(60);

/// What reclaims.
pub struct Reclaim {
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// As which this process lives.
    pub incarnation: Incarnation,
    /// What is in hand.
    pub ledger: Arc<Ledger>,
    /// What was in nobody's hands at the last look.
    pub suspected: HashSet<Claim>,
}

/// Reclaims until `stop`.
pub async fn run(mut reclaim: Reclaim, stop: CancellationToken) {
    let mut wait = INTERVAL;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let began = std::time::Instant::now();
        let now = reclaim.clock.now();
        match tick(&mut reclaim, now).await {
            Ok(0) => {}
            Ok(rows) => tracing::warn!(rows, "mail that was in nobody's hands is due again"),
            Err(error) => {
                tracing::warn!(error = %error, "could not look for mail in nobody's hands");
                // How long that took says nothing about the queue.
                wait = INTERVAL;
                continue;
            }
        }
        wait = (began.elapsed() * SHARE).clamp(INTERVAL, LONGEST);
    }
}

/// Makes due what is in nobody's hands now and was not at the last look either; gives how much that was.
///
/// # Errors
/// It is found again at the next look.
pub async fn tick(reclaim: &mut Reclaim, now: OffsetDateTime) -> Result<u64, StoreError> {
    let incarnation = reclaim.incarnation.current();
    let mut connection = reclaim.database.claim().acquire().await?;
    let leased = queue::leased_to(&mut connection, incarnation).await?;
    let stray = reclaim.ledger.not_held(leased);
    let (again, new): (Vec<_>, Vec<_>) =
        stray.into_iter().partition(|claim| reclaim.suspected.contains(claim));
    reclaim.suspected = new.into_iter().collect();
    if again.is_empty() {
        return Ok(0);
    }
    queue::reclaim(&mut connection, incarnation, &again, now).await
}
