//! Only those who have proved a domain send as it, by every door, on every node, and only as long as it is theirs
//! (security 5.16).

use reqwest::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Answer, Client, PATIENCE, mail, text};
use crate::support::domains::publish_required;

use super::{begin, begin_with};

async fn send_as(client: &Client, from: &str) -> Answer {
    let mut body = mail("ann@example.net");
    body["from"] = from.into();
    client.post("/v1/messages", body).await
}

async fn send_raw(client: &Client, query: &str, header: &str) -> Answer {
    let raw = format!("{header}To: ann@example.net\r\nSubject: x\r\n\r\nhi\r\n");
    let request = client.request(Method::POST, &format!("/v1/messages?to=ann@example.net{query}"));
    client.send(request.header("content-type", "message/rfc822").body(raw)).await
}

fn assert_refused(answer: &Answer, name: &str) {
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::FORBIDDEN, "sender_not_verified"),
        "{name}: {:#}",
        answer.body
    );
    assert!(answer.text("/detail").contains("/v1/domains"), "it says what to do: {:#}", answer.body);
}

#[tokio::test]
async fn a_tenant_sends_as_what_it_has_proved_and_as_nothing_else() {
    let (dns, _sink, app) = begin().await;
    let (mine, theirs) = (app.account("mine").await.client, app.account("theirs").await.client);
    theirs.verified_domain(&dns, "other.example").await;
    let domain = mine.add_domain("acme.example").await;
    assert_refused(&send_as(&mine, "a@acme.example").await, "not proved yet");
    publish_required(&dns, &domain);
    mine.verify_domain(&domain).await;

    for from in ["a@acme.example", "A <a@ACME.example>", "a@news.acme.example", "a@x.y.acme.example"] {
        assert_eq!(send_as(&mine, from).await.status, StatusCode::ACCEPTED, "{from}: at once on this node");
    }
    for from in ["a@other.example", "a@example", "a@notacme.example", "a@acme.example.net", "a@[192.0.2.1]"] {
        assert_refused(&send_as(&mine, from).await, from);
    }
    assert_refused(&send_as(&theirs, "a@acme.example").await, "theirs");
    app.stop().await;
}

#[tokio::test]
async fn raw_mail_names_no_sender_that_is_not_proved_in_any_place() {
    let (dns, _sink, app) = begin().await;
    app.client.verified_domain(&dns, "acme.example").await;
    let accepted = [
        ("", "From: a@acme.example\r\n"),
        ("", "From: a@acme.example\r\nSender: b@news.acme.example\r\n"),
        ("&from=b@acme.example", "From: a@acme.example\r\n"),
        ("", "From: a@acme.example, c@acme.example\r\nSender: a@acme.example\r\n"),
    ];
    for (query, header) in accepted {
        let answer = send_raw(&app.client, query, header).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{header}: {:#}", answer.body);
    }
    let refused = [
        ("", "From: a@evil.example\r\n"),
        ("", "From: a@acme.example\r\nSender: b@evil.example\r\n"),
        ("&from=b@evil.example", "From: a@acme.example\r\n"),
        ("", "From: a@acme.example, c@evil.example\r\nSender: a@acme.example\r\n"),
        ("", "From: \"a@acme.example\" <a@evil.example>\r\n"),
    ];
    for (query, header) in refused {
        assert_refused(&send_raw(&app.client, query, header).await, header);
    }
    let unreadable = send_raw(&app.client, "", "From: a@acme.example\r\nSender: <<b@evil.example\r\n").await;
    assert_eq!(unreadable.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", unreadable.body);
    app.stop().await;
}

#[tokio::test]
async fn other_nodes_know_of_a_proof_and_of_its_end_within_a_second_or_so() {
    let (dns, _sink, app) = begin().await;
    let other = TestApp::builder()
        .set("POSTROAD_SENDER_POLICY", "verified")
        .dns(&dns)
        .on(&app.database)
        .start()
        .await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let until = async |status: StatusCode| {
        let began = std::time::Instant::now();
        while send_as(&other.client, "a@acme.example").await.status != status {
            assert!(began.elapsed() < PATIENCE, "{status} never came");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    until(StatusCode::ACCEPTED).await;
    app.client.delete(&format!("/v1/domains/{}", text(&domain, "/id"))).await;
    assert_refused(&send_as(&app.client, "a@acme.example").await, "at once on this node");
    until(StatusCode::FORBIDDEN).await;
    other.drain().await;
    app.stop().await;
}

/// What the last attempt at a message's only delivery said.
fn last_words(message: &Value) -> String {
    let attempts = message["deliveries"][0]["attempts"].as_array().cloned().unwrap_or_default();
    attempts.last().map(|attempt| attempt["smtp"]["text"].to_string()).unwrap_or_default()
}

// H4, for domains: what was accepted before the right to send ended is held, not sent.
#[tokio::test]
async fn mail_that_is_queued_waits_when_its_domain_is_no_longer_its_senders() {
    let (dns, sink, app) = begin().await;
    let (mine, theirs) = (app.account("mine").await.client, app.account("theirs").await.client);
    mine.verified_domain(&dns, "acme.example").await;
    let mut later = mail("ann@example.net");
    later["send_at"] = in_an_hour(&app).into();
    let id = mine.send_mail(later).await;

    let moved = theirs.add_domain("acme.example").await;
    publish_required(&dns, &moved);
    assert_eq!(theirs.verify_domain(&moved).await["status"], "verified");
    app.database.make_due().await;
    let message =
        mine.until(&id, |message| last_words(message).contains("no longer a verified domain")).await;
    assert_eq!(message["deliveries"][0]["status"], "queued", "{message:#}");
    assert_eq!(sink.received().len(), 0);
    assert_eq!(sink.every_mail().len(), 0);
    app.stop().await;
}

fn in_an_hour(app: &TestApp) -> String {
    let at = app.server().clock().now() + time::Duration::hours(1);
    at.format(&time::format_description::well_known::Rfc3339).expect("a year of four digits")
}

#[tokio::test]
async fn a_paused_domain_takes_no_mail_and_holds_what_it_has_until_it_is_resumed() {
    let (dns, sink, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let path = format!("/v1/domains/{}", text(&domain, "/id"));
    let mut later = mail("ann@example.net");
    later["send_at"] = in_an_hour(&app).into();
    let id = app.client.send_mail(later).await;

    let paused = app.client.patch(&path, json!({ "paused": true })).await;
    assert_eq!((paused.status, &paused.body["paused"]), (StatusCode::OK, &json!(true)));
    let refused = send_as(&app.client, "a@news.acme.example").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "domain_paused"));
    app.database.make_due().await;
    app.client.until(&id, |message| last_words(message).contains("paused")).await;
    assert_eq!(sink.received().len(), 0);

    app.client.patch(&path, json!({ "paused": false })).await;
    app.database.make_due().await;
    assert_eq!(app.client.ended(&id).await["deliveries"][0]["status"], "delivered");
    app.stop().await;
}

#[tokio::test]
async fn where_anybody_may_send_only_proved_domains_are_signed() {
    let (dns, sink, app) = begin_with(|builder| builder.set("POSTROAD_SENDER_POLICY", "any")).await;
    app.client.verified_domain(&dns, "acme.example").await;
    assert_eq!(send_as(&app.client, "a@acme.example").await.status, StatusCode::ACCEPTED);
    assert_eq!(send_as(&app.client, "a@other.example").await.status, StatusCode::ACCEPTED);
    let mails = sink.wait_for(2, PATIENCE).await;
    for mail in mails {
        let raw = &mail.text;
        let is_ours = String::from_utf8_lossy(raw).contains("From: a@acme.example");
        assert_eq!(super::values(raw, "DKIM-Signature").len(), if is_ours { 2 } else { 0 });
    }
    app.stop().await;
}
