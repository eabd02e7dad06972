//! One session: commands in, replies out, from the greeting to the last word (RFC 5321 §3).
//!
//! Not policy, which is the [`Mailroom`]'s, and not sockets: any stream will do. Invariants: replies come in the
//! order of the commands (RFC 2920 §3.2), nothing said before STARTTLS counts after it, and no input makes a
//! session panic, grow beyond one mail and a few buffers, or last longer than its time.

mod auth;
mod commands;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::mailroom::{Hello, MailParams, Mailroom, RcptParams, SessionInfo, Verdict};
use super::path::{ForwardPath, ReversePath};
use super::reply::{self, Reply};
use super::settings::{EarlyTalk, Limits, Settings, Tls, TlsConfig};
use super::wire::{Line, Wire};

/// How long the last reply may take to leave; the client is not waited for beyond that.
const GOODBYE: Duration = Duration::from_secs(5);

/// Why a session ended. Whatever was to be said about it has been said.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the client quit")]
    Quit,
    #[error("the connection was lost: {0}")]
    Lost(#[from] io::Error),
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("the client took too long")]
    TimedOut,
    #[error("the client does not read its replies")]
    Deaf,
    #[error("the receiver is shutting down")]
    Drained,
    #[error("the client was turned away")]
    TurnedAway,
}

/// A conversation with one client.
pub(super) struct Session<'a, M, S> {
    wire: Wire<S>,
    info: SessionInfo,
    mailroom: &'a M,
    settings: &'a Settings,
    drain: CancellationToken,
    /// When the session has lasted long enough, whatever the client does.
    ends: Instant,
    patience: Patience,
    transaction: Option<Transaction>,
}

/// A mail between MAIL and the end of DATA.
struct Transaction {
    from: ReversePath,
    params: MailParams,
    recipients: Vec<ForwardPath>,
    recipient_params: Vec<RcptParams>,
}

/// What is left of the limits on useless commands.
struct Patience {
    errors: u32,
    idle_commands: u32,
}

impl Patience {
    fn new(limits: &Limits) -> Self {
        Self { errors: limits.errors, idle_commands: limits.idle_commands }
    }
}

impl<'a, M, S> Session<'a, M, S>
where
    M: Mailroom,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// `drain` must be this session's own (a child token): cancelling it ends the session at the next command.
    pub(super) fn new(
        stream: S,
        peer: SocketAddr,
        mailroom: &'a M,
        settings: &'a Settings,
        drain: CancellationToken,
    ) -> Self {
        Self {
            wire: Wire::new(stream),
            info: SessionInfo { peer, hello: Hello::None, tls: None, login: None },
            mailroom,
            settings,
            drain,
            ends: Instant::now() + settings.timeouts.session,
            patience: Patience::new(&settings.limits),
            transaction: None,
        }
    }

    /// Talks until either side has had enough.
    pub(super) async fn run(mut self) -> End {
        let Err(end) = self.talk().await;
        if !matches!(end, End::Deaf) {
            // The client may be gone by now, and the session ends for its own reason either way.
            let _ = timeout(GOODBYE, self.wire.close()).await;
        }
        end
    }

    async fn talk(&mut self) -> Result<Infallible, End> {
        self.greet().await?;
        loop {
            match self.next_command().await? {
                Ok(command) => self.obey(command).await?,
                Err(reply) => self.refuse(reply)?,
            }
            if self.wire.is_full() {
                self.flush().await?;
            }
        }
    }

    async fn greet(&mut self) -> Result<(), End> {
        if let Verdict::Refuse(reply) = self.mailroom.welcome(self.info.peer.ip()) {
            // In clear even where TLS comes first: a handshake is what such a client is not given.
            return Err(self.last_word(&reply, End::TurnedAway));
        }
        if let Tls::Implicit(config) = &self.settings.tls {
            self.handshake(config).await?;
        }
        if let EarlyTalk::Refuse { pause } = self.settings.early_talk
            && let Ok(spoke) = timeout(pause, self.wire.fill()).await
        {
            spoke?;
            // RFC 5321 §3.1: a 554 instead of the greeting.
            self.wire.push(&reply::EARLY_TALKER);
            return Err(End::TurnedAway);
        }
        self.wire.push(&Reply::bare(220, format!("{} ESMTP postroad", self.settings.hostname).into()));
        Ok(())
    }

    /// The next command, or the reply to what should have been one. Replies are sent only when there is nothing
    /// left to read, so that a pipelined group is answered in one segment.
    async fn next_command(&mut self) -> Result<Result<Command, Reply>, End> {
        self.next_line(Command::parse).await
    }

    /// The next line as `parse` has it.
    async fn next_line<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<T, Reply>,
    ) -> Result<Result<T, Reply>, End> {
        let mut deadline = None;
        loop {
            if self.drain.is_cancelled() {
                return Err(self.last_word(&reply::DRAINING, End::Drained));
            }
            match self.wire.line(self.settings.limits.command_line, &parse) {
                Line::Read(read) => return Ok(read),
                Line::TooLong => return Ok(Err(reply::LINE_TOO_LONG)),
                Line::Flood => return Err(self.last_word(&reply::LINE_TOO_LONG, End::TurnedAway)),
                Line::Unfinished => {}
            }
            self.flush().await?;
            if Instant::now() >= self.ends {
                // Input that never pauses would never let a timer fire.
                return Err(self.last_word(&reply::TIMED_OUT, End::TimedOut));
            }
            // One deadline for the whole command, or its octets could come one by one for ever.
            let deadline = *deadline.get_or_insert_with(|| self.deadline());
            let Self { wire, drain, .. } = self;
            let filled = tokio::select! {
                biased;
                filled = timeout_at(deadline, wire.fill()) => filled,
                () = drain.cancelled() => continue,
            };
            self.in_time(filled)?;
        }
    }

    /// The outcome of a wait for input.
    fn in_time(&mut self, filled: Result<io::Result<()>, Elapsed>) -> Result<(), End> {
        match filled {
            Ok(filled) => Ok(filled?),
            // RFC 5321 §3.8: a 421 may come at any time.
            Err(_) => Err(self.last_word(&reply::TIMED_OUT, End::TimedOut)),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        match timeout_at(self.deadline(), self.wire.flush()).await {
            Ok(flushed) => Ok(flushed?),
            Err(_) => Err(End::Deaf),
        }
    }

    fn deadline(&self) -> Instant {
        (Instant::now() + self.settings.timeouts.idle).min(self.ends)
    }

    async fn handshake(&mut self, config: &TlsConfig) -> Result<(), End> {
        let config = config.borrow().clone();
        let handshake = timeout(self.settings.timeouts.handshake, self.wire.encrypt(config));
        self.info.tls = Some(handshake.await.map_err(|_| End::TimedOut)?.map_err(End::Handshake)?);
        Ok(())
    }

    fn last_word(&mut self, reply: &Reply, end: End) -> End {
        self.wire.push(reply);
        end
    }

    /// Answers a command that was worth sending.
    fn say(&mut self, reply: &Reply) -> Result<(), End> {
        self.wire.push(reply);
        // RFC 5321 §4.2.2: 421 says that the channel closes.
        if reply.code() == 421 { Err(End::TurnedAway) } else { Ok(()) }
    }

    /// Answers a command that brought no mail nearer.
    fn note(&mut self, reply: &Reply) -> Result<(), End> {
        let Some(left) = self.patience.idle_commands.checked_sub(1) else {
            return Err(self.last_word(&reply::TOO_MANY_IDLE_COMMANDS, End::TurnedAway));
        };
        self.patience.idle_commands = left;
        self.say(reply)
    }

    /// Answers what the client should have known not to send.
    fn refuse(&mut self, reply: Reply) -> Result<(), End> {
        let Some(left) = self.patience.errors.checked_sub(1) else {
            return Err(self.last_word(&reply::TOO_MANY_ERRORS, End::TurnedAway));
        };
        self.patience.errors = left;
        self.note(&reply)
    }
}
