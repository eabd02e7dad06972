//! When a domain's records are looked up again, and how long trouble is borne.

use time::{Duration, OffsetDateTime};

use super::DomainStatus;

/// While a node looks records up, nobody else does.
pub const LEASE: Duration = Duration::minutes(5);
/// How long the record of a key that signs no more is asked for: mail lives at most five days, and some receivers
/// check signatures late.
pub const OVERLAP: Duration = Duration::days(7);

/// The next look; `None`: only when asked. A new domain is looked for often, since somebody sits before it; one that
/// fails as well, so that its owner sees what his change has done.
pub fn next_check(
    status: DomainStatus,
    created_at: OffsetDateTime,
    failing_since: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let wait = match status {
        DomainStatus::Verified => Duration::hours(6),
        DomainStatus::Failing if failing_since.is_some_and(|since| now - since > Duration::hours(2)) => {
            Duration::hours(1)
        }
        DomainStatus::Failing => Duration::minutes(10),
        DomainStatus::Pending => match now - created_at {
            age if age < Duration::hours(1) => Duration::minutes(2),
            age if age < Duration::days(1) => Duration::minutes(15),
            age if age < Duration::days(7) => Duration::hours(2),
            _ => return None,
        },
    };
    Some(now + wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_new_and_the_failing_are_looked_at_often_and_the_forgotten_not_at_all() {
        let now = datetime!(2026-11-25 10:00 UTC);
        let wait = |status, age: Duration| {
            next_check(status, now - age, Some(now - age), now).map(|at| (at - now).whole_minutes())
        };
        let cases = [
            (DomainStatus::Pending, Duration::ZERO, Some(2)),
            (DomainStatus::Pending, Duration::hours(5), Some(15)),
            (DomainStatus::Pending, Duration::days(3), Some(120)),
            (DomainStatus::Pending, Duration::days(8), None),
            (DomainStatus::Verified, Duration::days(80), Some(360)),
            (DomainStatus::Failing, Duration::hours(1), Some(10)),
            (DomainStatus::Failing, Duration::hours(9), Some(60)),
        ];
        for (status, age, minutes) in cases {
            assert_eq!(wait(status, age), minutes, "{status:?} {age}");
        }
    }
}
