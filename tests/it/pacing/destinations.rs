//! What an operator does with a recipient domain's queue, over all tenants: try it now, hold it, let it go, take it back.

use reqwest::StatusCode;
use serde_json::json;

use super::pauses::{held, pause};
use super::*;
use crate::support::sink::{Step, at, hold, reply};

#[tokio::test]
async fn what_waits_for_its_next_try_is_tried_now_and_nothing_else() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route(&sink)).start().await;
    sink.set(at(Step::Rcpt), reply("451 4.3.0 later"));
    let [waiting, other] = [mail("ann@slow.example"), mail("ann@other.example")];
    let (waiting, other) = (app.client.send_mail(waiting).await, app.client.send_mail(other).await);
    app.client.until(&waiting, |message| attempts(message) == 1).await;
    app.client.until(&other, |message| attempts(message) == 1).await;
    let mut scheduled = mail("bob@slow.example");
    let later = app.server().clock().now() + time::Duration::HOUR;
    scheduled["send_at"] =
        later.format(&time::format_description::well_known::Rfc3339).expect("a moment").into();
    let scheduled = app.client.send_mail(scheduled).await;
    until_count(&app, "SELECT count(*) FROM queue WHERE leased_by IS NULL", 3).await;

    sink.be_friendly();
    let answer = app.client.post("/v1/queue/retry", json!({ "domain": "Slow.example" })).await;
    assert_eq!(answer.body, json!({ "domain": "slow.example", "retried": 1 }));
    let message = app.client.ended(&waiting).await;
    assert_eq!((attempts(&message), message["deliveries"][0]["status"].as_str()), (2, Some("delivered")));
    for id in [other, scheduled] {
        let message = app.client.get(&format!("/v1/messages/{id}")).await.body;
        assert_eq!(message["deliveries"][0]["status"], "queued", "{message:#}");
    }
    let audited =
        "SELECT details::text FROM audit_log WHERE action = 'queue.retry' AND target = 'slow.example'";
    let audited = app.database.texts(audited).await;
    assert!(audited.len() == 1 && audited[0].contains("\"deliveries\": 1"), "{audited:?}");
    app.stop().await;
}

#[tokio::test]
async fn a_destination_is_held_for_all_tenants_goes_on_and_is_purged() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route(&sink)).start().await;
    let body = json!({ "domain": "Held.example", "reason": "asked to" });
    let paused = pause(&app.client, "/v1/site-pauses", body.clone()).await;
    let listed = app.client.get("/v1/site-pauses").await;
    assert_eq!(
        (&listed.body["data"][0]["domain"], &listed.body["data"][0]["site"]),
        (&json!("held.example"), &json!(null))
    );
    let first = held(&app, &mail("ann@held.example")).await;
    let theirs = app.account("other").await.client;
    let second = theirs.send_mail(mail("bob@held.example")).await;
    until_count(&app, "SELECT count(*) FROM held", 2).await;
    let elsewhere = app.client.send_mail(mail("carl@example.net")).await;
    app.client.ended(&elsewhere).await;
    // What is held is not hurried along by a retry.
    let retried = app.client.post("/v1/queue/retry", json!({ "domain": "held.example" })).await;
    assert_eq!(retried.body["retried"], 0);

    let answer = app.client.delete(&format!("/v1/site-pauses/{paused}")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.ended(&first).await["deliveries"][0]["status"], "delivered");
    assert_eq!(theirs.ended(&second).await["deliveries"][0]["status"], "delivered");

    pause(&app.client, "/v1/site-pauses", body).await;
    let first = held(&app, &mail("dora@held.example")).await;
    let second = theirs.send_mail(mail("emil@held.example")).await;
    until_count(&app, "SELECT count(*) FROM held", 2).await;
    let answer = app.client.post("/v1/queue/purge", json!({ "domain": "held.example" })).await;
    assert_eq!(answer.body, json!({ "domain": "held.example", "canceled": 2, "stopping": 0 }));
    for (client, id) in [(&app.client, &first), (&theirs, &second)] {
        assert_eq!(client.ended(id).await["deliveries"][0]["status"], "canceled");
        let events = client.get(&format!("/v1/messages/{id}/events")).await.list("/data");
        assert!(events.iter().any(|event| event["type"] == "canceled"), "{events:#?}");
    }
    assert_eq!(app.database.count("SELECT count(*) FROM held").await, 0);
    let again = app.client.post("/v1/queue/purge", json!({ "domain": "held.example" })).await;
    assert_eq!(again.body["canceled"], 0);
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'queue.purge'";
    assert_eq!(app.database.count(audited).await, 1, "what did nothing is not told");
    app.stop().await;
}

#[tokio::test]
async fn what_is_in_hand_when_it_is_purged_is_not_tried_again() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route(&sink)).start().await;
    let (waits, mut hanging) = hold();
    sink.set(at(Step::Rcpt), waits.then(reply("451 4.3.0 later")));
    let id = app.client.send_mail(mail("ann@slow.example")).await;
    hanging.reached().await;
    let answer = app.client.post("/v1/queue/purge", json!({ "domain": "slow.example" })).await;
    assert_eq!(answer.body, json!({ "domain": "slow.example", "canceled": 0, "stopping": 1 }));
    hanging.release();
    assert_eq!(app.client.ended(&id).await["deliveries"][0]["status"], "canceled");
    app.stop().await;
}
