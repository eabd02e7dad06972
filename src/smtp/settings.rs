//! How strict and how patient a receiver is.
//!
//! Values only; `config` decides them. Invariant: the defaults are what RFC 5321 asks of a host on the open
//! internet.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::rustls::ServerConfig;

/// RFC 5321 §4.5.3.1.4, CRLF included, and what the advertised extensions add to MAIL: SIZE 26 (RFC 1870 §3),
/// 8BITMIME 17 (RFC 6152 §3), SMTPUTF8 10 (RFC 6531 §3.4).
const COMMAND_LINE: usize = 512 + 26 + 17 + 10;
/// RFC 4954 §4: what one line of a login may have, and more than DSN adds to MAIL and RCPT (RFC 3461 §4.2, §4.4).
const LOGIN_LINE: usize = 12_288;
/// Octets of mails that are being read, over all sessions of a receiver.
const MEMORY: usize = 256 << 20;

/// Everything a receiver is told besides what to do with mail.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The host's fully qualified name, said in the greeting and to EHLO (RFC 5321 §4.1.1.1).
    pub hostname: String,
    /// For whom the receiver is.
    pub door: Door,
    /// Whether and when sessions are encrypted.
    pub tls: Tls,
    /// What happens to clients that speak before the greeting.
    pub early_talk: EarlyTalk,
    /// What one session, and all of them, may use.
    pub limits: Limits,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// Proxies whose PROXY header is believed.
    pub proxies: Vec<IpNet>,
    /// What mails that are being read may take together.
    pub memory: Memory,
}

/// For whom a receiver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Other hosts: nobody logs in.
    Transfer,
    /// Our own users (RFC 6409): nothing is taken without AUTH, which is there only under TLS; and DSN is offered.
    Submission,
}

/// What mails that are being read may take together. Clones share it.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Semaphore>);

/// Memory is counted in pieces of this size.
const PIECE: usize = 64 * 1024;

impl Memory {
    /// So many octets.
    pub fn new(octets: usize) -> Self {
        Self(Arc::new(Semaphore::new(octets / PIECE)))
    }

    /// Makes `held` cover so many octets; `None`: there is no room.
    pub(super) fn cover(
        &self,
        held: Option<OwnedSemaphorePermit>,
        octets: usize,
    ) -> Option<OwnedSemaphorePermit> {
        let pieces = octets.div_ceil(PIECE);
        let missing = pieces.saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        let more = Arc::clone(&self.0).try_acquire_many_owned(u32::try_from(missing).ok()?).ok()?;
        Some(match held {
            None => more,
            Some(mut held) => {
                held.merge(more);
                held
            }
        })
    }
}

/// The certificate and protocol settings in force; sending a new value renews the certificate for every handshake
/// after it.
pub type TlsConfig = watch::Receiver<Arc<ServerConfig>>;

/// Whether and when sessions are encrypted.
#[derive(Debug, Clone)]
pub enum Tls {
    /// Never: the private loopback listener.
    Off,
    /// When the client asks with STARTTLS (RFC 3207).
    StartTls(TlsConfig),
    /// From the first octet (RFC 8314 §3.3).
    Implicit(TlsConfig),
}

/// What happens to clients that speak before the greeting, as spam software does and RFC 5321 §4.3.1 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyTalk {
    /// Greet at once, and answer what was said early as if it had been said later.
    Allow,
    /// Hold the greeting back for `pause`; who speaks during it gets 554 and the connection closes.
    Refuse {
        /// How long a well-behaved client waits in vain; a few seconds on port 25.
        pause: Duration,
    },
}

/// What one session, and all of them, may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest mail in octets, advertised as SIZE.
    pub message: u64,
    /// Recipients of one mail; RFC 5321 §4.5.3.1.8 demands at least 100.
    pub recipients: usize,
    /// Octets of one command line, CRLF included.
    pub command_line: usize,
    /// Octets of one line of a mail, CRLF excluded; 998 by RFC 5321 §4.5.3.1.6. `None` takes lines as they come.
    pub text_line: Option<usize>,
    /// Malformed or misplaced commands since the last accepted mail; one more and the session closes.
    pub errors: u32,
    /// Commands that brought no mail nearer (NOOP, RSET, refused recipients, errors) since the last accepted
    /// mail; one more and the session closes.
    pub idle_commands: u32,
    /// Concurrent sessions of this receiver.
    pub sessions: usize,
    /// Concurrent sessions from one IPv4 address or one IPv6 /64.
    pub sessions_per_peer: usize,
}

/// How long a client may take.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For one whole command, or the next octets of a mail; RFC 5321 §4.5.3.2.7 demands at least 5 minutes.
    pub idle: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For everything, so that a client which dribbles octets for ever still loses its place.
    pub session: Duration,
}

impl Settings {
    /// The defaults, under this name.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            door: Door::Transfer,
            tls: Tls::Off,
            early_talk: EarlyTalk::Allow,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            proxies: Vec::new(),
            memory: Memory::new(MEMORY),
        }
    }

    /// Whether a PROXY header from there is believed.
    pub(super) fn trusts(&self, peer: std::net::IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.iter().any(|net| net.contains(&peer))
    }

    /// Those of a submission door.
    pub fn submission(hostname: impl Into<String>) -> Self {
        let mut settings = Self::new(hostname);
        settings.door = Door::Submission;
        settings.limits.command_line = LOGIN_LINE;
        settings
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 26_214_400,
            recipients: 1_000,
            command_line: COMMAND_LINE,
            text_line: None,
            errors: 20,
            idle_commands: 200,
            sessions: 10_000,
            sessions_per_peer: 100,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5 * 60),
            handshake: Duration::from_secs(30),
            session: Duration::from_secs(60 * 60),
        }
    }
}
