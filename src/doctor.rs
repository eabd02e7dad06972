//! `postroad doctor`: everything that mail depends on, checked from here, each with what to do about it.

mod dashboard;
mod direct;
mod standing;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use time::OffsetDateTime;
use tokio::net::TcpStream;

use crate::config::Config;
use crate::domain::relay::{DefaultRoute, Endpoint};
use crate::embedded::{self, Attached};
use crate::store::health::{self, ServerFacts};
use crate::store::{Database, StoreError, Use, migrate, nodes, partitions};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Mail goes, but this should be mended.
    Doubtful,
    /// Mail does not go, or is at risk.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found, and what to do.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Doubtful => "warn",
            Verdict::Bad => "FAIL",
        };
        write!(f, "{mark}  {:<12} {}", self.subject, self.text)
    }
}

fn good(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Good, subject, text: text.into() }
}

fn doubtful(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Doubtful, subject, text: text.into() }
}

fn bad(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Bad, subject, text: text.into() }
}

/// How long anything outside may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most a machine's clock may differ from the database's.
const CLOCK_SLACK: time::Duration = time::Duration::seconds(5);
/// A snapshot this old keeps vacuum from cleaning the queue.
const OLD_SNAPSHOT: i64 = 1_000_000;
const OLD_TRANSACTION: f64 = 300.0;

/// Looks at everything.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![hostname(config)];
    findings.extend(database(config).await);
    findings.extend(route(config).await);
    findings.extend(http(config).await);
    findings.push(dashboard::examine(config));
    findings
}

fn hostname(config: &Config) -> Finding {
    if config.hostname.contains('.') && !config.hostname.ends_with(".localdomain") {
        return good("host name", format!("{} (EHLO, return paths)", config.hostname));
    }
    let text = format!(
        "{} is not fully qualified; set POSTROAD_HOSTNAME to this host's name in DNS",
        config.hostname
    );
    if config.route == DefaultRoute::Capture { good("host name", text) } else { doubtful("host name", text) }
}

async fn database(config: &Config) -> Vec<Finding> {
    let (options, attached) = match options(config).await {
        Ok(found) => found,
        Err(finding) => return vec![finding],
    };
    let database = Database::new(options);
    let examined = tokio::time::timeout(PATIENCE, examine_database(&database)).await;
    let mut findings = match examined.unwrap_or_else(|_| Err(StoreError::timed_out())) {
        Ok(findings) => findings,
        Err(error) => vec![bad("database", format!("{error}; check DATABASE_URL, and that Postgres runs"))],
    };
    database.close().await;
    if let Some(url) = attached.as_ref().and_then(Attached::url) {
        findings.push(good("private database", format!("{url} (for psql and pg_dump, while postroad runs)")));
    }
    if let Some(attached) = attached {
        // It was started for this command alone; how it ends changes no finding.
        let _ = attached.close().await;
    }
    findings
}

async fn options(config: &Config) -> Result<(PgConnectOptions, Option<Attached>), Finding> {
    match &config.database_url {
        Some(url) => match Database::parse(url.reveal()) {
            Ok(options) => Ok((options, None)),
            Err(_) => Err(bad("database", "DATABASE_URL is no postgres:// URL")),
        },
        None => match embedded::attach(&config.data_dir).await {
            Ok(attached) => Ok((attached.connect_options(), Some(attached))),
            Err(error) => Err(bad("database", error.to_string())),
        },
    }
}

async fn examine_database(database: &Database) -> Result<Vec<Finding>, StoreError> {
    let mut link = database.link(Use::Maintain);
    let connection = link.get().await?;
    let facts = health::server_facts(connection).await?;
    let mut findings = vec![version(&facts)];
    findings.extend(durability(&facts));
    findings.extend(database.unsafe_way().map(|text| doubtful("database", text)));
    findings.push(snapshots(&facts));
    findings.push(clock(nodes::database_time(connection).await?));
    findings.push(schema(migrate::is_current(connection).await?));
    if migrate::is_current(connection).await? {
        let tomorrow = (nodes::database_time(connection).await? + time::Duration::DAY).date();
        findings.push(match partitions::exist(connection, tomorrow).await? {
            true => good("partitions", "made ahead"),
            false => bad("partitions", "none for tomorrow: a process with the role worker makes them"),
        });
    }
    if migrate::is_current(connection).await? {
        findings.extend(standing::examine(connection).await?);
    }
    let mut other = database.link(Use::Maintain);
    findings.push(pooling(connection, other.get().await?).await?);
    other.close().await;
    findings.push(notifications(database).await);
    link.close().await;
    Ok(findings)
}

fn version(facts: &ServerFacts) -> Finding {
    let (major, minor) = (facts.version / 10_000, facts.version % 10_000);
    match (facts.in_recovery, major) {
        (true, _) => bad("database", "this is a standby: it takes no writes; connect to the primary"),
        (false, ..14) => bad("database", format!("Postgres {major} is too old: 14 or later is needed")),
        (false, _) => good(
            "database",
            format!("Postgres {major}.{minor}, {} connections allowed", facts.max_connections),
        ),
    }
}

fn durability(facts: &ServerFacts) -> Vec<Finding> {
    let warnings = facts.durability_warnings();
    if warnings.is_empty() {
        return vec![good("durability", "fsync, full_page_writes and synchronous_commit are on")];
    }
    let weigh = |text: String| {
        // postroad's own connections set synchronous_commit themselves.
        if text.starts_with("synchronous_commit") {
            doubtful("durability", text)
        } else {
            bad("durability", text)
        }
    };
    warnings.into_iter().map(weigh).collect()
}

fn snapshots(facts: &ServerFacts) -> Finding {
    if facts.oldest_snapshot_age > OLD_SNAPSHOT || facts.oldest_transaction_seconds > OLD_TRANSACTION {
        let text = format!(
            "a transaction has been open for {:.0} s (snapshot age {}): vacuum cannot clean the queue, and it slows \
             down; find it in pg_stat_activity, and set idle_in_transaction_session_timeout",
            facts.oldest_transaction_seconds, facts.oldest_snapshot_age
        );
        return doubtful("snapshots", text);
    }
    good("snapshots", "none is old")
}

#[expect(clippy::disallowed_methods, reason = "the machine's clock is what is compared")]
fn clock(database: OffsetDateTime) -> Finding {
    let drift = OffsetDateTime::now_utc() - database;
    let text = format!("this machine's clock and the database's differ by {:.1} s", drift.as_seconds_f64());
    if drift.abs() <= CLOCK_SLACK {
        return good("clock", text);
    }
    doubtful("clock", format!("{text}; run NTP on both (postroad itself follows the database's)"))
}

fn schema(current: bool) -> Finding {
    if current {
        good("schema", "up to date")
    } else {
        bad("schema", "older than this program: run postroad migrate, or start postroad serve")
    }
}

/// A pooler that shares connections by transaction breaks LISTEN, prepared statements and session settings. Through
/// one, a connection is served by several backends, or two connections by the same.
async fn pooling(
    connection: &mut crate::store::PgConnection,
    other: &mut crate::store::PgConnection,
) -> Result<Finding, StoreError> {
    let text = "a pooler shares connections by transaction: LISTEN, prepared statements and timeouts do not \
                work through it; connect to Postgres itself, or pool by session";
    match shares_sessions(connection, other).await {
        Ok(false) => Ok(good("pooling", "sessions are our own")),
        Ok(true) => Ok(bad("pooling", text)),
        Err(error) if error.is_of_a_shared_session() => Ok(bad("pooling", text)),
        Err(error) => Err(error),
    }
}

async fn shares_sessions(
    connection: &mut crate::store::PgConnection,
    other: &mut crate::store::PgConnection,
) -> Result<bool, StoreError> {
    let (mut ours, mut theirs) = (HashSet::new(), HashSet::new());
    for _ in 0..8 {
        ours.insert(health::backend_pid(connection).await?);
        theirs.insert(health::backend_pid(other).await?);
    }
    let shared = ours.len() > 1 || theirs.len() > 1 || !ours.is_disjoint(&theirs);
    Ok(shared || !health::keeps_session_state(connection).await?)
}

async fn notifications(database: &Database) -> Finding {
    let heard = tokio::time::timeout(PATIENCE, database.hears_itself()).await;
    match heard {
        Ok(Ok(true)) => good("notify", "notifications arrive"),
        _ => doubtful("notify", "notifications do not arrive: mail from other processes waits for polling"),
    }
}

async fn route(config: &Config) -> Vec<Finding> {
    match &config.route {
        DefaultRoute::Capture => {
            vec![good("route", "capture: mail is kept for reading, nothing leaves this machine")]
        }
        DefaultRoute::Direct => direct::examine(config).await,
        DefaultRoute::Relay(endpoint) => vec![relay(endpoint).await],
    }
}

async fn relay(endpoint: &Endpoint) -> Finding {
    let target = format!("{}:{}", endpoint.host, endpoint.port);
    let reach = async {
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        let addresses: Vec<SocketAddr> =
            tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await?.collect();
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(_) => return Ok(address),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    match tokio::time::timeout(PATIENCE, reach).await {
        Ok(Ok(address)) => good("route", format!("the relay {target} answers at {address}")),
        Ok(Err(error)) => bad("route", format!("the relay {target} cannot be reached: {error}")),
        Err(_) => {
            let advice =
                if endpoint.port == 25 { "; many networks block port 25: try 587 or 465" } else { "" };
            bad("route", format!("the relay {target} does not answer{advice}"))
        }
    }
}

async fn http(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &config.public_url {
        Some(url) if url.starts_with("https://") => findings.push(good("public url", url.clone())),
        Some(url) => findings
            .push(doubtful("public url", format!("{url} is not https: keys and mail travel in clear"))),
        None if config.http_addr.ip().is_loopback() => findings.push(good("public url", "loopback only")),
        None => findings
            .push(doubtful("public url", "not set: set POSTROAD_PUBLIC_URL to the https URL of your proxy")),
    }
    findings
}
