//! The clock of the whole program: the database's time, so that nodes whose own clocks differ agree on
//! leases and due times. Between readings it runs on monotonic time, so that a step of the machine's clock
//! moves nothing.
//!
//! A reading was true at some moment while it was under way: time that agrees with any of them is right already. So a
//! database that answers late sets nothing back. Where time was ahead by a little, it stands still until the database
//! has caught up: what happens later is never told to have happened earlier.
//!
//! A step of the database's clock could make everything in the queue expire at once. One that neither monotonic time nor
//! the machine's clock knows of is doubted: time goes on as before, and a person is told, until the database's clock is
//! right again or the process is started anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use time::OffsetDateTime;

/// Tells the time. Cheap to clone; all clones agree.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<Reading>>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    database: OffsetDateTime,
    at: Pace,
    /// The latest moment that was told: none before it is.
    told: OffsetDateTime,
    doubted: Option<time::Duration>,
}

impl Reading {
    fn new(database: OffsetDateTime, at: Pace) -> Reading {
        Reading { database, at, told: database, doubted: None }
    }
}

/// By how much time may be ahead and wait for the database's clock. From further away it is set back.
const PATIENCE: time::Duration = time::Duration::seconds(10);
/// The largest step that is followed without a witness.
const UNWITNESSED: time::Duration = time::Duration::minutes(10);

/// What became of a reading, and how far it was from our time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is our time now.
    Followed(time::Duration),
    /// It is too far away for nobody else to have noticed: our time goes on as before.
    Doubted(time::Duration),
}

/// What time adds to the last reading.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Running(Instant),
    /// In tests: only [`Clock::advance`] moves it.
    Stopped,
}

impl Clock {
    /// Runs on from a reading of the database's time taken just now.
    pub fn started_at(database: OffsetDateTime) -> Clock {
        Clock(Arc::new(Mutex::new(Reading::new(database, Pace::Running(Instant::now())))))
    }

    /// Stands still until it is moved: for tests.
    pub fn stopped_at(moment: OffsetDateTime) -> Clock {
        Clock(Arc::new(Mutex::new(Reading::new(moment, Pace::Stopped))))
    }

    /// Now.
    pub fn now(&self) -> OffsetDateTime {
        let mut reading = self.reading();
        match reading.at {
            Pace::Running(since) => {
                reading.told = reading.told.max(reading.database + since.elapsed());
                reading.told
            }
            Pace::Stopped => reading.database,
        }
    }

    /// Takes over a new reading of the database's time, which was asked for at a moment, unless it has stepped by more
    /// than ten minutes and this machine's clock has not come to the same time: machines that were asleep, or stand on
    /// one clock, agree. A stopped clock stays.
    pub fn follow(&self, database: OffsetDateTime, asked: Instant) -> Step {
        self.follow_with(database, asked.elapsed(), machine_time())
    }

    fn follow_with(
        &self,
        database: OffsetDateTime,
        under_way: std::time::Duration,
        machine: OffsetDateTime,
    ) -> Step {
        let mut reading = self.reading();
        let Pace::Running(since) = reading.at else { return Step::Followed(time::Duration::ZERO) };
        let ours = reading.database + since.elapsed();
        let right = ours.clamp(database, database + under_way);
        let drift = right - ours;
        let is_witnessed = (database - machine).abs() <= UNWITNESSED;
        if drift.abs() > UNWITNESSED && !is_witnessed {
            reading.doubted = Some(drift);
            return Step::Doubted(drift);
        }
        let waits = reading.told - right <= PATIENCE;
        let told = if waits { reading.told.max(right) } else { right };
        *reading = Reading { told, ..Reading::new(right, Pace::Running(Instant::now())) };
        Step::Followed(drift)
    }

    /// How far the database's clock is from the time that we go by, if that is doubted.
    pub fn doubted(&self) -> Option<time::Duration> {
        self.reading().doubted
    }

    /// Moves the clock forward: for tests.
    pub fn advance(&self, by: time::Duration) {
        self.reading().database += by;
    }

    fn reading(&self) -> std::sync::MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this machine believes: a witness, and nothing else.
#[expect(clippy::disallowed_methods, reason = "it is compared with the database's time, and never gone by")]
fn machine_time() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const AT_ONCE: std::time::Duration = std::time::Duration::ZERO;

    #[test]
    fn a_running_clock_runs_and_takes_corrections() {
        let start = datetime!(2026-11-24 10:00 UTC);
        let clock = Clock::started_at(start);
        assert!(clock.now() >= start && clock.now() < start + Duration::MINUTE);

        let step = clock.follow_with(start + Duration::minutes(9), AT_ONCE, start);
        assert!(matches!(step, Step::Followed(drift) if drift > Duration::minutes(8)));
        assert!(clock.now() >= start + Duration::minutes(9));
    }

    #[test]
    fn a_late_answer_sets_nothing_back() {
        let start = datetime!(2026-11-24 10:00 UTC);
        let clock = Clock::started_at(start + Duration::seconds(5));
        let step = clock.follow_with(start, std::time::Duration::from_secs(6), start);
        assert_eq!(step, Step::Followed(Duration::ZERO));
        assert!(clock.now() >= start + Duration::seconds(5));
    }

    #[test]
    fn who_was_ahead_by_a_little_waits_and_by_more_is_set_back() {
        let start = datetime!(2026-11-24 10:00 UTC);
        let clock = Clock::started_at(start);
        let before = clock.now();
        let step = clock.follow_with(start - Duration::seconds(9), AT_ONCE, start);
        assert!(matches!(step, Step::Followed(drift) if drift <= -Duration::seconds(9)));
        let after = clock.now();
        assert!(after >= before && after < before + Duration::seconds(1), "it stands still");

        clock.follow_with(start - Duration::MINUTE, AT_ONCE, start);
        assert!(clock.now() < start - Duration::seconds(50));
    }

    #[test]
    fn a_step_that_nobody_else_knows_of_is_doubted_until_it_is_over() {
        let start = datetime!(2026-11-24 10:00 UTC);
        for step in [Duration::days(5), -Duration::hours(2)] {
            let clock = Clock::started_at(start);
            assert!(matches!(clock.follow_with(start + step, AT_ONCE, start), Step::Doubted(_)));
            assert!(clock.doubted().is_some() && (clock.now() - start) < Duration::MINUTE);

            assert!(matches!(clock.follow_with(start, AT_ONCE, start), Step::Followed(_)));
            assert_eq!(clock.doubted(), None);

            // The machine says the same: both were asleep, or were wrong before.
            assert!(matches!(clock.follow_with(start + step, AT_ONCE, start + step), Step::Followed(_)));
            assert!((clock.now() - start - step).abs() < Duration::MINUTE);
        }
    }

    #[test]
    fn a_stopped_clock_moves_only_by_hand() {
        let clock = Clock::stopped_at(datetime!(2026-11-24 10:00 UTC));
        let twin = clock.clone();
        clock.advance(Duration::minutes(5));
        assert_eq!(twin.now(), datetime!(2026-11-24 10:05 UTC));
    }
}
