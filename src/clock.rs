//! The clock of the whole program: the database's time, so that nodes whose own clocks differ agree on
//! leases and due times. Between readings it runs on monotonic time, so that a step of the machine's clock
//! moves nothing.
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
    doubted: Option<time::Duration>,
}

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
        Clock(Arc::new(Mutex::new(Reading { database, at: Pace::Running(Instant::now()), doubted: None })))
    }

    /// Stands still until it is moved: for tests.
    pub fn stopped_at(moment: OffsetDateTime) -> Clock {
        Clock(Arc::new(Mutex::new(Reading { database: moment, at: Pace::Stopped, doubted: None })))
    }

    /// Now.
    pub fn now(&self) -> OffsetDateTime {
        let reading = *self.reading();
        match reading.at {
            Pace::Running(since) => reading.database + since.elapsed(),
            Pace::Stopped => reading.database,
        }
    }

    /// Takes over a new reading of the database's time, unless it has stepped by more than ten minutes and this
    /// machine's clock has not come to the same time: machines that were asleep, or stand on one clock, agree. A stopped
    /// clock stays.
    pub fn follow(&self, database: OffsetDateTime) -> Step {
        self.follow_with(database, machine_time())
    }

    fn follow_with(&self, database: OffsetDateTime, machine: OffsetDateTime) -> Step {
        let drift = database - self.now();
        let is_witnessed = (database - machine).abs() <= UNWITNESSED;
        let mut reading = self.reading();
        let Pace::Running(_) = reading.at else { return Step::Followed(drift) };
        if drift.abs() > UNWITNESSED && !is_witnessed {
            reading.doubted = Some(drift);
            return Step::Doubted(drift);
        }
        *reading = Reading { database, at: Pace::Running(Instant::now()), doubted: None };
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

    #[test]
    fn a_running_clock_runs_and_takes_corrections() {
        let start = datetime!(2026-11-24 10:00 UTC);
        let clock = Clock::started_at(start);
        assert!(clock.now() >= start && clock.now() < start + Duration::MINUTE);

        let step = clock.follow_with(start + Duration::minutes(9), start);
        assert!(matches!(step, Step::Followed(drift) if drift > Duration::minutes(8)));
        assert!(clock.now() >= start + Duration::minutes(9));
    }

    #[test]
    fn a_step_that_nobody_else_knows_of_is_doubted_until_it_is_over() {
        let start = datetime!(2026-11-24 10:00 UTC);
        for step in [Duration::days(5), -Duration::hours(2)] {
            let clock = Clock::started_at(start);
            assert!(matches!(clock.follow_with(start + step, start), Step::Doubted(_)));
            assert!(clock.doubted().is_some() && (clock.now() - start) < Duration::MINUTE);

            assert!(matches!(clock.follow_with(start, start), Step::Followed(_)));
            assert_eq!(clock.doubted(), None);

            // The machine says the same: both were asleep, or were wrong before.
            assert!(matches!(clock.follow_with(start + step, start + step), Step::Followed(_)));
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
