//! From what was found to what follows: which keys sign, and where the domain stands. Pure.

use time::{Duration, OffsetDateTime};

use crate::mail::dkim::Algorithm;

use super::judge::{Finding, RecordStatus};
use super::records::{KeyFacts, Need, Purpose, Record};
use super::{DomainStatus, KeyState};

/// How a domain stood before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Where it stood.
    pub status: DomainStatus,
    /// Since when something has been wrong.
    pub failing_since: Option<OffsetDateTime>,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Where the domain stands now.
    pub status: DomainStatus,
    /// Since when something has been wrong.
    pub failing_since: Option<OffsetDateTime>,
    /// Keys, by their place, that begin to sign; those that signed for the same algorithm retire.
    pub promoted: Vec<usize>,
    /// Keys, by their place, whose record was found.
    pub published: Vec<usize>,
    /// Whether bounces to its return path reach us.
    pub returns: bool,
}

/// Judges all records together. Where DNS gave no answer, nothing changes for the worse.
pub fn settle(
    before: Before,
    keys: &[KeyFacts],
    looked: &[(Record, Finding)],
    grace: Duration,
    now: OffsetDateTime,
) -> Settled {
    let published: Vec<usize> = looked
        .iter()
        .filter(|(_, found)| found.status == RecordStatus::Ok)
        .filter_map(|(r, _)| r.key)
        .collect();
    let next: Vec<usize> = published.iter().copied().filter(|at| keys[*at].state == KeyState::Next).collect();
    let replaced = |algorithm: Algorithm| next.iter().any(|at| keys[*at].algorithm == algorithm);
    // A key whose successor is published is not missed.
    let needed = |record: &Record| {
        record.need == Need::Required
            && !record.key.is_some_and(|at| replaced(keys[at].algorithm) && !next.contains(&at))
    };
    let needed: Vec<&Finding> = looked.iter().filter(|(record, _)| needed(record)).map(|(_, f)| f).collect();
    let complete = needed.iter().all(|found| found.status == RecordStatus::Ok);
    let wrong = needed.iter().any(|f| matches!(f.status, RecordStatus::Missing | RecordStatus::Mismatch));
    let status = match before.status {
        _ if complete => DomainStatus::Verified,
        DomainStatus::Pending => DomainStatus::Pending,
        DomainStatus::Failing if is_over(before, looked, grace, now) => DomainStatus::Pending,
        _ if wrong => DomainStatus::Failing,
        unchanged => unchanged,
    };
    let failing_since = (status == DomainStatus::Failing).then(|| before.failing_since.unwrap_or(now));
    Settled {
        promoted: if status.is_held() { next } else { Vec::new() },
        failing_since,
        status,
        published,
        returns: looked
            .iter()
            .any(|(record, found)| record.purpose == Purpose::ReturnPath && found.status == RecordStatus::Ok),
    }
}

/// Whether the time of grace is over for a domain of which no key is published: for sure, not for want of an
/// answer. With one key there its mail still passes DMARC, and stopping it would harm more than it helps.
fn is_over(before: Before, looked: &[(Record, Finding)], grace: Duration, now: OffsetDateTime) -> bool {
    let gone = looked
        .iter()
        .filter(|(record, _)| record.purpose == Purpose::Dkim)
        .all(|(_, found)| matches!(found.status, RecordStatus::Missing | RecordStatus::Mismatch));
    gone && before.failing_since.is_some_and(|since| now - since >= grace)
}

#[cfg(test)]
mod tests {
    use super::super::records::{Places, wanted};
    use super::*;
    use KeyState::{Active, Next};
    use RecordStatus::{Missing, Ok, Unknown};
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-25 10:00 UTC);
    const GRACE: Duration = Duration::hours(72);

    fn key(algorithm: Algorithm, state: KeyState) -> KeyFacts {
        KeyFacts { selector: "s".into(), algorithm, state, public: "AAAA".into() }
    }

    /// `found`: of the keys in order, then of the return path. Advised records are missing throughout.
    fn settled(
        status: DomainStatus,
        since: Option<Duration>,
        keys: &[KeyFacts],
        found: &[RecordStatus],
    ) -> Settled {
        let places = Places { bounce: "b".into(), host: "h".into(), tracking: "t".into() };
        let finding = |status| Finding { status, found: Vec::new(), advice: None };
        let looked: Vec<_> = wanted("acme.example", "bounce.acme.example", keys, &places)
            .into_iter()
            .zip(found.iter().copied().chain(std::iter::repeat(Missing)))
            .map(|(record, status)| (record, finding(status)))
            .collect();
        let before = Before { status, failing_since: since.map(|since| NOW - since) };
        settle(before, keys, &looked, GRACE, NOW)
    }

    fn status(before: DomainStatus, since: Option<Duration>, found: &[RecordStatus]) -> DomainStatus {
        let keys = [key(Algorithm::Rsa, Active), key(Algorithm::Ed25519, Active)];
        settled(before, since, &keys, found).status
    }

    #[test]
    fn all_required_records_prove_a_domain_and_its_keys_sign() {
        let keys = [key(Algorithm::Rsa, Next), key(Algorithm::Ed25519, Next)];
        let done = settled(DomainStatus::Pending, None, &keys, &[Ok, Ok, Ok]);
        assert_eq!((done.status, done.promoted, done.returns), (DomainStatus::Verified, vec![0, 1], true));
        let partly = settled(DomainStatus::Pending, None, &keys, &[Ok, Missing, Ok]);
        assert_eq!((partly.status, partly.promoted), (DomainStatus::Pending, vec![]));
        assert_eq!(partly.published, [0]);
    }

    #[test]
    fn trouble_warns_first_and_stops_a_domain_only_without_any_key_after_the_grace() {
        use DomainStatus::{Failing, Pending, Verified};
        let (early, late) = (Some(Duration::hours(71)), Some(Duration::hours(72)));
        let cases: [(DomainStatus, Option<Duration>, [RecordStatus; 3], DomainStatus); 11] = [
            (Verified, None, [Ok, Ok, Missing], Failing),
            (Verified, None, [Missing, Missing, Missing], Failing),
            (Verified, None, [Unknown, Unknown, Unknown], Verified),
            (Verified, None, [Unknown, Ok, Missing], Failing),
            (Failing, early, [Missing, Missing, Missing], Failing),
            (Failing, late, [Missing, Missing, Missing], Pending),
            (Failing, late, [Missing, Unknown, Missing], Failing),
            (Failing, late, [Missing, Ok, Missing], Failing),
            (Failing, late, [Unknown, Unknown, Unknown], Failing),
            (Failing, early, [Ok, Ok, Ok], Verified),
            (Pending, None, [Unknown, Ok, Ok], Pending),
        ];
        for (before, since, found, wanted) in cases {
            assert_eq!(status(before, since, &found), wanted, "{before:?} {since:?} {found:?}");
        }
    }

    #[test]
    fn failing_remembers_when_it_began() {
        let keys = [key(Algorithm::Rsa, Active)];
        let since =
            settled(DomainStatus::Failing, Some(Duration::hours(5)), &keys, &[Missing, Ok]).failing_since;
        assert_eq!(since, Some(NOW - Duration::hours(5)));
        assert_eq!(
            settled(DomainStatus::Failing, Some(Duration::hours(5)), &keys, &[Ok, Ok]).failing_since,
            None
        );
    }

    #[test]
    fn a_successor_takes_over_when_it_is_published_and_the_old_is_not_missed() {
        let keys = [key(Algorithm::Rsa, Active), key(Algorithm::Rsa, Next)];
        let both = settled(DomainStatus::Verified, None, &keys, &[Ok, Ok, Ok]);
        assert_eq!((both.status, both.promoted), (DomainStatus::Verified, vec![1]));
        let replaced = settled(DomainStatus::Verified, None, &keys, &[Missing, Ok, Ok]);
        assert_eq!((replaced.status, replaced.promoted), (DomainStatus::Verified, vec![1]));
        let not_yet = settled(DomainStatus::Verified, None, &keys, &[Ok, Missing, Ok]);
        assert_eq!((not_yet.status, not_yet.promoted), (DomainStatus::Verified, vec![]));
    }
}
