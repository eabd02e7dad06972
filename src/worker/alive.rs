//! Signs of life: every ten seconds this process says that it lives, on a connection of its own, so that
//! nothing else can delay it. A process that was taken for dead meanwhile enters anew.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Step};
use crate::delivery::fence::{Fence, SILENCE};
use crate::domain::incarnation::Incarnation;
use crate::store::nodes::{self, NewNode};
use crate::store::{Link, StoreError};

const INTERVAL: Duration = Duration::from_secs(10);
/// After a failure it is tried again sooner.
const RETRY: Duration = Duration::from_secs(1);
/// How long one sign may take.
const TIMEOUT: Duration = Duration::from_secs(8);

/// What says that this process lives.
pub struct Alive {
    /// Its own connection.
    pub link: Link,
    /// The time.
    pub clock: Clock,
    /// As which it lives.
    pub incarnation: Incarnation,
    /// Opened by every sign.
    pub fence: Fence,
    /// How it enters anew.
    pub node: NewNode,
}

/// Says so until `stop`.
pub async fn run(mut alive: Alive, stop: CancellationToken) {
    let mut wait = INTERVAL;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = match tick(&mut alive).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(error = %error, "no sign of life reached the database");
                RETRY
            }
        };
    }
}

/// One sign of life; also reads the database's time.
///
/// # Errors
/// The sign did not reach the database: the fence closes 45 s after the last one that did.
pub async fn tick(alive: &mut Alive) -> Result<(), StoreError> {
    let begun = Instant::now();
    let result =
        tokio::time::timeout(TIMEOUT, renew(alive)).await.unwrap_or_else(|_| Err(StoreError::timed_out()));
    match result {
        Ok(()) => alive.fence.renewed(begun),
        Err(_) => alive.link.broken(),
    }
    result
}

async fn renew(alive: &mut Alive) -> Result<(), StoreError> {
    let connection = alive.link.get().await?;
    let asked = Instant::now();
    match alive.clock.follow(nodes::database_time(connection).await?, asked) {
        Step::Followed(drift) if drift.abs() > time::Duration::MINUTE => {
            tracing::warn!(drift_seconds = drift.as_seconds_f64(), "the database's clock has jumped");
        }
        Step::Followed(_) => {}
        Step::Doubted(drift) => tracing::error!(
            drift_seconds = drift.as_seconds_f64(),
            "the database's clock has jumped and this machine's has not: it is not followed; set it right, or restart \
             every process to follow it"
        ),
    }
    let alive_until = alive.clock.now() + SILENCE;
    let incarnation = alive.incarnation.current();
    if nodes::renew(connection, incarnation, alive_until).await? {
        return Ok(());
    }
    // Others took this process for dead and made its leases due. Results of what it still has in hand are
    // refused wherever somebody else has claimed since.
    let node = NewNode { alive_until, ..alive.node.clone() };
    let anew = nodes::enter(connection, &node, alive.clock.now()).await?;
    tracing::warn!(was = incarnation, is = anew, "this process was taken for dead and enters anew");
    alive.incarnation.replace(anew);
    Ok(())
}
