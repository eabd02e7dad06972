//! Sites: the next hops of this process, each with its own queue, connections and pauses.
//!
//! A site that does not answer is paused, longer each time, and then probed by one connection; meanwhile its
//! mail is given back to the table uncounted. No site's trouble takes a connection, or a moment, from another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::domain::handoff::Leased;
use crate::domain::id::TenantId;
use crate::domain::pacing::{Effect, SiteKey};
use crate::domain::relay::Endpoint;
use crate::mail::reply::SmtpReply;

use super::fair::FairQueue;
use super::pace::{Pace, Slowed};
use super::policy::{Policies, Policy};
use super::share::{Share, Shares};

/// A next hop.
#[derive(Debug)]
pub struct Site {
    /// Where it is and how it wants to be spoken to.
    pub endpoint: Endpoint,
    /// Which addresses its name may lead to.
    pub reach: Reach,
    /// What is asked of us there.
    pub policy: Policy,
    /// How many of its connections are ours.
    pub share: Arc<Share>,
    state: Mutex<State>,
    work: Notify,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<TenantId, Leased>,
    pace: Pace,
    connections: usize,
    /// Connections that end, since there are too many.
    leaving: usize,
    idle: usize,
    paused_until: Option<OffsetDateTime>,
    failures: u32,
    closed: bool,
}

/// Which addresses a next hop may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Any: the operator named it.
    Anywhere,
    /// Public ones only: a tenant named it, and must not reach into the operator's network.
    Public,
}

/// A mail that a site cannot take now, and when it may come again.
#[derive(Debug)]
pub struct Refused {
    /// The mail.
    pub leased: Leased,
    /// When to come again.
    pub due_at: OffsetDateTime,
}

/// What became of mail that was brought to a site, or waits there: so many connections more are wanted, and
/// already counted; and what must be given back.
#[derive(Debug, Default)]
pub struct Brought {
    /// Connections to open.
    pub open: usize,
    /// The site is full, paused or slowed: give these back.
    pub refused: Vec<Refused>,
}

/// Mail waiting at one site in one process: what its connections take in some seconds.
const QUEUE_PER_CONNECTION: usize = 500;
/// How much of what goes at a rate may wait in memory.
const RATE_HORIZON: Duration = Duration::seconds(4);
/// When a full site may be tried again.
const FULL_WAIT: Duration = Duration::seconds(2);
/// When a site may be tried again of whose connections others have all.
const SHARE_WAIT: Duration = Duration::seconds(2);
/// The first pause after a failed connection, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::seconds(2);
const LONGEST_PAUSE: Duration = Duration::minutes(5);
/// Waiting mail that justifies one more connection.
const MAIL_PER_CONNECTION: usize = 4;

impl Site {
    /// A new site, without connections.
    pub fn new(endpoint: Endpoint, reach: Reach, policy: Policy, share: Arc<Share>) -> Site {
        let state = State {
            queue: FairQueue::default(),
            pace: Pace::new(policy.limits),
            connections: 0,
            leaving: 0,
            idle: 0,
            paused_until: None,
            failures: 0,
            closed: false,
        };
        Site { endpoint, reach, policy, share, state: Mutex::new(state), work: Notify::new() }
    }

    /// Brings mail. What finds no room, or no moment, is given back.
    pub fn bring(&self, mails: Vec<Leased>, now: OffsetDateTime) -> Brought {
        let mut state = self.state();
        if let Some(due_at) = state.refusal(now) {
            return Brought { open: 0, refused: refuse(mails, due_at) };
        }
        let mut refused = Vec::new();
        let room = self.room(&mut state, mails.len(), now);
        for leased in mails {
            if state.queue.len() < room {
                state.queue.push(leased.message.tenant, leased.priority, leased);
            } else {
                let due_at = state.later(&leased, now);
                refused.push(Refused { leased, due_at });
            }
        }
        let open = self.wanted(&mut state, now);
        state.connections += open;
        refused.extend(state.stranded(now));
        let wake = state.idle.min(state.queue.len());
        drop(state);
        for _ in 0..wake {
            self.work.notify_one();
        }
        Brought { open, refused }
    }

    /// The next mail for a connection; waits for it while the connection may idle. `None`: close it.
    pub async fn next(&self, idle: std::time::Duration, clock: &Clock) -> Option<Leased> {
        let deadline = tokio::time::Instant::now() + idle;
        loop {
            let woken = self.work.notified();
            tokio::pin!(woken);
            // Registered before the queue is looked at, so that no push in between is missed.
            woken.as_mut().enable();
            let mut until = deadline;
            {
                let mut state = self.state();
                match state.take(clock) {
                    Taken::Mail(leased) => return Some(*leased),
                    Taken::Leave => return None,
                    Taken::Nothing => {}
                    // Whether it waits or not: the connection cannot outlast its idleness for this.
                    Taken::At(wait) => until = (tokio::time::Instant::now() + wait).min(deadline),
                }
                state.idle += 1;
            }
            let waited = tokio::time::timeout_at(until, woken).await;
            let mut state = self.state();
            state.idle -= 1;
            if waited.is_err() && until == deadline {
                // A push may have come with the deadline.
                return match state.take(clock) {
                    Taken::Mail(leased) => Some(*leased),
                    _ => None,
                };
            }
        }
    }

    /// A connection of this site has ended, and its seat is free.
    pub fn connection_ended(&self, now: OffsetDateTime) -> Brought {
        let mut state = self.state();
        state.connections -= 1;
        state.leaving = state.leaving.saturating_sub(1);
        if state.closed {
            return Brought::default();
        }
        let open = self.wanted(&mut state, now).min(1);
        state.connections += open;
        Brought { open, refused: state.stranded(now) }
    }

    /// A connection is gone without a word: its courier was cut off.
    pub fn connection_lost(&self) {
        self.state().connections -= 1;
    }

    /// Takes the right to open one connection more in place of one that the peer has closed.
    ///
    /// # Errors
    /// When there will be one.
    pub fn redial(&self, now: OffsetDateTime) -> Result<(), OffsetDateTime> {
        let mut state = self.state();
        if state.pace.take_dials(1, now) == 1 { Ok(()) } else { Err(state.pace.next_dial(now)) }
    }

    /// A connection was not opened, since other processes have all there are: if there is no other, what waits
    /// goes back for a moment.
    pub fn connection_denied(&self, now: OffsetDateTime) -> Vec<Refused> {
        let mut state = self.state();
        state.connections -= 1;
        if state.connections > 0 { Vec::new() } else { refuse(state.queue.drain(), now + SHARE_WAIT) }
    }

    /// A connection could not be opened: pauses the site and gives back what waits there, with the moment at
    /// which it may come again.
    pub fn unreachable(&self, now: OffsetDateTime) -> (Vec<Leased>, OffsetDateTime) {
        let mut state = self.state();
        let already = state.paused_until.filter(|until| *until > now);
        let until = already.unwrap_or_else(|| {
            let pause = FIRST_PAUSE * 2i32.pow(state.failures.min(16));
            state.failures += 1;
            state.pace.collapse();
            now + pause.min(LONGEST_PAUSE)
        });
        state.paused_until = Some(until);
        (state.queue.drain(), until)
    }

    /// A mail was carried: the site lives, and has earned something.
    pub fn succeeded(&self) {
        let mut state = self.state();
        state.lives();
        state.pace.succeeded();
    }

    /// The site lives, whatever it said.
    pub fn reachable(&self) {
        self.state().lives();
    }

    /// A connection broke amid a mail.
    pub fn failed(&self) {
        self.state().pace.failed();
    }

    /// What a negative reply changes here, if anything, and what must be given back for it. The rule that it
    /// matched is told to the other processes.
    pub fn heard(&self, reply: &SmtpReply, now: OffsetDateTime) -> Option<Heard> {
        let (index, rule) = self.policy.feedback.on(reply)?;
        let mut state = self.state();
        let effect = state.pace.matched(index, rule, now)?;
        state.pace.apply(effect, now);
        let refused = match effect {
            Effect::Suspend { lasting } => refuse(state.queue.drain(), now + lasting),
            Effect::Slow { .. } => state.overflow(now),
        };
        drop(state);
        self.work.notify_waiters();
        Some(Heard { effect, refused })
    }

    /// Takes over what other processes have learnt at the moment `told`. Gives what must go back.
    pub fn learn(
        &self,
        suspended: Option<OffsetDateTime>,
        slowed: Option<Slowed>,
        told: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Vec<Refused> {
        let mut state = self.state();
        state.pace.learn(suspended, slowed, told, now);
        match state.pace.suspended_until(now) {
            Some(until) => refuse(state.queue.drain(), until),
            None => state.overflow(now),
        }
    }

    /// Takes over its part of the rates, and lets connections go that are too many. Gives what must go back.
    pub fn fit(&self, now: OffsetDateTime) -> Vec<Refused> {
        let mut state = self.state();
        state.pace.set_part(self.share.part(), now);
        let refused = state.overflow(now);
        drop(state);
        if self.share.is_over() {
            self.work.notify_waiters();
        }
        refused
    }

    /// How many connections the policy and the peer allow now, over all processes.
    pub fn allowed(&self, now: OffsetDateTime) -> u32 {
        self.state().pace.allowed(now)
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

    /// How much may wait here. Whole batches are taken while nothing waits, unless they go at a rate.
    fn room(&self, state: &mut State, coming: usize, now: OffsetDateTime) -> usize {
        let room = QUEUE_PER_CONNECTION * state.pace.allowed(now) as usize;
        match state.pace.room(now, RATE_HORIZON) {
            Some(soon) => room.min(soon.max(1)),
            None if state.queue.is_empty() => room.max(coming),
            None => room,
        }
    }

    /// How many connections more are wanted: one for the first mail, then one for every few that wait. After a
    /// failure one alone, as a probe.
    fn wanted(&self, state: &mut State, now: OffsetDateTime) -> usize {
        let limit = if state.failures > 0 { 1 } else { state.pace.cap(now) };
        let limit = self.share.worth(limit);
        let mut waiting = state.queue.len().saturating_sub(state.idle);
        if let Some(ready) = state.pace.ready(now) {
            waiting = waiting.min(ready);
        }
        let useful = waiting.div_ceil(MAIL_PER_CONNECTION);
        let wanted = useful.min(limit.saturating_sub(state.connections));
        if wanted == 0 { 0 } else { state.pace.take_dials(wanted, now) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reply changed.
#[derive(Debug)]
pub struct Heard {
    /// In what way.
    pub effect: Effect,
    /// What must be given back for it.
    pub refused: Vec<Refused>,
}

/// What a connection gets when it asks for mail.
enum Taken {
    Mail(Box<Leased>),
    /// Nothing waits.
    Nothing,
    /// Something waits, and may go in so long.
    At(std::time::Duration),
    /// There are too many connections.
    Leave,
}

impl State {
    fn take(&mut self, clock: &Clock) -> Taken {
        if self.closed {
            return Taken::Leave;
        }
        if self.pace.is_timed() {
            return self.take_in_time(clock.now());
        }
        self.queue.pop().map_or(Taken::Nothing, |leased| Taken::Mail(Box::new(leased)))
    }

    fn take_in_time(&mut self, now: OffsetDateTime) -> Taken {
        let suspended = self.pace.suspended_until(now).is_some();
        if suspended || self.connections - self.leaving > self.pace.allowed(now) as usize {
            self.leaving += 1;
            return Taken::Leave;
        }
        if self.queue.is_empty() {
            return Taken::Nothing;
        }
        match self.pace.take_mail(now) {
            Ok(()) => self.queue.pop().map_or(Taken::Nothing, |leased| Taken::Mail(Box::new(leased))),
            Err(next) => Taken::At((next - now).try_into().unwrap_or(std::time::Duration::ZERO)),
        }
    }

    fn lives(&mut self) {
        self.failures = 0;
        self.paused_until = None;
    }

    /// When mail may come again that comes now, if nothing is taken now.
    fn refusal(&mut self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        if self.closed {
            return Some(now);
        }
        let paused = self.paused_until.filter(|until| *until > now);
        paused.max(self.pace.suspended_until(now))
    }

    /// When a mail may come again for which there is no room.
    fn later(&mut self, leased: &Leased, now: OffsetDateTime) -> OffsetDateTime {
        if self.pace.ready(now).is_none() {
            return now + FULL_WAIT;
        }
        let waiting = self.queue.len();
        self.pace.book(now, waiting, spread(leased))
    }

    /// Mail that waits with no connection to carry it, since none may be opened now.
    fn stranded(&mut self, now: OffsetDateTime) -> Vec<Refused> {
        if self.connections > 0 || self.queue.is_empty() {
            return Vec::new();
        }
        let dial = self.pace.next_dial(now);
        let mails = self.queue.drain().into_iter().enumerate();
        mails
            .map(|(waiting, leased)| {
                let slot = if self.pace.ready(now).is_none() { now } else { self.pace.book(now, waiting, spread(&leased)) };
                Refused { due_at: dial.max(slot), leased }
            })
            .collect()
    }

    /// What waits beyond what may go soon, once the rate is lower.
    fn overflow(&mut self, now: OffsetDateTime) -> Vec<Refused> {
        let Some(room) = self.pace.room(now, RATE_HORIZON) else { return Vec::new() };
        if self.queue.len() <= room.max(1) {
            return Vec::new();
        }
        let mut waiting = self.queue.drain();
        let over = waiting.split_off(room.max(1));
        for leased in waiting {
            self.queue.push(leased.message.tenant, leased.priority, leased);
        }
        over.into_iter().map(|leased| Refused { due_at: self.later(&leased, now), leased }).collect()
    }
}

fn refuse(mails: Vec<Leased>, due_at: OffsetDateTime) -> Vec<Refused> {
    mails.into_iter().map(|leased| Refused { leased, due_at }).collect()
}

/// Where in a spread a mail falls: from 0 to 1, always the same.
fn spread(leased: &Leased) -> f64 {
    let mixed = (leased.id.uuid().as_u128() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// The sites of this process.
#[derive(Debug)]
pub struct Sites {
    known: Mutex<Vec<Arc<Site>>>,
    policies: Policies,
    shares: Arc<Shares>,
}

impl Sites {
    /// None yet; each will have what these policies say.
    pub fn new(policies: Policies, shares: Arc<Shares>) -> Sites {
        Sites { known: Mutex::default(), policies, shares }
    }

    /// The site of an endpoint, made at its first use. An endpoint that changed is another one: the old site
    /// ends when its mail is gone.
    pub fn of(&self, endpoint: &Endpoint, reach: Reach) -> Arc<Site> {
        let mut sites = self.sites();
        sites.retain(|site| Arc::strong_count(site) > 1 || site.load() != (0, 0));
        let known = sites.iter().find(|site| site.endpoint == *endpoint && site.reach == reach);
        if let Some(site) = known {
            return Arc::clone(site);
        }
        let site = Arc::new(self.make(endpoint, reach));
        sites.push(Arc::clone(&site));
        site
    }

    fn make(&self, endpoint: &Endpoint, reach: Reach) -> Site {
        let connections = endpoint.max_connections.into();
        let policy = self.policies.of_relay(&endpoint.host, endpoint.port, connections);
        let key = SiteKey { site: endpoint.site_name(), source: String::new() };
        let share = self.shares.of(key, policy.limits.connections);
        Site::new(endpoint.clone(), reach, policy, share)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Site>> {
        self.sites().clone()
    }

    fn sites(&self) -> MutexGuard<'_, Vec<Arc<Site>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:00 UTC);

    fn site() -> Site {
        let (shares, _asked) = Shares::new();
        let endpoint = Endpoint::parse("smtp://127.0.0.1:2525?connections=4").expect("an endpoint");
        Sites::new(Policies::shipped(), shares).make(&endpoint, Reach::Anywhere)
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
        assert!(site.next(std::time::Duration::from_secs(60), &Clock::stopped_at(NOW)).await.is_none());
    }
}
