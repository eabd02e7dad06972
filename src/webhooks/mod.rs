//! Webhooks: events become calls (`dispatch`), calls become requests (`courier`), and what came of them is
//! written down (`record`). How events look is in `compose` and, in the shapes of other providers, in `formats` and `sign`. Who may have what posted where is the account's affair (`account/webhooks`).
//!
//! Invariant: an event becomes calls in the transaction that moves the reader past it, below the horizon of
//! running transactions: none is missed, none is posted before it is committed, and each becomes a call once.
//! A call is posted at least once, with the same `webhook-id` at every try.

mod compose;
mod courier;
mod dispatch;
mod endpoint;
mod formats;
mod record;
mod sign;
mod test;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::id::WebhookId;
use crate::outbound::Outbound;
use crate::seal::Subkey;
use crate::store::{Database, StoreError, calls};

pub use compose::event;
pub use formats::{number, posted};
pub use record::Writer;
pub use sign::verification_key;
pub use test::{Tested, test};

use endpoint::Endpoints;
use record::Finished;

/// Requests under way at once, to all webhooks of a process.
const MOST_POSTS: usize = 512;

/// Posts events. One for the process.
pub struct Webhooks {
    database: Database,
    clock: Clock,
    seal: Subkey,
    outbound: Outbound,
    endpoints: Endpoints,
    /// Rings when webhooks have changed.
    changed: Notify,
    /// Those that a courier is at work for.
    served: Mutex<HashSet<WebhookId>>,
    posting: Semaphore,
    results: mpsc::UnboundedSender<Finished>,
    couriers: TaskTracker,
    stopping: CancellationToken,
}

impl Webhooks {
    /// With nothing to post to yet, and the writer of its results, which is to be run until it ends.
    pub fn new(database: Database, clock: Clock, seal: Subkey, outbound: Outbound) -> (Webhooks, Writer) {
        let (results, received) = mpsc::unbounded_channel();
        let writer = Writer::new(database.clone(), received);
        let webhooks = Webhooks {
            database,
            clock,
            seal,
            outbound,
            endpoints: Endpoints::default(),
            changed: Notify::new(),
            served: Mutex::default(),
            posting: Semaphore::new(MOST_POSTS),
            results,
            couriers: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        (webhooks, writer)
    }

    /// Reads all enabled webhooks anew.
    ///
    /// # Errors
    /// See [`StoreError`]; what was known stays.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let stored = crate::store::webhooks::of_all_tenants(&mut connection).await?;
        self.endpoints.replace(stored, &self.seal);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits until there is a webhook.
    pub async fn some(&self) {
        while self.endpoints.is_empty() {
            self.changed.notified().await;
        }
    }

    /// Starts a courier for every webhook that has something due and is not being served.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn serve_due(self: &Arc<Self>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let served = self.served().clone();
        let idle = self.endpoints.ready(now, &served);
        if idle.is_empty() {
            return Ok(());
        }
        let mut connection = self.database.serve().acquire().await?;
        let due = calls::with_due(&mut connection, &idle, now).await?;
        drop(connection);
        for id in due {
            if self.served().insert(id) {
                self.couriers.spawn(courier::run(Arc::clone(self), id));
            }
        }
        Ok(())
    }

    /// Claims nothing more; waits for the requests under way.
    pub async fn drain(&self) {
        self.stopping.cancel();
        self.couriers.close();
        self.couriers.wait().await;
    }

    fn served(&self) -> MutexGuard<'_, HashSet<WebhookId>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
