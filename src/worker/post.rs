//! Posting inbound mail: takes what is due and makes the calls, several at a time.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::feedback::post::Poster;
use crate::store::StoreError;

/// How soon a mail is posted, at the latest.
const INTERVAL: Duration = Duration::from_secs(1);
/// Calls at a time: a program that hangs holds one of them for a quarter of a minute.
const AT_A_TIME: usize = 32;

/// Posts until `stop`; calls that are under way are finished.
pub async fn run(poster: Poster, clock: Clock, stop: CancellationToken) {
    let mut calls = JoinSet::new();
    loop {
        match tick(&poster, &clock, &mut calls).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(error = %error, "inbound mail waits to be posted"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
    while calls.join_next().await.is_some() {}
}

/// Begins what is due, as far as there is room.
///
/// # Errors
/// See [`StoreError`].
pub async fn tick(poster: &Poster, clock: &Clock, calls: &mut JoinSet<()>) -> Result<(), StoreError> {
    while calls.try_join_next().is_some() {}
    let room = AT_A_TIME.saturating_sub(calls.len());
    if room == 0 {
        return Ok(());
    }
    // At most AT_A_TIME.
    for call in poster.claim(room as i64, clock.now()).await? {
        let (poster, clock) = (poster.clone(), clock.clone());
        calls.spawn(async move {
            if let Err(error) = poster.make(&call, clock.now()).await {
                tracing::warn!(error = %error, inbound.id = %call.mail, "it is not known what became of a call");
            }
        });
    }
    Ok(())
}
