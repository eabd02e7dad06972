//! Sites: the next hops of this process, each with its own queue, connections and pauses.
//!
//! A site that does not answer is paused, longer each time, and then probed by one connection; meanwhile its
//! mail is given back to the table uncounted. No site's trouble takes a connection, or a moment, from another.

mod room;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::domain::handoff::Leased;
use crate::domain::id::TenantId;
use crate::domain::pacing::{Effect, Window};
use crate::domain::relay::Endpoint;
use crate::domain::sending::Source;
use crate::mail::reply::SmtpReply;

use super::fair::FairQueue;
use super::mx::MxSite;
use super::pace::Pace;
use super::policy::Policy;
use super::share::{Seat, Share};

use room::{later, refuse};

/// A next hop.
#[derive(Debug)]
pub struct Site {
    /// Where it is and how it wants to be spoken to.
    pub target: Target,
    /// Which addresses its name may lead to.
    pub reach: Reach,
    /// What is asked of us there.
    pub policy: Policy,
    /// The address of ours that it is dialled from; `None`: whichever the system picks.
    pub source: Option<Arc<Source>>,
    /// How many of its connections are ours.
    pub share: Arc<Share>,
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
}

#[derive(Debug)]
struct State {
    queue: FairQueue<TenantId, Leased>,
    window: Window,
    connections: usize,
    /// Those of them that are being opened: each will carry some of what waits.
    opening: usize,
    idle: usize,
    paused_until: Option<OffsetDateTime>,
    failures: u32,
    /// When it last said something to a mail.
    lived: Option<Instant>,
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

/// When a site may be tried again of whose connections others have all.
const SHARE_WAIT: Duration = Duration::seconds(2);
/// The first pause after a failed connection, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::seconds(2);
const LONGEST_PAUSE: Duration = Duration::minutes(5);
/// So long after a pause a site is known to have failed.
const REMEMBERED: Duration = Duration::HOUR;
/// Waiting mail that justifies one more connection.
const MAIL_PER_CONNECTION: usize = 4;

impl Site {
    /// A new site, without connections.
    pub fn new(target: Target, reach: Reach, policy: Policy, share: Arc<Share>) -> Site {
        let state = State {
            queue: FairQueue::default(),
            window: Window::new(policy.limits.start, policy.limits.connections),
            connections: 0,
            opening: 0,
            idle: 0,
            paused_until: None,
            failures: 0,
            lived: None,
            turns: 0,
            closed: false,
        };
        Site { target, reach, policy, source: None, share, state: Mutex::new(state), work: Notify::new() }
    }

    /// The same, dialled from an address of ours.
    pub fn from_source(self, source: Option<Arc<Source>>) -> Site {
        Site { source, ..self }
    }

    /// Brings mail. What finds no room, or no moment, is given back.
    pub fn bring(&self, mails: Vec<Leased>, now: OffsetDateTime) -> Brought {
        let mut state = self.state();
        let mut pace = self.share.pace();
        if let Some(due_at) = state.refusal(&pace, now) {
            return Brought { open: 0, refused: refuse(mails, due_at) };
        }
        let mut refused = Vec::new();
        let room = state.room(&mut pace, mails.len(), now);
        for leased in mails {
            if state.queue.len() < room {
                state.queue.push(leased.message.tenant, leased.priority, leased);
            } else {
                let due_at = later(&mut pace, &leased, state.queue.len(), now);
                refused.push(Refused { leased, due_at });
            }
        }
        let open = self.wanted(&state, &mut pace, now);
        state.opens(open);
        refused.extend(state.stranded(&mut pace, now));
        let wake = state.idle.min(state.queue.len());
        drop((pace, state));
        for _ in 0..wake {
            self.work.notify_one();
        }
        Brought { open, refused }
    }

    /// The next mail for a connection on this seat; waits for it while the connection may idle. `None`: close it.
    pub async fn next(&self, idle: std::time::Duration, seat: &mut Seat, clock: &Clock) -> Option<Leased> {
        let deadline = tokio::time::Instant::now() + idle;
        loop {
            let woken = self.work.notified();
            tokio::pin!(woken);
            // Registered before the queue is looked at, so that no push in between is missed.
            woken.as_mut().enable();
            if seat.must_leave() {
                return None;
            }
            let mut until = deadline;
            {
                let mut state = self.state();
                match self.take(&mut state, clock) {
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
                return match self.take(&mut state, clock) {
                    Taken::Mail(leased) => Some(*leased),
                    _ => None,
                };
            }
        }
    }

    fn take(&self, state: &mut State, clock: &Clock) -> Taken {
        if state.closed {
            return Taken::Leave;
        }
        if self.share.is_timed() {
            let now = clock.now();
            let mut pace = self.share.pace();
            if pace.suspended_until(now).is_some() {
                return Taken::Leave;
            }
            if !state.queue.is_empty()
                && let Err(next) = pace.take_mail(now)
            {
                return Taken::At((next - now).try_into().unwrap_or(std::time::Duration::ZERO));
            }
        }
        state.queue.pop().map_or(Taken::Nothing, |leased| Taken::Mail(Box::new(leased)))
    }

    /// A connection that was asked for is there, or will not be.
    pub fn arrived(&self) {
        let mut state = self.state();
        state.opening = state.opening.saturating_sub(1);
    }

    /// A connection of this site has ended, and its seat is free.
    pub fn connection_ended(&self, now: OffsetDateTime) -> Brought {
        let mut state = self.state();
        state.connections -= 1;
        if state.closed {
            return Brought::default();
        }
        let mut pace = self.share.pace();
        let open = self.wanted(&state, &mut pace, now).min(1);
        state.opens(open);
        Brought { open, refused: state.stranded(&mut pace, now) }
    }

    /// A connection is gone without a word: its courier was cut off.
    pub fn connection_lost(&self) {
        self.state().connections -= 1;
    }

    /// A connection was not opened, since other processes have all there are: if there is no other, what waits
    /// goes back for a moment.
    pub fn connection_denied(&self, now: OffsetDateTime) -> Vec<Refused> {
        let mut state = self.state();
        state.connections -= 1;
        if state.connections > 0 { Vec::new() } else { refuse(state.queue.drain(), now + SHARE_WAIT) }
    }

    /// Takes the right to open one connection more in place of one that the peer has closed.
    ///
    /// # Errors
    /// When there will be one.
    pub fn redial(&self, now: OffsetDateTime) -> Result<(), OffsetDateTime> {
        let mut pace = self.share.pace();
        if pace.take_dials(1, now) == 1 { Ok(()) } else { Err(pace.next_dial(now)) }
    }

    /// A connection could not be opened: pauses the site and gives back what waits there, with the moment at
    /// which it may come again.
    pub fn unreachable(&self, now: OffsetDateTime) -> (Vec<Leased>, OffsetDateTime) {
        let mut state = self.state();
        let already = state.paused_until.filter(|until| *until > now);
        let until = already.unwrap_or_else(|| {
            let pause = FIRST_PAUSE * 2i32.pow(state.failures.min(16));
            state.failures += 1;
            state.lived = None;
            state.window.collapse();
            now + pause.min(LONGEST_PAUSE)
        });
        state.paused_until = Some(until);
        (state.queue.drain(), until)
    }

    /// A mail was carried: the site lives, and has earned something. Gives the connections to open for it.
    pub fn succeeded(&self, clock: &Clock) -> usize {
        let mut state = self.state();
        state.lives();
        if !state.window.succeeded() || state.queue.is_empty() || state.closed {
            return 0;
        }
        let now = clock.now();
        let open = self.wanted(&state, &mut self.share.pace(), now);
        state.opens(open);
        open
    }

    /// The site lives, whatever it said.
    pub fn reachable(&self) {
        self.state().lives();
    }

    /// A connection broke amid a mail, or the peer has had too much.
    pub fn failed(&self) {
        self.state().window.failed();
    }

    /// What a negative reply changes here, if anything, and what must be given back for it.
    pub fn heard(&self, reply: &SmtpReply, now: OffsetDateTime) -> Option<Heard> {
        let (index, rule) = self.policy.feedback.on(reply)?;
        let effect = self.share.pace().matched(index, rule, now)?;
        self.share.apply(effect, now);
        Some(Heard { effect, brought: self.adjust(now) })
    }

    /// Obeys its pace and its share, which may have changed.
    pub fn adjust(&self, now: OffsetDateTime) -> Brought {
        let mut state = self.state();
        let mut brought = Brought::default();
        if !state.queue.is_empty() && !state.closed {
            let mut pace = self.share.pace();
            brought.refused = match pace.suspended_until(now) {
                Some(until) => refuse(state.queue.drain(), until),
                None => state.overflow(&mut pace, now),
            };
            brought.open = self.wanted(&state, &mut pace, now);
            state.opens(brought.open);
        }
        drop(state);
        if self.share.is_timed() || self.share.is_over() {
            self.work.notify_waiters();
        }
        brought
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
    pub fn is_worth_knowing(&self, now: OffsetDateTime) -> bool {
        let state = self.state();
        let failed = state.paused_until.is_some_and(|until| until + REMEMBERED > now);
        state.connections > 0 || !state.queue.is_empty() || failed
    }

    /// How many connections more are wanted: one for the first mail, then one for every few that wait, those that are
    /// being opened counted. After a failure one alone, as a probe.
    fn wanted(&self, state: &State, pace: &mut Pace, now: OffsetDateTime) -> usize {
        let earned = if state.failures > 0 { 1 } else { state.window.size().min(pace.allowed(now)) as usize };
        let limit = self.share.worth(earned);
        let mut waiting = state.queue.len().saturating_sub(state.idle);
        if let Some(ready) = pace.ready(now) {
            waiting = waiting.min(ready);
        }
        let useful = waiting.div_ceil(MAIL_PER_CONNECTION).saturating_sub(state.opening);
        let wanted = useful.min(limit.saturating_sub(state.connections));
        if wanted == 0 { 0 } else { pace.take_dials(wanted, now) }
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
    /// What must be done for it.
    pub brought: Brought,
}

/// What a connection gets when it asks for mail.
enum Taken {
    Mail(Box<Leased>),
    /// Nothing waits.
    Nothing,
    /// Something waits, and may go in so long.
    At(std::time::Duration),
    /// The connection shall end.
    Leave,
}

impl State {
    fn opens(&mut self, connections: usize) {
        self.connections += connections;
        self.opening += connections;
    }

    fn lives(&mut self) {
        self.failures = 0;
        self.paused_until = None;
        self.lived = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::policy::Policies;
    use crate::delivery::share::Shares;
    use crate::delivery::sites::Sites;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:00 UTC);

    fn site() -> Arc<Site> {
        let (shares, _asked) = Shares::new();
        let endpoint = Endpoint::parse("smtp://127.0.0.1:2525?connections=4").expect("an endpoint");
        Sites::new(Policies::shipped(), shares).relay(&endpoint, Reach::Anywhere)
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
        site.share.grant(1);
        let mut seat = site.share.take().expect("a seat");
        site.close();
        let hour = std::time::Duration::from_secs(3600);
        assert!(site.next(hour, &mut seat, &Clock::stopped_at(NOW)).await.is_none());
    }
}
