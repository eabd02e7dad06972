//! Notices about the account: raised with the fact, once a day, and told by the API, by webhook and by mail.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Client, PATIENCE, text};
use crate::support::dns::DnsServer;
use crate::support::domains::publish_required;
use crate::webhooks::receiver::Receiver;

/// Waits for a captured mail; gives its source.
async fn captured(client: &Client, to: &str) -> String {
    let began = Instant::now();
    loop {
        for mail in client.all_pages("/v1/captured", 100).await {
            if mail["recipients"].as_array().is_some_and(|all| all.iter().any(|one| one == to)) {
                let raw = client.download(&format!("/v1/captured/{}/raw", text(&mail, "/id"))).await;
                return String::from_utf8(raw).expect("text");
            }
        }
        assert!(began.elapsed() < PATIENCE, "no mail to {to}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_failing_domain_is_told_by_api_webhook_and_mail_once() {
    let dns = DnsServer::start().await;
    let receiver = Receiver::start().await;
    let app = TestApp::builder().dns(&dns).set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8").start().await;
    let acme = app.account("acme").await.client;
    let settings = acme.patch("/v1/notices/settings", json!({ "emails": ["Ops@acme.example"] })).await;
    assert_eq!(settings.body, json!({ "emails": ["Ops@acme.example"] }));
    let body = json!({ "url": receiver.url("/notices"), "types": ["domain.failing"] });
    assert_eq!(acme.post("/v1/webhooks", body).await.status, StatusCode::CREATED);
    let domain = acme.add_domain("acme.example").await;
    publish_required(&dns, &domain);
    assert_eq!(acme.verify_domain(&domain).await["status"], "verified");
    assert_eq!(acme.all_pages("/v1/notices", 100).await, Vec::<Value>::new());

    dns.clear("bounce.acme.example");
    assert_eq!(acme.verify_domain(&domain).await["status"], "failing");

    let notices = acme.all_pages("/v1/notices", 100).await;
    let id = text(&domain, "/id");
    let data = json!({ "domain_id": id, "name": "acme.example", "status": "failing" });
    assert_eq!(notices.len(), 1, "{notices:#?}");
    assert_eq!((&notices[0]["type"], &notices[0]["subject"]), (&json!("domain.failing"), &json!(id)));
    assert_eq!((&notices[0]["data"], &notices[0]["read_at"]), (&data, &Value::Null));
    let received = receiver.until(|received| !received.is_empty()).await;
    let posted = received[0].json();
    assert_eq!((&posted["type"], &posted["data"]), (&json!("domain.failing"), &data));
    let mail = captured(&acme, "Ops@acme.example").await;
    assert!(mail.contains("Subject: A sender domain needs care (acme)"), "{mail}");
    assert!(mail.contains("bounce.acme.example") && mail.contains("From: postroad <postmaster@"), "{mail}");

    // In order and failing again on one day: it has been told.
    publish_required(&dns, &domain);
    assert_eq!(acme.verify_domain(&domain).await["status"], "verified");
    dns.clear("bounce.acme.example");
    assert_eq!(acme.verify_domain(&domain).await["status"], "failing");
    assert_eq!(acme.all_pages("/v1/notices", 100).await.len(), 1);
    let mails = "SELECT count(*) FROM messages WHERE subject LIKE 'A sender domain%'";
    assert_eq!(app.database.count(mails).await, 1);
    app.stop().await;
}

#[tokio::test]
async fn notices_are_filtered_and_read() {
    let app = TestApp::start().await;
    let acme = app.account("acme").await;
    let id = app.database.raise_notice(&acme.tenant).await;
    let client = acme.client;
    let count = async |query: &str| client.all_pages(&format!("/v1/notices{query}"), 100).await.len();
    assert_eq!((count("?read=false").await, count("?read=true").await), (1, 0));
    assert_eq!((count("?type=quota.reached").await, count("?type=domain.failing").await), (1, 0));
    assert_eq!(client.get("/v1/notices?read=maybe").await.status, StatusCode::UNPROCESSABLE_ENTITY);

    let read = format!("/v1/notices/{id}/read");
    assert_eq!(client.post(&read, json!({})).await.status, StatusCode::NO_CONTENT);
    let at = client.all_pages("/v1/notices", 100).await[0]["read_at"].clone();
    assert!(at.is_string());
    assert_eq!(client.post("/v1/notices/read", json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.post(&read, json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        client.all_pages("/v1/notices?read=true", 100).await[0]["read_at"],
        at,
        "the first time stays"
    );
    app.stop().await;
}

#[tokio::test]
async fn who_is_told_are_addresses_and_at_most_ten() {
    let app = TestApp::start().await;
    let many: Vec<String> = (0..11).map(|n| format!("a{n}@acme.example")).collect();
    for (body, pointer, code) in [
        (json!({}), "/emails", "required"),
        (json!({ "emails": ["x"] }), "/emails/0", "invalid_address"),
        (json!({ "emails": many }), "/emails", "too_many"),
        (json!({ "emails": [], "phone": "1" }), "/phone", "unknown_field"),
    ] {
        let answer = app.client.patch("/v1/notices/settings", body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    assert_eq!(app.client.get("/v1/notices/settings").await.body, json!({ "emails": [] }));
    app.stop().await;
}
