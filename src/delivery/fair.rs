//! A queue that is fair between tenants: each in turn, whatever they call their mail. Within a tenant high
//! goes before normal before low, but every twentieth is low if there is any, so that low is never starved.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::domain::delivery::Priority;

/// Something waiting, by owner and priority.
#[derive(Debug)]
pub struct FairQueue<O, T> {
    owners: HashMap<O, Lanes<T>>,
    /// Owners with something waiting, the next one first; each once.
    turns: VecDeque<O>,
    len: usize,
}

#[derive(Debug)]
struct Lanes<T> {
    by_priority: [VecDeque<T>; 3],
    taken: u32,
}

/// One in so many is taken from low, whatever else waits.
const LOW_TURN: u32 = 20;

impl<O, T> Default for FairQueue<O, T> {
    fn default() -> Self {
        FairQueue { owners: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<O: Copy + Eq + Hash, T> FairQueue<O, T> {
    /// Adds to the end of the owner's lane.
    pub fn push(&mut self, owner: O, priority: Priority, thing: T) {
        let lanes = self.owners.entry(owner).or_insert_with(|| {
            self.turns.push_back(owner);
            Lanes { by_priority: Default::default(), taken: 0 }
        });
        lanes.by_priority[priority as usize].push_back(thing);
        self.len += 1;
    }

    /// The next thing of the owner whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let owner = self.turns.pop_front()?;
        let lanes = self.owners.get_mut(&owner)?;
        let thing = lanes.pop()?;
        self.len -= 1;
        if lanes.is_empty() {
            self.owners.remove(&owner);
        } else {
            self.turns.push_back(owner);
        }
        Some(thing)
    }

    /// Empties it.
    pub fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    /// How many things wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Lanes<T> {
    fn pop(&mut self) -> Option<T> {
        self.taken = self.taken.wrapping_add(1);
        let low = &mut self.by_priority[Priority::Low as usize];
        if self.taken.is_multiple_of(LOW_TURN) && !low.is_empty() {
            return low.pop_front();
        }
        self.by_priority.iter_mut().find_map(VecDeque::pop_front)
    }

    fn is_empty(&self) -> bool {
        self.by_priority.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns_however_much_one_has() {
        let mut queue = FairQueue::default();
        for number in 0..100 {
            queue.push("bulk", Priority::High, number);
        }
        queue.push("other", Priority::Normal, 1000);

        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some(0), Some(1000), Some(1)]);
        assert_eq!(queue.len(), 98);
    }

    #[test]
    fn priorities_order_one_tenants_mail_and_low_keeps_its_twentieth() {
        let mut queue = FairQueue::default();
        for number in 0..40 {
            queue.push((), Priority::Low, (Priority::Low, number));
            queue.push((), Priority::High, (Priority::High, number));
        }
        let order: Vec<_> = queue.drain();
        let low_at: Vec<_> = (0..40).filter(|&at| order[at].0 == Priority::Low).collect();
        assert_eq!(low_at, [19, 39]);
        assert!(order[42..].iter().all(|(priority, _)| *priority == Priority::Low));
        assert!(queue.is_empty() && queue.pop().is_none());
    }
}
