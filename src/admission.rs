//! How many sessions there are at a door, in all and per peer.
//!
//! Plain counting, shared by the accept loop and its sessions. Invariant: every [`Place`] is counted until it is
//! dropped, so the counts are those of the living sessions.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sessions inside. Clones share them.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    limit_per_peer: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sessions: usize,
    peers: HashMap<IpAddr, usize>,
}

/// The place of one session.
#[derive(Debug)]
pub struct Place {
    admission: Admission,
    /// Among whose sessions it counts; `None`: it is not known yet, since a proxy has still to tell.
    peer: Option<IpAddr>,
}

impl Admission {
    /// Room for so many, and for so many of one peer.
    pub fn new(limit: usize, limit_per_peer: usize) -> Self {
        Self(Arc::new(Shared { limit, limit_per_peer, counts: Mutex::default() }))
    }

    /// A place for somebody who will be known later; `None`: there is none.
    pub fn enter(&self) -> Option<Place> {
        let mut counts = self.counts();
        if counts.sessions >= self.0.limit {
            return None;
        }
        counts.sessions += 1;
        Some(Place { admission: self.clone(), peer: None })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whose it is; `None`: he has all the places he may have, and this one is given up.
    pub fn of(mut self, address: IpAddr) -> Option<Place> {
        let peer = peer(address);
        let mut counts = self.admission.counts();
        let count = counts.peers.entry(peer).or_default();
        let fits = *count < self.admission.0.limit_per_peer;
        if fits {
            *count += 1;
        }
        drop(counts);
        self.peer = fits.then_some(peer);
        fits.then_some(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.sessions -= 1;
        let Some(peer) = self.peer else { return };
        if let Some(count) = counts.peers.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                counts.peers.remove(&peer);
            }
        }
    }
}

/// Whom the limits count as one: an IPv4 address, or the /64 that an IPv6 host chooses its addresses from.
pub fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_is_its_network_and_a_mapped_address_is_ipv4() {
        let cases = [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ];
        for (address, expected) in cases {
            assert_eq!(
                peer(address.parse().expect("an address")),
                expected.parse::<IpAddr>().expect("an address")
            );
        }
    }

    #[test]
    fn a_session_that_left_makes_room_for_its_peer() {
        let admission = Admission::new(2, 1);
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = admission.enter().and_then(|place| place.of(one)).expect("room");
        assert!(admission.enter().and_then(|place| place.of(one)).is_none(), "his share is taken");
        let second = admission.enter().and_then(|place| place.of(two)).expect("room for another");
        assert!(admission.enter().is_none(), "all is taken");
        drop(first);
        assert!(admission.enter().and_then(|place| place.of(one)).is_some());
        drop(second);
        let counts = admission.counts();
        assert!(counts.peers.values().all(|count| *count == 0) && counts.sessions == 0);
    }
}
