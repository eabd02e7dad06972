//! What mail needs that goes to the recipients' own servers: names that can be looked up, a name of our own that
//! leads here and back (FCrDNS: large receivers refuse mail without), and a way out through their port.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use crate::account::standing::{self, Lists, Told};
use crate::config::Config;
use crate::dns::{LookupError, Resolver};
use crate::domain::netguard;

use super::{Finding, PATIENCE, bad, doubtful, good};

/// A domain that surely takes mail, whose servers are only said hello to by a connection.
const PROBED: &str = "gmail.com";

/// Looks at all of it.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let resolver = match Resolver::new(&config.dns) {
        Ok(resolver) => resolver,
        Err(error) => return vec![bad("names", format!("nothing can be looked up: {error}"))],
    };
    let mut findings = vec![good("route", "direct: to the recipients' own servers"), signatures(&resolver)];
    findings.extend(own_name(&resolver, &config.hostname, &config.lists).await);
    findings.push(way_out(&resolver, config).await);
    findings
}

fn signatures(resolver: &Resolver) -> Finding {
    if resolver.is_trusted() {
        return good("dnssec", "the resolver's word about signatures is taken (DANE), if it checks them");
    }
    let text = "the resolver is not on this machine, so that DANE cannot be used: run a validating resolver here \
                (unbound), or set POSTROAD_DNS_TRUST=always if the way to it is safe";
    doubtful("dnssec", text)
}

/// The host name leads to addresses, and each of them back to it.
async fn own_name(resolver: &Resolver, hostname: &str, lists_of: &Lists) -> Vec<Finding> {
    let addresses = match resolver.addresses(hostname).await {
        Ok(answer) => answer.records,
        Err(LookupError::NotFound(_)) => {
            let text = format!("{hostname} leads nowhere: make an A or AAAA record with this host's address");
            return vec![bad("own name", text)];
        }
        Err(LookupError::Temporary(text)) => return vec![bad("names", format!("{hostname}: {text}"))],
    };
    let mut findings = vec![good("own name", format!("{hostname} is {}", list(&addresses)))];
    for ip in addresses {
        findings.push(backwards(resolver, hostname, ip).await);
        findings.extend(lists(resolver, lists_of, ip).await);
    }
    findings
}

/// Who lists the address; nothing is said of lists that do not.
async fn lists(resolver: &Resolver, lists: &Lists, ip: IpAddr) -> Vec<Finding> {
    let found = standing::listings_of_ip(resolver, lists, ip).await;
    let told = |listing: standing::Listing| {
        let (zone, said) = (listing.zone, listing.text.unwrap_or_else(|| listing.codes.join(", ")));
        match listing.status {
            Told::Well => None,
            Told::Ill => {
                Some(bad("blocklists", format!("{zone} lists {ip}: {said}; ask there to be taken off")))
            }
            Told::Unknown => Some(doubtful(
                "blocklists",
                format!(
                    "{zone} does not tell ({said}): ask it through a resolver of your own, or leave it out"
                ),
            )),
        }
    };
    found.into_iter().filter_map(told).collect()
}

async fn backwards(resolver: &Resolver, hostname: &str, ip: IpAddr) -> Finding {
    let names = resolver.ptr(ip).await.map(|answer| answer.records).unwrap_or_default();
    if names.iter().any(|name| name.eq_ignore_ascii_case(hostname)) {
        return good("reverse dns", format!("{ip} is {hostname}"));
    }
    let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    let text = format!(
        "{ip} leads back to {found}: ask whoever gave you the address for a PTR record with {hostname}; many \
         receivers refuse mail without"
    );
    // Behind a translation of addresses nobody outside sees this one.
    if netguard::is_public(ip) { bad("reverse dns", text) } else { doubtful("reverse dns", text) }
}

async fn way_out(resolver: &Resolver, config: &Config) -> Finding {
    let port = config.direct_port;
    let dial = async {
        let mut hosts = resolver.mx(PROBED).await.map_err(|error| error.to_string())?.records;
        hosts.truncate(1);
        let mut last = "it has no address".to_owned();
        for host in hosts {
            let found = resolver.addresses(&host.host).await.map_err(|error| error.to_string())?;
            for ip in found.records {
                match TcpStream::connect(SocketAddr::new(ip, port)).await {
                    Ok(_) => return Ok(SocketAddr::new(ip, port)),
                    Err(error) => last = error.to_string(),
                }
            }
        }
        Err(last)
    };
    let advice = "many networks block it outwards: ask for it to be opened, or use a relay on 587";
    match tokio::time::timeout(PATIENCE, dial).await {
        Ok(Ok(address)) => good("port out", format!("{address} ({PROBED}) answers")),
        Ok(Err(error)) => bad("port out", format!("port {port} of {PROBED}'s servers: {error}; {advice}")),
        Err(_) => bad("port out", format!("port {port} of {PROBED}'s servers does not answer; {advice}")),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
