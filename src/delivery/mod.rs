//! Delivery: claim, prepare, route, transmit, classify, record. Owns the transactions in which results are
//! written; holds none while it speaks with the world.
//!
//! A leased mail comes in through [`Delivery::dispatch`], is routed to a [`site::Site`] (at once, or, if it goes
//! [directly](direct), after its recipient's domain was looked up), carried by a [`courier`] over its connection,
//! and leaves as a result to the [`record::Recorder`].

pub mod apportion;
mod conclude;
pub mod control;
mod courier;
mod crew;
pub mod dane;
mod dial;
pub mod direct;
pub mod domains;
mod fair;
pub mod fence;
mod list_fields;
mod load;
pub mod mark;
pub mod mta_sts;
pub mod mx;
mod oauth;
mod observe;
mod pace;
pub mod pauses;
mod personalise;
pub mod policy;
pub mod prepare;
pub mod record;
pub mod resolve;
pub mod route;
pub mod share;
pub mod sign;
mod simulate;
pub mod site;
pub mod sites;
pub mod sources;
pub mod stream;
pub mod tls;
pub mod tls_results;
pub mod transmit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use time::{Duration, OffsetDateTime};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::delivery::Ending;
use crate::domain::handoff::Leased;
use crate::domain::return_path::ReturnPaths;

pub use crate::domain::classify;
pub use list_fields::Leave;
pub use load::{Loaded, claim_lane, claim_suspect, terms};
pub use oauth::Tokens;

use direct::{Bundling, Direct};
use fence::{Cancels, Fence, Suspended};
use mark::Marker;
use pauses::Pauses;
use record::{Finished, Recorder};
use route::{Router, Way};
use share::Shares;
use sign::Signing;
use site::{Brought, Refused, Site};
use sources::Sources;
use tls::PeerTls;
use tls_results::TlsResults;
use transmit::Deadlines;

/// How long a lease lasts: beyond the longest wait in memory and the longest attempt together.
pub const LEASE: Duration = Duration::minutes(60);

/// Well before [`DEAD_AFTER`](crate::store::sites::DEAD_AFTER) is over.
const LAPSE: std::time::Duration = std::time::Duration::from_secs(105);

/// Mail that is handed back comes again within this spread.
const SPREAD_MILLIS: i64 = 2000;

/// Everything couriers share.
pub struct Delivery {
    /// The time.
    pub clock: Clock,
    /// Who we say we are to peers.
    pub hostname: String,
    /// How long each step may take.
    pub deadlines: Deadlines,
    /// Makes return paths.
    pub return_paths: ReturnPaths,
    /// Marks mail whose opens and clicks are wanted.
    pub marker: Marker,
    /// Knows senders, and signs for them.
    pub signing: Signing,
    /// Tells recipients how to leave.
    pub leave: Leave,
    /// Counts how sessions fare.
    pub tls_results: Arc<TlsResults>,
    /// Encrypts connections.
    pub tls: PeerTls,
    /// Tokens for relays.
    pub tokens: Tokens,
    /// Knows the way.
    pub router: Router,
    /// Finds the way to strangers.
    pub direct: Direct,
    /// Writes results.
    pub recorder: Recorder,
    /// Whether this process may send.
    pub fence: Fence,
    /// What was taken back while in hand.
    pub cancels: Cancels,
    /// Whose mail is held.
    pub suspended: Suspended,
    /// What is held.
    pub pauses: Pauses,
    /// Which addresses of ours mail leaves from.
    pub sources: Sources,
    /// How many of each site's connections are ours.
    pub shares: Arc<Shares>,
    /// The couriers that run.
    pub couriers: TaskTracker,
    /// How they are cut off.
    pub cut: Mutex<Vec<AbortHandle>>,
}

impl Delivery {
    /// Takes leased mail and sees that it gets to its sites.
    pub fn dispatch(self: &Arc<Self>, mails: Vec<Leased>) {
        let now = self.clock.now();
        let mut by_site: Vec<(Arc<Site>, Vec<Leased>)> = Vec::new();
        let mut direct = Bundling::default();
        for leased in mails {
            if simulate::is_simulated(&leased) {
                self.recorder.record(simulate::simulate(leased, now));
                continue;
            }
            if let Some(pause) = self.pauses.of_mail(&leased) {
                self.recorder.record(Finished::hold(leased, pause));
                continue;
            }
            let site = match self.router.way(&leased) {
                Way::Site(site) => site,
                Way::Direct(transport) => {
                    direct.add(leased, transport);
                    continue;
                }
            };
            match by_site.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &site)) {
                Some((_, waiting)) => waiting.push(leased),
                None => by_site.push((site, vec![leased])),
            }
        }
        for (site, mails) in by_site {
            self.bring(site, mails, now);
        }
        direct.send(self);
    }

    fn bring(self: &Arc<Self>, site: Arc<Site>, mails: Vec<Leased>, now: OffsetDateTime) {
        if let Some(pause) = self.pauses.of_site(&site) {
            self.sources.unused(&site, mails.len());
            mails.into_iter().for_each(|leased| self.recorder.record(Finished::hold(leased, pause)));
            return;
        }
        let brought = site.bring(mails, now);
        self.follow(&site, brought);
    }

    /// Does what a site asks for.
    fn follow(self: &Arc<Self>, site: &Arc<Site>, brought: Brought) {
        for _ in 0..brought.open {
            self.spawn_courier(Arc::clone(site));
        }
        self.refuse_of(site, brought.refused);
    }

    /// Starts a courier for a connection that the site has counted.
    fn spawn_courier(self: &Arc<Self>, site: Arc<Site>) {
        let courier = self.couriers.spawn(courier::run(Arc::clone(self), site));
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if cut.len() == cut.capacity() {
            cut.retain(|courier| !courier.is_finished());
        }
        cut.push(courier.abort_handle());
    }

    /// Ends all connections at once if this process has not been able to say that it lives for so long that its
    /// shares will soon be given to others. Mail in hand is taken over by them anyway.
    pub fn lapse(&self) {
        if self.fence.silence() < LAPSE {
            return;
        }
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        for courier in cut.drain(..).filter(|courier| !courier.is_finished()) {
            courier.abort();
        }
    }

    /// Gives refused mail back, each to come again at its moment.
    fn refuse(&self, refused: Vec<Refused>) {
        for Refused { leased, due_at } in refused {
            self.hand_back(vec![leased], due_at);
        }
    }

    /// The same of mail that was brought to a site: its address has not sent it.
    fn refuse_of(&self, site: &Site, refused: Vec<Refused>) {
        self.sources.unused(site, refused.len());
        self.refuse(refused);
    }

    /// Gives mail back that was brought to a site: its address has not sent it.
    fn hand_back_of(&self, site: &Site, mails: Vec<Leased>, until: OffsetDateTime) {
        self.sources.unused(site, mails.len());
        self.hand_back(mails, until);
    }

    /// Gives mail back uncounted, to come again a little after `until`, not all at once.
    fn hand_back(&self, mails: Vec<Leased>, until: OffsetDateTime) {
        for leased in mails {
            let spread = (leased.id.uuid().as_u128() >> 10) as i64 & i64::MAX;
            let due_at = until + Duration::milliseconds(spread % SPREAD_MILLIS);
            self.recorder.record(Finished::hand_back(leased, due_at));
        }
    }

    /// A delivery that was suppressed after it was queued.
    fn suppressed(&self, leased: Leased, now: OffsetDateTime) {
        let completion = conclude::stopped(&leased, Ending::Suppressed, now);
        self.recorder.record(Finished::completed(leased, completion));
    }

    /// Open connections, and mail waiting for one, over all sites.
    pub fn load(&self) -> (usize, usize) {
        let loads = self.router.sites().into_iter().map(|site| site.load());
        loads.fold((0, 0), |(connections, waiting), (c, w)| (connections + c, waiting + w))
    }

    /// The same by provider, as the table of paces calls them.
    pub fn load_by_provider(&self) -> HashMap<String, (usize, usize)> {
        let mut loads: HashMap<String, (usize, usize)> = HashMap::new();
        for site in self.router.sites() {
            let (connections, waiting) = site.load();
            let of_provider = loads.entry(site.policy.provider.clone()).or_default();
            *of_provider = (of_provider.0 + connections, of_provider.1 + waiting);
        }
        loads
    }

    /// Takes nothing more; gives back what waits, and lets every courier finish the mail it has.
    pub async fn drain(&self) {
        let now = self.clock.now();
        for leased in self.router.close() {
            self.recorder.record(Finished::hand_back(leased, now));
        }
        self.couriers.close();
        self.couriers.wait().await;
    }
}
