//! W1 to W4: receivers that fail in every way, redirects, forbidden addresses, and a worker that is killed.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::receiver::{Receiver, Reply, ok};
use super::{app, hook, logged, only};
use crate::support::app::TestApp;
use crate::support::client::{PATIENCE, mail, text};
use crate::support::database::TestDatabase;
use crate::support::program::Settings;

fn moment(value: &Value, pointer: &str) -> OffsetDateTime {
    OffsetDateTime::parse(&text(value, pointer), &Rfc3339).expect("a time")
}

/// A path, the status and headers it answers with, and the wait that follows, in seconds.
type Refusal = (&'static str, u16, Vec<(&'static str, String)>, i64);

// W1, W2: whatever is no 2xx is tried again, with the same id and a new timestamp.
#[tokio::test]
async fn whatever_is_no_success_is_tried_again_with_the_same_id() {
    let target = Receiver::start().await;
    let elsewhere = target.url("/elsewhere");
    let cases: Vec<Refusal> = vec![
        ("/500", 500, vec![], 5),
        ("/404", 404, vec![], 5),
        ("/302", 302, vec![("location", elsewhere.clone())], 5),
        ("/307", 307, vec![("location", elsewhere)], 5),
        ("/304", 304, vec![], 5),
        ("/429", 429, vec![("retry-after", "90".to_owned())], 90),
        ("/503", 503, vec![("retry-after", "7200".to_owned())], 7200),
    ];
    let answers: Vec<_> =
        cases.iter().map(|(path, status, headers, _)| (*path, *status, headers.clone())).collect();
    let receiver = Receiver::with(move |request, _| {
        let (_, status, headers) =
            answers.iter().find(|(path, _, _)| *path == request.path).expect("a known path");
        Reply::Status(*status, headers.clone())
    })
    .await;
    let app = app().start().await;
    let mut hooks = Vec::new();
    for (path, status, _, wait) in &cases {
        let (id, _) = hook(&app.client, only(&receiver.url(path), &["delivered"])).await;
        hooks.push((*path, *status, *wait, id));
    }
    app.client.send_mail(mail("ann@example.net")).await;
    for (path, status, wait, id) in &hooks {
        let posts = logged(&app.client, id, |posts| !posts.is_empty()).await;
        assert_eq!(posts[0]["result"], "deferred", "{path}: {posts:#?}");
        assert_eq!(posts[0]["response"]["status"], json!(status), "{path}");
        assert_eq!(posts[0]["attempt"], 1, "{path}");
        let waits =
            (moment(&posts[0], "/next_attempt_at") - moment(&posts[0], "/created_at")).as_seconds_f64();
        let wait = *wait as f64;
        assert!((wait * 0.89..wait * 1.1 + 3.0).contains(&waits), "{path}: {waits}");
        let shown = app.client.get(&format!("/v1/webhooks/{id}")).await;
        assert!(shown.body["failing_since"].is_string(), "{path}: {:#}", shown.body);
    }
    receiver.behave(|_, _| ok());
    // Pauses that a receiver asked for are kept by the process: another one is at work now.
    let database = app.drain().await;
    let app = super::app().on(&database).start().await;
    database.make_calls_due().await;
    for (path, _, _, id) in &hooks {
        let posts = logged(&app.client, id, |posts| posts.len() >= 2).await;
        assert_eq!((&posts[1]["result"], &posts[1]["attempt"]), (&json!("delivered"), &json!(2)), "{path}");
        let shown = app.client.get(&format!("/v1/webhooks/{id}")).await;
        assert_eq!(shown.body["failing_since"], json!(null), "{path}");
    }
    let received = receiver.received();
    for (path, _, _, _) in &hooks {
        let of: Vec<_> = received.iter().filter(|request| request.path == *path).collect();
        assert_eq!(of.len(), 2, "{path}");
        assert_eq!(of[0].header("webhook-id"), of[1].header("webhook-id"), "{path}");
        assert_eq!(of[0].body, of[1].body, "{path}");
        let time = |n: usize| of[n].header("webhook-timestamp").parse::<i64>().expect("seconds");
        let expected = of[1].at.duration_since(of[0].at).as_secs() as i64;
        assert!((time(1) - time(0) - expected).abs() <= 2, "{path}: a fresh timestamp");
    }
    assert!(target.received().is_empty(), "redirects lead nowhere");
    assert_eq!(database.count("SELECT count(*) FROM webhook_calls").await, 0);
    app.stop().await;
}

#[tokio::test]
async fn the_last_failure_is_the_end_of_a_call() {
    let receiver = Receiver::with(|_, _| Reply::Status(500, Vec::new())).await;
    let app = app().start().await;
    let (id, _) = hook(&app.client, only(&receiver.url("/"), &["delivered"])).await;
    app.client.send_mail(mail("ann@example.net")).await;
    for tried in 1..10 {
        logged(&app.client, &id, |posts| posts.len() >= tried).await;
        app.database.make_calls_due().await;
    }
    let posts = logged(&app.client, &id, |posts| posts.len() >= 10).await;
    assert_eq!((&posts[9]["result"], &posts[9]["next_attempt_at"]), (&json!("failed"), &json!(null)));
    let began = Instant::now();
    while app.database.count("SELECT count(*) FROM webhook_calls").await > 0 {
        assert!(began.elapsed() < PATIENCE);
    }
    app.stop().await;
}

// W1: a receiver that never answers, or never stops, delays nobody else.
#[tokio::test]
async fn a_hanging_receiver_delays_nobody_else_and_is_given_up_in_time() {
    let hanging = Receiver::with(|_, _| Reply::Never).await;
    let endless = Receiver::with(|_, _| Reply::Endless).await;
    let quick = Receiver::start().await;
    let app = app().start().await;
    let (slow, _) = hook(&app.client, only(&hanging.url("/"), &["accepted"])).await;
    let (chatty, _) = hook(&app.client, only(&endless.url("/"), &["accepted"])).await;
    hook(&app.client, only(&quick.url("/"), &["accepted"])).await;
    for n in 0..60 {
        app.client.send_mail(mail(&format!("ann{n}@example.net"))).await;
        if n == 0 {
            quick.wait_for(1).await;
            let given_up = logged(&app.client, &slow, |_| true).await;
            assert!(given_up.is_empty(), "nobody waits for the one that hangs: {given_up:#?}");
        }
    }
    quick.wait_for(60).await;
    assert!(hanging.received().len() <= 10, "no more than its share is under way");
    let posts = logged(&app.client, &chatty, |posts| posts.len() == 60).await;
    assert!(posts.iter().all(|post| post["result"] == "delivered"));
    assert_eq!(text(&posts[0], "/response/body").len(), 4096, "the log keeps the beginning");

    let posts = logged(&app.client, &slow, |posts| !posts.is_empty()).await;
    assert_eq!(
        posts[0]["response"],
        json!({ "status": null, "body": "", "error": "no whole answer within 15 seconds" })
    );
    let took = posts[0]["duration_ms"].as_i64().expect("a number");
    assert!((14_900..20_000).contains(&took), "{took}");
    app.stop().await;
}

#[tokio::test]
async fn one_that_is_gone_is_disabled_and_the_others_told() {
    let receiver = Receiver::with(|request, _| match request.path.as_str() {
        "/gone" => Reply::Status(410, Vec::new()),
        _ => ok(),
    })
    .await;
    let app = app().start().await;
    let (gone, _) = hook(&app.client, only(&receiver.url("/gone"), &["delivered"])).await;
    hook(&app.client, only(&receiver.url("/notices"), &["webhook.disabled"])).await;
    app.client.send_mail(mail("ann@example.net")).await;

    let received = receiver.until(|received| received.iter().any(|one| one.path == "/notices")).await;

    let notice = received.iter().find(|one| one.path == "/notices").expect("a notice").json();
    assert_eq!(notice["type"], "webhook.disabled");
    assert_eq!(
        notice["data"],
        json!({ "webhook_id": gone, "url": receiver.url("/gone"), "because": "gone" })
    );
    let shown = app.client.get(&format!("/v1/webhooks/{gone}")).await;
    assert_eq!((&shown.body["enabled"], &shown.body["disabled_because"]), (&json!(false), &json!("gone")));
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'webhook.disable' AND actor = 'postroad'";
    assert_eq!(app.database.count(audited).await, 1);

    // Enabled again it gets what happens from then on.
    receiver.behave(|_, _| ok());
    let enabled = app.client.patch(&format!("/v1/webhooks/{gone}"), json!({ "enabled": true })).await;
    assert_eq!((&enabled.body["enabled"], &enabled.body["disabled_because"]), (&json!(true), &json!(null)));
    let message = app.client.send_mail(mail("bob@example.net")).await;
    receiver
        .until(|received| received.iter().any(|one| one.path == "/gone" && one.about().1 == message))
        .await;
    app.stop().await;
}

#[tokio::test]
async fn five_days_of_nothing_but_failures_disable_a_webhook() {
    let receiver = Receiver::with(|_, _| Reply::Status(500, Vec::new())).await;
    let app = app().start().await;
    let (id, _) = hook(&app.client, only(&receiver.url("/"), &["delivered"])).await;
    app.client.send_mail(mail("ann@example.net")).await;
    logged(&app.client, &id, |posts| posts.len() == 1).await;
    assert_eq!(app.client.get(&format!("/v1/webhooks/{id}")).await.body["enabled"], json!(true));
    let age = "UPDATE webhooks SET failing_since = clock_timestamp() - interval '5 days'";
    sqlx::query(age).execute(&mut app.database.connect().await).await.expect("aged");
    app.database.make_calls_due().await;
    logged(&app.client, &id, |posts| posts.len() == 2).await;
    let shown = app.client.get(&format!("/v1/webhooks/{id}")).await;
    assert_eq!((&shown.body["enabled"], &shown.body["disabled_because"]), (&json!(false), &json!("failing")));
    app.stop().await;
}

// W3: at save, and at connect when the name has moved since, or the setting.
#[tokio::test]
async fn what_leads_inside_is_refused_when_it_is_saved_and_when_it_is_called() {
    let receiver = Receiver::start().await;
    let port = receiver.url("").rsplit(':').next().expect("a port").to_owned();
    let app = TestApp::start().await;
    let urls = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://2130706433:{port}/"),
        "http://[::ffff:127.0.0.1]/".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/".to_owned(),
    ];
    for url in &urls {
        let answer = app.client.post("/v1/webhooks", json!({ "url": url })).await;
        assert_eq!(answer.violations(), [("/url".to_owned(), "forbidden_url".to_owned())], "{url}");
    }
    let (id, _) = hook(&app.client, only("https://hooks.acme.example/", &["delivered"])).await;
    let answer = app.client.patch(&format!("/v1/webhooks/{id}"), json!({ "url": urls[0] })).await;
    assert_eq!(answer.violations(), [("/url".to_owned(), "forbidden_url".to_owned())]);

    let moved = sqlx::AssertSqlSafe(format!("UPDATE webhooks SET url = '{}'", urls[1]));
    sqlx::query(moved).execute(&mut app.database.connect().await).await.expect("moved");
    let raised = "UPDATE revisions SET value = value + 1 WHERE name = 'webhooks'";
    sqlx::query(raised).execute(&mut app.database.connect().await).await.expect("raised");
    let tested = app.client.post(&format!("/v1/webhooks/{id}/test"), json!({})).await;
    assert_eq!(tested.body["response"]["error"], "the host leads to an address that is not public");
    app.client.send_mail(mail("ann@example.net")).await;
    let refused = |posts: &[Value]| {
        posts.iter().any(|post| {
            post["result"] == "deferred"
                && post["response"]["error"] == "the host leads to an address that is not public"
        })
    };
    logged(&app.client, &id, refused).await;
    assert!(receiver.received().is_empty());
    app.stop().await;
}

// W4: what one process has under way is leased to it.
#[tokio::test]
async fn what_one_process_is_posting_another_does_not_post() {
    let receiver = Receiver::with(|_, _| Reply::Never).await;
    let one = app().start().await;
    let other = app().on(&one.database).start().await;
    hook(&one.client, only(&receiver.url("/"), &["delivered"])).await;
    let first = one.client.send_mail(mail("ann@example.net")).await;
    receiver.wait_for(1).await;
    let second = one.client.send_mail(mail("bob@example.net")).await;

    let received = receiver.wait_for(2).await;

    let about: Vec<String> = received.iter().map(|request| request.about().1).collect();
    assert_eq!(about, [first, second]);
    let (database, _) = tokio::join!(one.drain(), other.drain());
    database.drop_now().await;
}

// W4: killed after the receiver has it and before that is written down.
#[tokio::test]
async fn a_kill_between_the_request_and_its_record_posts_the_same_event_again() {
    let database = TestDatabase::fresh().await;
    let directory = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::with(|_, _| Reply::Never).await;
    let settings = Settings::embedded(directory.path())
        .database(&database.url)
        .set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8");
    let mut node = settings.start();
    let made = node.client.post("/v1/webhooks", only(&receiver.url("/"), &["delivered"])).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let message = node.client.send_mail(mail("ann@example.net")).await;
    receiver.wait_for(1).await;
    node.kill();

    receiver.behave(|_, _| ok());
    let node = settings.start();
    database.make_calls_due().await;
    let received = receiver.wait_for(2).await;
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received[1].about(), ("message.delivered".to_owned(), message));
    let posts = logged(&node.client, &made.text("/id"), |posts| !posts.is_empty()).await;
    assert_eq!((&posts[0]["result"], &posts[0]["attempt"]), (&json!("delivered"), &json!(2)));
    let began = Instant::now();
    while database.count("SELECT count(*) FROM webhook_calls").await > 0 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(node);
    database.drop_now().await;
}
