//! Rescue: the leases of processes that died are made due, by whoever finds out.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::domain::id::Lane;
use crate::domain::incarnation::Incarnation;
use crate::store::{Link, PgConnection, StoreError, nodes, queue};

const INTERVAL: Duration = Duration::from_secs(5);
/// After the database was away nobody could say that he lives: first everybody gets time to do so.
const GRACE: Duration = Duration::from_secs(20);
const BATCH: i64 = 1000;

/// What rescues.
pub struct Rescue {
    /// Its own connection.
    pub link: Link,
    /// The time.
    pub clock: Clock,
    /// As which this process lives.
    pub incarnation: Incarnation,
    /// The data directory's id, whose lock this process holds.
    pub node_id: Uuid,
    /// How many lanes are in use.
    pub lanes: u16,
    /// Since when the database has answered without a break.
    pub answering_since: Option<Instant>,
}

/// Looks for the dead until `stop`.
pub async fn run(mut rescue: Rescue, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let now = rescue.clock.now();
        match tick(&mut rescue, now).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "mail of a dead process is due again"),
            Err(error) => tracing::warn!(error = %error, "could not look for dead processes"),
        }
    }
}

/// Makes the leases of dead incarnations due; gives how many there were.
///
/// # Errors
/// What was made due stays due; the rest is found at the next tick.
pub async fn tick(rescue: &mut Rescue, now: OffsetDateTime) -> Result<u64, StoreError> {
    let result = look(rescue, now).await;
    if result.is_err() {
        rescue.link.broken();
        rescue.answering_since = None;
    }
    result
}

async fn look(rescue: &mut Rescue, now: OffsetDateTime) -> Result<u64, StoreError> {
    let own = rescue.incarnation.current();
    let connection = rescue.link.get().await?;
    let since = *rescue.answering_since.get_or_insert_with(Instant::now);
    let mut dead = nodes::dead(connection, own, rescue.node_id, now).await?;
    if since.elapsed() < GRACE {
        // Within the grace only earlier lives of this very node count, whose directory it holds locked.
        dead = nodes::dead(connection, own, rescue.node_id, OffsetDateTime::UNIX_EPOCH).await?;
    }
    if dead.is_empty() {
        return Ok(0);
    }
    release(connection, &dead, rescue.lanes, now).await
}

/// Makes the leases of these incarnations due, and notes that they have none left.
///
/// # Errors
/// What was made due stays due.
pub async fn release(
    connection: &mut PgConnection,
    incarnations: &[i32],
    lanes: u16,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let mut released = 0;
    for lane in 0..lanes {
        loop {
            let rows = queue::rescue(connection, Lane::new(lane), incarnations, now, BATCH).await?;
            released += rows;
            if rows == 0 {
                break;
            }
        }
    }
    nodes::rescued(connection, incarnations, now).await?;
    Ok(released)
}
