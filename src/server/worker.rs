//! The worker's role: delivery with its loops, and the chores that keep the tables small and the figures right.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::account::relays;
use crate::delivery::fence::{Cancels, Suspended};
use crate::delivery::pauses::Pauses;
use crate::delivery::record::Recorder;
use crate::delivery::route::Router;
use crate::delivery::site::Reach;
use crate::delivery::sources::Sources;
use crate::delivery::tls::PeerTls;
use crate::delivery::tls_results::TlsResults;
use crate::delivery::{Delivery, Tokens};
use crate::domain::handoff::{Capacity, Handoff};
use crate::domain::return_path::ReturnPaths;
use crate::reporting::rollup::Memory;
use crate::store::Use;
use crate::worker::{certify, complain, deliver, listen, prune, recheck, reclaim, rollup, vacuum};

use super::{Building, FIRST_CAPACITY, IN_HAND_BYTES, identity, roots, streams};

impl Building {
    /// Delivery and chores.
    pub(super) async fn worker(&mut self) -> Result<(Arc<Delivery>, Handoff)> {
        let (database, clock) = (self.opened.database.clone(), self.opened.clock.clone());
        let return_paths = ReturnPaths::new(&self.opened.master, &self.config.bounce_domain);
        let hop = self.hop(&return_paths).await?;
        let roots = roots::load(self.config.tls_roots.as_deref())?;
        let reach = if self.config.allow_private { Reach::Anywhere } else { Reach::Public };
        let (complaints, complained) = tokio::sync::mpsc::unbounded_channel();
        let capacity = Capacity { deliveries: FIRST_CAPACITY, bytes: IN_HAND_BYTES };
        let (handoff, handed) = Handoff::new(self.incarnation.clone(), capacity);
        let (recorder, writers) = Recorder::new(
            &database,
            self.incarnation.clone(),
            handoff.ledger(),
            self.config.record_writers,
            complaints,
        );
        let (sites, shares, asked) = self.sites();
        let tls_results = Arc::new(TlsResults::default());
        let delivery = Arc::new(Delivery {
            clock: clock.clone(),
            hostname: self.config.hostname.clone(),
            deadlines: self.config.deadlines,
            return_paths,
            direct: self.direct(reach, &roots, &tls_results)?,
            marker: self.marker(),
            signing: identity::signing(&self.config, &self.identities)?,
            leave: streams::leave(&self.config, &self.opened.master),
            tls_results,
            tls: PeerTls::new(roots).context("no trusted roots for TLS")?,
            tokens: Tokens::new().context("no client for access tokens")?,
            router: Router::new(&hop, reach, sites),
            recorder,
            fence: self.fence.clone(),
            cancels: Cancels::default(),
            suspended: Suspended::default(),
            pauses: Pauses::default(),
            sources: Sources::default(),
            shares,
            couriers: tokio_util::task::TaskTracker::new(),
            cut: std::sync::Mutex::default(),
        });
        self.apportion(&delivery, asked).await?;
        self.hold(&delivery).await?;
        for writer in writers {
            self.recorders.spawn("record", writer.run());
        }
        self.recorders.spawn("complain", complain::run(database.clone(), clock, complained));
        self.delivery_loops(&delivery, &handoff, handed).await?;
        self.chores()?;
        self.webhooks().await?;
        Ok((delivery, handoff))
    }

    async fn delivery_loops(
        &mut self,
        delivery: &Arc<Delivery>,
        handoff: &Handoff,
        handed: UnboundedReceiver<Vec<crate::domain::handoff::Leased>>,
    ) -> Result<()> {
        let (database, stop) = (self.opened.database.clone(), self.stop_loops.clone());
        delivery.router.replace_relays(relays::open_all(&database, &self.seal).await?);
        let wake = Arc::new(Notify::new());
        let claimer = Arc::new(deliver::Claimer {
            delivery: Arc::clone(delivery),
            database: database.clone(),
            ledger: Arc::clone(handoff.ledger()),
            incarnation: self.incarnation.clone(),
            lanes: self.lanes.count(),
            wake: Arc::clone(&wake),
        });
        let ledger = Arc::clone(handoff.ledger());
        let closer = {
            let (ledger, stop) = (Arc::clone(&ledger), stop.clone());
            async move {
                stop.cancelled().await;
                ledger.close();
            }
        };
        self.loops.spawn("close ledger", closer);
        self.loops.spawn("handed", deliver::take_handed(Arc::clone(delivery), handed));
        self.loops.spawn("claim", deliver::run(Arc::clone(&claimer), stop.clone()));
        self.loops.spawn("suspects", deliver::run_suspects(claimer, stop.clone()));
        let reclaimer = reclaim::Reclaim {
            database: database.clone(),
            clock: self.opened.clock.clone(),
            incarnation: self.incarnation.clone(),
            ledger: Arc::clone(&ledger),
            suspected: HashSet::new(),
        };
        self.loops.spawn("reclaim", reclaim::run(reclaimer, stop.clone()));
        self.loops.spawn("fit", deliver::run_fit(ledger, stop.clone()));
        self.loops
            .spawn("listen", listen::run(database.clone(), wake, delivery.cancels.clone(), stop.clone()));
        self.loops.spawn("relays", self.follow_changes(delivery));
        Ok(())
    }

    /// What is done now and then.
    fn chores(&mut self) -> Result<()> {
        let (database, stop) = (self.opened.database.clone(), self.stop_loops.clone());
        let prune = prune::Prune {
            link: database.link(Use::Maintain),
            clock: self.opened.clock.clone(),
            history: self.config.retention,
            content: self.config.content,
            figures: self.config.figures,
        };
        if let Some(certifier) = identity::certifier(&self.config, &self.opened)? {
            let clock = self.opened.clock.clone();
            self.loops.spawn("certify", certify::run(certifier, clock, stop.clone()));
        }
        self.erase();
        let recheck = recheck::run(self.domains.clone(), self.opened.clock.clone(), stop.clone());
        self.loops.spawn("recheck", recheck);
        let rollup = rollup::Rollup {
            link: database.link(Use::Claim),
            clock: self.opened.clock.clone(),
            memory: Memory::default(),
        };
        self.loops.spawn("rollup", rollup::run(rollup, stop.clone()));
        self.loops.spawn("vacuum", vacuum::run(database.link(Use::Maintain), stop.clone()));
        self.loops.spawn("prune", prune::run(prune, stop));
        Ok(())
    }
}
