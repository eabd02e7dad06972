//! How fast mail may go to a site: rates, the buckets that keep them, and the number of connections that
//! success earns and failure costs. Pure: time comes in as `now`.

use std::fmt;
use std::str::FromStr;

use time::{Duration, OffsetDateTime};

/// So many in so long. Never more than that within any stretch of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

/// Not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate is written as 100/s, 10/min, 500/h or 5000/d, the number from 1 to 1000000")]
pub struct BadRate;

const MOST_COUNT: u32 = 1_000_000;

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Rate, BadRate> {
        let (count, unit) = text.split_once('/').ok_or(BadRate)?;
        let count =
            count.trim().parse().ok().filter(|count| (1..=MOST_COUNT).contains(count)).ok_or(BadRate)?;
        let per = match unit.trim() {
            "s" => Duration::SECOND,
            "min" => Duration::MINUTE,
            "h" => Duration::HOUR,
            "d" => Duration::DAY,
            _ => return Err(BadRate),
        };
        Ok(Rate { count, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.whole_seconds() {
            1 => "s",
            60 => "min",
            3600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl Rate {
    /// The time from one to the next.
    pub fn interval(self) -> Duration {
        self.per / self.count.max(1)
    }

    /// The slower of two.
    pub fn slower(self, other: Rate) -> Rate {
        if self.interval() >= other.interval() { self } else { other }
    }
}

/// Keeps a rate, or a part of it. A tenth may go at once; the rest is spread evenly, so that no stretch of the
/// rate's length ever sees more than its count.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    rate: Rate,
    /// The part of the rate that is ours: 0 to 1.
    part: f64,
    tokens: f64,
    at: OffsetDateTime,
}

/// This part of a rate may go at once.
const AT_ONCE: u32 = 10;
/// Rounding must not cost a token its moment.
const NEARLY: f64 = 1.0 - 1e-6;
/// When a rate of nothing is looked at again.
const NEVER: Duration = Duration::MINUTE;

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: OffsetDateTime) -> Bucket {
        let mut bucket = Bucket { rate, part: 1.0, tokens: 0.0, at: now };
        bucket.tokens = bucket.most();
        bucket
    }

    /// From now on keeps this rate, and this part of it.
    pub fn set(&mut self, rate: Rate, part: f64, now: OffsetDateTime) {
        self.refill(now);
        (self.rate, self.part) = (rate, part.clamp(0.0, 1.0));
        // Not the whole token that even a small part may save up: parts that begin together begin with one burst.
        let burst = f64::from((rate.count / AT_ONCE).max(1));
        self.tokens = self.tokens.min(burst * self.part);
    }

    /// Takes one.
    ///
    /// # Errors
    /// When there will be one.
    pub fn take(&mut self, now: OffsetDateTime) -> Result<(), OffsetDateTime> {
        self.refill(now);
        if self.tokens >= NEARLY {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(self.next(now))
    }

    /// How many may be taken now.
    pub fn ready(&mut self, now: OffsetDateTime) -> usize {
        self.refill(now);
        (self.tokens + 1.0 - NEARLY) as usize
    }

    /// When there is one, if nobody takes it before.
    pub fn next(&mut self, now: OffsetDateTime) -> OffsetDateTime {
        self.refill(now);
        let missing = (1.0 - self.tokens).max(0.0);
        if missing == 0.0 {
            return now;
        }
        let pace = self.per_second();
        if pace <= 0.0 {
            return now + NEVER;
        }
        // Rounded up, or whoever comes at that moment finds the token not quite whole.
        now + Duration::seconds_f64(missing / pace) + Duration::MICROSECOND
    }

    /// The time from one token to the next.
    pub fn interval(&self) -> Duration {
        let pace = self.per_second();
        if pace > 0.0 { Duration::seconds_f64(1.0 / pace) } else { NEVER }
    }

    /// The same for all who have a part of it together.
    pub fn whole_interval(&self) -> Duration {
        self.rate.per / f64::from(self.rate.count.max(1))
    }

    fn refill(&mut self, now: OffsetDateTime) {
        let passed = (now - self.at).as_seconds_f64().max(0.0);
        self.tokens = (self.tokens + passed * self.per_second()).min(self.most());
        self.at = self.at.max(now);
    }

    fn most(&self) -> f64 {
        let whole = f64::from((self.rate.count / AT_ONCE).max(1));
        // A part of a rate saves up one whole token at least, or it would never have one.
        if self.part > 0.0 { (whole * self.part).max(1.0) } else { 0.0 }
    }

    /// What goes at once and what comes within the rate's length are its count together.
    fn per_second(&self) -> f64 {
        let count = f64::from(self.rate.count) * self.part;
        let steady = (count - self.most() + 1.0).max(count.min(1.0));
        if self.part > 0.0 { steady / self.rate.per.as_seconds_f64() } else { 0.0 }
    }
}

/// How many connections a site has earned: one more for a cohort of successes as large as itself, one fewer
/// for such a cohort of failures, and one alone, as a probe, when no connection can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    most: u32,
    size: u32,
    credit: i64,
}

impl Window {
    /// Begins with `start`, and grows up to `most`.
    pub fn new(start: u32, most: u32) -> Window {
        let most = most.max(1);
        Window { most, size: start.clamp(1, most), credit: 0 }
    }

    /// How many connections there may be.
    pub fn size(self) -> u32 {
        self.size
    }

    /// A mail was carried. Whether that has earned one more.
    pub fn succeeded(&mut self) -> bool {
        if self.size == self.most && self.credit >= 0 {
            return false;
        }
        self.credit += 1;
        let earned = self.credit >= i64::from(self.size);
        if earned {
            self.size = (self.size + 1).min(self.most);
            self.credit = 0;
        }
        earned
    }

    /// A connection broke, or the peer closed it.
    pub fn failed(&mut self) {
        self.credit -= 1;
        if self.credit <= -i64::from(self.size) {
            self.size = (self.size - 1).max(1);
            self.credit = 0;
        }
    }

    /// No connection could be had.
    pub fn collapse(&mut self) {
        (self.size, self.credit) = (1, 0);
    }
}

/// A site, and the address of ours that limits hold for: what all processes call the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteKey {
    /// A relay (`user@host:port`), or a group of MX hosts.
    pub site: String,
    /// The address connections come from; empty: whichever the system picks.
    pub source: String,
}

/// What a peer's reply, or an operator, changes at a site for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing goes there.
    Suspend {
        /// How long.
        lasting: Duration,
    },
    /// Less goes there.
    Slow {
        /// At most so much mail; `None`: as before.
        mails: Option<Rate>,
        /// At most so many connections; `None`: as before.
        connections: Option<u32>,
        /// How long.
        lasting: Duration,
    },
}

/// What a site may be asked for at the same time, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections, over all processes.
    pub connections: u32,
    /// Connections to begin with.
    pub start: u32,
    /// Mails on one connection.
    pub mails_per_connection: u32,
    /// New connections, over all processes.
    pub dials: Option<Rate>,
    /// Mails, over all processes.
    pub mails: Option<Rate>,
    /// How long a connection may wait for mail; `None`: as all do.
    pub idle: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const START: OffsetDateTime = datetime!(2026-11-25 10:00 UTC);

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    #[test]
    fn rates_are_read_and_written() {
        for text in ["100/s", "10/min", "500/h", "1/d"] {
            assert_eq!(rate(text).to_string(), text);
        }
        for bad in ["", "100", "0/s", "-1/s", "10/week", "x/s", "1000001/s"] {
            assert_eq!(bad.parse::<Rate>(), Err(BadRate), "{bad}");
        }
        assert_eq!(rate("100/s").slower(rate("10/min")), rate("10/min"));
    }

    /// Takes whenever it can for three lengths of the rate; when each was taken.
    fn greedy(mut bucket: Bucket, per: Duration) -> Vec<OffsetDateTime> {
        let mut now = START;
        let mut taken = Vec::new();
        while now < START + 3 * per {
            match bucket.take(now) {
                Ok(()) => taken.push(now),
                Err(next) => {
                    assert!(next > now, "time goes on");
                    now = next;
                }
            }
        }
        taken
    }

    #[test]
    fn no_stretch_of_a_rates_length_sees_more_than_its_count() {
        for text in ["1/min", "2/min", "10/min", "15/s", "100/s", "100/min", "1000/h"] {
            let rate = rate(text);
            let taken = greedy(Bucket::new(rate, START), rate.per);
            for first in &taken {
                let within = taken.iter().filter(|at| (*first..*first + rate.per).contains(*at)).count();
                assert!(within <= rate.count as usize, "{text}: {within} within one length");
            }
            let fastest = rate.count as usize * 3;
            assert!(taken.len() * 10 >= fastest * 8, "{text}: {} of {fastest}", taken.len());
        }
    }

    #[test]
    fn parts_of_a_rate_are_not_more_than_the_whole() {
        let whole = rate("100/min");
        for parts in [2, 3, 5] {
            let mut taken = 0;
            for _ in 0..parts {
                let mut bucket = Bucket::new(whole, START);
                bucket.set(whole, 1.0 / f64::from(parts), START);
                taken += greedy(bucket, whole.per).len();
            }
            assert!(taken <= 300, "{parts} parts: {taken}");
        }
        let mut nothing = Bucket::new(whole, START);
        nothing.set(whole, 0.0, START);
        assert_eq!(
            (nothing.ready(START + Duration::HOUR), nothing.take(START + Duration::HOUR).is_err()),
            (0, true)
        );
    }

    #[test]
    fn a_window_grows_by_cohorts_of_success_and_shrinks_by_cohorts_of_failure() {
        let mut window = Window::new(2, 4);
        let mut sizes = Vec::new();
        for _ in 0..9 {
            window.succeeded();
            sizes.push(window.size());
        }
        assert_eq!(sizes, [2, 3, 3, 3, 4, 4, 4, 4, 4]);
        sizes.clear();
        for _ in 0..10 {
            window.failed();
            sizes.push(window.size());
        }
        assert_eq!(sizes, [4, 4, 4, 3, 3, 3, 2, 2, 1, 1]);
        let mut whole = Window::new(16, 16);
        whole.collapse();
        assert_eq!(whole.size(), 1, "a probe");
        whole.succeeded();
        assert_eq!(whole.size(), 2, "and at once more when it succeeds");
    }
}
