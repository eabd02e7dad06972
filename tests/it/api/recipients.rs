//! Who gets a mail: each recipient once, none of those who are not to be mailed, in every script.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::captured::field;
use crate::support::client::{mail, statuses, text};
use crate::support::sink::SmtpSink;

/// Puts an address on the list of the tenant that sends in these tests.
async fn suppress(app: &TestApp, address: &str, stream: &str) {
    let mut connection = app.database.connect().await;
    sqlx::query(
        "INSERT INTO suppressions (tenant_id, id, address, stream, reason)
         SELECT id, gen_random_uuid(), $1, $2, 'manual' FROM tenants WHERE name = 'default'",
    )
    .bind(address)
    .bind(stream)
    .execute(&mut connection)
    .await
    .expect("suppressed");
}

fn recipients(message: &Value) -> Vec<String> {
    message["deliveries"].as_array().expect("a list").iter().map(|d| text(d, "/recipient")).collect()
}

#[tokio::test]
async fn an_address_named_twice_gets_one_copy() {
    let app = TestApp::start().await;
    let mut body = mail("x@example.net");
    body["to"] = json!(["Ann <ann@example.net>", "ANN@example.net", "\"ann\"@EXAMPLE.NET"]);
    body["cc"] = json!(["ann@example.net", "bob@example.net"]);
    body["bcc"] = json!(["Bob <bob@example.net>"]);

    let answer = app.client.post("/v1/messages", body).await;
    assert_eq!(recipients(&answer.body), ["ann@example.net", "bob@example.net"]);
    app.client.ended(&answer.text("/id")).await;
    assert_eq!(app.client.arrived(&answer.text("/id")).await.len(), 2);
    app.stop().await;
}

#[tokio::test]
async fn a_thousand_recipients_each_get_their_own_copy() {
    let app = TestApp::start().await;
    let to: Vec<String> = (0..1000).map(|n| format!("delivered+{n}@simulator.postroad.test")).collect();
    let mut body = mail("x@example.net");
    body["to"] = json!(to);

    let answer = app.client.post("/v1/messages", body).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(recipients(&answer.body), to, "in the order they were given");
    let message = app.client.ended(&answer.text("/id")).await;
    assert_eq!(recipients(&message), to);
    assert!(statuses(&message).iter().all(|status| status == "delivered"));
    let ids: BTreeSet<String> =
        answer.list("/deliveries").iter().map(|delivery| text(delivery, "/id")).collect();
    assert_eq!(ids.len(), 1000);
    app.stop().await;
}

#[tokio::test]
async fn one_more_recipient_is_refused_wherever_it_stands() {
    let app = TestApp::start().await;
    let list =
        |from: usize, to: usize| -> Vec<String> { (from..to).map(|n| format!("r{n}@example.net")).collect() };
    for (to, cc, bcc) in [
        (list(0, 1001), vec![], vec![]),
        (list(0, 500), list(500, 900), list(900, 1001)),
        (list(0, 10_001), vec![], vec![]),
    ] {
        let mut body = mail("x@example.net");
        body["to"] = json!(to);
        body["cc"] = json!(cc);
        body["bcc"] = json!(bcc);
        let answer = app.client.post("/v1/messages", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.violations(), [("/to".into(), "too_many_recipients".into())]);
    }
    // What counts is who gets it, not how often he is named.
    let mut body = mail("x@example.net");
    body["to"] = json!([list(0, 1000), list(0, 1000)].concat());
    body["sandbox"] = json!(true);
    assert_eq!(app.client.post("/v1/messages", body).await.status, StatusCode::ACCEPTED);
    app.stop().await;
}

#[tokio::test]
async fn who_is_not_to_be_mailed_is_told_and_not_mailed() {
    let app = TestApp::start().await;
    suppress(&app, "gone@example.net", "").await;
    let mut body = mail("x@example.net");
    body["to"] = json!(["ann@example.net", "GONE@example.net"]);

    let answer = app.client.post("/v1/messages", body).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(statuses(&answer.body), ["queued", "suppressed"]);
    let id = answer.text("/id");
    let message = app.client.ended(&id).await;
    assert_eq!(statuses(&message), ["delivered", "suppressed"]);
    assert_eq!(message["deliveries"][1]["attempts"], json!([]));
    let arrived = app.client.arrived(&id).await;
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].recipients, ["ann@example.net"]);
    let events = app.client.get(&format!("/v1/messages/{id}/events")).await.list("/data");
    let of = |recipient: &str| -> Vec<String> {
        events.iter().rev().filter(|e| e["recipient"] == recipient).map(|e| text(e, "/type")).collect()
    };
    assert_eq!(of("GONE@example.net"), ["accepted", "suppressed"]);
    assert_eq!(of("ann@example.net"), ["accepted", "delivered"]);
    app.stop().await;
}

#[tokio::test]
async fn a_mail_to_nobody_who_may_be_mailed_is_still_accepted() {
    let app = TestApp::start().await;
    suppress(&app, "gone@example.net", "").await;
    suppress(&app, "away@example.net", "news").await;
    let mut body = mail("x@example.net");
    body["to"] = json!(["gone@example.net", "away@example.net"]);
    body["stream"] = json!("news");

    let answer = app.client.post("/v1/messages", body.clone()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(statuses(&answer.body), ["suppressed", "suppressed"]);
    let message = app.client.get(&format!("/v1/messages/{}", answer.text("/id"))).await;
    assert_eq!(statuses(&message.body), ["suppressed", "suppressed"]);

    body["stream"] = json!("transactional");
    let answer = app.client.post("/v1/messages", body).await;
    assert_eq!(statuses(&answer.body), ["suppressed", "queued"], "away only from the news");
    app.stop().await;
}

#[tokio::test]
async fn one_tenants_suppressions_are_not_anothers() {
    let app = TestApp::start().await;
    suppress(&app, "gone@example.net", "").await;
    let other = app.account("other").await;

    let answer = other.client.post("/v1/messages", mail("gone@example.net")).await;

    assert_eq!(statuses(&answer.body), ["queued"]);
    assert_eq!(statuses(&other.client.ended(&answer.text("/id")).await), ["delivered"]);
    app.stop().await;
}

#[tokio::test]
async fn who_is_suppressed_after_he_was_queued_is_not_mailed() {
    let app = TestApp::start().await;
    let mut body = mail("late@example.net");
    let now = app.server().clock().now();
    body["send_at"] = json!(rfc3339(now + time::Duration::hours(1)));
    let id = app.client.send_mail(body).await;
    suppress(&app, "late@example.net", "").await;

    let answer = app.client.patch(&format!("/v1/messages/{id}"), json!({ "send_at": rfc3339(now) })).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);

    assert_eq!(statuses(&app.client.ended(&id).await), ["suppressed"]);
    assert_eq!(app.client.event_types(&id).await, ["accepted", "suppressed"]);
    assert!(app.client.arrived(&id).await.is_empty());
    app.stop().await;
}

fn rfc3339(moment: time::OffsetDateTime) -> String {
    moment.format(&time::format_description::well_known::Rfc3339).expect("a moment")
}

#[tokio::test]
async fn domains_in_every_script_are_reached_by_their_a_labels() {
    let app = TestApp::start().await;
    let mut body = mail("ann@bücher.example");
    body["from"] = json!("Käthe <kaethe@straße.example>");

    let answer = app.client.post("/v1/messages", body).await;

    assert_eq!(recipients(&answer.body), ["ann@xn--bcher-kva.example"]);
    let id = answer.text("/id");
    app.client.ended(&id).await;
    let arrived = app.client.arrived(&id).await;
    assert_eq!(arrived[0].recipients, ["ann@xn--bcher-kva.example"]);
    let raw = &arrived[0].raw;
    assert_eq!(field(raw, "To"), "ann@xn--bcher-kva.example");
    assert!(field(raw, "From").ends_with("<kaethe@xn--strae-oqa.example>"), "{}", field(raw, "From"));
    assert!(raw.is_ascii());
    app.stop().await;
}

#[tokio::test]
async fn local_parts_in_every_script_go_to_peers_that_can_take_them() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;

    let id = app.client.send_mail(mail("jörg@bücher.example")).await;

    assert_eq!(statuses(&app.client.ended(&id).await), ["delivered"]);
    let mails = sink.wait_for(1, Duration::from_secs(20)).await;
    assert_eq!(mails[0].to(), ["jörg@xn--bcher-kva.example"]);
    assert!(mails[0].params.iter().any(|param| param == "SMTPUTF8"), "{:?}", mails[0].params);
    assert!(mails[0].text().contains("To: jörg@xn--bcher-kva.example\r\n"), "{}", mails[0].text());
    app.stop().await;
}
