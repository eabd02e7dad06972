//! The line that is printed for a run.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use super::load::Loaded;
use super::machine::Machine;
use super::metrics::Distribution;
use super::options::{Mode, Options};
use super::postgres::Settings;

/// One run. Rates are mails a second; what was not measured is left out.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `postroad`, or the peer's name.
    pub subject: &'static str,
    /// What was measured.
    pub mode: Mode,
    /// Which run, from 1.
    pub run: u32,
    /// Mails.
    pub messages: u64,
    /// What the senders saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<Accept>,
    /// From the first POST (drain: from the moment all fell due) until the sink had taken the last mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_to_end_per_s: Option<f64>,
    /// The same until the last delivery was recorded durably.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_per_s: Option<f64>,
    /// Mails the sink took beyond one of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<u64>,
    /// Single mails on an idle system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// `end_to_end_per_s` as a multiple of the peer's in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_the_peer: Option<f64>,
    /// Seconds of processor time for 1,000 mails.
    pub cpu_s_per_1000: Cpu,
    /// What it took.
    pub memory_mb: Memory,
    /// How mail went through postroad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// What the database wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// Octets of the newest mail, as it was composed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub composed_bytes: Option<i32>,
    /// How the bench was called.
    pub config: Options,
    /// What was built.
    pub build: Build,
    /// On what.
    pub machine: Machine,
}

impl Report {
    /// Prints it, as a line of JSON.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn print(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(self)?)?;
        Ok(out.flush()?)
    }
}

/// Answers to POST.
#[derive(Debug, Serialize)]
pub struct Accept {
    /// Mails accepted a second, from the first octet sent to the last 202.
    pub per_s: f64,
    /// Milliseconds from request to 202.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<Spread>,
    /// Answers that said "later", by status; the mail was sent again.
    pub refused: BTreeMap<u16, u64>,
}

/// Milliseconds, over all mails of a run.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// From the 202 to MAIL FROM at the sink; 0 if MAIL FROM came first.
    pub commit_to_mail_from: Spread,
    /// From the request's first octet to MAIL FROM.
    pub post_to_mail_from: Spread,
    /// From the request's first octet to the 202.
    pub post_to_accepted: Spread,
}

/// Of many values.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// All but a hundredth are at most this.
    pub p99: f64,
    /// The highest.
    pub max: f64,
}

/// Seconds of processor time for 1,000 mails, user and system together.
#[derive(Debug, Serialize)]
pub struct Cpu {
    /// The measured server and its database together.
    pub service: f64,
    /// postroad, or the peer with all its processes.
    pub server: f64,
    /// Postgres with all its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<f64>,
    /// The load generator, which is the bench.
    pub load: f64,
    /// The sink.
    pub sink: f64,
    /// Everything else on the machine: above a tenth of the rest, the figures are disturbed.
    pub others: f64,
    /// Taken by the hypervisor.
    pub stolen: f64,
}

/// MiB.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// The server's part (PSS) before the load.
    pub idle_pss: f64,
    /// Its highest part under load, looked at five times a second.
    pub peak_pss: f64,
    /// Its highest resident set.
    pub peak_rss: f64,
    /// Postgres's part, all processes, after the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_pss: Option<f64>,
}

/// How mail went through postroad.
#[derive(Debug, Serialize)]
pub struct Flow {
    /// Requests in one group commit.
    pub accept_group: Option<Distribution>,
    /// Results in one write.
    pub record_batch: Option<Distribution>,
    /// Deliveries that came from the table and not from accept's hand.
    pub claimed: u64,
    /// Deliveries that were given back untried.
    pub handed_back: u64,
    /// Deliveries that will be tried again.
    pub deferred: u64,
}

/// What the database wrote.
#[derive(Debug, Serialize)]
pub struct Database {
    /// Octets of write-ahead log for a mail.
    pub wal_bytes_per_mail: f64,
    /// Transactions for 1,000 mails, those of chores included.
    pub transactions_per_1000: f64,
    /// How it is set.
    pub settings: Settings,
}

/// What was built.
#[derive(Debug, Clone, Serialize)]
pub struct Build {
    /// The bench's revision; a plus sign says that files have changed since.
    pub commit: String,
    /// The binary that was measured.
    pub binary: String,
    /// Figures of a debug build mean nothing.
    pub profile: &'static str,
}

impl Accept {
    /// From what the load saw; `messages` were accepted.
    pub fn of(loaded: &Loaded, messages: u64) -> Accept {
        Accept {
            per_s: rate(messages, loaded.ended.duration_since(loaded.began).as_secs_f64()),
            ms: Some(Spread::of_sorted_micros(&loaded.latencies)),
            refused: loaded.refused.clone(),
        }
    }

    /// A rate alone.
    pub fn at_rate(per_s: f64) -> Accept {
        Accept { per_s, ms: None, refused: BTreeMap::new() }
    }
}

impl Spread {
    /// Of microseconds, lowest first.
    pub fn of_sorted_micros(micros: &[u32]) -> Spread {
        let at = |part: f64| {
            let index = ((micros.len() as f64 * part).ceil() as usize).clamp(1, micros.len().max(1)) - 1;
            round(micros.get(index).copied().map_or(0.0, f64::from) / 1000.0, 1000.0)
        };
        Spread { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// Mails a second.
pub fn rate(messages: u64, seconds: f64) -> f64 {
    round(messages as f64 / seconds.max(1e-6), 10.0)
}

/// MiB.
pub fn mebibytes(octets: u64) -> f64 {
    round(octets as f64 / f64::from(1 << 20), 10.0)
}

/// With as many digits after the point as `unit` has zeros.
pub fn round(value: f64, unit: f64) -> f64 {
    (value * unit).round() / unit
}
