//! Assembly of webhooks: the client they go through, the loop that posts, and who tells it of changes.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::domain::netguard::Netguard;
use crate::outbound::{Lookup, Outbound};
use crate::webhooks::Webhooks;
use crate::worker::webhooks;

use super::Building;

/// The client for what tenants want to have called.
pub fn outbound(config: &Config) -> Result<Outbound> {
    let guard = Netguard::new(config.webhook_allow.clone());
    Outbound::new(guard, Lookup::system()).context("no client for webhooks")
}

impl Building {
    /// Posts events to tenants' webhooks.
    pub(super) async fn webhooks(&mut self) -> Result<()> {
        let (database, clock) = (self.opened.database.clone(), self.opened.clock.clone());
        let (webhooks, writer) = Webhooks::new(database, clock, self.seal.clone(), self.outbound.clone());
        let webhooks = Arc::new(webhooks);
        webhooks.reload().await?;
        self.recorders.spawn("webhook results", writer.run());
        self.loops.spawn("webhook changes", self.follow_webhooks(&webhooks));
        self.loops.spawn("webhooks", webhooks::run(webhooks, self.stop_loops.clone()));
        Ok(())
    }

    /// Takes over tenants' webhooks when they change.
    fn follow_webhooks(&self, webhooks: &Arc<Webhooks>) -> impl Future<Output = ()> + use<> {
        let (mut known, stop, webhooks) = (self.known.clone(), self.stop_loops.clone(), Arc::clone(webhooks));
        let mut seen = known.borrow().revisions.webhooks;
        async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = known.changed() => if changed.is_err() { return },
                }
                let now = known.borrow_and_update().revisions.webhooks;
                if now == seen {
                    continue;
                }
                match webhooks.reload().await {
                    Ok(()) => seen = now,
                    Err(error) => {
                        tracing::warn!(error = %error, "could not read the webhooks that have changed")
                    }
                }
            }
        }
    }
}
