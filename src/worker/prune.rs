//! Pruning: partitions for the days to come, and the end of what has been kept long enough.

use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::stats::Grain;
use crate::store::{
    Link, StoreError, account_notices, calls, captured, dmarc, domains, idempotency, inbound_calls,
    invitations, ips, links, mta_sts, nodes, partitions, passkeys, sessions, sites, stats,
};

const INTERVAL: Duration = Duration::from_secs(600);
/// Answers to requests with an Idempotency-Key.
const IDEMPOTENCY: time::Duration = time::Duration::hours(24);
/// Captured mail: so many of the newest, and everything of the last hour.
const CAPTURED: i64 = 1000;
const CAPTURED_FOR: time::Duration = time::Duration::hours(1);
/// Ended incarnations.
const NODES: time::Duration = time::Duration::days(7);
/// How long a site is remembered of which nothing is to be known any more.
const SITES: time::Duration = time::Duration::days(1);
/// Days of warm-ups.
const WARMUPS: time::Duration = time::Duration::days(90);
/// Calls of webhooks that are disabled: those that are enabled have none due for so long.
const CALLS: time::Duration = time::Duration::days(5);
/// Sessions, and links that work once, after their end.
const SIGNED_OUT: time::Duration = time::Duration::days(7);
/// Invitations after their end.
const INVITED: time::Duration = time::Duration::days(30);
const BATCH: i64 = 5000;

/// What prunes.
pub struct Prune {
    /// Its own connection: pruning may take long.
    pub link: Link,
    /// The time.
    pub clock: Clock,
    /// How long history is kept.
    pub history: time::Duration,
    /// How long content is kept.
    pub content: time::Duration,
    /// How long daily figures are kept.
    pub figures: time::Duration,
}

/// What one tick did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Partitions made.
    pub made: usize,
    /// Partitions dropped.
    pub dropped: Vec<String>,
    /// Idempotency records forgotten.
    pub idempotency: u64,
    /// Calls about inbound mail forgotten.
    pub inbound_calls: u64,
    /// Captured mails forgotten.
    pub captured: u64,
    /// Calls of webhooks forgotten.
    pub calls: u64,
    /// Counters of the statistics forgotten.
    pub figures: u64,
}

/// Prunes until `stop`.
pub async fn run(mut prune: Prune, stop: CancellationToken) {
    loop {
        let now = prune.clock.now();
        match tick(&mut prune, now).await {
            Ok(done) if done != Pruned::default() => tracing::info!(?done, "pruned"),
            Ok(_) => {}
            Err(error) => {
                prune.link.broken();
                tracing::warn!(error = %error, "could not prune");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Makes partitions, then forgets what has been kept long enough.
///
/// # Errors
/// What was done stays done; the rest is left to the next tick.
pub async fn tick(prune: &mut Prune, now: OffsetDateTime) -> Result<Pruned, StoreError> {
    let connection = prune.link.get().await?;
    let made = partitions::ensure(connection, now.date()).await?;
    let dropped = partitions::drop_older(connection, now - prune.history, now - prune.content).await?;
    let mut forgotten = 0;
    loop {
        let rows = idempotency::forget_older(connection, now - IDEMPOTENCY, BATCH).await?;
        forgotten += rows;
        if rows < BATCH as u64 {
            break;
        }
    }
    let inbound_calls = inbound_calls::forget_older(connection, now - prune.content).await?;
    let captured = captured::prune(connection, CAPTURED, now - CAPTURED_FOR).await?;
    domains::forget_notes(connection, now - prune.history).await?;
    dmarc::forget(connection, now - prune.figures).await?;
    account_notices::forget(connection, (now - prune.history).date()).await?;
    let calls = calls::sweep(connection, now - CALLS).await?;
    nodes::forget(connection, now - NODES).await?;
    mta_sts::forget(connection, now).await?;
    sites::forget(connection, now - SITES).await?;
    ips::forget_warmups(connection, (now - WARMUPS).date()).await?;
    sessions::forget(connection, now - SIGNED_OUT, now - prune.history).await?;
    links::forget(connection, now - SIGNED_OUT).await?;
    passkeys::forget(connection, now).await?;
    invitations::forget(connection, now - INVITED).await?;
    let figures = forget_figures(prune, now).await?;
    Ok(Pruned { made, dropped, idempotency: forgotten, captured, inbound_calls, calls, figures })
}

/// Hourly figures leave with the history, daily ones stay longer; who keeps a domain's mailboxes is forgotten with
/// the last figure that could name it.
async fn forget_figures(prune: &mut Prune, now: OffsetDateTime) -> Result<u64, StoreError> {
    let connection = prune.link.get().await?;
    let mut forgotten = 0;
    for (grain, kept) in [(Grain::Hour, prune.history), (Grain::Day, prune.figures)] {
        loop {
            let rows = stats::forget_older(connection, grain, now - kept, BATCH).await?;
            forgotten += rows;
            if rows < BATCH as u64 {
                break;
            }
        }
    }
    stats::forget_providers(connection, now - prune.figures).await?;
    Ok(forgotten)
}
