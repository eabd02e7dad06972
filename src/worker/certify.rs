//! The loop that gets certificates. Any node may do it; the row says who does.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::certificates::{Certifier, Done};
use crate::clock::Clock;
use crate::store::StoreError;

/// How often it is looked whether one is due, or wanted anew.
const INTERVAL: Duration = Duration::from_secs(60);
/// After a look that found one: there may be more. Authorities count orders.
const NEXT: Duration = Duration::from_secs(1);

/// Gets certificates until `stop`. One that is being got is given up: its lease ends.
pub async fn run(certifier: Certifier, clock: Clock, stop: CancellationToken) {
    loop {
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = tick(&certifier, &clock) => looked,
        };
        let wait = match looked {
            Ok(Done::Nothing) => INTERVAL,
            Ok(Done::Got | Done::Failed) => NEXT,
            Err(error) => {
                tracing::warn!(error = %error, "could not look which certificates are due");
                INTERVAL
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Gets one that is due.
///
/// # Errors
/// See [`StoreError`].
pub async fn tick(certifier: &Certifier, clock: &Clock) -> Result<Done, StoreError> {
    certifier.get_due(clock.now()).await
}
