//! Certificates by ACME: which names may have one, and when it is asked for. Not how.

use time::{Duration, OffsetDateTime};

/// A node that gets a certificate has so long; then another may.
pub const LEASE: Duration = Duration::minutes(15);

/// When a certificate is renewed: with a third of its life left, so that there is time for trouble.
pub fn renewal(not_before: OffsetDateTime, not_after: OffsetDateTime) -> OffsetDateTime {
    not_after - (not_after - not_before) / 3
}

/// When it is tried again after so many failures in a row: after one, two, four hours…, at most a day. Authorities
/// count failures too, five an hour for a name.
pub fn next_try(failures: u32, now: OffsetDateTime) -> OffsetDateTime {
    now + Duration::hours(1 << failures.saturating_sub(1).min(5)).min(Duration::DAY)
}

/// Whether an authority could know a name: it has labels, and is no address.
pub fn can_have_one(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    name.len() <= 253 && name.contains('.') && !is_address && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_third_of_its_life_is_left_for_renewal() {
        let begin = datetime!(2026-11-01 00:00 UTC);
        assert_eq!(renewal(begin, begin + Duration::days(90)), begin + Duration::days(60));
        assert_eq!(renewal(begin, begin + Duration::days(6)), begin + Duration::days(4));
    }

    #[test]
    fn failures_are_tried_again_ever_more_rarely() {
        let now = datetime!(2026-11-29 00:00 UTC);
        let hours = [0, 1, 2, 3, 4, 5, 6, 100].map(|failures| (next_try(failures, now) - now).whole_hours());
        assert_eq!(hours, [1, 1, 2, 4, 8, 16, 24, 24]);
    }

    #[test]
    fn only_names_of_hosts_can_have_one() {
        for good in ["mail.acme.example", "a.b", "xn--bcher-kva.example"] {
            assert!(can_have_one(good), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in ["localhost", "127.0.0.1", "a..b", ".a.b", "a.b.", "-a.b", "a_b.c", "", &long] {
            assert!(!can_have_one(bad), "{bad}");
        }
    }
}
