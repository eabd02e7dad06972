//! One process: what the table of paces says holds.

use super::*;
use crate::support::sink::{Step, at, usual, wait};

/// No mail was tried more than once, whatever was given back meanwhile.
async fn each_tried_once(app: &TestApp, count: i64) {
    until_count(app, "SELECT count(*) FROM outcomes WHERE status = 'delivered'", count).await;
    assert_eq!(app.database.count("SELECT count(*) FROM attempts").await, count);
    assert_eq!(app.database.count("SELECT coalesce(max(attempt), 0)::bigint FROM attempts").await, 1);
}

// S12's other half: a site that lives is not overrun.
#[tokio::test]
async fn connections_are_earned_and_never_more_than_the_limit() {
    let sink = SmtpSink::builder().start().await;
    sink.set(at(Step::Dot), wait(Duration::from_millis(20)).then(usual()));
    let table = Table::of_relays("connections = 3\nstart = 1");
    let app = table.laid_over(TestApp::builder().set("POSTROAD_ROUTE", &route(&sink))).start().await;

    send_batch(&app, 60, "example.net").await;
    sink.wait_for(60, PATIENCE).await;

    assert_eq!(most_at_once(&sink), 3, "{}", sink.story());
    let first_end = sink
        .transcript()
        .iter()
        .position(|line| line.what == What::Text(0) || matches!(line.what, What::Text(_)));
    let before: Vec<_> = sink.transcript().into_iter().take(first_end.expect("a text")).collect();
    let opened = before.iter().filter(|line| line.what == What::Connected).count();
    assert_eq!(opened, 1, "one alone until it has succeeded");
    each_tried_once(&app, 60).await;
    app.stop().await;
}

#[tokio::test]
async fn a_connection_carries_as_many_mails_as_the_site_likes() {
    let sink = SmtpSink::builder().start().await;
    let table = Table::of_relays("connections = 2\nmails_per_connection = 5");
    let app = table.laid_over(TestApp::builder().set("POSTROAD_ROUTE", &route(&sink))).start().await;

    send_batch(&app, 23, "example.net").await;
    let mails = sink.wait_for(23, PATIENCE).await;

    let carried = |number| mails.iter().filter(|mail| mail.connection == number).count();
    let most = (1..=sink.connections()).map(carried).max();
    assert_eq!(most, Some(5));
    assert!(most_at_once(&sink) <= 2, "{}", sink.story());
    each_tried_once(&app, 23).await;
    app.stop().await;
}

#[tokio::test]
async fn mails_go_at_their_rate_and_waiting_costs_no_attempt() {
    let sink = SmtpSink::builder().start().await;
    let table = Table::of_relays("mails = '5/s'");
    let app = table.laid_over(TestApp::builder().set("POSTROAD_ROUTE", &route(&sink))).start().await;

    // More than may wait in memory: some go back to the table and come again.
    send_batch(&app, 30, "example.net").await;
    let mails = sink.wait_for(30, PATIENCE).await;

    let moments: Vec<_> = mails.iter().map(|mail| mail.at).collect();
    let most = most_in_a_second(&moments);
    // One more than the rate: what was sent a fifth of a second apart may arrive a little closer.
    assert!(most <= 6, "{most} mails within a second");
    each_tried_once(&app, 30).await;
    app.stop().await;
}

#[tokio::test]
async fn new_connections_are_opened_at_their_rate() {
    let sink = SmtpSink::builder().start().await;
    let table = Table::of_relays("new_connections = '4/s'\nmails_per_connection = 1");
    let app = table.laid_over(TestApp::builder().set("POSTROAD_ROUTE", &route(&sink))).start().await;

    send_batch(&app, 12, "example.net").await;
    sink.wait_for(12, PATIENCE).await;

    let opened = sink.transcript().into_iter().filter(|line| line.what == What::Connected);
    let most = most_in_a_second(&opened.map(|line| line.at).collect::<Vec<_>>());
    assert!(most <= 5, "{most} connections within a second");
    each_tried_once(&app, 12).await;
    app.stop().await;
}
