//! Opening a connection: TCP, greeting, EHLO (or HELO), TLS, credentials.

use std::net::SocketAddr;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::delivery::stream::{Hello, SmtpStream, Wire};
use crate::delivery::tls::{Demand, PeerTls};
use crate::domain::outcome::{BounceClass, Step};
use crate::domain::relay::TlsMode;

use super::auth::{Credentials, authenticate};
use super::{Connection, Deadlines, Failure, Offers, State, Trouble, describe, within};

/// Where and how to connect.
#[derive(Debug, Clone)]
pub struct Dial<'a> {
    /// Addresses to try, in this order.
    pub addresses: &'a [SocketAddr],
    /// The name its certificate must bear.
    pub host: &'a str,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// Who we say we are.
    pub hello: &'a str,
    /// How we show it, if we must.
    pub credentials: Option<Credentials>,
    /// How long each step may take.
    pub deadlines: Deadlines,
}

/// What became known of a peer while connecting, for the report of an attempt that failed there.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The address that was dialled last.
    pub address: Option<SocketAddr>,
    /// How the connection was encrypted.
    pub tls: Option<String>,
}

/// Opens a connection that is ready for MAIL.
///
/// # Errors
/// [`Failure`] tells the step. `peer` then holds what was learnt.
pub async fn connect(dial: &Dial<'_>, tls: &PeerTls, peer: &mut Peer) -> Result<Connection, Failure> {
    let first = attempt(dial, tls, peer, Hello::Extended, dial.tls).await;
    match first {
        // RFC 5321 §4.1.1.1: a peer that does not know EHLO may know HELO.
        Err(Failure { step: Step::Ehlo, trouble: Trouble::Refused(reply) })
            if matches!(reply.code, 500 | 502) && dial.tls.allows_clear() =>
        {
            attempt(dial, tls, peer, Hello::Simple, TlsMode::None).await
        }
        // An opportunist whose peer's TLS is broken goes on in clear (RFC 7435); the attempt says so.
        Err(Failure { step: Step::StartTls, .. }) if dial.tls == TlsMode::Opportunistic => {
            peer.tls = None;
            attempt(dial, tls, peer, Hello::Extended, TlsMode::None).await
        }
        other => other,
    }
}

impl TlsMode {
    fn allows_clear(self) -> bool {
        matches!(self, TlsMode::None | TlsMode::Opportunistic)
    }
}

async fn attempt(
    dial: &Dial<'_>,
    tls: &PeerTls,
    peer: &mut Peer,
    hello: Hello,
    mode: TlsMode,
) -> Result<Connection, Failure> {
    let socket = dial_first(dial, peer).await?;
    let address = peer.address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    let open = |error: std::io::Error| broken(Step::Connect, &error);
    let (stream, wire) = if mode == TlsMode::Implicit {
        let (stream, told) = within(
            Step::StartTls,
            dial.deadlines.handshake,
            tls.connect(socket, dial.host, Demand::Verified),
        )
        .await?;
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
        address,
        tls: peer.tls.clone(),
        used: 0,
        state: State::Ready,
    };
    if mode != TlsMode::Implicit {
        connection.protect(dial, tls, mode).await?;
        peer.tls.clone_from(&connection.tls);
    }
    if let Some(credentials) = &dial.credentials {
        authenticate(&mut connection, credentials).await?;
    }
    Ok(connection)
}

/// The first address that answers; the last one's failure if none does.
async fn dial_first(dial: &Dial<'_>, peer: &mut Peer) -> Result<TcpStream, Failure> {
    let mut last =
        Failure { step: Step::Connect, trouble: Trouble::Broken("the host has no address".to_owned()) };
    for address in dial.addresses {
        peer.address = Some(*address);
        match within(Step::Connect, dial.deadlines.connect, TcpStream::connect(address)).await {
            Ok(socket) => {
                // Best effort: without it a mail takes some milliseconds longer.
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Err(failure) => last = failure,
        }
    }
    Err(last)
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
    /// STARTTLS, as far as `mode` and the peer have it.
    async fn protect(&mut self, dial: &Dial<'_>, tls: &PeerTls, mode: TlsMode) -> Result<(), Failure> {
        let demand = match (mode, self.offers.starttls) {
            (TlsMode::None, _) | (TlsMode::Opportunistic, false) => return Ok(()),
            (TlsMode::Opportunistic, true) => Demand::Anything,
            (_, true) => Demand::Verified,
            (_, false) => return Err(self.no_tls()),
        };
        self.start_tls(dial, tls, demand).await.map_err(|failure| match demand {
            Demand::Anything => failure,
            Demand::Verified => untrusted(failure),
        })
    }

    async fn start_tls(&mut self, dial: &Dial<'_>, tls: &PeerTls, demand: Demand) -> Result<(), Failure> {
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

    fn no_tls(&self) -> Failure {
        let text = "TLS is required, and the peer does not offer STARTTLS".to_owned();
        Failure { step: Step::StartTls, trouble: Trouble::Unmet { class: BounceClass::Network, text } }
    }
}

/// A handshake that failed although it had to succeed is no network trouble: somebody must look at it.
fn untrusted(failure: Failure) -> Failure {
    match failure.trouble {
        Trouble::Broken(text) if failure.step == Step::StartTls => {
            let text = format!("TLS is required, and failed: {text}");
            Failure { step: failure.step, trouble: Trouble::Unmet { class: BounceClass::Network, text } }
        }
        trouble => Failure { step: failure.step, trouble },
    }
}
