//! Sites: the next hops of this process, each with its own queue, connections and pauses.
//!
//! A site that does not answer is paused, longer each time, and then probed by one connection; meanwhile its
//! mail is given back to the table uncounted. No site's trouble takes a connection, or a moment, from another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use crate::domain::handoff::Leased;
use crate::domain::id::TenantId;
use crate::domain::relay::Endpoint;

use super::fair::FairQueue;
use super::mx::{MX_CONNECTIONS, MxSite};

/// A next hop.
#[derive(Debug)]
pub struct Site {
    /// Where it is and how it wants to be spoken to.
    pub target: Target,
    /// Which addresses its name may lead to.
    pub reach: Reach,
    state: Mutex<State>,
    work: Notify,
}

/// What kind of next hop it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One server that was named.
    Relay(Endpoint),
    /// The servers that some domains name for their mail.
    Mx(MxSite),
}

impl Target {
    /// Its host, or the best of them.
    pub fn host(&self) -> Option<&str> {
        match self {
            Target::Relay(endpoint) => Some(&endpoint.host),
            Target::Mx(exchange) => exchange.hosts.first().map(|mx| mx.host.as_str()),
        }
    }

    /// The most connections of one process.
    fn max_connections(&self) -> usize {
        match self {
            Target::Relay(endpoint) => endpoint.max_connections.into(),
            Target::Mx(_) => MX_CONNECTIONS,
        }
    }
}

#[derive(Debug)]
struct State {
    queue: FairQueue<TenantId, Leased>,
    connections: usize,
    idle: usize,
    paused_until: Option<OffsetDateTime>,
    failures: u32,
    turns: u64,
    closed: bool,
}

/// Which addresses a next hop may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Any: the operator named it, or said so.
    Anywhere,
    /// Public ones only: a tenant or a stranger named it, and must not reach into the operator's network.
    Public,
}

/// What became of mail that was brought to a site.
#[derive(Debug)]
pub enum Brought {
    /// It waits for a connection; so many more are wanted.
    Queued {
        /// Connections to open.
        open: usize,
    },
    /// The site is full or paused: give it back, due at this moment.
    Refused {
        /// The mail.
        leased: Vec<Leased>,
        /// When to come again.
        due_at: OffsetDateTime,
    },
}

/// Mail waiting at one site in one process: what its connections take in some seconds.
const QUEUE_PER_CONNECTION: usize = 500;
/// When a full site may be tried again.
const FULL_WAIT: Duration = Duration::seconds(2);
/// The first pause after a failed connection, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::seconds(2);
const LONGEST_PAUSE: Duration = Duration::minutes(5);
/// Waiting mail that justifies one more connection.
const MAIL_PER_CONNECTION: usize = 4;

impl Site {
    /// A new site, without connections.
    pub fn new(target: Target, reach: Reach) -> Site {
        let state = State {
            queue: FairQueue::default(),
            connections: 0,
            idle: 0,
            paused_until: None,
            failures: 0,
            turns: 0,
            closed: false,
        };
        Site { target, reach, state: Mutex::new(state), work: Notify::new() }
    }

    /// Brings mail. All of it is queued, or all of it is given back.
    pub fn bring(&self, leased: Vec<Leased>, now: OffsetDateTime) -> Brought {
        let mut state = self.state();
        if let Some(due_at) = self.refusal(&state, leased.len(), now) {
            return Brought::Refused { leased, due_at };
        }
        for mail in leased {
            state.queue.push(mail.message.tenant, mail.priority, mail);
        }
        let open = self.wanted(&state);
        state.connections += open;
        let wake = state.idle.min(state.queue.len());
        drop(state);
        for _ in 0..wake {
            self.work.notify_one();
        }
        Brought::Queued { open }
    }

    /// The next mail for a connection; waits for it while the connection may idle. `None`: close it.
    pub async fn next(&self, idle: std::time::Duration) -> Option<Leased> {
        let deadline = tokio::time::Instant::now() + idle;
        loop {
            let woken = self.work.notified();
            tokio::pin!(woken);
            // Registered before the queue is looked at, so that no push in between is missed.
            woken.as_mut().enable();
            {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                if let Some(leased) = state.queue.pop() {
                    return Some(leased);
                }
                state.idle += 1;
            }
            let waited = tokio::time::timeout_at(deadline, woken).await;
            self.state().idle -= 1;
            if waited.is_err() {
                // A push may have come with the deadline.
                return self.state().queue.pop();
            }
        }
    }

    /// A connection of this site has ended. True: another is wanted, and already counted.
    pub fn connection_ended(&self) -> bool {
        let mut state = self.state();
        state.connections -= 1;
        let again = !state.closed && !state.queue.is_empty() && self.wanted(&state) > 0;
        state.connections += usize::from(again);
        again
    }

    /// A connection could not be opened: pauses the site and gives back what waits there, with the moment at
    /// which it may come again.
    pub fn unreachable(&self, now: OffsetDateTime) -> (Vec<Leased>, OffsetDateTime) {
        let mut state = self.state();
        let already = state.paused_until.filter(|until| *until > now);
        let until = already.unwrap_or_else(|| {
            let pause = FIRST_PAUSE * 2i32.pow(state.failures.min(16));
            state.failures += 1;
            now + pause.min(LONGEST_PAUSE)
        });
        state.paused_until = Some(until);
        (state.queue.drain(), until)
    }

    /// The peer wants us to slow down: like [`Site::unreachable`], for at least `pause`.
    pub fn pause(&self, now: OffsetDateTime, pause: Duration) -> (Vec<Leased>, OffsetDateTime) {
        let mut state = self.state();
        let until = state.paused_until.map_or(now + pause, |until| until.max(now + pause));
        state.paused_until = Some(until);
        (state.queue.drain(), until)
    }

    /// A connection was opened: the site lives.
    pub fn reachable(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.paused_until = None;
    }

    /// The number of a connection's opening: equal servers take turns by it.
    pub fn next_turn(&self) -> u64 {
        let mut state = self.state();
        state.turns += 1;
        state.turns
    }

    /// No more mail is taken; gives back what waits. Connections end after the mail they have.
    pub fn close(&self) -> Vec<Leased> {
        let mut state = self.state();
        state.closed = true;
        let waiting = state.queue.drain();
        drop(state);
        self.work.notify_waiters();
        waiting
    }

    /// Open connections, and mail waiting for them.
    pub fn load(&self) -> (usize, usize) {
        let state = self.state();
        (state.connections, state.queue.len())
    }

    /// It has mail or connections, or failed not long ago.
    fn is_worth_knowing(&self, now: OffsetDateTime) -> bool {
        let state = self.state();
        let failed = state.paused_until.is_some_and(|until| until + REMEMBERED > now);
        state.connections > 0 || !state.queue.is_empty() || failed
    }

    fn refusal(&self, state: &State, coming: usize, now: OffsetDateTime) -> Option<OffsetDateTime> {
        if state.closed {
            return Some(now);
        }
        if let Some(until) = state.paused_until.filter(|until| *until > now) {
            return Some(until);
        }
        let room = QUEUE_PER_CONNECTION * self.target.max_connections();
        (state.queue.len() + coming > room && !state.queue.is_empty()).then(|| now + FULL_WAIT)
    }

    /// How many connections more are wanted: one for the first mail, then one for every few that wait. After a
    /// failure one alone, as a probe.
    fn wanted(&self, state: &State) -> usize {
        let limit = if state.failures > 0 { 1 } else { self.target.max_connections() };
        let waiting = state.queue.len().saturating_sub(state.idle);
        let useful = waiting.div_ceil(MAIL_PER_CONNECTION);
        useful.min(limit.saturating_sub(state.connections))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sites of this process.
#[derive(Debug, Default)]
pub struct Sites(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    relays: Vec<Arc<Site>>,
    exchanges: HashMap<(MxSite, Reach), Arc<Site>>,
    /// How many there may be of the latter before those that are done with are forgotten.
    roomy: usize,
    closed: bool,
}

/// Sites of strangers' servers in memory before the first cleaning.
const FIRST_CLEANING: usize = 256;
/// So long after a pause a site is known to have failed.
const REMEMBERED: Duration = Duration::HOUR;

impl Sites {
    /// The site of an endpoint, made at its first use. An endpoint that changed is another one: the old site
    /// ends when its mail is gone.
    pub fn relay(&self, endpoint: &Endpoint, reach: Reach) -> Arc<Site> {
        let mut known = self.known();
        known.relays.retain(|site| Arc::strong_count(site) > 1 || site.load() != (0, 0));
        let target = Target::Relay(endpoint.clone());
        let same = known.relays.iter().find(|site| site.target == target && site.reach == reach);
        if let Some(site) = same {
            return Arc::clone(site);
        }
        let site = known.new_site(target, reach);
        known.relays.push(Arc::clone(&site));
        site
    }

    /// The site of some domains' servers, made at its first use.
    pub fn exchange(&self, exchange: MxSite, reach: Reach, now: OffsetDateTime) -> Arc<Site> {
        let mut known = self.known();
        let key = (exchange, reach);
        if let Some(site) = known.exchanges.get(&key) {
            return Arc::clone(site);
        }
        if known.exchanges.len() >= known.roomy.max(FIRST_CLEANING) {
            known.exchanges.retain(|_, site| Arc::strong_count(site) > 1 || site.is_worth_knowing(now));
            known.roomy = 2 * known.exchanges.len();
        }
        let site = known.new_site(Target::Mx(key.0.clone()), reach);
        known.exchanges.insert(key, Arc::clone(&site));
        site
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Site>> {
        let known = self.known();
        known.relays.iter().chain(known.exchanges.values()).cloned().collect()
    }

    /// No more mail is taken, by sites that are there or come later. Gives back what waits.
    pub fn close(&self) -> Vec<Leased> {
        self.known().closed = true;
        self.all().into_iter().flat_map(|site| site.close()).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new_site(&self, target: Target, reach: Reach) -> Arc<Site> {
        let site = Site::new(target, reach);
        if self.closed {
            // There is nothing in it yet.
            drop(site.close());
        }
        Arc::new(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:00 UTC);

    fn site() -> Site {
        Site::new(
            Target::Relay(Endpoint::parse("smtp://127.0.0.1:2525?connections=4").expect("an endpoint")),
            Reach::Anywhere,
        )
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_end_with_success() {
        let site = site();
        let mut now = NOW;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let (_, until) = site.unreachable(now);
            pauses.push((until - now).whole_seconds());
            now = until;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
        site.reachable();
        assert_eq!(site.unreachable(now).1 - now, FIRST_PAUSE);
    }

    #[test]
    fn failures_of_one_moment_count_once() {
        let site = site();
        let (_, first) = site.unreachable(NOW);
        let (_, second) = site.unreachable(NOW + Duration::SECOND);
        assert_eq!(first, second);
    }

    #[tokio::test]
    async fn a_closed_site_lets_its_connections_go() {
        let site = site();
        site.close();
        assert!(site.next(std::time::Duration::from_secs(60)).await.is_none());
    }
}
