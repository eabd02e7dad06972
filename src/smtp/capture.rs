//! The receiver that takes everything: the private loopback listener behind the `capture` route.
//!
//! Not for a public port: it knows no foreign recipient. Invariant: 250 is said only after the mail was kept.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::mailroom::{MailParams, Mailroom, ReceivedEnvelope, SessionInfo, TlsSession, Verdict};
use super::path::{ForwardPath, ReversePath};
use super::reply::Reply;

/// A mail that was sent to the capture listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedMail {
    /// MAIL FROM.
    pub return_path: ReversePath,
    /// RCPT TO, in the order given; never empty.
    pub recipients: Vec<ForwardPath>,
    /// The text as the client meant it: dots unstuffed, every line ended by CRLF.
    pub bytes: Bytes,
    /// The name the client gave in EHLO or HELO.
    pub helo: String,
    /// How the session was encrypted, if it was.
    pub tls: Option<TlsSession>,
}

/// Where captured mail goes. An object, so that the dashboard's store and a test's list fit the same listener.
pub trait Keep: Send + Sync + 'static {
    /// Returns once the mail is as durable as the caller's promise needs.
    fn keep(&self, mail: CapturedMail) -> BoxFuture<'_, Result<(), KeepError>>;
}

/// The mail could not be kept now; the client is told to try again.
#[derive(Debug, thiserror::Error)]
#[error("captured mail could not be kept")]
pub struct KeepError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A [`Mailroom`] that accepts any sender and any recipient.
pub struct Capture {
    sink: Arc<dyn Keep>,
}

impl Capture {
    /// Hands every complete mail to `sink`.
    pub fn new(sink: Arc<dyn Keep>) -> Self {
        Self { sink }
    }
}

impl Mailroom for Capture {
    async fn mail(&self, _: &SessionInfo, _: &ReversePath, _: &MailParams) -> Verdict {
        Verdict::Accept
    }

    async fn rcpt(&self, _: &SessionInfo, _: &ReversePath, _: &ForwardPath) -> Verdict {
        Verdict::Accept
    }

    async fn data(&self, session: &SessionInfo, envelope: ReceivedEnvelope, text: Bytes) -> Reply {
        let mail = CapturedMail {
            return_path: envelope.return_path,
            recipients: envelope.recipients,
            bytes: text,
            helo: session.hello.host().to_owned(),
            tls: session.tls,
        };
        match self.sink.keep(mail).await {
            Ok(()) => Reply::new(250, 0, 0, "Ok: captured"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a mail was not captured");
                Reply::new(451, 3, 0, "The mail could not be kept, try again")
            }
        }
    }
}
