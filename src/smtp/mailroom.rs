//! What stands behind a receiver: who may send what to whom, and what becomes of the mail.
//!
//! The engine speaks the protocol and knows no policy; a [`Mailroom`] holds the policy and never sees the
//! protocol. There are three: the private capture, submission, and inbound mail.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use tokio_rustls::rustls::{CipherSuite, ProtocolVersion};

use super::path::{ForwardPath, ReversePath};
use super::reply::Reply;

/// Decides about senders, recipients and mail. One value serves all sessions of a receiver.
///
/// Each method may take its time (a query, a commit): the client waits, other sessions do not.
pub trait Mailroom: Send + Sync + 'static {
    /// Whether mail from here may be sent in this session. The engine has refused what is ungrammatical or too
    /// large already.
    fn mail(
        &self,
        session: &SessionInfo,
        from: &ReversePath,
        params: &MailParams,
    ) -> impl Future<Output = Verdict> + Send;

    /// Whether this recipient is one of ours. The same recipient may come twice.
    fn rcpt(
        &self,
        session: &SessionInfo,
        from: &ReversePath,
        to: &ForwardPath,
    ) -> impl Future<Output = Verdict> + Send;

    /// Takes responsibility for the mail, or says why not. A 250 is a promise: whatever happens next, the mail is
    /// delivered or bounced (RFC 5321 §6.1). `text` ends with CRLF unless it is empty.
    fn data(
        &self,
        session: &SessionInfo,
        envelope: ReceivedEnvelope,
        text: Bytes,
    ) -> impl Future<Output = Reply> + Send;
}

/// What a [`Mailroom`] thinks of a sender or recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The engine says 250.
    Accept,
    /// The engine says this instead: 4yz or 5yz, or a 421 that ends the session.
    Refuse(Reply),
}

/// Who is at the other end, as far as it is known at this moment of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// The client's address, as the socket says it.
    pub peer: SocketAddr,
    /// How the client introduced itself; forgotten by STARTTLS (RFC 3207 §4.2).
    pub hello: Hello,
    /// `None`: the session is not encrypted.
    pub tls: Option<TlsSession>,
}

/// How a client introduced itself. The name is a claim that no one verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// Not yet.
    None,
    /// HELO: plain SMTP.
    Helo(String),
    /// EHLO: SMTP with extensions.
    Ehlo(String),
}

impl Hello {
    /// The claimed name; empty if there was none.
    pub fn host(&self) -> &str {
        match self {
            Self::None => "",
            Self::Helo(host) | Self::Ehlo(host) => host,
        }
    }
}

/// What the handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSession {
    /// TLS 1.2 or 1.3.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub cipher: CipherSuite,
}

/// The parameters of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailParams {
    /// SIZE in octets as the client estimates it (RFC 1870).
    pub size: Option<u64>,
    /// BODY (RFC 6152).
    pub body: Body,
    /// Whether SMTPUTF8 was given (RFC 6531).
    pub charset: Charset,
}

/// What the client says the text consists of. No one is held to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// `BODY=7BIT`, or nothing.
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// Which characters addresses and header fields of this mail may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// ASCII: the default.
    Ascii,
    /// UTF-8: `SMTPUTF8` was given.
    Utf8,
}

/// The envelope of a mail whose text has arrived: at least one recipient, each accepted by the [`Mailroom`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedEnvelope {
    /// MAIL FROM.
    pub return_path: ReversePath,
    /// Its parameters.
    pub params: MailParams,
    /// RCPT TO, in the order given.
    pub recipients: Vec<ForwardPath>,
}
