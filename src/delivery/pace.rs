//! The pace of one site, or of all sites of a provider: its policy's limits, and what replies have changed of them
//! for a while. It knows no mail and no network.

use std::collections::VecDeque;

use time::{Duration, OffsetDateTime};

use crate::domain::pacing::{Bucket, Effect, Limits, Rate};

use super::policy::Rule;

/// How fast a site may be used, from moment to moment.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    mails: Option<Bucket>,
    dials: Option<Bucket>,
    /// The part of every rate that is this process's: other processes have the rest.
    part: f64,
    slowed: Option<Slowed>,
    suspended_until: Option<OffsetDateTime>,
    /// When each rule was matched lately.
    matched: Vec<VecDeque<OffsetDateTime>>,
    /// When a reply, or an operator, changed it last.
    changed_at: Option<OffsetDateTime>,
    /// Moments up to here are promised to mail that was given back.
    booked: OffsetDateTime,
}

/// Less, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slowed {
    /// Until when.
    pub until: OffsetDateTime,
    /// At most so much mail.
    pub mails: Option<Rate>,
    /// At most so many connections.
    pub connections: Option<u32>,
}

/// Mail for which there is no moment yet within this time comes back within it all the same, to find out.
const LONGEST_WAIT: Duration = Duration::minutes(10);
/// When mail may come again that was brought to a process without a part of the rate.
const NO_PART_WAIT: Duration = Duration::seconds(2);

impl Pace {
    /// With these limits.
    pub fn new(limits: Limits) -> Pace {
        Pace {
            limits,
            mails: None,
            dials: None,
            part: 1.0,
            slowed: None,
            suspended_until: None,
            matched: Vec::new(),
            changed_at: None,
            booked: OffsetDateTime::UNIX_EPOCH,
        }
    }

    /// How many connections the policy and the peer allow now, over all processes.
    pub fn allowed(&mut self, now: OffsetDateTime) -> u32 {
        self.forget(now);
        let slowed = self.slowed.and_then(|slowed| slowed.connections).unwrap_or(u32::MAX);
        self.limits.connections.min(slowed)
    }

    /// Until when nothing goes there.
    pub fn suspended_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.suspended_until.filter(|until| *until > now)
    }

    /// What it is slowed to.
    pub fn slowed(&self, now: OffsetDateTime) -> Option<Slowed> {
        self.slowed.filter(|slowed| slowed.until > now)
    }

    /// Whether mails are counted at all: if not, nobody needs to know the time.
    pub fn is_timed(&mut self, now: OffsetDateTime) -> bool {
        self.forget(now);
        self.limits.mails.is_some() || self.slowed.is_some() || self.suspended_until(now).is_some()
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many mails may go now; `None`: as many as there are.
    pub fn ready(&mut self, now: OffsetDateTime) -> Option<usize> {
        self.mails(now).map(|bucket| bucket.ready(now))
    }

    /// How many mails may wait in memory: those that go within `horizon`; `None`: no limit of ours.
    pub fn room(&mut self, now: OffsetDateTime, horizon: Duration) -> Option<usize> {
        let bucket = self.mails(now)?;
        let soon = horizon.as_seconds_f64() / bucket.interval().as_seconds_f64();
        Some(bucket.ready(now) + soon as usize)
    }

    /// Takes the right to send one mail.
    ///
    /// # Errors
    /// When the next one may go.
    pub fn take_mail(&mut self, now: OffsetDateTime) -> Result<(), OffsetDateTime> {
        self.mails(now).map_or(Ok(()), |bucket| bucket.take(now))
    }

    /// Takes the right to open up to `wanted` connections; gives how many.
    pub fn take_dials(&mut self, wanted: usize, now: OffsetDateTime) -> usize {
        match self.dials(now) {
            Some(bucket) => (0..wanted).take_while(|_| bucket.take(now).is_ok()).count(),
            None => wanted,
        }
    }

    /// When a connection may be opened next. Without a part of the rate: when mail may come again, to whoever has one.
    pub fn next_dial(&mut self, now: OffsetDateTime) -> OffsetDateTime {
        if self.part <= 0.0 {
            return now + NO_PART_WAIT;
        }
        self.dials(now).map_or(now, |bucket| bucket.next(now))
    }

    /// A moment for one more mail that finds no room, behind `waiting` that have: each gets the next one. Beyond
    /// the longest wait they are spread over it, by `spread` from 0 to 1. Without a part of the rate moments follow each
    /// other at the whole rate: the mail is for those who have one.
    pub fn book(&mut self, now: OffsetDateTime, waiting: usize, spread: f64) -> OffsetDateTime {
        let has_part = self.part > 0.0;
        let Some(bucket) = self.mails(now) else { return now };
        let first = if has_part { bucket.next(now) } else { now + NO_PART_WAIT };
        let interval = if has_part { bucket.interval() } else { bucket.whole_interval() };
        let behind = first + interval * i32::try_from(waiting).unwrap_or(i32::MAX);
        let slot = self.booked.max(behind.min(now + LONGEST_WAIT)) + interval;
        if slot > now + LONGEST_WAIT {
            return now + LONGEST_WAIT / 2 + (LONGEST_WAIT / 2) * spread.clamp(0.0, 1.0);
        }
        self.booked = slot;
        slot
    }

    /// A reply matched a rule; what follows from it, if the rule has been matched often enough.
    pub fn matched(&mut self, index: usize, rule: &Rule, now: OffsetDateTime) -> Option<Effect> {
        if self.matched.len() <= index {
            self.matched.resize_with(index + 1, VecDeque::new);
        }
        let times = &mut self.matched[index];
        while times.front().is_some_and(|at| *at + rule.within < now) {
            times.pop_front();
        }
        times.push_back(now);
        if times.len() < rule.after {
            return None;
        }
        times.clear();
        Some(rule.effect)
    }

    /// Slows or suspends. Never shortens what holds already.
    pub fn apply(&mut self, effect: Effect, now: OffsetDateTime) {
        self.changed_at = Some(now);
        match effect {
            Effect::Suspend { lasting } => {
                let until = now + lasting;
                self.suspended_until = Some(self.suspended_until.map_or(until, |known| known.max(until)));
            }
            Effect::Slow { mails, connections, lasting } => {
                let until = now + lasting;
                let known = self.slowed(now);
                self.take_over(
                    Some(Slowed {
                        until: known.map_or(until, |known| known.until.max(until)),
                        mails: slower(known.and_then(|known| known.mails), mails),
                        connections: fewer(known.and_then(|known| known.connections), connections),
                    }),
                    now,
                );
            }
        }
    }

    /// Holds from now on what other processes have learnt, or an operator has lifted, at the moment `told`; but
    /// not if we know something newer. Gives until when it was suspended, if it is so no more.
    pub fn learn(
        &mut self,
        suspended_until: Option<OffsetDateTime>,
        slowed: Option<Slowed>,
        told: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        if told <= self.changed_at {
            return None;
        }
        let before = self.suspended_until(now);
        self.changed_at = told;
        self.suspended_until = suspended_until.filter(|until| *until > now);
        self.take_over(slowed.filter(|slowed| slowed.until > now), now);
        before.filter(|_| self.suspended_until.is_none())
    }

    /// This process's part of every rate.
    pub fn set_part(&mut self, part: f64, now: OffsetDateTime) {
        if (part - self.part).abs() < f64::EPSILON {
            return;
        }
        self.part = part;
        // What was promised went by the part that it had.
        self.booked = now;
        let (mails, dials) = (self.mail_rate(), self.limits.dials);
        for (bucket, rate) in [(&mut self.mails, mails), (&mut self.dials, dials)] {
            if let (Some(bucket), Some(rate)) = (bucket, rate) {
                bucket.set(rate, part, now);
            }
        }
    }

    fn take_over(&mut self, slowed: Option<Slowed>, now: OffsetDateTime) {
        self.slowed = slowed;
        self.booked = now;
        match (self.mail_rate(), &mut self.mails) {
            (None, bucket) => *bucket = None,
            (Some(rate), Some(bucket)) => bucket.set(rate, self.part, now),
            // Made at its next use.
            (Some(_), None) => {}
        }
    }

    fn forget(&mut self, now: OffsetDateTime) {
        if self.slowed.is_some_and(|slowed| slowed.until <= now) {
            self.take_over(None, now);
        }
    }

    fn mail_rate(&self) -> Option<Rate> {
        slower(self.limits.mails, self.slowed.and_then(|slowed| slowed.mails))
    }

    fn mails(&mut self, now: OffsetDateTime) -> Option<&mut Bucket> {
        self.forget(now);
        let rate = self.mail_rate()?;
        let part = self.part;
        Some(self.mails.get_or_insert_with(|| begun(rate, part, now)))
    }

    fn dials(&mut self, now: OffsetDateTime) -> Option<&mut Bucket> {
        let (rate, part) = (self.limits.dials?, self.part);
        Some(self.dials.get_or_insert_with(|| begun(rate, part, now)))
    }
}

fn begun(rate: Rate, part: f64, now: OffsetDateTime) -> Bucket {
    let mut bucket = Bucket::new(rate, now);
    bucket.set(rate, part, now);
    bucket
}

fn slower(one: Option<Rate>, other: Option<Rate>) -> Option<Rate> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.slower(other)),
        (one, other) => one.or(other),
    }
}

fn fewer(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-25 10:00 UTC);

    fn limits(mails: Option<&str>) -> Limits {
        Limits {
            connections: 10,
            start: 3,
            mails_per_connection: 100,
            dials: "100/min".parse().ok(),
            mails: mails.and_then(|text| text.parse().ok()),
            idle: None,
        }
    }

    fn slow(rate: &str, connections: u32, minutes: i64) -> Effect {
        Effect::Slow {
            mails: rate.parse().ok(),
            connections: Some(connections),
            lasting: Duration::minutes(minutes),
        }
    }

    #[test]
    fn a_slow_down_holds_for_its_time_and_the_slower_one_wins() {
        let mut pace = Pace::new(limits(None));
        assert_eq!((pace.allowed(NOW), pace.ready(NOW), pace.is_timed(NOW)), (10, None, false));
        pace.apply(slow("10/min", 2, 30), NOW);
        pace.apply(slow("1/min", 5, 10), NOW);
        assert_eq!((pace.allowed(NOW), pace.ready(NOW)), (2, Some(1)));
        assert_eq!(pace.take_mail(NOW), Ok(()));
        let next = pace.take_mail(NOW).expect_err("one a minute");
        assert!(next > NOW + Duration::seconds(59) && next < NOW + Duration::seconds(61), "{next}");
        let over = NOW + Duration::minutes(30);
        assert_eq!((pace.allowed(over), pace.ready(over), pace.take_mail(over)), (10, None, Ok(())));
    }

    #[test]
    fn a_suspension_is_never_shortened_by_another() {
        let mut pace = Pace::new(limits(None));
        pace.apply(Effect::Suspend { lasting: Duration::HOUR }, NOW);
        pace.apply(Effect::Suspend { lasting: Duration::MINUTE }, NOW);
        assert_eq!(pace.suspended_until(NOW), Some(NOW + Duration::HOUR));
        assert_eq!(pace.suspended_until(NOW + Duration::HOUR), None);
        assert_eq!(pace.learn(None, None, Some(NOW - Duration::SECOND), NOW), None);
        assert_eq!(pace.suspended_until(NOW), Some(NOW + Duration::HOUR), "older news change nothing");
        assert_eq!(pace.learn(None, None, Some(NOW + Duration::SECOND), NOW), Some(NOW + Duration::HOUR));
        assert_eq!(pace.suspended_until(NOW), None, "an operator lifts it");
    }

    #[test]
    fn mail_without_room_is_given_moments_one_after_the_other_and_none_waits_for_ever() {
        let mut pace = Pace::new(limits(Some("10/min")));
        assert_eq!(pace.room(NOW, Duration::seconds(4)), Some(1));
        pace.take_mail(NOW).expect("the first");
        let moments: Vec<i64> = (0..3).map(|_| (pace.book(NOW, 0, 0.0) - NOW).whole_seconds()).collect();
        assert_eq!(moments, [12, 18, 24]);
        for _ in 0..1000 {
            let moment = pace.book(NOW, 0, 0.9) - NOW;
            assert!(moment <= LONGEST_WAIT, "{moment}");
        }
    }

    #[test]
    fn who_has_no_part_of_a_rate_keeps_no_mail_from_those_who_have() {
        let mut pace = Pace::new(limits(Some("100/s")));
        pace.set_part(0.0, NOW);
        assert!(pace.take_mail(NOW).is_err());
        let last = (0..300).map(|_| pace.book(NOW, 0, 0.0)).last().expect("300 moments");
        assert!(last > NOW + Duration::seconds(2) && last < NOW + Duration::seconds(6), "{last}");
        assert!(pace.next_dial(NOW) < NOW + Duration::seconds(3));
        pace.set_part(1.0, NOW);
        assert!(pace.book(NOW, 0, 0.0) < NOW + Duration::SECOND, "what was promised before is forgotten");
    }

    #[test]
    fn a_rule_that_wants_several_replies_waits_for_them_within_its_time() {
        let rule = Rule {
            reply: "x".to_owned(),
            effect: Effect::Suspend { lasting: Duration::HOUR },
            after: 3,
            within: Duration::HOUR,
        };
        let mut pace = Pace::new(limits(None));
        let minutes = [0, 30, 61, 90, 91];
        let followed =
            minutes.map(|minute| pace.matched(2, &rule, NOW + Duration::minutes(minute)).is_some());
        assert_eq!(followed, [false, false, false, true, false], "and then it begins anew");
    }

    #[test]
    fn dials_are_counted_and_a_part_of_the_rate_is_a_part_of_the_dials() {
        let mut pace = Pace::new(limits(None));
        assert_eq!(pace.take_dials(50, NOW), 10);
        assert!(pace.next_dial(NOW) > NOW);
        let mut half = Pace::new(limits(None));
        half.set_part(0.5, NOW);
        assert_eq!(half.take_dials(50, NOW), 5);
    }
}
