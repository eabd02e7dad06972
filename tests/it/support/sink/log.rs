//! What a sink remembers: mails, lines, credentials, connections.

use std::net::IpAddr;
use std::time::Instant;

/// A mail whose final dot arrived.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The connection it came on; the first is 1.
    pub connection: usize,
    /// The path of MAIL, without brackets; empty for the null path.
    pub from: String,
    /// Its parameters as written: `SIZE=120`, `SMTPUTF8`.
    pub params: Vec<String>,
    /// The recipients that got a 2yz, in order.
    pub recipients: Vec<Recipient>,
    /// The octets between 354 and the reply, final dot included.
    pub wire: Vec<u8>,
    /// The text: dots unstuffed, final dot removed.
    pub text: Vec<u8>,
    /// Whether it came over TLS.
    pub encrypted: bool,
    /// The user that had authenticated, if any.
    pub user: Option<String>,
    /// When the final dot was read.
    pub at: Instant,
    /// Whether the sink took it: it said 2yz, or was told to [`take`](super::take) it.
    pub accepted: bool,
}

impl Mail {
    /// The text for assertions on words.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// The paths of the recipients.
    pub fn to(&self) -> Vec<&str> {
        self.recipients.iter().map(|recipient| recipient.path.as_str()).collect()
    }
}

/// One RCPT that was accepted.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The path without brackets.
    pub path: String,
    /// Its parameters as written: `NOTIFY=NEVER`.
    pub params: Vec<String>,
}

/// What a client said in AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `PLAIN`, `LOGIN` or `XOAUTH2`.
    pub mechanism: String,
    /// The authentication identity.
    pub user: String,
    /// The password or bearer token.
    pub secret: String,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Line {
    /// The connection; the first is 1.
    pub connection: usize,
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The client connected.
    Connected,
    /// A command, CRLF removed, and what it was sent with.
    Client(String, Sent),
    /// The sink said this; several lines stay together, non-ASCII octets are shown as U+FFFD.
    Sink(String),
    /// So many octets of text, up to the final dot.
    Text(usize),
    /// A handshake succeeded.
    Encrypted,
    /// The connection ended.
    Closed,
}

/// Whether a command came alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// More octets had arrived already when it was read (RFC 2920).
    Pipelined,
    /// It was the last there was.
    Alone,
}

/// Everything, in order.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) mails: Vec<Mail>,
    pub(super) lines: Vec<Line>,
    pub(super) credentials: Vec<Credentials>,
    pub(super) connections: usize,
    pub(super) clients: Vec<IpAddr>,
    pub(super) open: usize,
    pub(super) most_open: usize,
}

impl Log {
    pub(super) fn opened(&mut self, client: IpAddr) -> usize {
        self.clients.push(client);
        self.connections += 1;
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
        self.note(self.connections, What::Connected);
        self.connections
    }

    pub(super) fn closed(&mut self, connection: usize) {
        self.open -= 1;
        self.note(connection, What::Closed);
    }

    pub(super) fn note(&mut self, connection: usize, what: What) {
        self.lines.push(Line { connection, at: Instant::now(), what });
    }

    /// The whole story as a text, for the message of a failed test.
    pub(super) fn story(&self) -> String {
        let line = |line: &Line| match &line.what {
            What::Client(text, _) => format!("{} C: {text}\n", line.connection),
            What::Sink(text) => format!("{} S: {}\n", line.connection, text.trim_end()),
            other => format!("{} -- {other:?}\n", line.connection),
        };
        self.lines.iter().map(line).collect()
    }
}
