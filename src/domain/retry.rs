//! When to try again. Pure: the schedule is a list, and jitter comes in as a number.

use time::{Duration, OffsetDateTime};

/// Minutes before the second, third, … attempt; afterwards the last one repeats. The first ones suit
/// greylisting; from the third on they are above RFC 5321 §4.5.4.1's half hour on average.
const SCHEDULE_MINUTES: [i64; 8] = [5, 10, 20, 40, 60, 120, 240, 300];

/// The spread around a scheduled delay: ±10 %, so that what failed together does not return together.
const JITTER: f64 = 0.1;

/// What follows a deferral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again at this moment.
    TryAt(OffsetDateTime),
    /// There is no time left for another try.
    Expired,
}

/// What [`next_try`] needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Deferral {
    /// Attempts so far, this one included: 1 or more.
    pub attempts: u32,
    /// Now.
    pub now: OffsetDateTime,
    /// When the mail was to be sent first.
    pub since: OffsetDateTime,
    /// When its time runs out.
    pub expires_at: OffsetDateTime,
    /// Not sooner than this from now, whatever the schedule says.
    pub not_before: Duration,
    /// −1 to 1: where in the spread this delivery falls.
    pub jitter: f64,
}

/// The shortest time worth another try.
const WORTH_A_TRY: Duration = Duration::seconds(20);

/// When to try again after a deferral.
///
/// Mail that lives shortly (a one-time password) is tried at least four times in its life; and the last try
/// falls just inside the life of a mail, never after it.
pub fn next_try(deferral: Deferral) -> Next {
    let Deferral { now, expires_at, .. } = deferral;
    let delay = scheduled_delay(deferral).max(deferral.not_before);
    let at = now + delay;
    if at < expires_at {
        return Next::TryAt(at);
    }
    let last_chance = expires_at - WORTH_A_TRY / 2;
    if last_chance - now >= deferral.not_before.max(WORTH_A_TRY) {
        Next::TryAt(last_chance)
    } else {
        Next::Expired
    }
}

fn scheduled_delay(deferral: Deferral) -> Duration {
    let index = usize::try_from(deferral.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let minutes = SCHEDULE_MINUTES[index.min(SCHEDULE_MINUTES.len() - 1)];
    let quarter: Duration = (deferral.expires_at - deferral.since) / 4;
    let scheduled = Duration::minutes(minutes).min(quarter.max(Duration::MINUTE));
    scheduled * (1.0 + JITTER * deferral.jitter.clamp(-1.0, 1.0))
}

/// How many of the two thresholds, one hour and four, have passed when a mail is deferred at `age`: each is
/// told once, so that senders learn of a delay without a flood.
pub fn delay_notices(age: Duration) -> i16 {
    match age {
        age if age >= Duration::hours(4) => 2,
        age if age >= Duration::hours(1) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const START: OffsetDateTime = datetime!(2026-11-24 10:00 UTC);

    /// Plays the life of a mail that is always deferred at once; the delays in seconds, then expiry.
    fn delays(ttl: Duration) -> Vec<i64> {
        let mut now = START;
        let mut delays = Vec::new();
        for attempts in 1.. {
            let deferral = Deferral {
                attempts,
                now,
                since: START,
                expires_at: START + ttl,
                not_before: Duration::ZERO,
                jitter: 0.0,
            };
            match next_try(deferral) {
                Next::TryAt(at) => delays.push((at - now).whole_seconds()),
                Next::Expired => break,
            }
            now += Duration::seconds(*delays.last().expect("just pushed"));
        }
        delays
    }

    #[test]
    fn three_days_are_tried_by_this_list() {
        let mut expected = vec![300, 600, 1200, 2400, 3600, 7200, 14_400];
        expected.extend([18_000; 12]);
        expected.push(13_490);
        assert_eq!(delays(Duration::days(3)), expected);
        assert_eq!(expected.iter().sum::<i64>(), 259_190);
    }

    #[test]
    fn five_minutes_are_tried_four_times_more() {
        assert_eq!(delays(Duration::minutes(5)), [75, 75, 75, 65]);
    }

    #[test]
    fn an_unknown_result_waits_longer_and_never_past_the_end() {
        let deferral = Deferral {
            attempts: 1,
            now: START,
            since: START,
            expires_at: START + Duration::hours(2),
            not_before: Duration::minutes(15),
            jitter: 0.0,
        };
        assert_eq!(next_try(deferral), Next::TryAt(START + Duration::minutes(15)));
        let late = Deferral { now: START + Duration::minutes(110), ..deferral };
        assert_eq!(next_try(late), Next::Expired);
    }

    #[test]
    fn jitter_spreads_by_a_tenth() {
        let deferral = Deferral {
            attempts: 2,
            now: START,
            since: START,
            expires_at: START + Duration::days(3),
            not_before: Duration::ZERO,
            jitter: 1.0,
        };
        assert_eq!(next_try(deferral), Next::TryAt(START + Duration::minutes(11)));
        let early = Deferral { jitter: -1.0, ..deferral };
        assert_eq!(next_try(early), Next::TryAt(START + Duration::minutes(9)));
    }

    #[test]
    fn delays_are_told_after_one_hour_and_four() {
        let told = [59, 60, 239, 240].map(|minutes| delay_notices(Duration::minutes(minutes)));
        assert_eq!(told, [0, 1, 1, 2]);
    }
}
