//! Opening a connection: TCP, greeting, EHLO (or HELO), TLS, credentials.

use std::net::SocketAddr;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::ClientId;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::delivery::stream::{Hello, SmtpStream, Wire};
use crate::delivery::tls::{Demand, PeerTls, Protection};
use crate::domain::outcome::{BounceClass, Step};
use crate::domain::sending::Source;
use crate::mail::reply::{EnhancedStatus, SmtpReply};

use super::auth::{Credentials, authenticate};
use super::{Connection, Deadlines, Failure, Offers, State, Trouble, describe, within};

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct Dial<'a> {
    /// The name its certificate must bear.
    pub host: &'a str,
    /// How the connection is protected.
    pub tls: Protection,
    /// What the peer may be.
    pub circle: Circle,
    /// Who we say we are.
    pub hello: &'a str,
    /// Our own name, whoever we say we are: a peer that bears it is ourselves.
    pub ourselves: &'a str,
    /// The address of ours to dial from; `None`: whichever the system picks.
    pub source: Option<&'a Source>,
    /// How we show it, if we must.
    pub credentials: Option<Credentials>,
    /// How long each step may take.
    pub deadlines: Deadlines,
}

/// Whether the peer may be ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circle {
    /// It may: the operator named it.
    Allowed,
    /// A peer that greets with our own name is ourselves, and mail would go in circles.
    Refused,
}

/// What became known of a peer while connecting, for the report of an attempt that failed there.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The name of the host that was dialled last.
    pub host: Option<String>,
    /// The address that was dialled last.
    pub address: Option<SocketAddr>,
    /// How the connection was encrypted.
    pub tls: Option<String>,
}

/// Opens a connection to the first of these addresses that answers, ready for MAIL.
///
/// # Errors
/// [`Failure`] tells the step. `peer` then holds what was learnt.
pub async fn connect(
    dial: &Dial<'_>,
    addresses: &[SocketAddr],
    tls: &PeerTls,
    peer: &mut Peer,
) -> Result<Connection, Failure> {
    let socket = dial_first(dial, addresses, peer).await?;
    converse(dial, socket, tls, peer).await
}

/// Makes a connection that is ready for MAIL of a connected socket; dials its address again where a first way
/// of speaking failed, and another may do.
///
/// # Errors
/// As [`connect`].
pub async fn converse(
    dial: &Dial<'_>,
    socket: TcpStream,
    tls: &PeerTls,
    peer: &mut Peer,
) -> Result<Connection, Failure> {
    let address = socket.peer_addr().map_err(|error| broken(Step::Connect, &error))?;
    peer.address = Some(address);
    let first = attempt(dial, socket, tls, peer, Hello::Extended, &dial.tls).await;
    let hello = match &first {
        // RFC 5321 §4.1.1.1: a peer that does not know EHLO may know HELO.
        Err(Failure { step: Step::Ehlo, trouble: Trouble::Refused(reply) })
            if matches!(reply.code, 500 | 502) && dial.tls.allows_clear() =>
        {
            Hello::Simple
        }
        // An opportunist whose peer's TLS is broken goes on in clear (RFC 7435); the attempt says so.
        Err(Failure { step: Step::StartTls, .. }) if matches!(dial.tls, Protection::Opportunistic) => {
            Hello::Extended
        }
        _ => return first,
    };
    peer.tls = None;
    let socket = dial_first(dial, &[address], peer).await?;
    attempt(dial, socket, tls, peer, hello, &Protection::None).await
}

async fn attempt(
    dial: &Dial<'_>,
    socket: TcpStream,
    tls: &PeerTls,
    peer: &mut Peer,
    hello: Hello,
    protection: &Protection,
) -> Result<Connection, Failure> {
    let address = peer.address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    let open = |error: std::io::Error| broken(Step::Connect, &error);
    let (stream, wire) = if let Protection::Implicit(demand) = protection {
        let handshake = tls.connect(socket, dial.host, demand);
        let (stream, told) = within(Step::StartTls, dial.deadlines.handshake, handshake).await?;
        peer.tls = Some(told);
        SmtpStream::encrypted(stream, hello).map_err(open)?
    } else {
        SmtpStream::plain(socket, hello).map_err(open)?
    };
    let smtp = greet(stream, &wire, dial).await?;
    let mut connection = Connection {
        offers: Offers::read(&wire.last_lines()),
        smtp,
        wire,
        deadlines: dial.deadlines,
        host: dial.host.to_owned(),
        address,
        tls: peer.tls.clone(),
        used: 0,
        state: State::Ready,
    };
    if dial.circle == Circle::Refused && connection.wire.greeted_as(dial.ourselves) {
        return Err(ourselves());
    }
    connection.protect(dial, tls, protection).await?;
    peer.tls.clone_from(&connection.tls);
    if let Some(credentials) = &dial.credentials {
        authenticate(&mut connection, credentials).await?;
    }
    Ok(connection)
}

/// RFC 5321 §6.3: mail that comes back to where it was would do so for ever.
fn ourselves() -> Failure {
    let reply = SmtpReply {
        code: 554,
        enhanced: EnhancedStatus::parse("5.4.6"),
        text: "mail loop: the server greets with our own name".to_owned(),
    };
    Failure { step: Step::Greeting, trouble: Trouble::Unfit { reply } }
}

/// The first address that answers; the last one's failure if none does.
async fn dial_first(
    dial: &Dial<'_>,
    addresses: &[SocketAddr],
    peer: &mut Peer,
) -> Result<TcpStream, Failure> {
    let mut last =
        Failure { step: Step::Connect, trouble: Trouble::Broken("the host has no address".to_owned()) };
    for address in addresses {
        peer.address = Some(*address);
        match reach(*address, dial.source, dial.deadlines).await {
            Ok(socket) => return Ok(socket),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// A TCP connection.
///
/// # Errors
/// Nobody answers there in time.
pub async fn reach(
    address: SocketAddr,
    source: Option<&Source>,
    deadlines: Deadlines,
) -> Result<TcpStream, Failure> {
    let dialling = async {
        match source {
            None => TcpStream::connect(address).await,
            Some(source) => connect_from(source, address).await,
        }
    };
    let socket = within(Step::Connect, deadlines.connect, dialling).await?;
    // Best effort: without it a mail takes some milliseconds longer.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

/// A TCP connection from an address of ours, at any port.
async fn connect_from(source: &Source, address: SocketAddr) -> std::io::Result<TcpStream> {
    let from = source.towards(address.ip()).ok_or_else(|| {
        let text = "mail leaves from an IPv4 address, and the server has an IPv6 address alone";
        std::io::Error::new(std::io::ErrorKind::AddrNotAvailable, text)
    })?;
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(address).await
}

/// The peer's 220 and our EHLO: lettre does both in one call, so the step is told by what was answered.
async fn greet(stream: SmtpStream, wire: &Wire, dial: &Dial<'_>) -> Result<AsyncSmtpConnection, Failure> {
    let name = ClientId::Domain(dial.hello.to_owned());
    let deadline = dial.deadlines.greeting + dial.deadlines.command;
    let result =
        timeout(deadline, AsyncSmtpConnection::connect_with_transport(Box::new(stream), &name)).await;
    let step = if wire.was_greeted() { Step::Ehlo } else { Step::Greeting };
    let trouble = match (result, wire.last_refusal()) {
        (Ok(Ok(connection)), _) => return Ok(connection),
        (_, Some(refusal)) => Trouble::Refused(refusal),
        (Ok(Err(error)), None) => Trouble::Broken(describe(&error)),
        (Err(_), None) => Trouble::Broken("no reply in time".to_owned()),
    };
    Err(Failure { step, trouble })
}

fn broken(step: Step, error: &std::io::Error) -> Failure {
    Failure { step, trouble: Trouble::Broken(error.to_string()) }
}

impl Connection {
    /// STARTTLS, as far as it is demanded and the peer has it.
    async fn protect(
        &mut self,
        dial: &Dial<'_>,
        tls: &PeerTls,
        protection: &Protection,
    ) -> Result<(), Failure> {
        match (protection, self.offers.starttls) {
            (Protection::None | Protection::Implicit(_), _) | (Protection::Opportunistic, false) => Ok(()),
            (Protection::Opportunistic, true) => self.start_tls(dial, tls, &Demand::Anything).await,
            (Protection::StartTls(demand), true) => {
                self.start_tls(dial, tls, demand).await.map_err(|failure| untrusted(failure, demand))
            }
            (Protection::StartTls(demand), false) => {
                Err(unsafe_way(format!("{}, and the peer does not offer STARTTLS", demand.reason())))
            }
        }
    }

    async fn start_tls(&mut self, dial: &Dial<'_>, tls: &PeerTls, demand: &Demand) -> Result<(), Failure> {
        self.command(Step::StartTls, self.deadlines.command, commands::Starttls).await?;
        let socket = self.wire.take_plain().map_err(|error| broken(Step::StartTls, &error))?;
        let handshake = tls.connect(socket, dial.host, demand);
        let (stream, told) = within(Step::StartTls, self.deadlines.handshake, handshake).await?;
        self.wire.put_tls(stream);
        self.tls = Some(told);
        // RFC 3207 §4.2: what was offered in clear is forgotten.
        let hello = commands::Ehlo::new(ClientId::Domain(dial.hello.to_owned()));
        self.command(Step::Ehlo, self.deadlines.command, hello).await?;
        self.offers = Offers::read(&self.wire.last_lines());
        Ok(())
    }
}

/// Cryptographic failure (RFC 3463 §3.8), for now.
pub const UNSAFE: &str = "4.7.5";

/// RFC 3207 and RFC 8461 §5: the mail waits (4.7.5) until the way is safe again.
pub fn unsafe_way(text: String) -> Failure {
    let trouble = Trouble::Unmet { class: BounceClass::Network, status: Some(UNSAFE), text };
    Failure { step: Step::StartTls, trouble }
}

/// A handshake that failed although it had to succeed is no network trouble: somebody must look at it.
fn untrusted(failure: Failure, demand: &Demand) -> Failure {
    match failure.trouble {
        Trouble::Broken(text) if failure.step == Step::StartTls => {
            unsafe_way(format!("{}, and failed: {text}", demand.reason()))
        }
        trouble => Failure { step: failure.step, trouble },
    }
}
