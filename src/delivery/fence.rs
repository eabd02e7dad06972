//! What a courier asks before it hands over a mail: may this process still send, has the sender taken the mail back,
//! and is its tenant suspended.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::domain::id::{MessageId, TenantId};

/// A process that could not renew its sign of life for so long sends nothing more: others may soon take its
/// mail over.
pub const SILENCE: Duration = Duration::from_secs(45);

/// Whether this process may begin to send.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Mutex<Instant>>);

impl Fence {
    /// Open as of a sign of life that was begun at `at`.
    pub fn opened(at: Instant) -> Fence {
        Fence(Arc::new(Mutex::new(at)))
    }

    /// Another sign of life succeeded; it was begun at `at`, so nobody counts from later than that.
    pub fn renewed(&self, at: Instant) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = at.max(*last);
    }

    /// Whether it may begin to send now.
    pub fn may_send(&self) -> bool {
        self.silence() < SILENCE
    }

    /// For how long there has been no sign of life.
    pub fn silence(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Messages that were taken back while some process had them in hand.
#[derive(Debug, Clone, Default)]
pub struct Cancels(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Looked at for every mail, so that the map is locked only when there is something in it.
    count: AtomicUsize,
    messages: Mutex<HashMap<MessageId, Instant>>,
}

/// No lease is longer.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Cancels {
    /// Notes that a message was taken back; forgets those of over an hour ago.
    pub fn note(&self, message: MessageId) {
        let mut messages = self.messages();
        messages.retain(|_, noted| noted.elapsed() < REMEMBERED);
        messages.insert(message, Instant::now());
        self.0.count.store(messages.len(), Ordering::Release);
    }

    /// Whether it was taken back.
    pub fn contain(&self, message: MessageId) -> bool {
        self.0.count.load(Ordering::Acquire) > 0 && self.messages().contains_key(&message)
    }

    fn messages(&self) -> MutexGuard<'_, HashMap<MessageId, Instant>> {
        self.0.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tenants whose mail is held. A claim leaves it alone anyway; this is for what was in memory before.
#[derive(Debug, Clone, Default)]
pub struct Suspended(Arc<RwLock<HashSet<TenantId>>>);

impl Suspended {
    /// These are all.
    pub fn replace(&self, tenants: HashSet<TenantId>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tenants;
    }

    /// Whether a tenant is among them.
    pub fn contain(&self, tenant: TenantId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Lane;
    use time::OffsetDateTime;

    #[test]
    fn a_fence_closes_by_itself_and_opens_with_a_sign_of_life() {
        let now = Instant::now();
        let long_ago = now.checked_sub(SILENCE).expect("the machine has been up for a minute");
        let fence = Fence::opened(long_ago);
        assert!(!fence.may_send());
        fence.renewed(now);
        assert!(fence.may_send());
        fence.renewed(long_ago);
        assert!(fence.may_send(), "an older sign of life changes nothing");
    }

    #[test]
    fn cancels_are_known_by_message() {
        let cancels = Cancels::default();
        let id = |lane| MessageId::in_lane(OffsetDateTime::UNIX_EPOCH, Lane::new(lane));
        let (one, other) = (id(0), id(1));
        cancels.note(one);
        assert!(cancels.contain(one) && !cancels.contain(other));
    }
}
