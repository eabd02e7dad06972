//! The guard of reputation, on whichever node comes first.

use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

pub use crate::account::reputation::Looked;

use crate::account::reputation;
use crate::clock::Clock;
use crate::domain::reputation::Thresholds;
use crate::store::chores::{self, Chore};
use crate::store::{Database, StoreError};

const INTERVAL: Duration = Duration::from_secs(10);
/// Between looks, over all nodes.
const REST: time::Duration = time::Duration::minutes(1);
/// What stands well and has sent nothing for so long is forgotten.
const KEPT: time::Duration = time::Duration::days(30);

/// Watches until `stop`.
pub async fn run(database: Database, thresholds: Thresholds, clock: Clock, stop: CancellationToken) {
    super::every(INTERVAL, &stop, async || {
        let now = clock.now();
        if let Err(error) = turn(&database, &thresholds, now).await {
            tracing::warn!(error = %error, "could not look at the rates of senders");
        }
    })
    .await;
}

async fn turn(database: &Database, thresholds: &Thresholds, now: OffsetDateTime) -> Result<(), StoreError> {
    let is_ours = {
        let mut connection = database.serve().acquire().await?;
        chores::take(&mut connection, Chore::Guard, now, now + REST).await?
    };
    if is_ours {
        let looked = tick(database, thresholds, now).await?;
        metrics::gauge!("postroad_reputation_senders", "standing" => "warned").set(looked.warned as f64);
        metrics::gauge!("postroad_reputation_senders", "standing" => "held").set(looked.held as f64);
    }
    Ok(())
}

/// Looks once.
///
/// # Errors
/// See [`reputation::look`].
pub async fn tick(
    database: &Database,
    thresholds: &Thresholds,
    now: OffsetDateTime,
) -> Result<Looked, StoreError> {
    let looked = reputation::look(database, thresholds, now).await?;
    let mut connection = database.serve().acquire().await?;
    crate::store::reputation::forget(&mut connection, now - KEPT).await?;
    Ok(looked)
}
