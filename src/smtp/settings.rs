//! How strict and how patient a receiver is.
//!
//! Values only; `config` decides them. Invariant: the defaults are what RFC 5321 asks of a host on the open
//! internet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

/// RFC 5321 §4.5.3.1.4, CRLF included, and what the advertised extensions add to MAIL: SIZE 26 (RFC 1870 §3),
/// 8BITMIME 17 (RFC 6152 §3), SMTPUTF8 10 (RFC 6531 §3.4).
const COMMAND_LINE: usize = 512 + 26 + 17 + 10;

/// Everything a receiver is told besides what to do with mail.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The host's fully qualified name, said in the greeting and to EHLO (RFC 5321 §4.1.1.1).
    pub hostname: String,
    /// Whether and when sessions are encrypted.
    pub tls: Tls,
    /// What happens to clients that speak before the greeting.
    pub early_talk: EarlyTalk,
    /// What one session, and all of them, may use.
    pub limits: Limits,
    /// How long a client may take.
    pub timeouts: Timeouts,
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
            tls: Tls::Off,
            early_talk: EarlyTalk::Allow,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
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
