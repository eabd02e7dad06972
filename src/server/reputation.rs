//! The guard of reputation, the look at where we are listed, and reports about TLS.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::domain::id::TenantId;
use crate::domain::relay::DefaultRoute;
use crate::feedback::tls_reports::Reporter;
use crate::submission::Accept;
use crate::worker::{guard, standing, tls_reports};

use super::Building;

impl Building {
    /// Writes down how sessions fared, for reports about TLS.
    pub(super) fn keep_tls_results(&mut self, delivery: &Arc<Delivery>) {
        let keeper = tls_reports::Keeper {
            delivery: Arc::clone(delivery),
            database: self.opened.database.clone(),
            resolver: self.resolver.clone(),
        };
        self.loops.spawn("tls results", tls_reports::keep(keeper, self.stop_loops.clone()));
    }

    /// Sends reports about TLS, as the installation's own domain.
    pub(super) fn report_tls(&mut self, accept: Accept, tenant: TenantId) {
        let own = self.config.platform_key.as_ref().map(|key| key.domain.as_str().to_owned());
        let reporter = Reporter {
            accept,
            database: self.opened.database.clone(),
            resolver: self.resolver.clone(),
            outbound: self.outbound.clone(),
            tenant,
            domain: own.unwrap_or_else(|| self.config.hostname.clone()),
        };
        self.tellers.spawn("tls reports", tls_reports::report(reporter, self.stop_doors.clone()));
    }

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
