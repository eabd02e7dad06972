//! Looking up where we are listed, at the start and daily, on whichever node comes first.

use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::account::standing::{self, Lists};
use crate::clock::Clock;
use crate::dns::Resolver;
use crate::store::chores::{self, Chore};
use crate::store::{Database, StoreError};

const INTERVAL: Duration = Duration::from_secs(300);
/// Between looks, over all nodes. Lists want no more.
const REST: time::Duration = time::Duration::hours(24);
/// The first look is at the start, when everything listens.
const FIRST: Duration = Duration::from_secs(5);

/// What looks up.
#[derive(Clone)]
pub struct Standing {
    /// Where addresses and domains are, and what is found.
    pub database: Database,
    /// Asks.
    pub resolver: Resolver,
    /// Whom.
    pub lists: Lists,
    /// Our own name, if mail leaves from here directly.
    pub own_name: Option<String>,
}

/// Looks up until `stop`.
pub async fn run(standing: Standing, clock: Clock, stop: CancellationToken) {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = INTERVAL;
        if let Err(error) = turn(&standing, clock.now()).await {
            tracing::warn!(error = %error, "could not look up where we are listed");
        }
    }
}

async fn turn(standing: &Standing, now: OffsetDateTime) -> Result<(), StoreError> {
    let is_ours = {
        let mut connection = standing.database.serve().acquire().await?;
        chores::take(&mut connection, Chore::Standing, now, now + REST).await?
    };
    if is_ours { tick(standing, now).await.map(drop) } else { Ok(()) }
}

/// Looks everything up once; gives how much there was.
///
/// # Errors
/// See [`standing::look_up_all`].
pub async fn tick(standing: &Standing, now: OffsetDateTime) -> Result<usize, StoreError> {
    let Standing { database, resolver, lists, own_name } = standing;
    standing::look_up_all(database, resolver, lists, own_name.as_deref(), now).await
}
