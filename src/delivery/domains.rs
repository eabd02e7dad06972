//! What is known about recipients' domains beyond one attempt: which are not to be asked for a while, and which
//! were found absent, since when. In memory: a process that starts anew looks again, and is only more patient.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use time::{Duration, OffsetDateTime};

/// Domains with trouble. Those without are not in it.
#[derive(Debug, Default)]
pub struct Domains(Mutex<HashMap<String, Trouble>>);

#[derive(Debug, Clone, Copy)]
struct Trouble {
    failures: u32,
    paused_until: OffsetDateTime,
    absent_since: Option<OffsetDateTime>,
    seen: OffsetDateTime,
}

/// How well an absence is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It was not absent before, or not long enough ago.
    First,
    /// It was so long enough ago: that settles it.
    Second,
}

/// The first pause after a lookup that failed, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::seconds(2);
const LONGEST_PAUSE: Duration = Duration::minutes(5);
/// A domain must be absent for so long before mail to it is refused.
pub const ABSENCE: Duration = Duration::HOUR;
/// What was not seen for so long is forgotten.
const REMEMBERED: Duration = Duration::hours(24);
/// Domains before the first cleaning.
const ROOM: usize = 50_000;

impl Domains {
    /// Until when a domain is not asked for; `None`: it may be.
    pub fn paused(&self, domain: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let until = self.troubles().get(domain)?.paused_until;
        (until > now).then_some(until)
    }

    /// It could not be found out where its mail goes: not before the moment that is returned is it asked again.
    pub fn unknown(&self, domain: &str, now: OffsetDateTime) -> OffsetDateTime {
        self.change(domain, now, |trouble| {
            let pause = FIRST_PAUSE * 2i32.pow(trouble.failures.min(16));
            trouble.failures += 1;
            trouble.paused_until = now + pause.min(LONGEST_PAUSE);
            trouble.paused_until
        })
    }

    /// It is absent.
    pub fn absent(&self, domain: &str, now: OffsetDateTime) -> Look {
        self.change(domain, now, |trouble| {
            let since = *trouble.absent_since.get_or_insert(now);
            if now - since >= ABSENCE { Look::Second } else { Look::First }
        })
    }

    /// It is well.
    pub fn well(&self, domain: &str) {
        self.troubles().remove(domain);
    }

    fn change<T>(&self, domain: &str, now: OffsetDateTime, change: impl FnOnce(&mut Trouble) -> T) -> T {
        let mut troubles = self.troubles();
        if troubles.len() >= ROOM {
            troubles.retain(|_, trouble| now - trouble.seen < REMEMBERED);
        }
        if troubles.len() >= ROOM {
            // A flood of invented names: nothing of it is worth knowing.
            troubles.clear();
        }
        let new = Trouble { failures: 0, paused_until: now, absent_since: None, seen: now };
        let trouble = troubles.entry(domain.to_owned()).or_insert(new);
        if now - trouble.seen >= REMEMBERED {
            *trouble = new;
        }
        trouble.seen = now;
        change(trouble)
    }

    fn troubles(&self) -> MutexGuard<'_, HashMap<String, Trouble>> {
        // Nothing in here panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 10:00 UTC);

    #[test]
    fn a_domain_nobody_knows_about_is_asked_for_more_and_more_seldom() {
        let domains = Domains::default();
        let mut now = NOW;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let until = domains.unknown("a.example", now);
            assert_eq!(domains.paused("a.example", now), Some(until));
            assert_eq!(domains.paused("b.example", now), None);
            pauses.push((until - now).whole_seconds());
            now = until;
            assert_eq!(domains.paused("a.example", now), None);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300]);
        domains.well("a.example");
        assert_eq!(domains.unknown("a.example", now) - now, FIRST_PAUSE);
    }

    #[test]
    fn an_absence_is_settled_by_a_second_look_an_hour_later() {
        let domains = Domains::default();
        assert_eq!(domains.absent("a.example", NOW), Look::First);
        assert_eq!(domains.absent("a.example", NOW + Duration::minutes(59)), Look::First);
        assert_eq!(domains.absent("a.example", NOW + Duration::minutes(60)), Look::Second);
        domains.well("a.example");
        let after = |wait| domains.absent("a.example", NOW + wait);
        assert_eq!(after(Duration::minutes(61)), Look::First, "it was there in between");
        assert_eq!(after(Duration::days(30)), Look::First, "a month ago says nothing");
    }
}
