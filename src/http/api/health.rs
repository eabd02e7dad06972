//! Liveness, readiness, metrics.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::http::App;
use crate::store::health::{self, ServerFacts};
use crate::store::queue::{self, Depth};
use crate::store::{Database, StoreError, migrate, partitions};

/// The process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// How long readiness waits for the database.
const PATIENCE: Duration = Duration::from_secs(2);

struct Readiness {
    facts: ServerFacts,
    schema_current: bool,
    partitions_ahead: bool,
}

/// Mail can be accepted and sent: the database answers, writes durably and is up to date, and no role is down.
pub async fn readyz(State(app): State<App>) -> Response {
    let now = app.clock.now();
    let asked = tokio::time::timeout(PATIENCE, ask(&app.database, now)).await;
    let (database, notes) = match asked.unwrap_or_else(|_| Err(StoreError::timed_out())) {
        Ok(readiness) => (blockers(&readiness), notes(&readiness, &app.clock)),
        Err(error) => (vec![error.to_string()], Vec::new()),
    };
    let roles = app.roles.down();
    let mut problems = database;
    problems.extend(roles.iter().map(|role| format!("the role {role} is down")));
    if app.stopping.is_cancelled() {
        problems.push("the process is stopping".to_owned());
    }
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if problems.is_empty() { "ready" } else { "not ready" };
    let body: Value =
        json!({ "status": word, "problems": problems, "notes": notes, "roles": app.roles.all() });
    (status, Json(body)).into_response()
}

async fn ask(database: &Database, now: OffsetDateTime) -> Result<Readiness, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let tomorrow = (now + time::Duration::DAY).date();
    Ok(Readiness {
        facts: health::server_facts(&mut connection).await?,
        schema_current: migrate::is_current(&mut connection).await?,
        partitions_ahead: partitions::exist(&mut connection, now.date()).await?
            && partitions::exist(&mut connection, tomorrow).await?,
    })
}

fn blockers(readiness: &Readiness) -> Vec<String> {
    let cases = [
        (readiness.facts.in_recovery, "the database is a standby and takes no writes"),
        (!readiness.schema_current, "the schema is older than this program: run postroad migrate"),
        (!readiness.partitions_ahead, "there are no partitions for today and tomorrow"),
    ];
    cases.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned()).collect()
}

/// What does not stop mail, and must be known.
fn notes(readiness: &Readiness, clock: &Clock) -> Vec<String> {
    let mut notes = readiness.facts.durability_warnings();
    notes.extend(clock.doubted().map(|by| {
        let seconds = by.whole_seconds();
        format!(
            "the database's clock is {seconds} s off and not followed: set it right, or restart every process"
        )
    }));
    notes
}

/// How old the counts of the queue may be.
const DEPTH_AGE: Duration = Duration::from_secs(5);

/// Prometheus.
pub async fn metrics(State(app): State<App>) -> Response {
    if app.depth_is_due(DEPTH_AGE) {
        let counted = tokio::time::timeout(PATIENCE, depth(&app)).await;
        if let Ok(Ok((depth, facts))) = counted {
            gauge(&depth, &facts);
        }
    }
    let text = app.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn depth(app: &App) -> Result<(Depth, ServerFacts), StoreError> {
    let mut connection = app.database.serve().acquire().await?;
    let depth = queue::depth(&mut connection, app.clock.now()).await?;
    Ok((depth, health::server_facts(&mut connection).await?))
}

fn gauge(depth: &Depth, facts: &ServerFacts) {
    let states = [
        ("due", depth.due),
        ("waiting", depth.waiting),
        ("leased", depth.leased),
        ("suspect", depth.suspects),
    ];
    for (state, count) in states {
        metrics::gauge!("postroad_queue_depth", "state" => state).set(count as f64);
    }
    metrics::gauge!("postroad_queue_oldest_due_seconds").set(depth.oldest_due_seconds);
    metrics::gauge!("postroad_database_oldest_snapshot_age").set(facts.oldest_snapshot_age as f64);
    metrics::gauge!("postroad_database_oldest_transaction_seconds").set(facts.oldest_transaction_seconds);
}
