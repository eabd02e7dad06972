//! `/v1/suppressions`: what is on the list is not mailed, and the list comes and goes whole.

mod files;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{mail, statuses, text};
use crate::support::sink::{SmtpSink, Step, reply};

#[tokio::test]
async fn a_suppressed_address_is_accepted_and_not_mailed_until_it_is_taken_off() {
    let app = TestApp::start().await;
    let made =
        app.client.post("/v1/suppressions", json!({ "email": "Ann@Example.net", "stream": null })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    let id = made.text("/id");
    let expected = json!({
        "id": id, "email": "ann@example.net", "stream": null, "reason": "manual", "delivery_id": null,
        "created_at": made.body["created_at"],
    });
    assert_eq!(made.body, expected);
    let again = app.client.post("/v1/suppressions", json!({ "email": "ANN@example.net" })).await;
    assert_eq!((again.status, again.text("/id")), (StatusCode::OK, id.clone()));
    assert_eq!(app.client.get(&format!("/v1/suppressions/{id}")).await.body, expected);

    let sent = app.client.post("/v1/messages", mail("aNN@example.net")).await;
    assert_eq!(sent.text("/deliveries/0/status"), "suppressed");

    assert_eq!(app.client.delete(&format!("/v1/suppressions/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.delete(&format!("/v1/suppressions/{id}")).await.status, StatusCode::NOT_FOUND);
    let message = app.client.send_mail(mail("ann@example.net")).await;
    assert_eq!(statuses(&app.client.ended(&message).await), ["delivered"]);
    let audited = "SELECT count(*) FROM audit_log WHERE target = (SELECT target FROM audit_log
                   WHERE action = 'suppression.create') AND action LIKE 'suppression.%'";
    assert_eq!(app.database.count(audited).await, 2, "made and deleted, and the second making is none");
    app.stop().await;
}

#[tokio::test]
async fn a_suppression_of_one_stream_leaves_the_others_alone() {
    let app = TestApp::start().await;
    let body = json!({ "email": "ann@example.net", "stream": "news", "reason": "unsubscribe" });
    assert_eq!(app.client.post("/v1/suppressions", body).await.status, StatusCode::CREATED);
    let mut news = mail("ann@example.net");
    news["stream"] = "news".into();
    assert_eq!(app.client.post("/v1/messages", news).await.text("/deliveries/0/status"), "suppressed");
    let other = app.client.post("/v1/messages", mail("ann@example.net")).await;
    assert_eq!(other.text("/deliveries/0/status"), "queued");
    app.stop().await;
}

// Checked again at the claim: mail that was accepted before is stopped.
#[tokio::test]
async fn mail_that_waits_when_its_recipient_is_suppressed_is_not_sent() {
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    body["send_at"] = "2026-12-20T00:00:00Z".into();
    let message = app.client.send_mail(body).await;
    app.client.post("/v1/suppressions", json!({ "email": "ann@example.net" })).await;
    app.database.make_due().await;
    assert_eq!(statuses(&app.client.ended(&message).await), ["suppressed"]);
    app.stop().await;
}

#[tokio::test]
async fn a_hard_bounce_is_on_the_list_with_the_delivery_that_caused_it() {
    let refusal = reply("550 5.1.1 unknown user");
    let sink = SmtpSink::builder().on(Step::Rcpt, refusal).start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let message = app.client.send_mail(mail("gone@example.net")).await;
    let ended = app.client.ended(&message).await;
    let listed = app.client.get("/v1/suppressions?email=gone@example.net").await.list("/data");
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["reason"], &listed[0]["delivery_id"]),
        (&json!("bounce"), &ended["deliveries"][0]["id"])
    );
    app.stop().await;
}

#[tokio::test]
async fn the_list_is_filtered_and_paged() {
    let app = TestApp::start().await;
    let entries: Vec<Value> = (0..30)
        .map(|n| {
            let reason = ["bounce", "complaint", "unsubscribe", "manual"][n % 4];
            json!({ "email": format!("a{n}@example.net"), "reason": reason, "stream": (n % 2 == 0).then_some("news") })
        })
        .collect();
    let answer = app.client.post("/v1/suppressions/batch", json!(entries)).await;
    assert_eq!(answer.body, json!({ "added": 30, "already": 0 }));
    let answer = app.client.post("/v1/suppressions/batch", json!(entries[..10])).await;
    assert_eq!(answer.body, json!({ "added": 0, "already": 10 }));

    let all = app.client.all_pages("/v1/suppressions", 7).await;
    let mut ids: Vec<String> = all.iter().map(|one| text(one, "/id")).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first");
    ids.dedup();
    assert_eq!(ids.len(), 30);
    let count =
        async |query: &str| app.client.all_pages(&format!("/v1/suppressions?{query}"), 100).await.len();
    assert_eq!(count("email=A7@example.net").await, 1);
    assert_eq!(count("reason=bounce").await, 8);
    assert_eq!(count("stream=news").await, 15);
    assert_eq!(count("reason=complaint&stream=news").await, 0);
    assert_eq!(count("since=2026-01-01T00:00:00Z").await, 30);
    assert_eq!(count("until=2026-01-01T00:00:00Z").await, 0);

    let emails: Vec<String> = (0..10).map(|n| format!("A{n}@example.net")).collect();
    let answer =
        app.client.post("/v1/suppressions/delete", json!({ "emails": emails, "stream": "news" })).await;
    assert_eq!(answer.body, json!({ "deleted": 5 }));
    let answer = app.client.post("/v1/suppressions/delete", json!({ "emails": emails })).await;
    assert_eq!(answer.body, json!({ "deleted": 5 }));
    assert_eq!(count("").await, 20);
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_suppressed_is_named() {
    let app = TestApp::start().await;
    let cases = [
        ("/v1/suppressions", json!({}), vec![("/email", "required")]),
        (
            "/v1/suppressions",
            json!({ "email": "no", "stream": "A B", "reason": "dislike", "x": 1 }),
            vec![
                ("/email", "invalid_address"),
                ("/stream", "invalid_stream"),
                ("/reason", "invalid_reason"),
                ("/x", "unknown_field"),
            ],
        ),
        (
            "/v1/suppressions/batch",
            json!([{ "email": "a@example.net" }, { "email": "b" }, 7]),
            vec![("/1/email", "invalid_address"), ("/2", "wrong_type")],
        ),
        ("/v1/suppressions/batch", json!([]), vec![("", "out_of_range")]),
        ("/v1/suppressions/delete", json!({}), vec![("/emails", "required")]),
        (
            "/v1/suppressions/delete",
            json!({ "emails": ["a@example.net", "b"] }),
            vec![("/emails/1", "invalid_address")],
        ),
    ];
    for (path, body, expected) in cases {
        let answer = app.client.post(path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let expected: Vec<(String, String)> =
            expected.into_iter().map(|(pointer, code)| (pointer.to_owned(), code.to_owned())).collect();
        assert_eq!(answer.violations(), expected, "{body}");
    }
    assert_eq!(app.database.count("SELECT count(*) FROM suppressions").await, 0);
    app.stop().await;
}
