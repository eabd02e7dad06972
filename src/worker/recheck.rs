//! Looking at sender domains again: whoever has lost a record is warned while there is time, and whoever has
//! published one need not ask. Any node may do it; the row says who does.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::account::Actor;
use crate::account::domains::{DomainError, Domains, Proof};
use crate::clock::Clock;
use crate::domain::identity::schedule::LEASE;
use crate::store::{StoreError, domains};

const INTERVAL: Duration = Duration::from_secs(30);
/// Domains of one tick; the lease is long enough for them.
const BATCH: i64 = 40;
/// Domains looked up at once: DNS servers are others'.
const AT_ONCE: usize = 4;

/// Checks until `stop`.
pub async fn run(domains: Domains, clock: Clock, stop: CancellationToken) {
    super::every(INTERVAL, &stop, async || {
        if let Err(error) = tick(&domains, clock.now()).await {
            tracing::warn!(error = %error, "could not look at domains again");
        }
    })
    .await;
}

/// Looks at every domain that is due, as of `now`; gives how many there were.
///
/// # Errors
/// See [`StoreError`]: the domains of this batch are taken up again when their lease ends.
pub async fn tick(domains: &Domains, now: OffsetDateTime) -> Result<usize, StoreError> {
    let mut looked = 0;
    loop {
        let due = {
            let mut connection = domains.database.serve().acquire().await?;
            domains::lease_due(&mut connection, now, now + LEASE, BATCH).await?
        };
        let count = due.len();
        let check = async |place| {
            let checked = domains.verify(&Actor::postroad(), place, Proof::Routine, now).await;
            report(checked.map(drop));
        };
        stream::iter(due).for_each_concurrent(AT_ONCE, check).await;
        looked += count;
        if count < BATCH as usize {
            return Ok(looked);
        }
    }
}

fn report(checked: Result<(), DomainError>) {
    match checked {
        // Deleted meanwhile.
        Ok(()) | Err(DomainError::NotFound) => {}
        Err(error) => tracing::warn!(error = %error, "a domain could not be looked at again"),
    }
}
