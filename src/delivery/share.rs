//! Shares: how many of a site's connections are this process's, and the pace that goes with them. Sites of one
//! provider have one share together. A connection is opened only on a seat, and there
//! are as many seats as the database has granted; so all processes together never have more than the limit,
//! whoever joins, leaves or dies (`delivery/apportion` asks, `store/sites` keeps).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use tokio::sync::{mpsc, oneshot};

use crate::domain::pacing::{Effect, Limits, SiteKey};
use crate::store::sites::SiteState;

use super::pace::{Pace, Slowed};

/// This process's share of one site.
#[derive(Debug)]
pub struct Share {
    /// Of what.
    pub key: SiteKey,
    seats: Mutex<Seats>,
    pace: Mutex<Pace>,
    /// Looked at for every mail, so that nothing is locked while mails are not counted.
    timed: AtomicBool,
    /// The same of seats.
    over: AtomicBool,
}

#[derive(Debug)]
struct Seats {
    /// The limit over all processes.
    limit: u32,
    granted: u32,
    taken: u32,
    /// Taken ones whose connections end after the mail they have.
    leaving: u32,
    /// When one was last asked for.
    wanted: Option<Instant>,
    /// Asking again before is of no use.
    refused_until: Option<Instant>,
}

/// The right to one connection. Dropping it gives it back.
#[derive(Debug)]
pub struct Seat {
    share: Arc<Share>,
    leaving: bool,
}

/// What couriers want of the database.
#[derive(Debug)]
pub enum Ask {
    /// A seat.
    Seat {
        /// Where.
        share: Arc<Share>,
        /// Rings when the answer is in the share.
        answered: oneshot::Sender<()>,
    },
    /// All processes are to know this.
    Told(Box<SiteState>),
}

/// What others know of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The limit over all processes.
    pub limit: u32,
    /// Granted to this one.
    pub granted: u32,
    /// In use here.
    pub taken: u32,
}

/// How long asking is of no use after a refusal.
const REFUSED: Duration = Duration::from_secs(1);
/// How long a courier waits for an answer: the database's patience.
const ANSWER: Duration = Duration::from_secs(5);

impl Share {
    fn new(key: SiteKey, limits: Limits) -> Share {
        let limit = limits.connections;
        let seats = Seats { limit, granted: 0, taken: 0, leaving: 0, wanted: None, refused_until: None };
        Share {
            key,
            seats: Mutex::new(seats),
            pace: Mutex::new(Pace::new(limits)),
            timed: AtomicBool::new(limits.mails.is_some()),
            over: AtomicBool::new(false),
        }
    }

    /// How fast it may be used.
    pub fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its mails are counted. If not, its pace need not be asked for each.
    pub fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Relaxed)
    }

    /// Slows or suspends it.
    pub fn apply(&self, effect: Effect, now: OffsetDateTime) {
        let mut pace = self.pace();
        pace.apply(effect, now);
        self.fit_to(&mut pace, now);
    }

    /// Takes over what other processes have learnt at the moment `told`. Gives until when it was suspended, if it is
    /// so no more.
    pub fn learn(
        &self,
        suspended: Option<OffsetDateTime>,
        slowed: Option<Slowed>,
        told: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        self.pace().learn(suspended, slowed, told, now)
    }

    /// Fits limits and rates to what holds now.
    pub fn fit(&self, now: OffsetDateTime) {
        let mut pace = self.pace();
        pace.set_part(self.part(), now);
        self.fit_to(&mut pace, now);
    }

    fn fit_to(&self, pace: &mut Pace, now: OffsetDateTime) {
        self.timed.store(pace.is_timed(now), Ordering::Relaxed);
        let limit = pace.allowed(now);
        let mut seats = self.seats();
        seats.limit = limit;
        // More than the limit is never taken, whatever has been granted; what is in use is given back soon.
        seats.granted = seats.granted.min(limit);
        self.note(&seats);
    }

    fn note(&self, seats: &Seats) {
        self.over.store(seats.taken > seats.granted, Ordering::Relaxed);
    }

    /// A seat, if one is free.
    pub fn take(self: &Arc<Self>) -> Option<Seat> {
        let mut seats = self.seats();
        seats.wanted = Some(Instant::now());
        if seats.taken >= seats.granted {
            return None;
        }
        seats.taken += 1;
        Some(Seat { share: Arc::clone(self), leaving: false })
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let seats = self.seats();
        Standing { limit: seats.limit, granted: seats.granted, taken: seats.taken }
    }

    /// What is granted from now on. Never more than the database has noted.
    pub fn grant(&self, granted: u32) {
        let mut seats = self.seats();
        seats.refused_until = (granted <= seats.taken).then(|| Instant::now() + REFUSED);
        seats.granted = granted;
        self.note(&seats);
    }

    /// Lowers what may be taken to `fair`; gives what must still be noted as ours: no less than is in use.
    pub fn lower(&self, fair: u32) -> u32 {
        let mut seats = self.seats();
        seats.granted = seats.granted.min(fair);
        self.note(&seats);
        seats.granted.max(seats.taken)
    }

    /// Gives all up if nobody has wanted any for so long and none is in use. False: it is still needed.
    pub fn give_up(&self, unused: Duration) -> bool {
        let mut seats = self.seats();
        let idle = seats.taken == 0 && seats.wanted.is_none_or(|at| at.elapsed() >= unused);
        if idle {
            seats.granted = 0;
        }
        idle
    }

    /// How many connections are worth trying for: what is granted; before anybody has asked, `limit`.
    pub fn worth(&self, limit: usize) -> usize {
        let seats = self.seats();
        if seats.granted > 0 || seats.is_refused() { limit.min(seats.granted as usize) } else { limit }
    }

    /// Whether there are more connections than seats.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The part of every rate that goes with the seats.
    pub fn part(&self) -> f64 {
        let seats = self.seats();
        f64::from(seats.granted.min(seats.limit)) / f64::from(seats.limit.max(1))
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn is_refused(&self) -> bool {
        self.refused_until.is_some_and(|until| until > Instant::now())
    }
}

impl Seat {
    /// Whether there are more connections than seats: then this one must end.
    pub fn must_leave(&mut self) -> bool {
        if !self.share.is_over() {
            return self.leaving;
        }
        let mut seats = self.share.seats();
        if !self.leaving && seats.taken - seats.leaving > seats.granted {
            seats.leaving += 1;
            self.leaving = true;
        }
        self.leaving
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.share.seats();
        seats.taken -= 1;
        seats.leaving -= u32::from(self.leaving);
        self.share.note(&seats);
    }
}

/// All shares of this process.
#[derive(Debug)]
pub struct Shares {
    known: Mutex<HashMap<SiteKey, Arc<Share>>>,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Shares {
    /// None yet; and where couriers' questions come out.
    pub fn new() -> (Arc<Shares>, mpsc::UnboundedReceiver<Ask>) {
        let (asks, asked) = mpsc::unbounded_channel();
        (Arc::new(Shares { known: Mutex::default(), asks }), asked)
    }

    /// The share of a site, or of all sites of a provider, with its limits over all processes.
    pub fn of(&self, key: SiteKey, limits: Limits) -> Arc<Share> {
        let mut known = self.known();
        let share = known.entry(key.clone()).or_insert_with(|| Arc::new(Share::new(key, limits)));
        // Whoever names the site last knows its limits best.
        share.pace().set_limits(limits);
        Arc::clone(share)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Share>> {
        self.known().values().cloned().collect()
    }

    /// Forgets one that was given up, unless somebody still knows it.
    pub fn forget(&self, share: &Arc<Share>) {
        let mut known = self.known();
        // The map's and the caller's: nobody else's.
        if Arc::strong_count(share) <= 2 {
            known.remove(&share.key);
        }
    }

    /// A seat; asks for more if there is none. `None`: others have them all.
    pub async fn seat(&self, share: &Arc<Share>) -> Option<Seat> {
        if let Some(seat) = share.take() {
            return Some(seat);
        }
        if share.seats().is_refused() {
            return None;
        }
        let (answered, answer) = oneshot::channel();
        self.asks.send(Ask::Seat { share: Arc::clone(share), answered }).ok()?;
        // Whoever does not answer in time, or is gone, has granted nothing.
        let _ = tokio::time::timeout(ANSWER, answer).await;
        share.take()
    }

    /// Lets all processes know what a reply has changed.
    pub fn tell(&self, state: SiteState) {
        // An error means that the process is going down: the others will be told by the peer.
        let _ = self.asks.send(Ask::Told(Box::new(state)));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SiteKey, Arc<Share>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { connections: 8, start: 8, mails_per_connection: 100, dials: None, mails: None, idle: None }
    }

    fn share(granted: u32) -> Arc<Share> {
        let key = SiteKey { site: "mx.example".to_owned(), source: String::new() };
        let share = Arc::new(Share::new(key, limits()));
        share.grant(granted);
        share
    }

    #[test]
    fn there_are_as_many_seats_as_are_granted() {
        let share = share(2);
        let seats = [share.take(), share.take(), share.take()];
        assert_eq!(seats.each_ref().map(Option::is_some), [true, true, false]);
        drop(seats);
        assert!(share.take().is_some());
    }

    #[test]
    fn what_is_in_use_is_noted_until_it_is_given_back() {
        let share = share(4);
        let mut seats: Vec<Seat> = (0..4).filter_map(|_| share.take()).collect();
        assert_eq!(share.lower(1), 4, "all four are still in use");
        assert!(share.take().is_none());
        let leaving = seats.iter_mut().filter_map(|seat| seat.must_leave().then_some(())).count();
        assert_eq!(leaving, 3, "as many as are too many, and no more");
        seats.retain(|seat| !seat.leaving);
        assert_eq!((share.lower(1), share.standing().taken), (1, 1));
        assert!(!share.give_up(Duration::ZERO), "one is in use");
        drop(seats);
        assert!(share.give_up(Duration::ZERO));
        assert_eq!(share.standing().granted, 0);
    }

    #[tokio::test]
    async fn a_refusal_is_not_asked_about_again_at_once() {
        let (shares, mut asked) = Shares::new();
        let share = shares.of(SiteKey { site: "mx.example".to_owned(), source: String::new() }, limits());
        let answer = async {
            let Some(Ask::Seat { share, answered }) = asked.recv().await else { panic!("a question") };
            share.grant(0);
            drop(answered);
            asked
        };
        let (seat, mut asked) = tokio::join!(shares.seat(&share), answer);
        assert!(seat.is_none());
        assert!(shares.seat(&share).await.is_none());
        assert!(asked.try_recv().is_err(), "it was not asked again");
    }
}
