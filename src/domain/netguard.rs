//! Which addresses are public: the guard of everything that connects where a tenant says, against reaching
//! into the operator's own network (SSRF). An address is public only if nothing here says otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Special-purpose IPv4 networks (RFC 6890 and the registry it began).
const PRIVATE_V4: &[Ipv4Net] = &[
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// Only 2000::/3 is global unicast; within it, what is special: Teredo and other protocol assignments,
/// documentation, 6to4.
const PRIVATE_V6: &[Ipv6Net] = &[
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Whether an address belongs to the public Internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !PRIVATE_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => GLOBAL_V6.contains(&ip) && !PRIVATE_V6.iter().any(|net| net.contains(&ip)),
    }
}

/// Ports that a tenant may name at public addresses: where HTTP is served.
const HTTP_PORTS: [u16; 3] = [80, 443, 8443];

/// What may be connected to on a tenant's word: the public Internet, on the ports of HTTP, and whatever the
/// operator allows.
#[derive(Debug, Clone, Default)]
pub struct Netguard {
    allowed: Vec<IpNet>,
}

/// How far a connection may reach, by its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// To public addresses and to allowed networks: a port of HTTP.
    Public,
    /// To allowed networks alone: any other port.
    AllowedOnly,
}

/// Why nothing at a host may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// An address that is not of the public Internet.
    #[error("the host leads to an address that is not public")]
    Address,
    /// A port that is not HTTP's.
    #[error("the port must be 80, 443 or 8443")]
    Port,
}

impl Netguard {
    /// With the networks that may be reached although private, on any port.
    pub fn new(allowed: Vec<IpNet>) -> Netguard {
        Netguard { allowed }
    }

    /// Whether there is no network that may be reached although private.
    pub fn allows_nothing(&self) -> bool {
        self.allowed.is_empty()
    }

    /// How far a port lets reach.
    pub fn range(&self, port: u16) -> Range {
        if HTTP_PORTS.contains(&port) { Range::Public } else { Range::AllowedOnly }
    }

    /// Of a host's addresses, those that may be connected to. A single address that may not forbids them all:
    /// a name that leads outside and inside is an attempt. Allowed networks go first, since an operator who
    /// allows one address of a host (`127.0.0.1` of `localhost`) means it.
    ///
    /// # Errors
    /// See [`Forbidden`].
    pub fn admit(&self, addresses: &[IpAddr], range: Range) -> Result<Vec<IpAddr>, Forbidden> {
        let is_allowed =
            |ip: &IpAddr| self.allowed.iter().any(|net| net.contains(&ip.to_canonical()) || net.contains(ip));
        let allowed: Vec<IpAddr> = addresses.iter().copied().filter(is_allowed).collect();
        if !allowed.is_empty() {
            return Ok(allowed);
        }
        if !addresses.iter().all(|ip| is_public(*ip)) {
            return Err(Forbidden::Address);
        }
        match range {
            Range::Public => Ok(addresses.to_vec()),
            Range::AllowedOnly => Err(Forbidden::Port),
        }
    }
}

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        let private = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for text in private {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"]
        {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn a_host_is_admitted_whole_or_not_at_all() {
        let ips = |text: &str| -> Vec<IpAddr> {
            text.split_whitespace().map(|ip| ip.parse().expect("an address")).collect()
        };
        let closed = Netguard::default();
        let open = Netguard::new(vec!["10.1.0.0/16".parse().expect("a network")]);
        let cases = [
            (&closed, "8.8.8.8 2606:4700::1111", 443, Ok("8.8.8.8 2606:4700::1111")),
            (&closed, "8.8.8.8", 8443, Ok("8.8.8.8")),
            (&closed, "8.8.8.8", 22, Err(Forbidden::Port)),
            (&closed, "8.8.8.8 127.0.0.1", 443, Err(Forbidden::Address)),
            (&closed, "10.1.2.3", 443, Err(Forbidden::Address)),
            (&open, "10.1.2.3", 9000, Ok("10.1.2.3")),
            (&open, "::ffff:10.1.2.3", 9000, Ok("::ffff:10.1.2.3")),
            (&open, "10.1.2.3 ::1", 9000, Ok("10.1.2.3")),
            (&open, "10.2.2.3", 443, Err(Forbidden::Address)),
            (&open, "8.8.8.8", 9000, Err(Forbidden::Port)),
        ];
        for (guard, given, port, expected) in cases {
            let admitted = guard.admit(&ips(given), guard.range(port));
            assert_eq!(admitted, expected.map(ips), "{given} {port}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_dress_of_an_ipv4_address_makes_it_public(address: u32, rest: u128) {
            let v4 = Ipv4Addr::from(address);
            let plain = is_public(v4.into());
            proptest::prop_assert_eq!(is_public(v4.to_ipv6_mapped().into()), plain, "mapped");
            // Compatible, NAT64, 6to4, Teredo, and the kinds of RFC 4291 that lead nowhere.
            let (low, wide) = (u128::from(address), u128::from(u64::MAX));
            for (what, dressed) in [
                ("compatible", low),
                ("NAT64", (0x0064_ff9b << 96) | low),
                ("NAT64 of a network's own", (0x0064_ff9b_0001 << 80) | (rest & wide)),
                ("6to4", (0x2002 << 112) | (low << 80) | (rest & wide)),
                ("Teredo", (0x2001_0000 << 96) | (rest & (u128::MAX >> 32))),
                ("unique local", (0xfc << 120) | (rest & (u128::MAX >> 7))),
                ("link-local", (0xfe80 << 112) | (rest & wide)),
                ("multicast", (0xff << 120) | (rest & (u128::MAX >> 8))),
            ] {
                proptest::prop_assert!(!is_public(Ipv6Addr::from(dressed).into()), "{}", what);
            }
        }
    }
}
