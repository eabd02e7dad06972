//! The guard of reputation, and the look at where we are listed.

use crate::domain::relay::DefaultRoute;
use crate::worker::{guard, standing};

use super::Building;

impl Building {
    /// Watches the rates of senders, and what the world's DNS says of us.
    pub(super) fn guard(&mut self) {
        let (database, clock, stop) = (&self.opened.database, &self.opened.clock, &self.stop_loops);
        let guard = guard::run(database.clone(), self.config.thresholds, clock.clone(), stop.clone());
        self.loops.spawn("guard", guard);
        let standing = standing::Standing {
            database: database.clone(),
            resolver: self.resolver.clone(),
            lists: self.config.lists.clone(),
            own_name: (self.config.route == DefaultRoute::Direct).then(|| self.config.hostname.clone()),
        };
        self.loops.spawn("standing", standing::run(standing, clock.clone(), stop.clone()));
    }
}
