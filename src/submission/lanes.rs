//! Which lane a mail is born in: the current one, which changes with every group commit; or, with an
//! Idempotency-Key, the key's own, so that equal keys meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use aws_lc_rs::digest;

use crate::domain::id::{Lane, TenantId};

use super::IdempotencyKey;

/// Draws lanes. Clones agree.
#[derive(Debug, Clone)]
pub struct Lanes {
    count: u16,
    current: Arc<AtomicU16>,
}

impl Lanes {
    /// With `count` lanes, 1 to [`Lane::LIMIT`].
    pub fn new(count: u16) -> Lanes {
        Lanes { count: count.clamp(1, Lane::LIMIT), current: Arc::new(AtomicU16::new(0)) }
    }

    /// How many are in use.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The lane of mail that is accepted now.
    pub fn current(&self) -> Lane {
        Lane::new(self.current.load(Ordering::Relaxed) % self.count)
    }

    /// A group has been gathered: the next one is another lane's.
    pub fn rotate(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// The lane of a key: the same for as long as the number of lanes is.
    pub fn of_key(&self, tenant: TenantId, key: &IdempotencyKey) -> Lane {
        let text = [tenant.uuid().as_bytes().as_slice(), key.as_str().as_bytes()].concat();
        let hash = digest::digest(&digest::SHA256, &text);
        let number = u16::from_be_bytes([hash.as_ref()[0], hash.as_ref()[1]]);
        Lane::new(number % self.count)
    }
}
