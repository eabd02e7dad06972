//! What a process keeps in memory and others may change: taken over as soon as the revisions tell of it; and what
//! it noted in memory, written down now and then.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::account::credentials::Keys;
use crate::account::relays;
use crate::delivery::Delivery;
use crate::seal::Subkey;
use crate::store::revisions::Revisions;
use crate::store::{Database, StoreError, pauses, tenants};
use crate::worker::warm;

use super::Building;

impl Building {
    /// Takes over tenants' relays, and who is suspended, when they change.
    pub(super) fn follow_changes(&self, delivery: &Arc<Delivery>) -> impl Future<Output = ()> + use<> {
        let (mut known, stop) = (self.known.clone(), self.stop_loops.clone());
        let (database, seal, delivery) =
            (self.opened.database.clone(), self.seal.clone(), Arc::clone(delivery));
        let mut seen = known.borrow().revisions;
        async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = known.changed() => if changed.is_err() { return },
                }
                let now = known.borrow_and_update().revisions;
                match take_over(&database, &seal, &delivery, seen, now).await {
                    Ok(()) => seen = now,
                    Err(error) => tracing::warn!(error = %error, "could not read what has changed"),
                }
            }
        }
    }
}

async fn take_over(
    database: &Database,
    seal: &Subkey,
    delivery: &Delivery,
    seen: Revisions,
    now: Revisions,
) -> Result<(), StoreError> {
    if now.relays != seen.relays {
        delivery.router.replace_relays(relays::open_all(database, seal).await?);
    }
    if now.pauses != seen.pauses {
        let mut connection = database.serve().acquire().await?;
        delivery.pauses.replace(pauses::of_all_tenants(&mut connection).await?);
    }
    if now.ips != seen.ips {
        let mut connection = database.serve().acquire().await?;
        warm::know(&mut connection, &delivery.sources).await?;
    }
    if now.credentials != seen.credentials {
        let mut connection = database.serve().acquire().await?;
        delivery.suspended.replace(tenants::suspended(&mut connection).await?);
    }
    Ok(())
}

/// How often it is written down when keys were last used.
const USED_INTERVAL: Duration = Duration::from_secs(30);
/// A drain waits no longer for it.
const USED_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn write_used_keys(keys: Arc<Keys>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // When the process drains, what was noted since is written too.
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(USED_INTERVAL) => {}
        }
        let written = tokio::time::timeout(USED_TIMEOUT, keys.write_used()).await;
        if let Err(error) = written.unwrap_or_else(|_| Err(StoreError::timed_out())) {
            tracing::debug!(error = %error, "could not write when keys were last used");
        }
    }
}
