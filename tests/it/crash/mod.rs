//! What processes suffer: postroad and Postgres are killed, stopped, cut off and starved, for real, and the
//! conservation oracle is asked afterwards.
//!
//! Every test runs the real program. Where only postroad is the victim, its database is one of the scratch
//! server; where Postgres is, it is the program's private one or a [`cluster::Cluster`] of the test's own.
//!
//! With `POSTROAD_TORTURE=1` they try every point at which something can break, or repeat it more often;
//! otherwise a sample. Each prints how much was suffered, for whoever reads the log.

mod clocks;
pub mod cluster;
mod database;
mod disks;
mod drain;
mod kills;
mod load;
mod networks;
mod nodes;
mod poison;
mod slowloris;
mod soak;
mod strace;
mod upgrade;

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::support::client::{Client, mail};
use crate::support::database::TestDatabase;
use crate::support::oracle::{Copy, taken_by};
use crate::support::program::Settings;
use crate::support::sink::SmtpSink;

/// Longer than anything here takes on a busy machine, unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is done: a sample, or all of it.
fn rounds(sample: usize, torture: usize) -> usize {
    if std::env::var_os("POSTROAD_TORTURE").is_some() { torture } else { sample }
}

/// The real program on a database of the scratch server, delivering to a sink.
struct Scene {
    directory: tempfile::TempDir,
    database: TestDatabase,
    sink: SmtpSink,
}

impl Scene {
    async fn set() -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        Scene { directory, database: TestDatabase::fresh().await, sink: SmtpSink::builder().start().await }
    }

    /// A node of this name; the same name is the same data directory.
    fn node(&self, name: &str) -> Settings {
        let settings = Settings::embedded(self.directory.path()).database(&self.database.url);
        settings.node(name).relay(self.sink.address().port())
    }

    async fn database(&self) -> PgConnection {
        self.database.connect().await
    }

    /// What the sink took, for the oracle.
    fn taken(&self) -> Vec<Copy> {
        taken_by(&self.sink)
    }
}

/// A mail with so much text that it takes many segments to send.
fn long_mail(octets: usize) -> Value {
    let line = "So many words that nobody will ever read them all, and none of them matters.\n";
    let mut long = mail("long@example.net");
    long["text"] = line.repeat(octets / line.len() + 1).into();
    long
}

/// Waits until something holds; fails the test if it does not in time.
async fn eventually(claim: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < patience, "not within {patience:?}: {claim}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the queue is empty; if it does not get so, what is left in it fails the test.
async fn drained(database: &mut PgConnection, patience: Duration) {
    let began = Instant::now();
    loop {
        let left: i64 = number(database, "SELECT count(*) FROM queue").await;
        if left == 0 {
            return;
        }
        if began.elapsed() > patience {
            panic!("{left} rows are still queued after {patience:?}:\n{}", queue_text(database).await);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The first rows of the queue, for the message of a failed test.
async fn queue_text(database: &mut PgConnection) -> String {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s leased by %s, due in %s s, claim %s, attempts %s, unresolved %s', delivery_id,
                       leased_by, round(extract(epoch FROM due_at - clock_timestamp())), claim_no, attempts,
                       unresolved)
         FROM queue ORDER BY due_at LIMIT 20",
    )
    .fetch_all(database)
    .await
    .expect("asked");
    rows.join("\n")
}

/// One number.
async fn number(database: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(database).await.expect("asked")
}

/// Runs a statement of the test's own.
async fn run(database: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(database).await.expect("done");
}

/// Ends what postroad has open in this database that the condition is true of; gives how many there were.
async fn terminate(database: &mut PgConnection, condition: &str) -> usize {
    let statement = format!(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'postroad' AND ({condition})"
    );
    let ended: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(database).await.expect("asked");
    usize::try_from(ended).expect("a count")
}

/// Whether the service says that it is ready.
async fn is_ready(client: &Client) -> bool {
    let request = client.request(reqwest::Method::GET, "/readyz");
    client.try_send(request).await.is_ok_and(|answer| answer.status.is_success())
}

/// A connection to a database that may still be coming back.
async fn reconnect(url: &str) -> PgConnection {
    let began = Instant::now();
    loop {
        match PgConnection::connect(url).await {
            Ok(connection) => return connection,
            Err(error) => assert!(began.elapsed() < PATIENCE, "the database does not come back: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
