//! Pauses: mail that is held costs no attempt, is seen, goes on when it may, and expires when its time runs out.

use reqwest::StatusCode;
use serde_json::json;

use super::*;
use crate::support::client::Client;
use crate::support::sink::{Step, at, reply};

pub(super) async fn pause(client: &Client, path: &str, body: Value) -> String {
    let made = client.post(path, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    made.text("/id")
}

/// Sends to `to` until one is held; gives that one. Before, processes may not know of the pause yet.
pub(super) async fn held(app: &TestApp, body: &Value) -> String {
    let began = std::time::Instant::now();
    loop {
        let id = app.client.send_mail(body.clone()).await;
        for _ in 0..25 {
            let message = app.client.get(&format!("/v1/messages/{id}")).await.body;
            let status = message["deliveries"][0]["status"].clone();
            if status == "delivered" {
                break;
            }
            let held = format!(
                "SELECT count(*) FROM held h JOIN deliveries d ON d.id = h.delivery_id WHERE d.recipient = '{}'",
                body["to"].as_str().expect("a recipient")
            );
            if status == "queued" && app.database.count(&held).await > 0 {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(began.elapsed() < PATIENCE, "nothing is held");
    }
}

#[tokio::test]
async fn a_paused_stream_waits_uncounted_and_goes_on_when_it_may() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route(&sink)).start().await;
    let paused =
        pause(&app.client, "/v1/pauses", json!({ "stream": "news", "reason": "wrong numbers" })).await;
    let mut news = mail("ann@example.net");
    news["stream"] = "news".into();
    let waiting = held(&app, &news).await;
    let before = sink.received().len();

    // Other streams go on, and other tenants' mail of the same stream.
    let other = app.client.send_mail(mail("bob@example.net")).await;
    app.client.ended(&other).await;
    let theirs = app.account("other").await.client;
    let mut their_news = mail("carl@example.net");
    their_news["stream"] = "news".into();
    let theirs_id = theirs.send_mail(their_news).await;
    theirs.ended(&theirs_id).await;
    assert_eq!(sink.received().len(), before + 2, "{}", sink.story());
    let message = app.client.get(&format!("/v1/messages/{waiting}")).await.body;
    assert_eq!(attempts(&message), 0);

    assert_eq!(app.client.delete(&format!("/v1/pauses/{paused}")).await.status, StatusCode::NO_CONTENT);
    let message = app.client.ended(&waiting).await;
    assert_eq!((attempts(&message), message["deliveries"][0]["status"].as_str()), (1, Some("delivered")));
    assert_eq!(app.database.count("SELECT count(*) FROM held").await, 0);
    let audited = "SELECT count(*) FROM audit_log WHERE action IN ('pause.create', 'pause.delete')";
    assert_eq!(app.database.count(audited).await, 2);
    app.stop().await;
}

#[tokio::test]
async fn a_paused_domain_is_held_and_its_mail_still_expires() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route(&sink)).start().await;
    pause(&app.client, "/v1/pauses", json!({ "domain": "Held.example" })).await;
    let waiting = held(&app, &mail("ann@held.example")).await;
    let queue = app.client.get("/v1/queue?domain=held.example").await;
    assert_eq!(
        (&queue.body["data"][0]["held"], &queue.body["data"][0]["depth"]),
        (&json!(1), &json!(1)),
        "{:#}",
        queue.body
    );

    let shorten =
        "UPDATE queue SET expires_at = clock_timestamp() - interval '1 s', due_at = clock_timestamp()
                   WHERE domain = 'held.example'";
    sqlx::query(shorten).execute(&mut app.database.connect().await).await.expect("changed");
    let message = app.client.ended(&waiting).await;
    assert_eq!(message["deliveries"][0]["status"], "expired");
    app.stop().await;
}

#[tokio::test]
async fn an_operator_holds_a_site_for_all_tenants() {
    let (sink, other) = (SmtpSink::builder().start().await, SmtpSink::builder().start().await);
    let app =
        TestApp::builder().set("POSTROAD_ROUTE", &route(&sink)).relay_for("other.example", &route(&other));
    let app = app.start().await;
    let site = sink.address().to_string();
    let paused = pause(&app.client, "/v1/site-pauses", json!({ "site": site })).await;
    let waiting = held(&app, &mail("ann@example.net")).await;
    let elsewhere = app.client.send_mail(mail("bob@other.example")).await;
    app.client.ended(&elsewhere).await;

    let listed = app.client.get("/v1/site-pauses").await;
    assert_eq!(listed.body["data"][0]["site"], site.as_str());
    assert_eq!(app.client.get(&format!("/v1/site-pauses/{paused}")).await.status, StatusCode::OK);
    assert_eq!(app.client.get(&format!("/v1/pauses/{paused}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.client.delete(&format!("/v1/site-pauses/{paused}")).await.status, StatusCode::NO_CONTENT);
    app.client.ended(&waiting).await;
    app.stop().await;
}

#[tokio::test]
async fn the_queue_and_its_sites_are_seen_and_a_suspension_can_be_lifted() {
    let sink = SmtpSink::builder().start().await;
    let table = Table::of_relays("[[provider.here.feedback]]\nreply = 'TSS04'\nsuspend = '2h'");
    let app = table.laid_over(TestApp::builder().set("POSTROAD_ROUTE", &route(&sink))).start().await;
    sink.set(at(Step::Mail), reply("421 4.7.0 [TSS04] temporarily deferred"));
    let first = app.client.send_mail(mail("ann@a.example")).await;
    app.client.until(&first, |message| attempts(message) == 1).await;
    let site = sink.address().to_string();
    until_count(&app, "SELECT count(*) FROM sites WHERE suspended_until IS NOT NULL", 1).await;
    send_batch(&app, 3, "b.example").await;
    let put_off = "SELECT count(*) FROM queue WHERE domain = 'b.example' AND leased_by IS NULL AND due_at > clock_timestamp() + interval '1 h'";
    until_count(&app, put_off, 3).await;

    let queue = app.client.all_pages("/v1/queue", 1).await;
    let depths: Vec<_> = queue.iter().map(|row| (row["domain"].as_str(), row["depth"].as_i64())).collect();
    assert_eq!(depths, [(Some("b.example"), Some(3)), (Some("a.example"), Some(1))]);
    assert_eq!(queue[1]["last_error"]["code"], 421, "{:#}", queue[1]);
    let sites = app.client.all_pages("/v1/sites", 100).await;
    assert_eq!(
        (sites.len(), sites[0]["site"].as_str(), sites[0]["provider"].as_str()),
        (1, Some(site.as_str()), Some("here"))
    );
    assert!(
        sites[0]["suspended_until"].is_string()
            && sites[0]["told"].as_str().is_some_and(|told| told.contains("TSS04"))
    );

    sink.be_friendly();
    assert_eq!(
        app.client.post("/v1/sites/resume", json!({ "site": "nowhere" })).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        app.client.post("/v1/sites/resume", json!({ "site": site })).await.status,
        StatusCode::NO_CONTENT
    );
    let delivered = "SELECT count(*) FROM outcomes WHERE status = 'delivered'";
    let began = std::time::Instant::now();
    while app.database.count(delivered).await < 3 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_pause_is_refused_and_each_fault_named() {
    let app = TestApp::start().await;
    let long = "x".repeat(256);
    let cases = [
        ("/v1/pauses", json!({ "stream": "NO SPACES" }), "/stream", "invalid_stream"),
        ("/v1/pauses", json!({ "domain": "a b" }), "/domain", "invalid_domain"),
        ("/v1/pauses", json!({ "site": "google" }), "/site", "unknown_field"),
        ("/v1/pauses", json!({ "reason": long }), "/reason", "too_long"),
        ("/v1/site-pauses", json!({}), "/site", "required"),
        ("/v1/site-pauses", json!({ "site": "  " }), "/site", "invalid_site"),
        ("/v1/site-pauses", json!({ "domain": "a b" }), "/domain", "invalid_domain"),
        ("/v1/site-pauses", json!({ "site": "google", "domain": "a.example" }), "/domain", "conflict"),
        ("/v1/queue/retry", json!({}), "/domain", "required"),
        ("/v1/queue/purge", json!({ "domain": "a b" }), "/domain", "invalid_domain"),
        ("/v1/queue/purge", json!({ "domain": "a.example", "all": true }), "/all", "unknown_field"),
    ];
    for (path, body, pointer, code) in cases {
        let answer = app.client.post(path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(
            answer.violations().contains(&(pointer.to_owned(), code.to_owned())),
            "{body}: {:#}",
            answer.body
        );
    }
    app.stop().await;
}
