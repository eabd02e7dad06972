//! One connection to a sink: reads, asks the script, answers, writes everything down.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::log::{Mail, Recipient, Sent, What};
use super::script::{Act, Deed, Step, held};
use super::tls::Stream;
use super::{Shared, auth};

/// How long a closed connection still reads, so that what it said last is not lost to a RST.
const LINGER: Duration = Duration::from_secs(1);

/// The connection is over, by script or by the client.
pub(super) struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

pub(super) struct Session {
    stream: Stream,
    input: Vec<u8>,
    shared: Arc<Shared>,
    number: usize,
    hello: Option<String>,
    pub(super) user: Option<String>,
    transaction: Option<Transaction>,
    /// The mail whose dot is being answered, as an index into the log.
    answering: Option<usize>,
}

#[derive(Default)]
struct Transaction {
    from: String,
    params: Vec<String>,
    recipients: Vec<Recipient>,
}

/// What performing an act came to.
enum Done {
    /// The three digits said last; 0 if nothing readable was said.
    Said(u16),
    /// The usual is still to be done.
    Usual,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.write(|log| log.closed(self.number));
    }
}

pub(super) async fn run(stream: TcpStream, shared: Arc<Shared>) {
    // A sink must not be what makes a client look slow; a socket that refuses is not slower than that.
    let _ = stream.set_nodelay(true);
    let Ok(client) = stream.peer_addr() else { return };
    let number = shared.write(|log| log.opened(client.ip()));
    let mut session = Session {
        stream: Stream::Plain(stream),
        input: Vec::new(),
        shared,
        number,
        hello: None,
        user: None,
        transaction: None,
        answering: None,
    };
    let Err(Gone) = session.converse().await;
}

impl Session {
    async fn converse(&mut self) -> Result<std::convert::Infallible, Gone> {
        let implicit = self.shared.plan().implicit_tls.clone();
        if let Some(config) = implicit {
            self.handshake(config).await?;
        }
        self.answer(Step::Connect, &[], "220 sink.test ESMTP sink").await?;
        loop {
            let idle = self.shared.plan().idle.unwrap_or(Duration::MAX);
            match timeout(idle, self.line()).await {
                Ok(line) => self.command(&line?).await?,
                Err(_) => {
                    self.answer(Step::Idle, &[], "421 4.4.2 idle too long").await?;
                }
            }
        }
    }

    async fn command(&mut self, line: &str) -> Result<(), Gone> {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.hello(Step::Ehlo, argument).await,
            "HELO" => self.hello(Step::Helo, argument).await,
            "STARTTLS" => self.starttls().await,
            "AUTH" => auth::exchange(self, argument).await,
            "MAIL" => self.mail(argument).await,
            "RCPT" => self.rcpt(argument).await,
            "DATA" => self.data().await,
            "RSET" => {
                self.transaction = None;
                self.answer(Step::Rset, &[], "250 2.0.0 reset").await.map(|_| ())
            }
            "NOOP" => self.answer(Step::Noop, &[], "250 2.0.0 ok").await.map(|_| ()),
            "QUIT" => {
                self.answer(Step::Quit, &[], "221 2.0.0 bye").await?;
                self.perform(super::close()).await.map(|_| ())
            }
            _ => self.say(b"500 5.5.2 what?\r\n").await,
        }
    }

    async fn hello(&mut self, step: Step, name: &str) -> Result<(), Gone> {
        let mut usual = vec!["sink.test".to_owned()];
        if step == Step::Ehlo {
            usual.extend(self.offers());
        }
        let last = usual.len() - 1;
        let line = |(index, text)| format!("250{}{text}", if index < last { '-' } else { ' ' });
        let usual: Vec<_> = usual.iter().enumerate().map(line).collect();
        let code = self.answer(step, &[], &usual.join("\r\n")).await?;
        if code / 100 == 2 {
            (self.hello, self.transaction) = (Some(name.to_owned()), None);
        }
        Ok(())
    }

    fn offers(&self) -> Vec<String> {
        let plan = self.shared.plan();
        let mut offers = plan.keywords.clone();
        if plan.starttls.is_some() && !self.stream.is_encrypted() {
            offers.push("STARTTLS".to_owned());
        }
        if let Some(accounts) = &plan.accounts {
            let mut mechanisms: Vec<_> = accounts.mechanisms.iter().map(String::as_str).collect();
            mechanisms.sort_unstable();
            offers.push(format!("AUTH {}", mechanisms.join(" ")));
        }
        offers
    }

    async fn starttls(&mut self) -> Result<(), Gone> {
        let config = self.shared.plan().starttls.clone().filter(|_| !self.stream.is_encrypted());
        let usual = if config.is_some() { "220 2.0.0 go ahead" } else { "502 5.5.1 no TLS here" };
        let code = self.answer(Step::StartTls, &[], usual).await?;
        match config {
            Some(config) if code == 220 => {
                (self.hello, self.user, self.transaction) = (None, None, None);
                self.handshake(config).await
            }
            _ => Ok(()),
        }
    }

    async fn handshake(&mut self, config: Arc<rustls::ServerConfig>) -> Result<(), Gone> {
        let scripted = self.shared.plan().script.act(Step::Handshake, self.number, &[]);
        if let Some(act) = scripted
            && let Done::Said(_) = self.perform(act).await?
        {
            return Ok(());
        }
        self.input.clear();
        self.stream.encrypt(config).await?;
        self.note(What::Encrypted);
        Ok(())
    }

    async fn mail(&mut self, argument: &str) -> Result<(), Gone> {
        let Some((from, params)) = path(argument, "FROM:") else {
            return self.say(b"501 5.5.4 what?\r\n").await;
        };
        let must_authenticate = self.shared.plan().accounts.is_some() && self.user.is_none();
        let usual = match (&self.hello, &self.transaction) {
            (None, _) => "503 5.5.1 hello first",
            (_, Some(_)) => "503 5.5.1 nested MAIL",
            _ if must_authenticate => "530 5.7.0 authenticate first",
            _ => "250 2.1.0 ok",
        };
        let code = self.answer(Step::Mail, &[&from], usual).await?;
        if code / 100 == 2 {
            self.transaction = Some(Transaction { from, params, recipients: Vec::new() });
        }
        Ok(())
    }

    async fn rcpt(&mut self, argument: &str) -> Result<(), Gone> {
        let Some((path, params)) = path(argument, "TO:") else {
            return self.say(b"501 5.5.4 what?\r\n").await;
        };
        let usual = if self.transaction.is_some() { "250 2.1.5 ok" } else { "503 5.5.1 MAIL first" };
        let code = self.answer(Step::Rcpt, &[&path], usual).await?;
        if let Some(transaction) = &mut self.transaction
            && code / 100 == 2
        {
            transaction.recipients.push(Recipient { path, params });
        }
        Ok(())
    }

    async fn data(&mut self) -> Result<(), Gone> {
        let subjects = self.recipients();
        let subjects: Vec<_> = subjects.iter().map(String::as_str).collect();
        let usual = match &self.transaction {
            None => "503 5.5.1 MAIL first",
            Some(transaction) if transaction.recipients.is_empty() => "554 5.5.1 no recipients",
            Some(_) => "354 go ahead",
        };
        if self.answer(Step::Data, &subjects, usual).await? != 354 {
            return Ok(());
        }
        let wire = self.text(&subjects).await?;
        self.remember(wire);
        self.answer(Step::Dot, &subjects, "250 2.0.0 taken").await?;
        self.answering = None;
        Ok(())
    }

    fn recipients(&self) -> Vec<String> {
        let transaction = self.transaction.iter();
        transaction.flat_map(|transaction| &transaction.recipients).map(|to| to.path.clone()).collect()
    }

    fn remember(&mut self, wire: Vec<u8>) {
        self.note(What::Text(wire.len()));
        let Transaction { from, params, recipients } = self.transaction.take().unwrap_or_default();
        let text = unstuffed(&wire);
        let (encrypted, user) = (self.stream.is_encrypted(), self.user.clone());
        let (connection, at) = (self.number, Instant::now());
        let accepted = false;
        let mail = Mail { connection, from, params, recipients, wire, text, encrypted, user, at, accepted };
        self.answering = Some(self.shared.write(|log| {
            log.mails.push(mail);
            log.mails.len() - 1
        }));
    }

    /// Before the client can hear of it, so that a test which the client woke finds the mail.
    fn take(&self) {
        if let Some(index) = self.answering {
            self.shared.write(|log| log.mails[index].accepted = true);
        }
    }

    /// Reads up to and with the final dot.
    async fn text(&mut self, subjects: &[&str]) -> Result<Vec<u8>, Gone> {
        let mut marks = self.shared.plan().script.text_marks(self.number, subjects).into_iter().peekable();
        let mut searched = 0;
        loop {
            while let Some(mark) = marks.next_if(|&mark| self.input.len() >= mark) {
                let act = self.shared.plan().script.act_in_text(mark, self.number, subjects);
                if let Some(act) = act {
                    self.perform(act).await?;
                }
            }
            if let Some(end) = end_of_text(&self.input, searched) {
                let rest = self.input.split_off(end);
                return Ok(std::mem::replace(&mut self.input, rest));
            }
            searched = self.input.len().saturating_sub(4);
            self.read().await?;
        }
    }

    /// The next command without its line end. An octet that is no UTF-8 shows as U+FFFD.
    pub(super) async fn line(&mut self) -> Result<String, Gone> {
        loop {
            if let Some(end) = self.input.iter().position(|&octet| octet == b'\n') {
                let rest = self.input.split_off(end + 1);
                let line = std::mem::replace(&mut self.input, rest);
                let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
                let sent = if self.input.is_empty() { Sent::Alone } else { Sent::Pipelined };
                self.note(What::Client(line.clone(), sent));
                return Ok(line);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Gone> {
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(Gone),
            _ => Ok(()),
        }
    }

    /// Does what the script says at this step, or the usual; returns the three digits said last.
    pub(super) async fn answer(&mut self, step: Step, subjects: &[&str], usual: &str) -> Result<u16, Gone> {
        let act = self.shared.plan().script.act(step, self.number, subjects);
        let done = match act {
            Some(act) => self.perform(act).await?,
            None => Done::Usual,
        };
        match done {
            Done::Said(code) => Ok(code),
            Done::Usual => match self.perform(super::reply(usual)).await? {
                Done::Said(code) => Ok(code),
                Done::Usual => Ok(0),
            },
        }
    }

    async fn perform(&mut self, act: Act) -> Result<Done, Gone> {
        let mut done = Done::Said(0);
        for deed in act.0 {
            match deed {
                Deed::Say(octets) => {
                    self.say(&octets).await?;
                    done = Done::Said(code(&octets));
                }
                Deed::Dribble(octets, pause) => {
                    for octet in &octets {
                        sleep(pause).await;
                        self.stream.write_all(&[*octet]).await?;
                        self.stream.flush().await?;
                    }
                    self.note(What::Sink(String::from_utf8_lossy(&octets).into_owned()));
                    done = Done::Said(code(&octets));
                }
                Deed::Endless(line) => loop {
                    self.stream.write_all(&line).await?;
                },
                Deed::Wait(time) => sleep(time).await,
                Deed::Hold(gate) => held(&gate).await,
                Deed::Take => self.take(),
                Deed::Usual => done = Done::Usual,
                Deed::Close => return Err(self.close().await),
                Deed::Reset => {
                    self.stream.reset_on_close()?;
                    return Err(Gone);
                }
            }
        }
        match done {
            Done::Said(421) => Err(self.close().await),
            done => Ok(done),
        }
    }

    pub(super) async fn say(&mut self, octets: &[u8]) -> Result<(), Gone> {
        if code(octets) / 100 == 2 {
            self.take();
        }
        self.note(What::Sink(String::from_utf8_lossy(octets).into_owned()));
        self.stream.write_all(octets).await?;
        Ok(self.stream.flush().await?)
    }

    async fn close(&mut self) -> Gone {
        let linger = async {
            self.stream.shutdown().await?;
            while self.stream.read_buf(&mut self.input).await? > 0 {
                self.input.clear();
            }
            io::Result::Ok(())
        };
        // The connection ends either way.
        let _ = timeout(LINGER, linger).await;
        Gone
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn note(&self, what: What) {
        self.shared.write(|log| log.note(self.number, what));
    }
}

/// The three digits of the last line; 0 if there are none.
fn code(octets: &[u8]) -> u16 {
    let line = octets.trim_ascii_end().rsplit(|&octet| octet == b'\n').next().unwrap_or_default();
    line.get(..3)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

/// Path and parameters of `FROM:<path> A B=C`.
fn path(argument: &str, keyword: &str) -> Option<(String, Vec<String>)> {
    let (head, tail) = argument.split_at_checked(keyword.len())?;
    let (path, params) = tail.trim_start().strip_prefix('<')?.rsplit_once('>')?;
    let params = params.split_ascii_whitespace().map(str::to_owned).collect();
    head.eq_ignore_ascii_case(keyword).then(|| (path.to_owned(), params))
}

/// Where the text ends, if its final dot is there. Everything before `searched` is known not to hold it.
fn end_of_text(wire: &[u8], searched: usize) -> Option<usize> {
    if wire.starts_with(b".\r\n") {
        return Some(3);
    }
    let found = wire[searched..].windows(5).position(|window| window == b"\r\n.\r\n")?;
    Some(searched + found + 5)
}

/// RFC 5321 §4.5.2.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let stuffed = wire.strip_suffix(b".\r\n").unwrap_or(wire);
    let starts_line = |index: usize| index == 0 || stuffed[..index].ends_with(b"\r\n");
    let octets = stuffed.iter().enumerate();
    octets
        .filter(|&(index, &octet)| !(octet == b'.' && starts_line(index)))
        .map(|(_, &octet)| octet)
        .collect()
}
