//! SMTP towards a peer: one connection, any number of mails on it, one recipient each. Drives lettre's
//! [`AsyncSmtpConnection`] command by command, because its own `send` stops at the first refusal, knows no
//! pipelining and has no deadlines.
//!
//! Invariant: every wait has a deadline, and after anything unexpected the connection is not used again.

mod auth;
mod connect;
mod envelope;
mod notices;
mod offers;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands;
use lettre::transport::smtp::response::Response;
use tokio::time::timeout;

use crate::domain::outcome::{BounceClass, Step};
use crate::mail::reply::{EnhancedStatus, SmtpReply};
use crate::mail::transcode;

use super::stream::Wire;

pub use auth::Credentials;
pub use connect::{Circle, Dial, Peer, UNSAFE, connect, converse, reach, unsafe_way};
pub use notices::Notices;
pub use offers::Offers;

use envelope::{Envelope, MailCommand, RcptCommand};

/// How long each step may take: the minimum waits of RFC 5321 §4.5.3.2.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// TCP connect.
    pub connect: Duration,
    /// The peer's 220.
    pub greeting: Duration,
    /// EHLO, STARTTLS, AUTH, RSET.
    pub command: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// MAIL.
    pub mail: Duration,
    /// RCPT.
    pub rcpt: Duration,
    /// DATA, until 354.
    pub data: Duration,
    /// Each 64 KiB of content.
    pub block: Duration,
    /// From the final dot to its reply.
    pub final_dot: Duration,
    /// QUIT: a courtesy, nobody's mail waits for it.
    pub quit: Duration,
    /// A whole attempt, whatever its steps allow.
    pub attempt: Duration,
    /// An unused connection.
    pub idle: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Deadlines {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            command: minutes(5),
            handshake: minutes(1),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            final_dot: minutes(10),
            quit: Duration::from_secs(5),
            attempt: minutes(30),
            idle: Duration::from_secs(15),
        }
    }
}

/// An attempt that did not end in a 250.
#[derive(Debug, Clone)]
pub struct Failure {
    /// How far it came.
    pub step: Step,
    /// What happened there.
    pub trouble: Trouble,
}

/// What went wrong.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The peer said no, or something that is no answer.
    Refused(SmtpReply),
    /// The connection failed, or a deadline passed. Nothing of the mail was taken.
    Broken(String),
    /// It broke after content was sent: the peer may have the mail.
    Unknown(String),
    /// The peer lacks what this mail needs: it can never be sent to it.
    Unfit {
        /// As a peer would have said it.
        reply: SmtpReply,
    },
    /// What the operator or tenant demands is not to be had: TLS, credentials. It may be later.
    Unmet {
        /// Of what class.
        class: BounceClass,
        /// The enhanced status that says it best, if there is one.
        status: Option<&'static str>,
        /// In words.
        text: String,
    },
}

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The reverse path, without angle brackets.
    pub from: &'a str,
    /// The recipient, as RCPT names it.
    pub to: &'a str,
    /// The RFC 5322 form, ending with CRLF, without bare CR or LF.
    pub content: &'a [u8],
    /// Headers or addresses hold UTF-8.
    pub needs_smtputf8: bool,
    /// There are octets above 127 in it.
    pub eight_bit: bool,
    /// It must not be changed.
    pub protected: bool,
    /// What the peer is told about notices, if it offers DSN.
    pub notices: Notices<'a>,
}

/// An open connection to a peer, past EHLO, TLS and AUTH.
pub struct Connection {
    smtp: AsyncSmtpConnection,
    wire: Wire,
    offers: Offers,
    deadlines: Deadlines,
    host: String,
    address: SocketAddr,
    tls: Option<String>,
    used: u32,
    state: State,
}

/// Where the dialogue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// MAIL may follow.
    Ready,
    /// A transaction was begun and given up: RSET first.
    Dirty,
    /// Not to be used again.
    Broken,
}

impl Connection {
    /// The peer's name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The peer's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is encrypted; `None`: in clear.
    pub fn tls(&self) -> Option<&str> {
        self.tls.as_deref()
    }

    /// Whether the peer offers to encrypt what is in clear now.
    pub fn offers_starttls(&self) -> bool {
        self.offers.starttls
    }

    /// Mails tried on it.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Whether another mail may be tried on it.
    pub fn is_open(&self) -> bool {
        self.state != State::Broken
    }

    /// Sends one mail, which fits the peer, to one recipient.
    ///
    /// # Errors
    /// [`Failure`] tells how far it came; [`Connection::is_open`] whether the next mail may be tried.
    pub async fn send(&mut self, mail: Mail<'_>) -> Result<SmtpReply, Failure> {
        self.used += 1;
        self.check_size(mail.content.len())?;
        self.reset_if_dirty().await?;
        let envelope = Envelope { mail: &mail, size: mail.content.len(), offers: self.offers };
        if self.offers.pipelining {
            self.pipelined(&envelope).await?;
        } else {
            self.one_by_one(&envelope).await?;
        }
        self.content(mail.content).await
    }

    /// Says goodbye. Whatever is answered, what was delivered stays delivered.
    pub async fn quit(mut self) {
        if self.state != State::Broken {
            let _ = timeout(self.deadlines.quit, self.smtp.quit()).await;
        }
        let _ = timeout(self.deadlines.quit, self.smtp.abort()).await;
    }

    /// What this peer can be given: unchanged, re-encoded to 7 bits, or not at all.
    ///
    /// # Errors
    /// [`Trouble::Unfit`].
    pub fn fit<'a>(&self, mail: &Mail<'a>) -> Result<Cow<'a, [u8]>, Failure> {
        if mail.needs_smtputf8 && !self.offers.smtputf8 {
            // RFC 6531 §3.3, RFC 6152 §3.
            return Err(unfit(
                553,
                "5.6.7",
                "the peer does not take addresses or headers in UTF-8 (no SMTPUTF8)",
            ));
        }
        match (mail.eight_bit && !self.offers.eight_bit, mail.protected) {
            (false, _) => Ok(Cow::Borrowed(mail.content)),
            (true, true) => Err(unfit(
                554,
                "5.6.3",
                "the peer takes 7 bits only, and signed or encrypted mail is not re-encoded",
            )),
            (true, false) => transcode::to_seven_bit(mail.content).map_err(|_| {
                unfit(554, "5.6.3", "the peer takes 7 bits only, and the mail cannot be re-encoded")
            }),
        }
    }

    fn check_size(&self, size: usize) -> Result<(), Failure> {
        match self.offers.size {
            Some(Some(limit)) if size as u64 > limit => {
                Err(unfit(552, "5.3.4", "the mail is larger than the peer takes (SIZE)"))
            }
            _ => Ok(()),
        }
    }

    async fn reset_if_dirty(&mut self) -> Result<(), Failure> {
        if self.state == State::Dirty {
            self.command(Step::Mail, self.deadlines.command, commands::Rset).await?;
            self.state = State::Ready;
        }
        Ok(())
    }

    /// MAIL, RCPT and DATA in one segment (RFC 2920 §3.1), then their three replies.
    async fn pipelined(&mut self, envelope: &Envelope<'_>) -> Result<(), Failure> {
        self.state = State::Dirty;
        let mail = self.exchange(Step::Mail, self.deadlines.mail, Some(envelope)).await;
        if matches!(&mail, Err(failure) if !failure.was_answered()) {
            return mail.map(drop);
        }
        let rcpt = self.exchange(Step::Rcpt, self.deadlines.rcpt, NOTHING).await;
        if matches!(&rcpt, Err(failure) if !failure.was_answered()) {
            return mail.and(rcpt).map(drop);
        }
        let data = self.exchange(Step::Data, self.deadlines.data, NOTHING).await;
        match (mail.and(rcpt), data) {
            (Ok(_), Ok(go)) => self.expect_go_ahead(go),
            (Ok(_), Err(refused)) => Err(refused),
            (Err(refused), Ok(_)) => {
                // RFC 2920 §3.1: 354 although no recipient was taken: an empty message ends it, and counts
                // as a failure whatever is answered.
                let _ = timeout(self.deadlines.final_dot, self.smtp.message(b"")).await;
                self.state = State::Broken;
                Err(refused)
            }
            (Err(refused), Err(_)) => Err(refused),
        }
    }

    async fn one_by_one(&mut self, envelope: &Envelope<'_>) -> Result<(), Failure> {
        self.state = State::Dirty;
        self.command(Step::Mail, self.deadlines.mail, MailCommand(envelope)).await?;
        self.command(Step::Rcpt, self.deadlines.rcpt, RcptCommand(envelope)).await?;
        let go = self.command(Step::Data, self.deadlines.data, commands::Data).await?;
        self.expect_go_ahead(go)
    }

    fn expect_go_ahead(&mut self, go: SmtpReply) -> Result<(), Failure> {
        if go.code / 100 == 3 {
            return Ok(());
        }
        // A 2yz to DATA: what follows would be taken for commands.
        self.state = State::Broken;
        Err(Failure { step: Step::Data, trouble: Trouble::Refused(go) })
    }

    /// The content and its final dot, corked into as few segments as they need.
    async fn content(&mut self, content: &[u8]) -> Result<SmtpReply, Failure> {
        // lettre ends the content with a line break of its own.
        let body = content.strip_suffix(b"\r\n").unwrap_or(content);
        let blocks = u32::try_from(body.len() / (64 * 1024)).unwrap_or(u32::MAX);
        let deadline = self.deadlines.final_dot + self.deadlines.block * blocks;
        self.wire.forget_reply();
        let result = timeout(deadline, self.smtp.message(body)).await;
        let reply = self.settle(Step::Body, result);
        match reply {
            Ok(reply) if reply.is_positive() => {
                self.state = State::Ready;
                Ok(reply)
            }
            Ok(odd) => {
                self.state = State::Broken;
                Err(Failure { step: Step::Body, trouble: Trouble::Refused(odd) })
            }
            // The transaction is over (RFC 5321 §4.1.1.4); the connection may go on.
            Err(failure) if failure.was_answered() => {
                if self.state != State::Broken {
                    self.state = State::Ready;
                }
                Err(failure)
            }
            Err(Failure { trouble: Trouble::Broken(text), step }) => {
                Err(Failure { step, trouble: Trouble::Unknown(text) })
            }
            Err(failure) => Err(failure),
        }
    }

    /// One command and its reply.
    async fn command(
        &mut self,
        step: Step,
        deadline: Duration,
        command: impl fmt::Display,
    ) -> Result<SmtpReply, Failure> {
        self.exchange(step, deadline, Some(command)).await
    }

    /// Writes `command`, if there is one, and reads one reply.
    async fn exchange<C: fmt::Display>(
        &mut self,
        step: Step,
        deadline: Duration,
        command: Option<C>,
    ) -> Result<SmtpReply, Failure> {
        self.wire.forget_reply();
        let result = match command {
            Some(command) => timeout(deadline, self.smtp.command(command)).await,
            None => timeout(deadline, self.smtp.read_response()).await,
        };
        self.settle(step, result)
    }

    /// Makes one failure of lettre's errors and the deadline, and decides what becomes of the connection.
    fn settle(&mut self, step: Step, result: Outcome) -> Result<SmtpReply, Failure> {
        let settled = settle(step, &self.wire, result);
        let closing = match &settled {
            // RFC 5321 §3.8: 421 means that the peer closes the connection.
            Err(Failure { trouble: Trouble::Refused(reply), .. }) => reply.code == 421,
            Err(_) => true,
            Ok(_) => false,
        };
        if closing {
            self.state = State::Broken;
        }
        settled
    }
}

/// The peer can never take the mail; as it would have said it.
fn unfit(code: u16, status: &str, text: &str) -> Failure {
    let reply = SmtpReply { code, enhanced: EnhancedStatus::parse(status), text: text.to_owned() };
    Failure { step: Step::Mail, trouble: Trouble::Unfit { reply } }
}

/// Tells [`Connection::exchange`] only to read.
const NOTHING: Option<&str> = None;

type Outcome = Result<Result<Response, lettre::transport::smtp::Error>, tokio::time::error::Elapsed>;

/// What came of waiting for a reply.
fn settle(step: Step, wire: &Wire, result: Outcome) -> Result<SmtpReply, Failure> {
    let trouble = match (result, wire.last_reply()) {
        (Ok(Ok(_)), Some(reply)) => return Ok(reply),
        (Ok(Err(_)), Some(reply)) => Trouble::Refused(reply),
        (Ok(Err(error)), None) => Trouble::Broken(describe(&error)),
        (Ok(Ok(_)), None) => Trouble::Broken("no reply".to_owned()),
        (Err(_), _) => Trouble::Broken("no reply in time".to_owned()),
    };
    Err(Failure { step, trouble })
}

/// The innermost cause, in a few words.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    if text == "incomplete response" { "the peer closed the connection".to_owned() } else { text }
}

impl Failure {
    /// Whether the peer said anything at this step.
    pub fn was_answered(&self) -> bool {
        matches!(self.trouble, Trouble::Refused(_))
    }
}

/// Runs `work` under a deadline and turns the passing of it into a failure at `step`.
pub(super) async fn within<T>(
    step: Step,
    deadline: Duration,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, Failure> {
    let text = match timeout(deadline, work).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "not done in time".to_owned(),
    };
    Err(Failure { step, trouble: Trouble::Broken(text) })
}
