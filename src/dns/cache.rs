//! What was answered, for as long as it may be used again. Bounded in number and in time; failures are kept for
//! a moment only, so that a dead zone is not asked once for each of its mails (RFC 9520 §3.2).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::Instant;

use super::answer::{Looked, Records};
use super::{Absence, LookupError};

/// The longest any answer is used, whatever its TTL.
const LONGEST: Duration = Duration::from_secs(3600);
/// The longest an absence is believed: domains are born while mail waits for them.
const LONGEST_ABSENCE: Duration = Duration::from_secs(300);
/// How long a failure stands.
const FAILURE: Duration = Duration::from_secs(1);
/// Answers in memory.
const ROOM: usize = 20_000;

type Question = (Name, RecordType);

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<Question, Kept>>);

#[derive(Debug)]
struct Kept {
    until: Instant,
    looked: Result<Records, LookupError>,
}

impl Cache {
    /// What is known, if it may still be used.
    pub(super) fn get(&self, question: &Question) -> Option<Result<Records, LookupError>> {
        let kept = self.kept();
        let known = kept.get(question)?;
        (known.until > Instant::now()).then(|| known.looked.clone())
    }

    /// Keeps what was answered, as long as it may be kept.
    pub(super) fn put(&self, question: Question, looked: &Looked) {
        let now = Instant::now();
        let mut kept = self.kept();
        let wait = lifetime(looked);
        if wait.is_zero() {
            kept.remove(&question);
            return;
        }
        if kept.len() >= ROOM {
            kept.retain(|_, known| known.until > now);
        }
        if kept.len() >= ROOM {
            // All of it is fresh: nothing better than to begin anew.
            kept.clear();
        }
        kept.insert(question, Kept { until: now + wait, looked: looked.result.clone() });
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Question, Kept>> {
        // Nothing in here panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lifetime(looked: &Looked) -> Duration {
    let ttl = Duration::from_secs(u64::from(looked.ttl));
    match &looked.result {
        Ok(_) => ttl.min(LONGEST),
        Err(LookupError::NotFound(Absence::Name | Absence::Record)) => ttl.min(LONGEST_ABSENCE),
        Err(LookupError::Temporary(_)) => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(result: Result<Records, LookupError>, ttl: u32) -> Looked {
        Looked { result, ttl }
    }

    #[test]
    fn nothing_is_kept_beyond_its_time() {
        let found = Records { data: Vec::new(), name: Name::root(), authenticated: true };
        let cases = [
            (looked(Ok(found.clone()), 0), 0),
            (looked(Ok(found.clone()), 60), 60),
            (looked(Ok(found), 86_400), 3600),
            (looked(Err(LookupError::NotFound(Absence::Name)), 86_400), 300),
            (looked(Err(LookupError::NotFound(Absence::Record)), 0), 0),
            (looked(Err(LookupError::Temporary(String::new())), 86_400), 1),
        ];
        for (looked, seconds) in cases {
            assert_eq!(lifetime(&looked), Duration::from_secs(seconds), "{looked:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_forgotten_when_its_time_is_over() {
        let cache = Cache::default();
        let question = (Name::root(), RecordType::MX);
        let found = Records { data: Vec::new(), name: Name::root(), authenticated: false };
        cache.put(question.clone(), &looked(Ok(found.clone()), 60));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(cache.get(&question), Some(Ok(found)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cache.get(&question), None);
    }
}
