//! Warming addresses up: takes portions of their days for this process, and ends a warm-up whose curve is over.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::account::ips;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::delivery::sources::Sources;
use crate::store::{self, Link, PgConnection, StoreError};

const INTERVAL: Duration = Duration::from_secs(60);
/// After a failure: what is wanted is wanted again by the next mail.
const PAUSE: Duration = Duration::from_secs(1);
/// Addresses, and rules, that a process knows.
const MOST: i64 = 10_000;

/// What takes portions.
pub struct Warm {
    /// Its own connection.
    pub link: Link,
    /// The time.
    pub clock: Clock,
    /// For whom.
    pub delivery: Arc<Delivery>,
    /// How long the longest curve is, in days.
    pub days: usize,
}

/// Takes until `stop`; then gives back what was not used.
pub async fn run(mut warm: Warm, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = warm.delivery.sources.wanting() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let now = warm.clock.now();
        if let Err(error) = tick(&mut warm, now).await {
            warm.link.broken();
            tracing::warn!(error = %error, "could not take of a warm-up");
            tokio::time::sleep(PAUSE).await;
        }
    }
    if let Err(error) = give_back(&mut warm).await {
        tracing::debug!(error = %error, "what was left of warm-ups is lost for today");
    }
    warm.link.close().await;
}

/// Takes what is wanted, and ends what is over.
///
/// # Errors
/// See [`StoreError`].
pub async fn tick(warm: &mut Warm, now: OffsetDateTime) -> Result<(), StoreError> {
    for want in warm.delivery.sources.wants() {
        let taken = ips::take_portion(&mut warm.link, &want.key, want.allowed).await?;
        warm.delivery.sources.granted(&want, Some(taken).filter(|taken| *taken > 0));
        let provider = want.key.provider.clone();
        metrics::counter!("postroad_warmup_taken_total", "ip" => want.address.to_string(), "provider" => provider)
            .increment(taken.into());
    }
    let days = time::Duration::days(i64::try_from(warm.days).unwrap_or(i64::MAX));
    let began_before = now.replace_time(time::Time::MIDNIGHT) - days + time::Duration::DAY;
    ips::finish_warmups(&mut warm.link, began_before).await
}

/// Takes over which addresses and rules there are.
///
/// # Errors
/// See [`StoreError`].
pub async fn know(connection: &mut PgConnection, sources: &Sources) -> Result<(), StoreError> {
    let known = store::ips::list(connection, None, MOST).await?;
    sources.replace(known, store::ips::list_rules(connection, None, MOST).await?);
    Ok(())
}

async fn give_back(warm: &mut Warm) -> Result<(), StoreError> {
    for (key, unused) in warm.delivery.sources.unspent() {
        store::ips::return_warmup(warm.link.get().await?, &key, unused).await?;
    }
    Ok(())
}
