//! Whom to ask, whom to believe, and how long to wait.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whom to ask.
    pub servers: Servers,
    /// Whose word about signatures is taken.
    pub trust: Trust,
    /// The longest a lookup may take, all tries together.
    pub patience: Duration,
}

/// Recursive resolvers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Servers {
    /// Those of the machine (`/etc/resolv.conf`).
    #[default]
    System,
    /// These, the first of them first.
    These(Vec<SocketAddr>),
}

/// Whether the AD bit of an answer is believed. On the way from a resolver elsewhere anybody could set it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trust {
    /// If all resolvers are on this machine (RFC 7672 §2.2 asks for no less).
    #[default]
    Loopback,
    /// Always: the operator says that the way to the resolver is safe.
    Always,
    /// Never.
    Never,
}

/// The setting names no servers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an address, or address:port, is needed; several are separated by commas")]
pub struct BadServers;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            servers: Servers::default(),
            trust: Trust::default(),
            // Recursive resolvers give up on a dead zone after 5 to 10 seconds, and then say so.
            patience: Duration::from_secs(10),
        }
    }
}

const DNS_PORT: u16 = 53;

impl Servers {
    /// Reads `address[:port]`, or several, separated by commas. Nothing: the system's.
    ///
    /// # Errors
    /// One of them is no address.
    pub fn parse(text: &str) -> Result<Servers, BadServers> {
        let one = |text: &str| {
            let with_port = text.parse::<SocketAddr>();
            with_port.or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)))
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let servers = parts.map(one).collect::<Result<Vec<_>, _>>().map_err(|_| BadServers)?;
        Ok(if servers.is_empty() { Servers::System } else { Servers::These(servers) })
    }

    /// As the library wants them. A machine that names none is asked itself, as resolv.conf(5) has it.
    pub(super) fn configs(&self) -> Vec<NameServerConfig> {
        match self {
            Servers::These(servers) => servers.iter().map(at).collect(),
            Servers::System => match hickory_resolver::system_conf::read_system_conf() {
                Ok((config, _)) => config.name_servers().to_vec(),
                Err(error) => {
                    tracing::warn!(error = %error, "the machine names no resolver; asking itself");
                    vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())]
                }
            },
        }
    }
}

impl Trust {
    /// Whether these servers' word about signatures is taken.
    pub(super) fn covers(self, servers: &[NameServerConfig]) -> bool {
        match self {
            Trust::Always => true,
            Trust::Never => false,
            Trust::Loopback => servers.iter().all(|server| server.ip.is_loopback()),
        }
    }
}

fn at(server: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_and_bad_ones_refused() {
        let these = |list: &[&str]| {
            Ok(Servers::These(list.iter().map(|text| text.parse().expect("an address")).collect()))
        };
        assert_eq!(Servers::parse(""), Ok(Servers::System));
        assert_eq!(Servers::parse("127.0.0.1"), these(&["127.0.0.1:53"]));
        assert_eq!(
            Servers::parse("127.0.0.1:5353, [::1]:53,::1"),
            these(&["127.0.0.1:5353", "[::1]:53", "[::1]:53"])
        );
        for text in ["localhost", "127.0.0.1:x", "1.2.3"] {
            assert_eq!(Servers::parse(text), Err(BadServers), "{text}");
        }
    }

    #[test]
    fn only_resolvers_on_this_machine_are_believed_about_signatures() {
        let configs = |text: &str| Servers::parse(text).expect("servers").configs();
        assert!(Trust::Loopback.covers(&configs("127.0.0.1,::1")));
        assert!(!Trust::Loopback.covers(&configs("127.0.0.1,192.0.2.1")));
        assert!(Trust::Always.covers(&configs("192.0.2.1")));
        assert!(!Trust::Never.covers(&configs("127.0.0.1")));
    }
}
