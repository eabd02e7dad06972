//! How much a tenant may send: limits, periods, and the portions in which processes take their part of a limit, so
//! that all together never exceed it and none asks the database for each mail.

use time::{Duration, OffsetDateTime, Time};

/// What a tenant is limited to; `None`: only by the installation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Mails a second.
    pub per_second: Option<i64>,
    /// Recipients a day (UTC).
    pub per_day: Option<i64>,
    /// Recipients a month (UTC).
    pub per_month: Option<i64>,
    /// Octets of one mail.
    pub message_bytes: Option<i64>,
    /// Recipients of one mail.
    pub recipients: Option<i64>,
}

impl Limits {
    /// The limit of a period.
    pub const fn of(&self, period: Period) -> Option<i64> {
        match period {
            Period::Second => self.per_second,
            Period::Day => self.per_day,
            Period::Month => self.per_month,
        }
    }
}

/// A time for which a limit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// A second of the clock.
    Second,
    /// A day, UTC.
    Day,
    /// A month, UTC.
    Month,
}

impl Period {
    /// All of them, the shortest first.
    pub const ALL: [Period; 3] = [Period::Second, Period::Day, Period::Month];

    /// As the database and headers have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Second => "second",
            Period::Day => "day",
            Period::Month => "month",
        }
    }

    /// When the present one began.
    pub fn start(self, now: OffsetDateTime) -> OffsetDateTime {
        let now = now.to_offset(time::UtcOffset::UTC);
        let day = now.replace_time(Time::MIDNIGHT);
        match self {
            Period::Second => now - Duration::nanoseconds(now.nanosecond().into()),
            Period::Day => day,
            Period::Month => day - Duration::days(i64::from(now.day()) - 1),
        }
    }

    /// When the one that began then ends.
    pub fn end(self, start: OffsetDateTime) -> OffsetDateTime {
        match self {
            Period::Second => start + Duration::seconds(1),
            Period::Day => start + Duration::days(1),
            Period::Month => start + Duration::days(start.month().length(start.year()).into()),
        }
    }
}

/// The most that a process takes at once.
const LARGEST: i64 = 1000;
/// A process takes at most this part of what is left, so that others find some.
const PART: i64 = 8;

/// How much a process is given that needs so much, of a limit of which so much is given out. `None`: not enough is
/// left.
pub fn portion(limit: i64, leased: i64, need: i64) -> Option<i64> {
    let left = limit - leased;
    (need <= left).then(|| (left / PART).min(LARGEST).max(need))
}

/// How much of a limit has been passed by giving out more: 80 or 100 percent.
pub fn passed(limit: i64, before: i64, after: i64) -> Option<u8> {
    let reaches =
        |percent: i64| limit > 0 && before * 100 < limit * percent && after * 100 >= limit * percent;
    [100, 80].into_iter().find(|percent| reaches(*percent)).map(|percent| percent as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn portions_shrink_and_never_exceed_the_limit() {
        let cases = [
            ((100_000, 0, 1), Some(1000)),
            ((1000, 0, 1), Some(125)),
            ((1000, 900, 1), Some(12)),
            ((1000, 997, 1), Some(1)),
            ((1000, 900, 50), Some(50)),
            ((1000, 990, 11), None),
            ((1000, 1000, 1), None),
            ((1000, 2000, 1), None),
            ((0, 0, 1), None),
        ];
        for ((limit, leased, need), expected) in cases {
            assert_eq!(portion(limit, leased, need), expected, "{limit} {leased} {need}");
        }
        let (mut leased, mut portions) = (0, 0);
        while let Some(more) = portion(10_000, leased, 1) {
            leased += more;
            portions += 1;
        }
        assert_eq!(leased, 10_000, "all of it is given out");
        assert!(portions < 100, "{portions} questions for ten thousand mails");
    }

    #[test]
    fn eighty_and_a_hundred_percent_are_passed_once() {
        let cases = [
            ((100, 0, 79), None),
            ((100, 79, 80), Some(80)),
            ((100, 80, 99), None),
            ((100, 99, 100), Some(100)),
            ((100, 0, 100), Some(100)),
            ((100, 100, 100), None),
            ((0, 0, 0), None),
        ];
        for ((limit, before, after), expected) in cases {
            assert_eq!(passed(limit, before, after), expected, "{limit} {before} {after}");
        }
    }

    #[test]
    fn periods_begin_and_end_with_the_calendar() {
        let now = datetime!(2026-02-28 23:59:59.75 UTC);
        let spans = Period::ALL.map(|period| (period.start(now), period.end(period.start(now))));
        let expected = [
            (datetime!(2026-02-28 23:59:59 UTC), datetime!(2026-03-01 0:00 UTC)),
            (datetime!(2026-02-28 0:00 UTC), datetime!(2026-03-01 0:00 UTC)),
            (datetime!(2026-02-01 0:00 UTC), datetime!(2026-03-01 0:00 UTC)),
        ];
        assert_eq!(spans, expected);
    }
}
