//! What stands behind a receiver: who may send what to whom, and what becomes of the mail.
//!
//! The engine speaks the protocol and knows no policy; a [`Mailroom`] holds the policy and never sees the
//! protocol. There are three: the private capture, submission, and inbound mail.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio_rustls::rustls::{CipherSuite, ProtocolVersion};

use crate::domain::handling::{Notify, Ret};
use crate::domain::key::{KeyName, KeySecret};
use crate::store::keys::Credential;

use super::path::{ForwardPath, ReversePath};
use super::reply::{self, Reply};

/// Decides about senders, recipients and mail. One value serves all sessions of a receiver.
///
/// Each method may take its time (a query, a commit): the client waits, other sessions do not.
pub trait Mailroom: Send + Sync + 'static {
    /// Whether a client from there is greeted at all. Asked before anything is said.
    fn welcome(&self, _peer: IpAddr) -> Verdict {
        Verdict::Accept
    }

    /// Whether this is a login. Asked only of a submission door, under TLS, outside of a transaction. The user's
    /// name is a claim.
    fn auth(
        &self,
        _session: &SessionInfo,
        _user: &str,
        _secret: KeySecret,
    ) -> impl Future<Output = Entry> + Send {
        async { Entry::Refused(reply::NOT_IMPLEMENTED) }
    }

    /// Whether a client at this address needs no login; `None`: it does. Asked of a submission door alone, when mail is
    /// begun without one.
    fn at_address(&self, _peer: IpAddr) -> impl Future<Output = Option<Login>> + Send {
        async { None }
    }

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

/// What a [`Mailroom`] thinks of a login.
#[derive(Debug, Clone)]
pub enum Entry {
    /// The engine says 235.
    Granted(Login),
    /// The engine says this instead: 535, 454, or a 421 that ends the session.
    Refused(Reply),
}

/// Who has logged in.
#[derive(Debug, Clone)]
pub struct Login {
    /// By what the key was found, to ask again whether it still holds.
    pub by: Means,
    /// The key and its tenant, as of the login.
    pub credential: Arc<Credential>,
}

/// By what a login was found to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// A key.
    Key(KeyName),
    /// The client's address: nothing was shown.
    Address,
}

/// Who is at the other end, as far as it is known at this moment of the session.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// The client's address, as the socket or a trusted proxy says it.
    pub peer: SocketAddr,
    /// How the client introduced itself; forgotten by STARTTLS (RFC 3207 §4.2).
    pub hello: Hello,
    /// `None`: the session is not encrypted.
    pub tls: Option<TlsSession>,
    /// `None`: nobody has logged in.
    pub login: Option<Login>,
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

/// The parameters of MAIL. The last three are taken by a submission door only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailParams {
    /// SIZE in octets as the client estimates it (RFC 1870).
    pub size: Option<u64>,
    /// BODY (RFC 6152).
    pub body: Body,
    /// Whether SMTPUTF8 was given (RFC 6531).
    pub charset: Charset,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// ENVID, in xtext as it was written (RFC 3461 §4.4).
    pub envid: Option<Box<str>>,
    /// AUTH (RFC 4954 §5): for whom the client says it speaks. Nobody is believed.
    pub auth: Option<Box<str>>,
}

/// The parameters of RCPT (RFC 3461), taken by a submission door only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RcptParams {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT as it was written: an address type, `;`, and xtext.
    pub orcpt: Option<Box<str>>,
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
    /// The parameters of each, in the same order.
    pub recipient_params: Vec<RcptParams>,
}
