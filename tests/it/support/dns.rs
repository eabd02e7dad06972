//! A DNS server on a loopback port, UDP and TCP: the world's names, as a test wants them.
//!
//! It answers for every zone, as a recursive resolver would: a name exists if a record is at it or below it.
//! Records and faults can be changed while it runs. It remembers what it was asked.
//!
//! ```ignore
//! let dns = DnsServer::start().await;
//! dns.mx("example.net", 10, "mx.example.net").a("mx.example.net", "127.0.0.1");
//! dns.fault("broken.example", Fault::ServFail);
//! dns.sign("signed.example");
//! ```
//!
//! Records have the TTL 0 until [`DnsServer::ttl`] says otherwise: what a test changes is seen at once.

mod answer;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, TLSA, TXT};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// A running server. Dropping it closes its port.
pub struct DnsServer {
    address: SocketAddr,
    zones: Arc<Mutex<Zones>>,
    tasks: [JoinHandle<()>; 2],
}

/// What it knows and does.
#[derive(Default)]
struct Zones {
    records: HashMap<Name, Vec<RData>>,
    faults: Vec<(Name, Fault)>,
    signed: Vec<Name>,
    ttl: u32,
    asked: Vec<Asked>,
}

/// What goes wrong for a name and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SERVFAIL, as for a broken zone or a bad signature.
    ServFail,
    /// REFUSED.
    Refused,
    /// Nothing is answered.
    Drop,
    /// UDP answers are cut off; TCP has all of it.
    TruncateUdp,
    /// Every answer is cut off.
    Truncate,
    /// FORMERR to whoever speaks EDNS, as old servers do.
    NoEdns,
    /// The answer takes so long.
    Delay(Duration),
}

/// A question that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// In lower case, without the final dot.
    pub name: String,
    /// What was asked for.
    pub kind: RecordType,
    /// How it came.
    pub over: Over,
}

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A datagram.
    Udp,
    /// A connection.
    Tcp,
}

impl DnsServer {
    /// Knows nothing yet: every name is NXDOMAIN.
    pub async fn start() -> DnsServer {
        // The same port for both; another process may have the one of the second.
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let address = tcp.local_addr().expect("bound");
            if let Ok(udp) = UdpSocket::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().expect("bound");
        let zones = Arc::new(Mutex::new(Zones::default()));
        let tasks = [
            tokio::spawn(serve_udp(udp, Arc::clone(&zones))),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&zones))),
        ];
        DnsServer { address, zones, tasks }
    }

    /// Where it listens, for `POSTROAD_DNS_SERVER`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an MX. An empty host is the null MX.
    pub fn mx(&self, domain: &str, preference: u16, host: &str) -> &DnsServer {
        self.record(domain, RData::MX(MX::new(preference, name(host))))
    }

    /// Adds an IPv4 or IPv6 address.
    pub fn address_of(&self, host: &str, ip: &str) -> &DnsServer {
        let data = match ip.parse().expect("an address") {
            IpAddr::V4(ip) => RData::A(A(ip)),
            IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        };
        self.record(host, data)
    }

    /// Adds a text, split into strings of 255 octets.
    pub fn txt(&self, owner: &str, text: &str) -> &DnsServer {
        let strings = text.as_bytes().chunks(255).collect();
        self.record(owner, RData::TXT(TXT::from_bytes(strings)))
    }

    /// Makes a name an alias.
    pub fn cname(&self, alias: &str, target: &str) -> &DnsServer {
        self.record(alias, RData::CNAME(CNAME(name(target))))
    }

    /// Names an address.
    pub fn ptr(&self, ip: &str, host: &str) -> &DnsServer {
        let owner = Name::from(ip.parse::<IpAddr>().expect("an address"));
        self.record(&owner.to_ascii(), RData::PTR(PTR(name(host))))
    }

    /// Adds a TLSA: usage, selector, matching type, and what is to match.
    pub fn tlsa(&self, owner: &str, [usage, selector, matching]: [u8; 3], association: &[u8]) -> &DnsServer {
        let data = TLSA::new(
            CertUsage::from(usage),
            Selector::from(selector),
            Matching::from(matching),
            association.to_vec(),
        );
        self.record(owner, RData::TLSA(data))
    }

    /// Adds a record of any kind.
    pub fn record(&self, owner: &str, data: RData) -> &DnsServer {
        self.zones().records.entry(name(owner)).or_default().push(data);
        self
    }

    /// Forgets all records of a name, but none below it.
    pub fn clear(&self, owner: &str) -> &DnsServer {
        self.zones().records.remove(&name(owner));
        self
    }

    /// From now on, this goes wrong for a name and all below it. The empty name: for all.
    pub fn fault(&self, zone: &str, fault: Fault) -> &DnsServer {
        self.zones().faults.push((name(zone), fault));
        self
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) -> &DnsServer {
        self.zones().faults.clear();
        self
    }

    /// Answers about this zone bear the AD bit, if the question wants it.
    pub fn sign(&self, zone: &str) -> &DnsServer {
        self.zones().signed.push(name(zone));
        self
    }

    /// How many seconds answers may be kept, from now on; absences too.
    pub fn ttl(&self, seconds: u32) -> &DnsServer {
        self.zones().ttl = seconds;
        self
    }

    /// Everything it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.zones().asked.clone()
    }

    /// How often a name was asked for this type.
    pub fn count(&self, owner: &str, kind: RecordType) -> usize {
        self.asked().iter().filter(|asked| asked.name == owner && asked.kind == kind).count()
    }

    fn zones(&self) -> MutexGuard<'_, Zones> {
        self.zones.lock().expect("nobody panics with it")
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A name in lower case, complete. Empty: the root.
fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name").to_lowercase();
    name.set_fqdn(true);
    name
}

async fn serve_udp(socket: UdpSocket, zones: Arc<Mutex<Zones>>) {
    let socket = Arc::new(socket);
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let (socket, zones) = (Arc::clone(&socket), Arc::clone(&zones));
        answers.spawn(async move {
            if let Some(answer) = answer::answer(&zones, &question, Over::Udp).await {
                // Who has gone away in the meantime gets none.
                let _ = socket.send_to(&answer, from).await;
            }
        });
        while answers.try_join_next().is_some() {}
    }
}

async fn serve_tcp(listener: TcpListener, zones: Arc<Mutex<Zones>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.spawn(converse(stream, Arc::clone(&zones)));
        while connections.try_join_next().is_some() {}
    }
}

/// RFC 1035 §4.2.2: each message after its length.
async fn converse(mut stream: TcpStream, zones: Arc<Mutex<Zones>>) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let Ok(question) = Message::from_vec(&question) else { return Ok(()) };
        let Some(answer) = answer::answer(&zones, &question, Over::Tcp).await else { return Ok(()) };
        stream.write_u16(u16::try_from(answer.len()).expect("a short answer")).await?;
        stream.write_all(&answer).await?;
    }
}
