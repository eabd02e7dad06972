//! How often a key may be used: a setting of the key, or the installation's. Each node counts for itself.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::domain::id::KeyId;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// Counts requests by key.
#[derive(Debug)]
pub struct Rates {
    default: Option<NonZeroU32>,
    clock: DefaultClock,
    keys: Mutex<HashMap<KeyId, (NonZeroU32, Arc<Limiter>)>>,
}

/// Counters in memory; beyond, all begin anew.
const MOST: usize = 50_000;

/// What a key has left.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Requests a second.
    pub quota: u32,
    /// How many more now.
    pub remaining: u32,
}

/// A key has had its share.
#[derive(Debug, Clone, Copy)]
pub struct Exhausted {
    /// Requests a second.
    pub quota: u32,
    /// When there will be some again.
    pub wait_seconds: u32,
}

impl Rates {
    /// With a default, requests a second; `None`: no limit for keys without their own.
    pub fn new(default: Option<NonZeroU32>) -> Rates {
        Rates { default, clock: DefaultClock::default(), keys: Mutex::default() }
    }

    /// Counts a request. `Ok(None)`: the key has no limit.
    pub fn check(&self, key: KeyId, rate: Option<u32>) -> Result<Option<Allowance>, Exhausted> {
        let Some(rate) = rate.and_then(NonZeroU32::new).or(self.default) else { return Ok(None) };
        match self.limiter(key, rate).check() {
            Ok(state) => {
                Ok(Some(Allowance { quota: rate.get(), remaining: state.remaining_burst_capacity() }))
            }
            Err(until) => {
                let wait = until.wait_time_from(self.clock.now());
                let wait_seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
                Err(Exhausted { quota: rate.get(), wait_seconds })
            }
        }
    }

    fn limiter(&self, key: KeyId, rate: NonZeroU32) -> Arc<Limiter> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MOST {
            keys.clear();
        }
        let fresh = || {
            let limiter = RateLimiter::direct(Quota::per_second(rate)).with_middleware();
            (rate, Arc::new(limiter))
        };
        let kept = keys.entry(key).or_insert_with(fresh);
        if kept.0 != rate {
            *kept = fresh();
        }
        Arc::clone(&kept.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    #[test]
    fn a_key_gets_its_rate_and_others_theirs() {
        let limits = Rates::new(None);
        let (limited, free) =
            (KeyId::new(OffsetDateTime::UNIX_EPOCH), KeyId::new(OffsetDateTime::UNIX_EPOCH));

        let granted = (0..10).filter(|_| limits.check(limited, Some(3)).is_ok()).count();
        assert_eq!(granted, 3);
        assert!(limits.check(limited, Some(3)).is_err_and(|exhausted| exhausted.wait_seconds >= 1));
        assert!((0..100).all(|_| limits.check(free, None).is_ok_and(|allowance| allowance.is_none())));
    }
}
