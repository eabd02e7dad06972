//! How fast mail goes: connections, mails and new connections that a site is given, over one process and several;
//! what its replies change; and that none of it costs a mail an attempt.

mod destinations;
mod exchanges;
mod limits;
mod nodes;
mod pauses;
mod replies;

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::app::{Builder, TestApp};
use crate::support::client::{PATIENCE, mail};
use crate::support::oracle::Oracle;
use crate::support::sink::{Line, SmtpSink, What};

/// A table of paces in a file of its own.
struct Table {
    directory: TempDir,
}

impl Table {
    fn of(text: &str) -> Table {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("pacing.toml"), text).expect("written");
        Table { directory }
    }

    /// What all relays on loopback have.
    fn of_relays(text: &str) -> Table {
        Table::of(&format!("[provider.here]\nrelays = ['127.0.0.1']\n{text}"))
    }

    fn laid_over(&self, app: Builder) -> Builder {
        app.set("POSTROAD_PACING", &self.directory.path().join("pacing.toml").display().to_string())
    }
}

fn route(sink: &SmtpSink) -> String {
    format!("smtp://{}?tls=none", sink.address())
}

/// So many mails to different recipients, accepted together.
async fn send_batch(app: &TestApp, count: usize, domain: &str) {
    let mails = (0..count).map(|n| mail(&format!("u{n}@{domain}"))).collect();
    assert_eq!(Oracle::new().send_batch(&app.client, mails).await, count);
}

/// How many connections were open at the same time, at most, as the peer sees it: from being opened until QUIT, or
/// until it said goodbye itself, or lost it.
fn most_at_once(sink: &SmtpSink) -> usize {
    let mut open = std::collections::HashSet::new();
    let mut most = 0;
    for Line { connection, what, .. } in sink.transcript() {
        match what {
            What::Connected => {
                open.insert(connection);
            }
            What::Client(command, _) if command == "QUIT" => {
                open.remove(&connection);
            }
            What::Sink(reply) if reply.starts_with("421") => {
                open.remove(&connection);
            }
            What::Closed => {
                open.remove(&connection);
            }
            _ => {}
        }
        most = most.max(open.len());
    }
    most
}

/// The most of these moments within any stretch of a second.
fn most_in_a_second(moments: &[std::time::Instant]) -> usize {
    let within = |first: &std::time::Instant| {
        moments
            .iter()
            .filter(|at| **at >= *first && at.duration_since(*first) < Duration::from_secs(1))
            .count()
    };
    moments.iter().map(within).max().unwrap_or(0)
}

/// Waits until something holds of the database.
async fn until_count(app: &TestApp, query: &str, wanted: i64) {
    let began = std::time::Instant::now();
    loop {
        let found = app.database.count(query).await;
        if found == wanted {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{found} instead of {wanted}: {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn attempts(message: &Value) -> usize {
    message.pointer("/deliveries/0/attempts").and_then(Value::as_array).map_or(0, Vec::len)
}
