//! Sites of this process, and its shares of them: from before the first connection until after the last. And what is
//! held on its way to them.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::delivery::Delivery;
use crate::delivery::apportion::Noted;
use crate::delivery::share::{Ask, Shares};
use crate::delivery::sites::Sites;
use crate::store::{Use, pauses, sites};
use crate::worker::{apportion, release, warm};

use super::Building;

impl Building {
    /// No sites yet, their shares, and where couriers' questions come out.
    pub(super) fn sites(&self) -> (Sites, Arc<Shares>, UnboundedReceiver<Ask>) {
        let (shares, asked) = Shares::new();
        (Sites::new(self.config.pacing.clone(), Arc::clone(&shares)), shares, asked)
    }

    /// Answers couriers until the last has ended. What an earlier life of this node had is free: its process is gone.
    pub(super) async fn apportion(
        &mut self,
        delivery: &Arc<Delivery>,
        asked: UnboundedReceiver<Ask>,
    ) -> Result<()> {
        let mut link = self.opened.database.link(Use::Watch);
        sites::succeed(link.get().await?, self.incarnation.current(), self.node.node_id).await?;
        let apportion = apportion::Apportion {
            link,
            delivery: Arc::clone(delivery),
            incarnation: self.incarnation.clone(),
            asked,
            noted: Noted::default(),
        };
        self.recorders.spawn("apportion", apportion::run(apportion, self.stop_loops.clone()));
        Ok(())
    }

    /// Knows what is held, and which addresses mail leaves from, before anything is sent; and lets go on what is not held
    /// any more.
    pub(super) async fn hold(&mut self, delivery: &Arc<Delivery>) -> Result<()> {
        let mut link = self.opened.database.link(Use::Claim);
        delivery.pauses.replace(pauses::of_all_tenants(link.get().await?).await?);
        warm::know(link.get().await?, &delivery.sources).await?;
        let warm = warm::Warm {
            link: self.opened.database.link(Use::Watch),
            clock: self.opened.clock.clone(),
            delivery: Arc::clone(delivery),
            days: self.config.pacing.warmup_days(),
        };
        self.loops.spawn("warm", warm::run(warm, self.stop_loops.clone()));
        self.guard();
        self.keep_tls_results(delivery);
        let clock = self.opened.clock.clone();
        self.loops.spawn("release", release::run(link, clock, self.stop_loops.clone()));
        Ok(())
    }
}
