//! What delivery keeps in memory, taken over anew when it has changed.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::account::relays;
use crate::delivery::Delivery;
use crate::seal::Subkey;
use crate::store::revisions::{Known, Revisions};
use crate::store::{Database, StoreError, tenants};

/// Follows changes for delivery.
pub(super) struct Changes {
    pub database: Database,
    pub seal: Subkey,
    pub delivery: Arc<Delivery>,
    pub known: watch::Receiver<Known>,
}

impl Changes {
    /// Takes over tenants' relays, and who is suspended, when they change.
    pub fn follow(mut self, stop: CancellationToken) -> impl Future<Output = ()> {
        let mut seen = self.known.borrow().revisions;
        async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = self.known.changed() => if changed.is_err() { return },
                }
                let now = self.known.borrow_and_update().revisions;
                match self.take_over(seen, now).await {
                    Ok(()) => seen = now,
                    Err(error) => tracing::warn!(error = %error, "could not read what has changed"),
                }
            }
        }
    }

    async fn take_over(&self, seen: Revisions, now: Revisions) -> Result<(), StoreError> {
        if now.relays != seen.relays {
            self.delivery.router.replace_relays(relays::open_all(&self.database, &self.seal).await?);
        }
        if now.credentials != seen.credentials {
            let mut connection = self.database.serve().acquire().await?;
            self.delivery.suspended.replace(tenants::suspended(&mut connection).await?);
        }
        Ok(())
    }
}
