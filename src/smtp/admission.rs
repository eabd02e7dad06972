//! How many sessions there are, in all and per peer.
//!
//! Plain counting, owned by the accept loop. Invariant: every session that entered leaves exactly once, so the
//! counts are those of the living sessions.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use tokio::task::Id;

use super::settings::Limits;

/// The sessions inside.
pub(super) struct Admission {
    limit: usize,
    limit_per_peer: usize,
    sessions: HashMap<Id, IpAddr>,
    peers: HashMap<IpAddr, usize>,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.sessions,
            limit_per_peer: limits.sessions_per_peer,
            sessions: HashMap::new(),
            peers: HashMap::new(),
        }
    }

    pub(super) fn has_room_for(&self, address: IpAddr) -> bool {
        let from_there = self.peers.get(&peer(address)).copied().unwrap_or(0);
        self.sessions.len() < self.limit && from_there < self.limit_per_peer
    }

    pub(super) fn enter(&mut self, session: Id, address: IpAddr) {
        let peer = peer(address);
        self.sessions.insert(session, peer);
        *self.peers.entry(peer).or_default() += 1;
    }

    pub(super) fn leave(&mut self, session: Id) {
        let Some(peer) = self.sessions.remove(&session) else { return };
        if let Some(count) = self.peers.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(&peer);
            }
        }
    }
}

/// Whom the limits count as one: an IPv4 address, or the /64 that an IPv6 host chooses its addresses from.
fn peer(address: IpAddr) -> IpAddr {
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

    #[tokio::test]
    async fn a_session_that_left_makes_room_for_its_peer() {
        let limits = Limits { sessions: 3, sessions_per_peer: 1, ..Limits::default() };
        let mut admission = Admission::new(&limits);
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let session = tokio::spawn(async {}).id();
        admission.enter(session, one);
        assert!(!admission.has_room_for(one));
        assert!(admission.has_room_for(two));
        admission.leave(session);
        assert!(admission.has_room_for(one));
        assert!(admission.peers.is_empty() && admission.sessions.is_empty());
    }
}
