//! Events as they happen, for those who watch. One follower reads the events of all watched tenants in the
//! order of commits and gives them to every watcher; who fell behind, or comes back, reads the table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast};

use crate::domain::id::TenantId;
use crate::store::events::{self, Followed, Position};
use crate::store::{Database, StoreError};

/// What watchers and the follower share. Clones agree.
#[derive(Debug, Clone)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    watched: Mutex<HashMap<TenantId, usize>>,
    /// Where the follower stands; `None` while nobody watches. The first watcher sets it, so that the
    /// follower begins where that watcher does.
    position: Mutex<Option<Position>>,
    events: broadcast::Sender<Arc<Followed>>,
    begun: Notify,
}

/// Events a slow watcher may be behind before it must read the table.
const BACKLOG: usize = 4096;
/// Events read at once.
const PAGE: i64 = 1000;

/// A watcher of one tenant's events.
#[derive(Debug)]
pub struct Watch {
    watching: Watching,
    database: Database,
    events: broadcast::Receiver<Arc<Followed>>,
    position: Position,
    /// Read from the table, not yet given: newest last.
    caught_up: std::collections::VecDeque<Followed>,
    behind: bool,
}

impl Default for Live {
    fn default() -> Live {
        let (events, _) = broadcast::channel(BACKLOG);
        Live(Arc::new(Inner {
            watched: Mutex::default(),
            position: Mutex::default(),
            events,
            begun: Notify::new(),
        }))
    }
}

impl Live {
    /// Watches a tenant's events from `after` on; `None`: from now on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn watch(
        &self,
        database: &Database,
        tenant: TenantId,
        after: Option<Position>,
    ) -> Result<Watch, StoreError> {
        // Counted first: from here on the follower reads this tenant's events too.
        *self.watched().entry(tenant).or_default() += 1;
        let events = self.0.events.subscribe();
        let watching = Watching { live: self.clone(), tenant };
        let mut connection = database.serve().acquire().await?;
        let horizon = events::horizon(&mut connection).await?;
        self.position().get_or_insert(horizon);
        self.0.begun.notify_one();
        Ok(Watch {
            watching,
            database: database.clone(),
            events,
            position: after.unwrap_or(horizon),
            caught_up: std::collections::VecDeque::new(),
            behind: true,
        })
    }

    /// Waits until somebody watches.
    pub async fn somebody(&self) {
        while self.watched().is_empty() {
            self.0.begun.notified().await;
        }
    }

    /// Reads what was committed since the last tick and gives it to the watchers.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is lost, the position stays.
    pub async fn tick(&self, database: &Database) -> Result<(), StoreError> {
        let Some((tenants, mut position)) = self.task() else { return Ok(()) };
        let mut connection = database.serve().acquire().await?;
        let horizon = events::horizon(&mut connection).await?;
        loop {
            let page = events::follow_tenants(&mut connection, &tenants, position, horizon, PAGE).await?;
            let full = page.len() == PAGE as usize;
            for followed in page {
                position = followed.position;
                // An error means that nobody watches any more.
                let _ = self.0.events.send(Arc::new(followed));
            }
            let reached = if full { position } else { horizon };
            self.position().replace(reached);
            if !full {
                return Ok(());
            }
        }
    }

    /// Whom to follow, and from where; `None`: nobody yet.
    fn task(&self) -> Option<(Vec<TenantId>, Position)> {
        let watched = self.watched();
        let mut position = self.position();
        if watched.is_empty() {
            *position = None;
        }
        position.map(|position| (watched.keys().copied().collect(), position))
    }

    fn position(&self) -> MutexGuard<'_, Option<Position>> {
        self.0.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwatch(&self, tenant: TenantId) {
        let mut watched = self.watched();
        if let Some(count) = watched.get_mut(&tenant) {
            *count -= 1;
            if *count == 0 {
                watched.remove(&tenant);
            }
        }
    }
}

/// Counts a tenant as watched for as long as it exists.
#[derive(Debug)]
struct Watching {
    live: Live,
    tenant: TenantId,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.live.unwatch(self.tenant);
    }
}

impl Watch {
    /// The next event of the tenant, in the order of commits. Each once.
    ///
    /// # Errors
    /// The table could not be read; calling again goes on where it was.
    pub async fn next(&mut self) -> Result<Option<Followed>, StoreError> {
        loop {
            if let Some(followed) = self.caught_up.pop_front() {
                self.position = followed.position;
                return Ok(Some(followed));
            }
            if self.behind {
                self.catch_up().await?;
                continue;
            }
            match self.events.recv().await {
                Ok(followed)
                    if followed.tenant == self.watching.tenant
                        && is_after(followed.position, self.position) =>
                {
                    self.position = followed.position;
                    return Ok(Some(Followed::clone(&followed)));
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }

    /// Reads from the table what was missed. What the follower gives meanwhile waits, and is then skipped by
    /// its position.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let mut connection = self.database.serve().acquire().await?;
        let horizon = events::horizon(&mut connection).await?;
        let tenants = [self.watching.tenant];
        let page = events::follow_tenants(&mut connection, &tenants, self.position, horizon, PAGE).await?;
        self.behind = page.len() == PAGE as usize;
        self.caught_up.extend(page);
        Ok(())
    }
}

fn is_after(one: Position, other: Position) -> bool {
    (one.txid, one.id) > (other.txid, other.id)
}
