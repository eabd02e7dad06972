//! Who guesses keys: bad logins, counted by where they come from and by the key that was tried.
//!
//! Many people may stand behind one address, and one of them guess: a key that was good there in the last day is heard
//! all the same.
//!
//! By key, because a key that was revoked may be tried by a whole fleet; not by user name, which is anything, so that
//! nobody can lock others out by a name. Invariant: memory is bounded, and nothing is remembered beyond the window.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::admission::peer;
use crate::domain::key::KeyHash;

/// Bad logins are forgotten so long after the first of them.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// From this one on the answer is delayed.
const DELAYED_FROM: u32 = 3;
/// From this one on an address (or IPv6 /64) is turned away.
const MOST_OF_PEER: u32 = 10;
/// From this one on a key is turned away, wherever it is tried.
const MOST_OF_KEY: u32 = 50;
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(3);
/// How long a key is known to be good at an address.
const GOOD_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Keys that are known to be good at one address.
const MOST_GOOD: usize = 64;
/// Addresses, and keys, in memory.
const MOST: usize = 50_000;

/// Counts bad logins.
#[derive(Debug, Default)]
pub(super) struct Guard {
    peers: Mutex<Counts<IpAddr>>,
    keys: Mutex<Counts<KeyHash>>,
    good: Mutex<HashMap<IpAddr, HashMap<KeyHash, Instant>>>,
}

/// How often, and since when.
#[derive(Debug)]
struct Counts<K>(HashMap<K, (u32, Instant)>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl Guard {
    /// Whether clients from there are turned away before they say who they are.
    pub(super) fn turns_away(&self, address: IpAddr, now: Instant) -> bool {
        self.is_suspect(address, now) && !self.has_good(address, now, |_| true)
    }

    /// Whether a key that is tried from there is not even looked at.
    pub(super) fn passes_over(&self, address: IpAddr, key: KeyHash, now: Instant) -> bool {
        self.is_suspect(address, now) && !self.has_good(address, now, |known| *known == key)
    }

    /// Whether too many bad logins came from there.
    pub(super) fn is_suspect(&self, address: IpAddr, now: Instant) -> bool {
        lock(&self.peers).of(&peer(address), now) >= MOST_OF_PEER
    }

    fn has_good(&self, address: IpAddr, now: Instant, wanted: impl Fn(&KeyHash) -> bool) -> bool {
        let good = lock(&self.good);
        let of_peer = good.get(&peer(address)).into_iter().flatten();
        of_peer.into_iter().any(|(key, at)| now < *at + GOOD_FOR && wanted(key))
    }

    /// Notes a good login.
    pub(super) fn succeeded(&self, address: IpAddr, key: KeyHash, now: Instant) {
        let mut good = lock(&self.good);
        let address = peer(address);
        if good.len() >= MOST && !good.contains_key(&address) {
            good.retain(|_, keys| keys.values().any(|at| now < *at + GOOD_FOR));
            if good.len() >= MOST {
                return;
            }
        }
        let of_peer = good.entry(address).or_default();
        if of_peer.len() >= MOST_GOOD {
            of_peer.retain(|_, at| now < *at + GOOD_FOR);
        }
        if of_peer.len() < MOST_GOOD || of_peer.contains_key(&key) {
            of_peer.insert(key, now);
        }
    }

    /// Whether this key has been refused so often that it is not even looked at.
    pub(super) fn is_worn_out(&self, key: KeyHash, now: Instant) -> bool {
        lock(&self.keys).of(&key, now) >= MOST_OF_KEY
    }

    /// Counts a bad login, and tells how long its answer takes.
    pub(super) fn failed(&self, address: IpAddr, key: KeyHash, now: Instant) -> Duration {
        let of_key = lock(&self.keys).count(key, now);
        let of_peer = lock(&self.peers).count(peer(address), now);
        if let Some(good) = lock(&self.good).get_mut(&peer(address)) {
            good.remove(&key);
        }
        let beyond = of_peer.max(of_key).saturating_sub(DELAYED_FROM - 1);
        match beyond {
            0 => Duration::ZERO,
            beyond => Duration::from_millis(500).saturating_mul(1 << beyond.min(8)).min(LONGEST),
        }
    }
}

fn lock<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq + Hash> Counts<K> {
    fn of(&self, who: &K, now: Instant) -> u32 {
        self.0.get(who).filter(|(_, since)| now < *since + WINDOW).map_or(0, |(count, _)| *count)
    }

    fn count(&mut self, who: K, now: Instant) -> u32 {
        if self.0.len() >= MOST {
            self.make_room(now);
        }
        let (count, since) = self.0.entry(who).or_insert((0, now));
        if now >= *since + WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count
    }

    /// What is over goes; and if that is not enough, whoever tried only once.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, (_, since)| now < *since + WINDOW);
        for least in 1..=MOST_OF_KEY {
            if self.0.len() < MOST {
                return;
            }
            self.0.retain(|_, (count, _)| *count > least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::KeySecret;

    fn key(text: &str) -> KeyHash {
        KeySecret::given(text).hash()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_third_bad_login_waits_and_after_the_tenth_nobody_listens() {
        let (guard, now) = (Guard::default(), Instant::now());
        let pauses: Vec<u128> = (0..10)
            .map(|n| {
                assert!(!guard.turns_away(address(1), now), "try {n}");
                guard.failed(address(1), key(&n.to_string()), now).as_millis()
            })
            .collect();
        assert_eq!(pauses, [0, 0, 1000, 2000, 3000, 3000, 3000, 3000, 3000, 3000]);
        assert!(guard.turns_away(address(1), now));
        assert!(guard.turns_away("::ffff:192.0.2.1".parse().expect("an address"), now), "the same host");
        assert!(!guard.turns_away(address(2), now));
        assert!(!guard.turns_away(address(1), now + WINDOW));
    }

    #[test]
    fn a_key_that_was_good_there_is_heard_though_a_neighbour_guesses() {
        let (guard, now) = (Guard::default(), Instant::now());
        guard.succeeded(address(1), key("good"), now);
        for n in 0..MOST_OF_PEER {
            guard.failed(address(1), key(&n.to_string()), now);
        }
        assert!(!guard.turns_away(address(1), now), "somebody there may be good");
        assert!(!guard.passes_over(address(1), key("good"), now));
        assert!(guard.passes_over(address(1), key("guessed"), now));
        guard.failed(address(1), key("good"), now);
        assert!(guard.passes_over(address(1), key("good"), now), "it was revoked");
        assert!(guard.turns_away(address(1), now));
        guard.succeeded(address(2), key("good"), now);
        for n in 0..MOST_OF_PEER {
            guard.failed(address(2), key(&n.to_string()), now + GOOD_FOR);
        }
        assert!(guard.turns_away(address(2), now + GOOD_FOR), "that was long ago");
    }

    #[test]
    fn a_key_that_is_tried_everywhere_is_worn_out() {
        let (guard, now) = (Guard::default(), Instant::now());
        for n in 0..50 {
            assert!(!guard.is_worn_out(key("revoked"), now));
            guard.failed(address(n), key("revoked"), now);
        }
        assert!(guard.is_worn_out(key("revoked"), now));
        assert!(!guard.is_worn_out(key("another"), now));
        assert!(!guard.turns_away(address(7), now), "an address with one bad login is still heard");
    }

    #[test]
    fn memory_is_bounded_and_who_tries_often_is_remembered() {
        let (guard, now) = (Guard::default(), Instant::now());
        for _ in 0..MOST_OF_PEER {
            guard.failed(address(1), key("x"), now);
        }
        for n in 0..(MOST as u32 + 10) {
            guard.failed(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), key("x"), now);
        }
        assert!(lock(&guard.peers).0.len() <= MOST);
        assert!(guard.turns_away(address(1), now));
    }
}
