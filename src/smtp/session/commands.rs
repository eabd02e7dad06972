//! What each command does to the session (RFC 5321 §4.1.1).
//!
//! One method per command. Invariant: RFC 5321 §4.1.4's order of commands is enforced here and only here.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;

use super::{End, Patience, Session, Transaction};
use crate::smtp::command::Command;
use crate::smtp::data::{Progress, TextLimits, TextReader};
use crate::smtp::mailroom::{Charset, Hello, MailParams, Mailroom, RcptParams, ReceivedEnvelope, Verdict};
use crate::smtp::path::{ForwardPath, ReversePath};
use crate::smtp::reply::{self, Reply};
use crate::smtp::settings::{Door, Tls};

impl<M, S> Session<'_, M, S>
where
    M: Mailroom,
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) async fn obey(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::Ehlo(host) => self.ehlo(host),
            Command::Helo(host) => self.helo(host),
            Command::Mail { from, params } => self.mail(from, params).await,
            Command::Rcpt { to, params } => self.rcpt(to, params).await,
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial).await,
            Command::Data => self.data().await,
            Command::Rset => self.rset(),
            Command::StartTls => self.starttls().await,
            Command::Noop => self.note(&reply::OK),
            // RFC 5321 §7.3: whoever may not mail a recipient need not learn whether it exists.
            Command::Vrfy => self.note(&reply::NOT_VERIFIED),
            Command::Help => self.note(&reply::HELP),
            Command::NotOffered => self.refuse(reply::NOT_IMPLEMENTED),
            Command::Http => self.say(&reply::NOT_SMTP),
            Command::Quit => Err(self.last_word(&reply::BYE, End::Quit)),
        }
    }

    fn helo(&mut self, host: String) -> Result<(), End> {
        self.introduce(Hello::Helo(host));
        self.note(&Reply::bare(250, self.settings.hostname.clone().into()))
    }

    /// RFC 5321 §4.1.1.1. The keywords are what this engine can do, whoever stands behind it.
    fn ehlo(&mut self, host: String) -> Result<(), End> {
        self.introduce(Hello::Ehlo(host));
        let starttls = match (&self.settings.tls, self.info.tls) {
            (Tls::StartTls(_), None) => "250-STARTTLS\r\n",
            // RFC 3207 §4.2: not offered again over TLS.
            _ => "",
        };
        let submission = match (self.settings.door, self.info.tls) {
            (Door::Transfer, _) => "",
            // RFC 4954 §4: mechanisms that need encryption are offered only with it.
            (Door::Submission, None) => "250-DSN\r\n",
            (Door::Submission, Some(_)) => "250-AUTH PLAIN LOGIN\r\n250-DSN\r\n",
        };
        let lines = format!(
            "250-{}\r\n250-PIPELINING\r\n250-SIZE {}\r\n{starttls}{submission}250-ENHANCEDSTATUSCODES\r\n\
             250-8BITMIME\r\n",
            self.settings.hostname, self.settings.limits.message
        );
        self.wire.push_lines(&lines);
        self.note(&Reply::bare(250, "SMTPUTF8".into()))
    }

    /// RFC 5321 §4.1.4: EHLO in the middle of a session is a RSET as well.
    fn introduce(&mut self, hello: Hello) {
        self.info.hello = hello;
        self.transaction = None;
    }

    fn rset(&mut self) -> Result<(), End> {
        self.transaction = None;
        self.note(&reply::OK)
    }

    async fn mail(&mut self, from: ReversePath, params: MailParams) -> Result<(), End> {
        if self.info.hello == Hello::None {
            return self.refuse(reply::HELLO_FIRST);
        }
        if self.transaction.is_some() {
            return self.refuse(reply::NESTED_MAIL);
        }
        if self.settings.door == Door::Submission && self.info.login.is_none() {
            self.info.login = self.mailroom.at_address(self.info.peer.ip()).await;
        }
        match (self.settings.door, &self.info.tls, &self.info.login) {
            (Door::Transfer, ..) if params.is_for_submission() => {
                return self.refuse(reply::UNKNOWN_PARAMETER);
            }
            (Door::Transfer, ..) | (Door::Submission, _, Some(_)) => {}
            // RFC 3207 §4, RFC 4954 §6.
            (Door::Submission, None, None) => return self.refuse(reply::STARTTLS_FIRST),
            (Door::Submission, Some(_), None) => return self.refuse(reply::AUTH_FIRST),
        }
        if params.size.is_some_and(|size| size > self.settings.limits.message) {
            // RFC 1870 §6.1.
            return self.note(&reply::TOO_BIG);
        }
        match self.mailroom.mail(&self.info, &from, &params).await {
            Verdict::Refuse(reply) => self.note(&reply),
            Verdict::Accept => {
                self.transaction =
                    Some(Transaction { from, params, recipients: Vec::new(), recipient_params: Vec::new() });
                self.say(&reply::SENDER_OK)
            }
        }
    }

    async fn rcpt(&mut self, to: ForwardPath, params: RcptParams) -> Result<(), End> {
        let Some(transaction) = &mut self.transaction else { return self.refuse(reply::MAIL_FIRST) };
        if !transaction.params.allows(&to) {
            // RFC 6531 §3.5.
            return self.refuse(reply::NEEDS_SMTPUTF8);
        }
        if self.settings.door == Door::Transfer && params != RcptParams::default() {
            // RFC 5321 §4.1.1.11: no extension that is offered has it.
            return self.refuse(reply::UNKNOWN_PARAMETER);
        }
        if transaction.recipients.len() >= self.settings.limits.recipients {
            // RFC 5321 §4.5.3.1.10.
            return self.note(&reply::TOO_MANY_RECIPIENTS);
        }
        match self.mailroom.rcpt(&self.info, &transaction.from, &to).await {
            Verdict::Refuse(reply) => self.note(&reply),
            Verdict::Accept => {
                transaction.recipients.push(to);
                transaction.recipient_params.push(params);
                self.say(&reply::RECIPIENT_OK)
            }
        }
    }

    async fn data(&mut self) -> Result<(), End> {
        let Some(transaction) = self.transaction.take() else { return self.refuse(reply::MAIL_FIRST) };
        if transaction.recipients.is_empty() {
            // RFC 5321 §3.3. The transaction stays open: another RCPT may follow.
            self.transaction = Some(transaction);
            return self.note(&reply::NO_RECIPIENTS);
        }
        self.say(&reply::GO_AHEAD)?;
        let reply = match self.text(transaction.params.size).await? {
            Err(refused) => refused,
            // The memory is held until the mailroom has the mail.
            Ok((text, _held)) => self.mailroom.data(&self.info, transaction.into_envelope(), text).await,
        };
        if !reply.is_success() {
            return self.note(&reply);
        }
        self.patience = Patience::new(&self.settings.limits);
        self.say(&reply)
    }

    /// Reads a mail to its end, even while draining: the client has no way to know what became of half a mail.
    async fn text(&mut self, declared: Option<u64>) -> Result<Result<Text, Reply>, End> {
        let limits =
            TextLimits { message: self.settings.limits.message, line: self.settings.limits.text_line };
        let mut reader = TextReader::new(limits, declared);
        let mut held = None;
        loop {
            let progress = reader.feed(self.wire.arrived());
            held = self.settings.memory.cover(held.take(), reader.holds());
            if held.is_none() {
                reader.give_up();
            }
            match progress {
                Progress::Done(octets) => {
                    self.wire.consume(octets);
                    return Ok(reader.finish().map(|text| (text, held)));
                }
                Progress::More => self.wire.consume(self.wire.arrived().len()),
                Progress::Flood => return Err(self.last_word(&reply::TOO_BIG, End::TurnedAway)),
            }
            self.flush().await?;
            let filled = timeout_at(self.deadline(), self.wire.fill()).await;
            self.in_time(filled)?;
        }
    }

    async fn starttls(&mut self) -> Result<(), End> {
        let Tls::StartTls(config) = &self.settings.tls else { return self.refuse(reply::NOT_IMPLEMENTED) };
        if self.info.tls.is_some() {
            return self.refuse(reply::ALREADY_TLS);
        }
        self.say(&reply::READY_FOR_TLS)?;
        self.flush().await?;
        // RFC 3207 §4.2: the client's name and everything else it said is forgotten, and it must say EHLO again.
        self.introduce(Hello::None);
        self.info.login = None;
        self.handshake(config).await
    }
}

/// The text of a mail, and the memory it was given.
type Text = (Bytes, Option<OwnedSemaphorePermit>);

impl Transaction {
    fn into_envelope(self) -> ReceivedEnvelope {
        let Transaction { from: return_path, params, recipients, recipient_params } = self;
        ReceivedEnvelope { return_path, params, recipients, recipient_params }
    }
}

impl MailParams {
    fn is_for_submission(&self) -> bool {
        self.ret.is_some() || self.envid.is_some() || self.auth.is_some()
    }

    fn allows(&self, path: &ForwardPath) -> bool {
        path.as_str().is_ascii() || self.charset == Charset::Utf8
    }
}
