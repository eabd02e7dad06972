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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use bytes::Bytes;
    use time::macros::datetime;
    use tokio::sync::OnceCell;

    use super::super::{Reach, Site};
    use super::*;
    use crate::delivery::policy::Policies;
    use crate::delivery::share::Shares;
    use crate::delivery::sites::Sites;
    use crate::domain::delivery::Priority;
    use crate::domain::handling::{Handling, Particulars};
    use crate::domain::handoff::{Capacity, Claim, Handoff, Outgoing};
    use crate::domain::id::{Lane, MessageId, TenantId};
    use crate::domain::incarnation::Incarnation;
    use crate::domain::relay::Endpoint;
    use crate::mail::EmailAddress;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:00 UTC);
    /// More than an unproven site may hold, and less than four connections are worth.
    const MANY: u16 = 600;

    fn site() -> Arc<Site> {
        let (shares, _asked) = Shares::new();
        let endpoint = Endpoint::parse("smtp://127.0.0.1:2525?connections=4").expect("an endpoint");
        Sites::new(Policies::shipped(), shares).relay(&endpoint, Reach::Anywhere)
    }

    fn mails() -> Vec<Leased> {
        let capacity = Capacity { deliveries: usize::from(MANY), bytes: 0 };
        let (handoff, _received) = Handoff::new(Incarnation::new(1), capacity);
        let message = Arc::new(Outgoing {
            id: MessageId::in_lane(NOW, Lane::new(0)),
            tenant: TenantId::new(NOW),
            stream: "transactional".to_owned(),
            sender_domain: "acme.example".to_owned(),
            raw: Bytes::new(),
            blueprint: None,
            needs_smtputf8: false,
            eight_bit: false,
            protected: false,
            handling: Handling::default(),
            head: OnceCell::new(),
        });
        let leased = |ordinal| Leased {
            id: message.id.delivery(ordinal),
            claim_no: 1,
            attempt: 1,
            priority: Priority::Normal,
            delay_notices: 0,
            since: NOW,
            expires_at: NOW + Duration::DAY,
            lease_until: NOW + Duration::HOUR,
            recipient: EmailAddress::parse("ann@example.net").expect("an address"),
            particulars: Particulars::default(),
            message: Arc::clone(&message),
            source: None,
            room: handoff.ledger().enter(message.tenant, Claim::first(message.id.delivery(ordinal)), 0),
        };
        (1..=MANY).map(leased).collect()
    }

    /// How many of many mails a site takes; the others may come again soon.
    fn taken(site: &Site, now: OffsetDateTime) -> usize {
        let refused = site.bring(mails(), now).refused;
        assert!(refused.iter().all(|refused| refused.due_at == now + FULL_WAIT));
        usize::from(MANY) - refused.len()
    }

    #[test]
    fn a_site_holds_much_only_while_it_is_known_to_answer() {
        let silent_for = |silence: Option<Span>| {
            let site = site();
            let ago =
                |silence| Instant::now().checked_sub(silence).expect("the machine has been up for longer");
            site.state().lived = silence.map(ago);
            taken(&site, NOW)
        };
        assert_eq!(silent_for(None), UNPROVEN_ROOM, "it has never answered");
        assert_eq!(silent_for(Some(Span::ZERO)), usize::from(MANY));
        assert_eq!(silent_for(Some(ANSWERS_FOR - Span::from_secs(10))), usize::from(MANY));
        assert_eq!(silent_for(Some(ANSWERS_FOR)), UNPROVEN_ROOM, "it has not answered for a minute");
    }

    #[test]
    fn what_it_says_proves_a_site_and_an_unanswered_dial_takes_that_back() {
        let site = site();
        site.reachable();
        assert_eq!(taken(&site, NOW), usize::from(MANY));
        let (_, until) = site.unreachable(NOW);
        assert_eq!(taken(&site, until), UNPROVEN_ROOM);
    }

    #[test]
    fn one_connection_alone_probes_a_site_that_could_not_be_reached() {
        let site = site();
        assert_eq!(site.bring(mails(), NOW).open, 4);
        for _ in 0..4 {
            site.arrived();
            site.connection_lost();
        }
        let (_, until) = site.unreachable(NOW);
        assert_eq!(site.bring(mails(), until).open, 1);
    }
}
