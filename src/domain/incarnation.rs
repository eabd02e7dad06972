//! Which incarnation this process is: the owner of its leases. It changes only when the process was taken for
//! dead and enters anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// This process's current incarnation. Clones agree.
#[derive(Debug, Clone)]
pub struct Incarnation(Arc<AtomicI32>);

impl Incarnation {
    /// As entered in the table of nodes.
    pub fn new(number: i32) -> Incarnation {
        Incarnation(Arc::new(AtomicI32::new(number)))
    }

    /// The number to lease with.
    pub fn current(&self) -> i32 {
        self.0.load(Ordering::Acquire)
    }

    /// The process entered anew.
    pub fn replace(&self, number: i32) {
        self.0.store(number, Ordering::Release);
    }
}
