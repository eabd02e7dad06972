//! When a mail is sent, whether it is, and for how long it is tried.

use reqwest::StatusCode;
use serde_json::{Value, json};
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{Duration, OffsetDateTime};

use crate::support::app::TestApp;
use crate::support::captured::field;
use crate::support::client::{Answer, mail, statuses, text};

fn rfc3339(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).expect("a moment")
}

fn moment(value: &Value, pointer: &str) -> OffsetDateTime {
    OffsetDateTime::parse(&text(value, pointer), &Rfc3339).expect("RFC 3339")
}

fn mail_at(moment: OffsetDateTime) -> Value {
    let mut body = mail("ann@example.net");
    body["send_at"] = rfc3339(moment).into();
    body
}

/// A time of day without fractions, so that it reads back as it was written.
fn in_an_hour(app: &TestApp) -> OffsetDateTime {
    (app.server().clock().now() + Duration::hours(1)).replace_nanosecond(0).expect("a second")
}

async fn get(app: &TestApp, id: &str) -> Answer {
    app.client.get(&format!("/v1/messages/{id}")).await
}

#[tokio::test]
async fn mail_for_later_waits_and_says_so() {
    let app = TestApp::start().await;
    let later = in_an_hour(&app);

    let id = app.client.send_mail(mail_at(later)).await;
    // What comes after it, and is delivered, shows that it was not merely slow.
    let next = app.client.send_mail(mail("bob@example.net")).await;
    app.client.ended(&next).await;

    let message = get(&app, &id).await.body;
    assert_eq!(statuses(&message), ["queued"]);
    assert_eq!(message["deliveries"][0]["attempt_count"], json!(0));
    assert_eq!(moment(&message, "/send_at"), later);
    assert_eq!(moment(&message, "/deliveries/0/next_attempt_at"), later);
    assert_eq!(app.client.event_types(&id).await, ["accepted"]);
    app.stop().await;
}

#[tokio::test]
async fn mail_for_later_goes_when_its_time_has_come() {
    let app = TestApp::start().await;
    let soon = app.server().clock().now() + Duration::seconds(2);

    let id = app.client.send_mail(mail_at(soon)).await;
    assert_eq!(statuses(&get(&app, &id).await.body), ["queued"]);
    let message = app.client.ended(&id).await;

    assert_eq!(statuses(&message), ["delivered"]);
    assert!(moment(&message, "/deliveries/0/ended_at") >= soon - Duration::MILLISECOND);
    app.stop().await;
}

#[tokio::test]
async fn its_date_is_that_of_the_day_it_is_sent() {
    let app = TestApp::start().await;
    let later = in_an_hour(&app);
    let id = app.client.send_mail(mail_at(later)).await;
    let raw = app.client.download(&format!("/v1/messages/{id}/raw")).await;
    let date = OffsetDateTime::parse(&field(&raw, "Date"), &Rfc2822).expect("a date");
    assert_eq!(date, later);
    app.stop().await;
}

#[tokio::test]
async fn mail_for_the_past_goes_now() {
    let app = TestApp::start().await;
    for past in [app.server().clock().now() - Duration::days(400), OffsetDateTime::UNIX_EPOCH] {
        let id = app.client.send_mail(mail_at(past)).await;
        let message = app.client.ended(&id).await;
        assert_eq!(statuses(&message), ["delivered"]);
        assert_eq!(message["send_at"], Value::Null);
    }
    app.stop().await;
}

#[tokio::test]
async fn nobody_plans_further_than_thirty_days() {
    let app = TestApp::start().await;
    let now = app.server().clock().now();
    let at = |days| mail_at(now + Duration::days(days));
    assert_eq!(app.client.post("/v1/messages", at(29)).await.status, StatusCode::ACCEPTED);
    let answer = app.client.post("/v1/messages", at(31)).await;
    assert_eq!(answer.violations(), [("/send_at".into(), "too_far_ahead".into())]);
    // It is told with whatever else is wrong, not after it.
    let mut wrong = at(31);
    wrong["priority"] = json!("soon");
    wrong["bcc"] = (0..1001).map(|number| format!("u{number}@acme.example")).collect();
    let mut told = app.client.post("/v1/messages", wrong).await.violations();
    told.sort();
    let wanted =
        [("/priority", "invalid_priority"), ("/send_at", "too_far_ahead"), ("/to", "too_many_recipients")];
    assert_eq!(told, wanted.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    let id = app.client.send_mail(at(1)).await;
    let far = json!({ "send_at": rfc3339(now + Duration::days(31)) });
    let answer = app.client.patch(&format!("/v1/messages/{id}"), far).await;
    assert_eq!(answer.violations(), [("/send_at".into(), "too_far_ahead".into())]);
    app.stop().await;
}

#[tokio::test]
async fn a_plan_can_be_moved_to_later_and_to_now() {
    let app = TestApp::start().await;
    let id = app.client.send_mail(mail_at(in_an_hour(&app))).await;
    let path = format!("/v1/messages/{id}");
    let later = in_an_hour(&app) + Duration::days(2);

    let moved = app.client.patch(&path, json!({ "send_at": rfc3339(later) })).await;
    assert_eq!(moved.status, StatusCode::OK, "{:#}", moved.body);
    assert_eq!(moment(&moved.body, "/deliveries/0/next_attempt_at"), later);
    assert_eq!(moved.body, get(&app, &id).await.body);

    let now = app.server().clock().now() - Duration::days(1);
    let moved = app.client.patch(&path, json!({ "send_at": rfc3339(now) })).await;
    assert_eq!(moved.status, StatusCode::OK, "{:#}", moved.body);
    assert_eq!(statuses(&app.client.ended(&id).await), ["delivered"]);

    let again = app.client.patch(&path, json!({ "send_at": rfc3339(later) })).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "conflict"));
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_new_time_changes_nothing() {
    let app = TestApp::start().await;
    let later = in_an_hour(&app);
    let id = app.client.send_mail(mail_at(later)).await;
    let path = format!("/v1/messages/{id}");
    let cases = [
        (json!({}), "/send_at", "required"),
        (json!({ "send_at": null }), "/send_at", "required"),
        (json!({ "send_at": "tomorrow" }), "/send_at", "invalid_time"),
        (json!({ "send_at": 7 }), "/send_at", "wrong_type"),
        (json!({ "send_at": rfc3339(later), "subject": "x" }), "/subject", "unknown_field"),
        (json!([]), "", "wrong_type"),
    ];
    for (body, pointer, code) in cases {
        let answer = app.client.patch(&path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    assert_eq!(moment(&get(&app, &id).await.body, "/deliveries/0/next_attempt_at"), later);
    app.stop().await;
}

#[tokio::test]
async fn the_time_to_live_counts_from_the_planned_moment() {
    let app = TestApp::start().await;
    let later = in_an_hour(&app);
    let mut connection = app.database.connect().await;
    for ttl in [300, 432_000] {
        let mut body = mail_at(later);
        body["ttl_seconds"] = json!(ttl);
        let id = app.client.send_mail(body).await;
        let message = get(&app, &id).await.body;
        assert_eq!(message["ttl_seconds"], json!(ttl));
        let due = "SELECT due_at, expires_at FROM queue ORDER BY delivery_id DESC LIMIT 1";
        let (due_at, expires_at): (OffsetDateTime, OffsetDateTime) =
            sqlx::query_as(due).fetch_one(&mut connection).await.expect("queued");
        assert_eq!((due_at, expires_at), (later, later + Duration::seconds(ttl)));

        let moved = later + Duration::hours(5);
        app.client.patch(&format!("/v1/messages/{id}"), json!({ "send_at": rfc3339(moved) })).await;
        let (due_at, expires_at): (OffsetDateTime, OffsetDateTime) =
            sqlx::query_as(due).fetch_one(&mut connection).await.expect("queued");
        assert_eq!((due_at, expires_at), (moved, moved + Duration::seconds(ttl)));
    }
    for ttl in [json!(299), json!(432_001), json!(-1), json!(300.5), json!("300")] {
        let mut body = mail("ann@example.net");
        body["ttl_seconds"] = ttl.clone();
        let answer = app.client.post("/v1/messages", body).await;
        assert_eq!(answer.violations(), [("/ttl_seconds".into(), "out_of_range".into())], "{ttl}");
    }
    app.stop().await;
}

#[tokio::test]
async fn sandboxed_mail_is_checked_and_stored_and_never_sent() {
    let app = TestApp::start().await;
    let test_key = app.key(json!({ "name": "test", "scopes": ["send", "read"], "test": true })).await;
    assert!(test_key.secret.starts_with("pr_test_"), "a test key is known by its looks");
    let mut marked = mail("ann@example.net");
    marked["sandbox"] = json!(true);
    let later = json!(rfc3339(in_an_hour(&app)));
    let mut planned = mail("ann@example.net");
    planned["send_at"] = later.clone();

    for (client, body, send_at) in [
        (&app.client, marked, Value::Null),
        (&test_key.client, mail("ann@example.net"), Value::Null),
        (&test_key.client, planned, later),
    ] {
        let answer = client.post("/v1/messages", body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(statuses(&answer.body), ["queued"]);
        let id = answer.text("/id");
        let message = get(&app, &id).await.body;
        assert_eq!(statuses(&message), ["delivered"], "at once");
        assert_eq!(message["sandbox"], json!(true));
        assert_eq!(message["send_at"].is_null(), send_at.is_null());
        assert_eq!(message["deliveries"][0]["attempts"], json!([]));
        let events = app.client.get(&format!("/v1/messages/{id}/events")).await;
        assert_eq!(text(&events.body, "/data/0/type"), "delivered");
        assert_eq!(events.body["data"][0]["data"], json!({ "sandbox": true }));
        assert_eq!(text(&events.body, "/data/1/type"), "accepted");
    }
    let sent = app.client.send_mail(mail("bob@example.net")).await;
    app.client.ended(&sent).await;
    let captured = app.client.all_pages("/v1/captured", 100).await;
    assert_eq!(captured.len(), 1, "only what was not sandboxed: {captured:#?}");
    app.stop().await;
}

#[tokio::test]
async fn a_sandbox_refuses_what_the_world_would_not_get_either() {
    let app = TestApp::start().await;
    let mut body = mail("nobody");
    body["sandbox"] = json!(true);
    let answer = app.client.post("/v1/messages", body).await;
    assert_eq!(answer.violations(), [("/to".into(), "invalid_address".into())]);
    app.stop().await;
}
