//! What can be varied. Every value is repeated in the report, so that a line can be read on its own.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures postroad's release binary end to end.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "throughput")]
pub struct Options {
    /// What is measured.
    #[arg(long, value_enum, default_value_t = Mode::E2e)]
    pub mode: Mode,
    /// Mails in a run [default: 50000; drain 100000; latency 300].
    #[arg(long)]
    pub messages: Option<u64>,
    /// Octets of a mail, composed, more or less.
    #[arg(long, default_value_t = 2048)]
    pub size: usize,
    /// Text and HTML, half each; otherwise text alone.
    #[arg(long)]
    pub html: bool,
    /// Keep-alive HTTP connections, each with one request at a time.
    #[arg(long, default_value_t = 64)]
    pub concurrency: usize,
    /// Submits by SMTP over TLS instead of HTTP; `concurrency` counts sessions.
    #[arg(long)]
    pub smtp: bool,
    /// With `--smtp`: begins in clear, and changes to TLS by STARTTLS.
    #[arg(long, requires = "smtp")]
    pub starttls: bool,
    /// Mails in a call: above 1 it is `POST /v1/messages/batch`.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Tenants that send, in turn by connection.
    #[arg(long, default_value_t = 1)]
    pub tenants: usize,
    /// Every request carries an Idempotency-Key of its own.
    #[arg(long)]
    pub idempotency: bool,
    /// The relay: `plain`, `slow:SECONDS` (waits so long at every DATA) or `none` (refuses connections).
    #[arg(long, default_value = "plain")]
    pub sink: Sink,
    /// Connections to the relay [default: postroad's own].
    #[arg(long)]
    pub connections: Option<u16>,
    /// How mail is signed.
    #[arg(long, value_enum, default_value_t = Dkim::None)]
    pub dkim: Dkim,
    /// Mails of earlier days that are in the database already; put there before the first run.
    #[arg(long, default_value_t = 0)]
    pub history: u64,
    /// Over how many days before today the history is spread.
    #[arg(long, default_value_t = 30)]
    pub history_days: u16,
    /// Runs, all on one service; before the first a few mails are sent unmeasured.
    #[arg(long, default_value_t = 1)]
    pub runs: u32,
    /// Latency: the pause between two mails.
    #[arg(long, default_value_t = 50)]
    pub pause_ms: u64,
    /// Latency: the sink closes its connection after every mail, so that each mail needs a new one.
    #[arg(long)]
    pub cold: bool,
    /// Measures another mail server with the same sink before every run.
    #[arg(long, value_enum)]
    pub peer: Option<Peer>,
    /// Measures only the peer.
    #[arg(long, requires = "peer")]
    pub peer_only: bool,
    /// A Postgres to use instead of the embedded one. What is in it stays, and more comes.
    #[arg(long)]
    #[serde(skip)]
    pub database_url: Option<String>,
    /// A data directory to use and to keep; otherwise a temporary one in /var/tmp.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Another binary than the one that was built with the bench.
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// A setting for postroad, such as POSTROAD_ACCEPT_WRITERS=3; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub env: Vec<Pair>,
    /// A setting for the embedded Postgres's postgresql.conf; repeatable.
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "database_url")]
    pub postgres: Vec<Pair>,
    /// Prints after each run, to standard error, what pg_stat_statements counted during it.
    #[arg(long)]
    pub statements: bool,
    /// Threads that make the load.
    #[arg(long, default_value_t = 1)]
    pub load_threads: usize,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub bench: bool,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// From the first POST until the last delivery is recorded.
    E2e,
    /// Accepting alone: everything is to be sent tomorrow.
    Accept,
    /// How fast a backlog that falls due at once is delivered.
    Drain,
    /// One mail at a time on an idle system: from the 202 to MAIL FROM.
    Latency,
}

/// How mail is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dkim {
    /// Not at all.
    None,
    /// Ed25519 (RFC 8463).
    Ed25519,
    /// RSA-2048.
    Rsa,
    /// Each mail twice.
    Both,
}

impl Dkim {
    /// The keys that sign, as the database names them.
    pub fn algorithms(self) -> &'static [&'static str] {
        match self {
            Dkim::None => &[],
            Dkim::Ed25519 => &["ed25519"],
            Dkim::Rsa => &["rsa"],
            Dkim::Both => &["rsa", "ed25519"],
        }
    }
}

/// Another mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// Debian's Postfix as a relay, fed by smtp-source. Needs root.
    Postfix,
}

/// What listens where mail goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sink {
    /// smtp-sink, as fast as it is.
    Plain,
    /// smtp-sink that waits so many seconds before it answers DATA.
    Slow(u16),
    /// Nothing: connections are refused.
    None,
}

impl FromStr for Sink {
    type Err = String;

    fn from_str(text: &str) -> Result<Sink, String> {
        match text {
            "plain" => Ok(Sink::Plain),
            "none" => Ok(Sink::None),
            _ => text
                .strip_prefix("slow:")
                .and_then(|seconds| seconds.parse().ok())
                .map(Sink::Slow)
                .ok_or_else(|| format!("{text:?} is none of plain, slow:SECONDS and none")),
        }
    }
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Before the equals sign.
    pub name: String,
    /// After it.
    pub value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Pair, String> {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no ="))?;
        Ok(Pair { name: name.to_owned(), value: value.to_owned() })
    }
}

impl Options {
    /// Mails in a run.
    pub fn messages(&self) -> u64 {
        self.messages.unwrap_or(match self.mode {
            Mode::E2e | Mode::Accept => 50_000,
            Mode::Drain => 100_000,
            Mode::Latency => 300,
        })
    }

    /// Refuses what does not go together.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.dkim == Dkim::None || self.tenants == 1,
            "--dkim: a domain belongs to one tenant; use one"
        );
        ensure!(self.messages() > 0 && self.concurrency > 0 && self.load_threads > 0 && self.tenants > 0);
        ensure!(!self.smtp || self.batch == 1, "--smtp: SMTP knows no batches");
        ensure!(!self.smtp || !self.html, "--smtp: the mails are text alone");
        ensure!(!(self.smtp && self.mode == Mode::Latency), "--smtp: single mails are measured over HTTP");
        ensure!((1..=1000).contains(&self.batch), "--batch: 1 to 1000 mails");
        ensure!(self.messages().is_multiple_of(self.batch as u64), "--messages: whole batches are needed");
        ensure!(self.size >= 600, "--size: the header alone takes some hundred octets; 600 or more");
        ensure!(self.history == 0 || self.history_days > 0, "--history needs --history-days");
        if self.sink == Sink::None && matches!(self.mode, Mode::Drain | Mode::Latency) {
            bail!("--sink none delivers nothing, which is what this mode measures");
        }
        if self.mode == Mode::Latency && self.sink != Sink::Plain {
            bail!("--mode latency has a sink of its own");
        }
        Ok(())
    }
}
