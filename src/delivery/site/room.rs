//! How much mail a site may hold in memory, and when what finds no room may come again.

use std::time::Duration as Span;

use time::{Duration, OffsetDateTime};

use crate::domain::handoff::Leased;

use super::super::pace::Pace;
use super::{Refused, State};

/// Mail waiting at one site in one process: what its connections take in some seconds.
const QUEUE_PER_CONNECTION: usize = 500;
/// Mail waiting at a site that has not answered lately: one that hangs must not fill the memory that all share.
const UNPROVEN_ROOM: usize = 128;
/// How long a site is known to answer after it has said something.
const ANSWERS_FOR: Span = Span::from_secs(60);
/// How much of what goes at a rate may wait in memory.
const RATE_HORIZON: Duration = Duration::seconds(4);
/// When a full site may be tried again.
const FULL_WAIT: Duration = Duration::seconds(2);

impl State {
    /// When mail may come again that comes now, if nothing is taken now.
    pub(super) fn refusal(&self, pace: &Pace, now: OffsetDateTime) -> Option<OffsetDateTime> {
        if self.closed {
            return Some(now);
        }
        let paused = self.paused_until.filter(|until| *until > now);
        paused.max(pace.suspended_until(now))
    }

    /// How much may wait here. Whole batches are taken while nothing waits and the site answers, unless they go at a rate.
    pub(super) fn room(&self, pace: &mut Pace, coming: usize, now: OffsetDateTime) -> usize {
        let answers = self.lived.is_some_and(|at| at.elapsed() < ANSWERS_FOR);
        let room = if answers {
            QUEUE_PER_CONNECTION.saturating_mul(pace.allowed(now) as usize)
        } else {
            UNPROVEN_ROOM
        };
        match pace.room(now, RATE_HORIZON) {
            Some(soon) => room.min(soon.max(1)),
            None if answers && self.queue.is_empty() => room.max(coming),
            None => room,
        }
    }

    /// Mail that waits with no connection to carry it, since none may be opened now.
    pub(super) fn stranded(&mut self, pace: &mut Pace, now: OffsetDateTime) -> Vec<Refused> {
        if self.connections > 0 || self.queue.is_empty() {
            return Vec::new();
        }
        let dial = pace.next_dial(now);
        let mails = self.queue.drain().into_iter().enumerate();
        let moment = |(waiting, leased): (usize, Leased)| {
            let slot = pace.ready(now).map_or(now, |_| pace.book(now, waiting, spread(&leased)));
            Refused { due_at: dial.max(slot), leased }
        };
        mails.map(moment).collect()
    }

    /// What waits beyond what may go soon, once the rate is lower.
    pub(super) fn overflow(&mut self, pace: &mut Pace, now: OffsetDateTime) -> Vec<Refused> {
        let Some(room) = pace.room(now, RATE_HORIZON).map(|room| room.max(1)) else { return Vec::new() };
        if self.queue.len() <= room {
            return Vec::new();
        }
        let mut waiting = self.queue.drain();
        let over = waiting.split_off(room);
        for leased in waiting {
            self.queue.push(leased.message.tenant, leased.priority, leased);
        }
        over.into_iter().map(|leased| Refused { due_at: later(pace, &leased, room, now), leased }).collect()
    }
}

/// When a mail may come again for which there is no room.
pub(super) fn later(pace: &mut Pace, leased: &Leased, waiting: usize, now: OffsetDateTime) -> OffsetDateTime {
    match pace.ready(now) {
        Some(_) => pace.book(now, waiting, spread(leased)),
        None => now + FULL_WAIT,
    }
}

/// Gives mails back, all for the same moment.
pub(super) fn refuse(mails: Vec<Leased>, due_at: OffsetDateTime) -> Vec<Refused> {
    mails.into_iter().map(|leased| Refused { leased, due_at }).collect()
}

/// Where in a spread a mail falls: from 0 to 1, always the same.
fn spread(leased: &Leased) -> f64 {
    let mixed = (leased.id.uuid().as_u128() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}
