//! The clock of the whole program: the database's time, so that nodes whose own clocks differ agree on
//! leases and due times. Between readings it runs on monotonic time, so that a step of the machine's clock
//! moves nothing.

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
        Clock(Arc::new(Mutex::new(Reading { database, at: Pace::Running(Instant::now()) })))
    }

    /// Stands still until it is moved: for tests.
    pub fn stopped_at(moment: OffsetDateTime) -> Clock {
        Clock(Arc::new(Mutex::new(Reading { database: moment, at: Pace::Stopped })))
    }

    /// Now.
    pub fn now(&self) -> OffsetDateTime {
        let reading = *self.reading();
        match reading.at {
            Pace::Running(since) => reading.database + since.elapsed(),
            Pace::Stopped => reading.database,
        }
    }

    /// Takes over a new reading of the database's time; the drift it corrects. A stopped clock stays.
    pub fn set(&self, database: OffsetDateTime) -> time::Duration {
        let drift = database - self.now();
        let mut reading = self.reading();
        if let Pace::Running(_) = reading.at {
            *reading = Reading { database, at: Pace::Running(Instant::now()) };
        }
        drift
    }

    /// Moves the clock forward: for tests.
    pub fn advance(&self, by: time::Duration) {
        self.reading().database += by;
    }

    fn reading(&self) -> std::sync::MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

        let drift = clock.set(start + Duration::HOUR);
        assert!(drift > Duration::minutes(59));
        assert!(clock.now() >= start + Duration::HOUR);
    }

    #[test]
    fn a_stopped_clock_moves_only_by_hand() {
        let clock = Clock::stopped_at(datetime!(2026-11-24 10:00 UTC));
        let twin = clock.clone();
        clock.advance(Duration::minutes(5));
        assert_eq!(twin.now(), datetime!(2026-11-24 10:05 UTC));
    }
}
