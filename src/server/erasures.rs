//! Assembly of erasures: what carries them out, and what accept knows of those who are not to be mailed again.

use crate::account::erasures::Eraser;
use crate::domain::erasure::Pseudonyms;
use crate::worker::erase;

use super::Building;

impl Building {
    /// Carries erasures out.
    pub(super) fn erase(&mut self) {
        let eraser = Eraser {
            database: self.opened.database.clone(),
            seal: self.seal.clone(),
            pseudonyms: Pseudonyms::new(&self.opened.master),
        };
        let clock = self.opened.clock.clone();
        self.loops.spawn("erase", erase::run(eraser, clock, self.stop_loops.clone()));
    }

    /// Takes over who has suppressions that are known by a hash alone.
    pub(super) fn follow_erasures(&self) -> impl Future<Output = ()> + use<> {
        let (mut known, stop) = (self.known.clone(), self.stop_loops.clone());
        let (hashed, database) = (self.hashed.clone(), self.opened.database.clone());
        let mut seen = known.borrow().revisions.erasures;
        async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = known.changed() => if changed.is_err() { return },
                }
                let now = known.borrow_and_update().revisions.erasures;
                if now == seen {
                    continue;
                }
                match hashed.reload(&database).await {
                    Ok(()) => seen = now,
                    Err(error) => tracing::warn!(error = %error, "could not read who has been erased"),
                }
            }
        }
    }
}
