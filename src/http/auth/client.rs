//! Where a request comes from: the peer's address, or what a proxy we trust says it was.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::Request;
use ipnet::IpNet;

/// The peer's address, put into every request by the listener.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddr(pub SocketAddr);

/// The client's address. `X-Forwarded-For` is believed from the right, as long as each hop is a proxy of ours.
pub fn client_ip<B>(request: &Request<B>, trusted: &[IpNet]) -> IpAddr {
    let peer = request.extensions().get::<ClientAddr>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.0.ip().to_canonical());
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    if !is_trusted(&peer) {
        return peer;
    }
    let hops = request.headers().get_all("x-forwarded-for").iter();
    let hops: Vec<&str> =
        hops.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        let Ok(ip) = hop.trim().parse::<IpAddr>() else { break };
        client = ip.to_canonical();
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(peer: &str, forwarded: &[&str]) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(ClientAddr(SocketAddr::new(peer.parse().expect("an address"), 1)));
        for value in forwarded {
            request.headers_mut().append("x-forwarded-for", value.parse().expect("a header"));
        }
        request
    }

    #[test]
    fn only_our_proxies_are_believed_and_only_as_far_as_they_reach() {
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        let client = |peer, forwarded: &[&str]| client_ip(&request(peer, forwarded), &trusted).to_string();

        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["1.2.3.4, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["1.2.3.4", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
    }
}
