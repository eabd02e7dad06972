//! What operators see: health, readiness, metrics; and what must be in no log.

use reqwest::StatusCode;

use crate::submission::Raw;
use crate::support::app::TestApp;
use crate::support::client::{Client, PATIENCE, mail};
use crate::support::database::TestDatabase;
use crate::support::program::Settings;
use crate::support::sink::{SmtpSink, reply};

async fn metric(client: &Client, line: &str) -> f64 {
    let text = String::from_utf8(client.download("/metrics").await).expect("text");
    let found = text.lines().find(|found| found.strip_prefix(line).is_some_and(|rest| rest.starts_with(' ')));
    found
        .map_or(0.0, |found| found.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number"))
}

#[tokio::test]
async fn a_mail_moves_the_metrics() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let before = metric(&app.client, "postroad_accepted_total").await;

    let id = app.client.send_mail(mail("ann@example.net")).await;
    app.client.ended(&id).await;

    assert_eq!(metric(&app.client, "postroad_accepted_total").await, before + 1.0);
    // Gauges of sites are set every few seconds.
    let began = std::time::Instant::now();
    while metric(&app.client, "postroad_smtp_connections").await < 1.0 {
        assert!(began.elapsed() < PATIENCE, "the connection to the sink is kept");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let text = String::from_utf8(app.client.download("/metrics").await).expect("text");
    for family in [
        "postroad_queue_depth",
        "postroad_queue_oldest_due_seconds",
        "postroad_deliveries_total",
        "postroad_accept_group_size",
        "postroad_record_batch_size",
        "postroad_claim_seconds",
        "postroad_attempt_seconds",
        "postroad_smtp_connect_seconds",
        "postroad_smtp_connections",
        "postroad_site_queue_depth",
        "postroad_database_oldest_transaction_seconds",
    ] {
        assert!(text.lines().any(|line| line.starts_with(family)), "{family} in\n{text}");
    }
    // Every line is a comment, or a name, perhaps labels, and a number.
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').expect("two words");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(!text.contains("example.net") && !text.contains("ann@"), "no addresses in labels");
    app.stop().await;
}

#[tokio::test]
async fn readiness_follows_the_database_and_liveness_does_not() {
    let app = TestApp::start().await;
    assert_eq!(app.client.get("/healthz").await.status, StatusCode::OK);
    let ready = app.client.get("/readyz").await;
    assert_eq!((ready.status, ready.text("/status").as_str()), (StatusCode::OK, "ready"));

    app.database.drop_now().await;

    let not = app.client.get("/readyz").await;
    assert_eq!((not.status, not.text("/status").as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not ready"));
    assert!(!not.list("/problems").is_empty());
    assert_eq!(app.client.get("/healthz").await.status, StatusCode::OK);
    app.stop().await;
}

// Security 5.2, 5.20
#[tokio::test]
async fn no_log_holds_addresses_subjects_bodies_or_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = TestDatabase::fresh().await;
    // Peers name the recipient in what they say.
    let unknown = reply("550 5.1.1 <refused-secretary@hidden.example>: no such user");
    let sink = SmtpSink::builder().on_rcpt("refused", unknown).start().await;
    let settings = Settings::embedded(directory.path()).database(&database.url).relay(sink.address().port());
    let mut node = settings.set("POSTROAD_LOG", "debug,sqlx=info,hyper=info").start();
    let key = node.client.make_key(serde_json::json!({ "name": "shop", "scopes": ["send", "read"] })).await;
    let mut body = mail("secretary@hidden.example");
    body["subject"] = "A very private subject".into();
    body["text"] = "Nobody else may read this sentence.\n".into();
    let id = key.client.send_mail(body).await;
    key.client.ended(&id).await;
    let id = key.client.send_mail(mail("refused-secretary@hidden.example")).await;
    key.client.ended(&id).await;
    let mut peer = Raw::connect(node.door("mx")).await;
    peer.ask("").await;
    peer.ask("EHLO mx.example.net\r\n").await;
    assert!(peer.mail("secretary@example.net", &["secretary@hidden.example"], "x").await.starts_with("550 "));
    peer.ask("RSET\r\n").await;
    let content = "Subject: A very private subject\r\n\r\nNobody else may read this sentence.";
    let taken = peer.mail("secretary@example.net", &["postmaster@mail.postroad.test"], content).await;
    assert_eq!(taken, "250 2.0.0 Ok: taken");
    let mut refused = mail("x");
    refused["to"] = "no address at hidden.example".into();
    key.client.post("/v1/messages", refused).await;
    tokio::task::spawn_blocking(move || {
        node.terminate();
        let log = node.log_text();
        assert!(log.lines().count() > 5, "it logs: {log}");
        for secret in ["secretary", "hidden.example", "private subject", "this sentence", key.secret.as_str()]
        {
            assert!(!log.contains(secret), "{secret:?} in the log:\n{log}");
        }
    })
    .await
    .expect("checked");
}
