//! Several processes: together they never have more connections than the limit, whoever joins, leaves or dies.

use super::*;
use crate::support::database::TestDatabase;
use crate::support::sink::{Step, at, usual, wait};

const LIMIT: usize = 4;

async fn slow_sink() -> SmtpSink {
    let sink = SmtpSink::builder().start().await;
    sink.set(at(Step::Dot), wait(Duration::from_millis(20)).then(usual()));
    sink
}

async fn node(database: &TestDatabase, sink: &SmtpSink) -> TestApp {
    let route = format!("{}&connections={LIMIT}", route(sink));
    TestApp::builder().on(database).set("POSTROAD_ROUTE", &route).start().await
}

/// How many processes have shares now.
const SHARING: &str = "SELECT count(*) FROM site_shares WHERE connections > 0";

#[tokio::test]
async fn two_nodes_together_never_open_more_than_the_limit() {
    let sink = slow_sink().await;
    let database = TestDatabase::fresh().await;
    let first = node(&database, &sink).await;
    send_batch(&first, 400, "example.net").await;
    sink.wait_for(50, PATIENCE).await;
    assert_eq!(most_at_once(&sink), LIMIT, "alone it has them all");

    // Another joins amid the work, and gets its part.
    let second = node(&database, &sink).await;
    send_batch(&second, 400, "example.net").await;
    until_count(&second, SHARING, 2).await;
    let granted = database.count("SELECT sum(connections)::bigint FROM site_shares").await;
    assert!(granted <= LIMIT as i64, "{granted} granted");

    // The first leaves amid the work: the second has them all, and the rest of the mail.
    let so_far = sink.received().len();
    sink.wait_for(so_far + 50, PATIENCE).await;
    first.drain().await;
    sink.wait_for(800, 2 * PATIENCE).await;
    let incarnations = "SELECT count(DISTINCT incarnation) FROM attempts";
    assert_eq!(database.count(incarnations).await, 2, "both deliver");
    assert_eq!(most_at_once(&sink), LIMIT, "never more, whoever joins and leaves");
    second.stop().await;
}

/// A process that is not there any more, and what it had: three of the four connections.
async fn leave_behind(database: &TestDatabase, sink: &SmtpSink, silent: &str) {
    use sqlx::{AssertSqlSafe, Executor};
    let statement = format!(
        "WITH gone AS (INSERT INTO nodes (node_id, hostname, version, roles, started_at, alive_until, rescued_at)
                       VALUES (gen_random_uuid(), 'gone', '0', '{{worker}}', clock_timestamp() - interval '1 day',
                               clock_timestamp() - interval '{silent}', clock_timestamp())
                       RETURNING incarnation)
         INSERT INTO site_shares (site, source, incarnation, connections)
         SELECT '{}', '', incarnation, 3 FROM gone",
        sink.address()
    );
    database.connect().await.execute(AssertSqlSafe(statement)).await.expect("left behind");
}

#[tokio::test]
async fn what_a_dead_node_had_is_not_given_to_others_before_its_connections_are_gone() {
    for (silent, most) in [("1 minute", 1), ("3 minutes", LIMIT)] {
        let sink = slow_sink().await;
        let database = TestDatabase::fresh().await;
        leave_behind(&database, &sink, silent).await;
        let app = node(&database, &sink).await;
        send_batch(&app, 60, "example.net").await;
        sink.wait_for(60, PATIENCE).await;
        assert_eq!(most_at_once(&sink), most, "silent for {silent}");
        app.stop().await;
    }
}
