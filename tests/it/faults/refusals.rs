//! S2, S3, S4, S7: peers that say no, for now or for good.

use super::*;
use crate::support::client::statuses;
use crate::support::sink::{SinkBuilder, Step, reply};

/// Steps at which a whole mail can be refused, and what the attempt calls them.
const STEPS: [(Step, &str); 5] = [
    (Step::Connect, "greeting"),
    (Step::Mail, "mail"),
    (Step::Rcpt, "rcpt"),
    (Step::Data, "data"),
    (Step::Dot, "body"),
];

/// One sink for each step, each with a domain of its own, that answers `line` there.
async fn refusing_at_each_step(line: &str) -> (TestApp, Vec<SmtpSink>, Oracle) {
    let mut app = TestApp::builder();
    let mut sinks = Vec::new();
    for (step, name) in STEPS {
        let sink = SmtpSink::builder().on(step, reply(line)).start().await;
        app = app.relay_for(&format!("{name}.example"), &route(&sink));
        sinks.push(sink);
    }
    (app.start().await, sinks, Oracle::new())
}

async fn send_to_each(app: &TestApp, oracle: &Oracle) -> Vec<(String, &'static str)> {
    let mut sent = Vec::new();
    for (_, name) in STEPS {
        let id = oracle.send(&app.client, mail(&format!("ann@{name}.example"))).await.expect("accepted");
        sent.push((id, name));
    }
    sent
}

async fn suppressions(app: &TestApp) -> i64 {
    app.database.count("SELECT count(*) FROM suppressions").await
}

// S2: a 421 closes the connection, wherever it comes; it says nothing about the recipient.
#[tokio::test]
async fn a_421_at_any_step_is_waited_out() {
    let (app, sinks, oracle) = refusing_at_each_step("421 4.3.2 closing for a while").await;

    for (id, name) in send_to_each(&app, &oracle).await {
        let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
        assert_eq!(last_told(&message), format!("deferred network {name} 421 4.3.2"));
        assert_about(wait_after_last(&message), 5);
    }
    // Nobody hammers: what is not due is not tried, and a site that turned us away is left alone for a while.
    for sink in &sinks {
        assert!(sink.connections() <= 3, "{}", sink.story());
    }

    sinks.iter().for_each(SmtpSink::be_friendly);
    app.database.make_due().await;
    let taken = || sinks.iter().flat_map(taken_by).collect();
    let verdict = oracle.check(&app.database.url, Terms::default(), taken).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (5, 1));
    assert_eq!(suppressions(&app).await, 0);
    app.stop().await;
}

// S2: who closes with 421 amid a session is left alone for a while, however much waits for him.
#[tokio::test]
async fn what_waits_behind_a_421_waits_uncounted() {
    let sink = SmtpSink::builder().on(Step::Mail, reply("421 4.3.2 closing for a while"));
    let scene = Scene::narrow(sink).await;
    let mails = (0..40).map(|n| mail(&format!("u{n}@example.net"))).collect();
    assert_eq!(scene.oracle.send_batch(&scene.app.client, mails).await, 40);
    let waiting = "SELECT count(*) FROM queue WHERE leased_by IS NULL AND due_at > clock_timestamp()";
    let began = std::time::Instant::now();
    while scene.app.database.count(waiting).await < 40 {
        assert!(began.elapsed() < PATIENCE, "what is not tried is given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tried = scene.app.database.count("SELECT count(*) FROM attempts").await;
    assert!((1..=5).contains(&tried), "{tried} attempts, {} connections", scene.sink.connections());
    assert_eq!(scene.app.database.count("SELECT count(*) FROM queue WHERE attempts = 0").await, 40 - tried);
    scene.app.stop().await;
}

// S3
#[tokio::test]
async fn a_4yz_at_any_step_is_retried_by_the_schedule() {
    let (app, sinks, oracle) = refusing_at_each_step("450 4.2.1 not now").await;

    let sent = send_to_each(&app, &oracle).await;
    for (id, name) in &sent {
        let message = app.client.until(id, |message| !attempts(message).is_empty()).await;
        let told = last_told(&message);
        assert!(told.starts_with("deferred ") && told.ends_with(&format!("{name} 450 4.2.1")), "{told}");
        assert_about(wait_after_last(&message), 5);
    }
    app.database.make_due().await;
    for (id, name) in &sent {
        let message = app.client.until(id, |message| attempts(message).len() == 2).await;
        assert_about(wait_after_last(&message), 10);
        assert_eq!(statuses(&message), ["queued"], "{name}");
        assert_eq!(app.client.event_types(id).await, ["accepted", "deferred", "deferred"]);
    }

    sinks.iter().for_each(SmtpSink::be_friendly);
    app.database.make_due().await;
    let taken = || sinks.iter().flat_map(taken_by).collect();
    let verdict = oracle.check(&app.database.url, Terms::default(), taken).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (5, 1));
    app.stop().await;
}

// S3: RFC 3463: 4.4.7, here for good.
#[tokio::test]
async fn what_is_deferred_until_its_time_is_over_expires() {
    let scene = Scene::of(SmtpSink::builder().on(Step::Rcpt, reply("451 4.7.1 later"))).await;
    let id = scene.send("ann@example.net").await;
    scene.tried(&id, 1).await;

    // Three days and a little.
    scene.app.database.age(3 * 24 * 3600 + 60).await;

    let message = scene.ended(&id).await;
    assert_eq!(statuses(&message), ["expired"]);
    assert_eq!(scene.app.client.event_types(&id).await, ["accepted", "deferred", "expired"]);
    assert_eq!(suppressions(&scene.app).await, 0);
    assert_eq!(scene.end().await.ended("expired"), 1);
}

// S4: before RCPT, and at the text, a 5yz is about us or about the mail.
#[tokio::test]
async fn a_5yz_at_any_step_bounces_once_and_suppresses_only_an_address() {
    let (app, sinks, oracle) = refusing_at_each_step("550 5.1.1 no such user").await;

    for (id, name) in send_to_each(&app, &oracle).await {
        let message = app.client.ended(&id).await;
        assert_eq!(statuses(&message), ["bounced"], "{name}");
        assert_eq!(attempts(&message).len(), 1);
        assert!(last_told(&message).ends_with(&format!("{name} 550 5.1.1")), "{}", last_told(&message));
        assert_eq!(app.client.event_types(&id).await, ["accepted", "bounced"]);
    }

    let suppressed: Vec<String> = sqlx::query_scalar("SELECT address FROM suppressions ORDER BY address")
        .fetch_all(&mut app.database.connect().await)
        .await
        .expect("asked");
    assert_eq!(suppressed, ["ann@body.example", "ann@data.example", "ann@rcpt.example"]);
    let taken = || sinks.iter().flat_map(taken_by).collect();
    assert_eq!(oracle.check(&app.database.url, Terms::default(), taken).await.ended("bounced"), 5);
    app.stop().await;
}

// S4: the same refusal, but about us.
#[tokio::test]
async fn a_5yz_about_our_reputation_suppresses_nobody() {
    let line = "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org";
    let scene = Scene::of(SmtpSink::builder().on(Step::Rcpt, reply(line))).await;

    let id = scene.send("ann@example.net").await;
    let message = scene.ended(&id).await;

    assert_eq!(last_told(&message), "bounced reputation_block rcpt 550 5.7.1");
    assert_eq!(suppressions(&scene.app).await, 0);
    scene.end().await;
}

// A refusal by policy at RCPT looks like that of an unknown user, but for its code or its words.
#[tokio::test]
async fn a_refusal_by_policy_suppresses_nobody() {
    let scene = Scene::of(
        SmtpSink::builder()
            .on_rcpt("coded@", reply("550 5.7.1 not wanted here"))
            .on_rcpt("worded@", reply("550 Administrative prohibition")),
    )
    .await;

    for (to, told) in [
        ("coded@example.net", "bounced unknown rcpt 550 5.7.1"),
        ("worded@example.net", "bounced unknown rcpt 550 -"),
    ] {
        let id = scene.send(to).await;
        let message = scene.ended(&id).await;
        assert_eq!(last_told(&message), told);
    }
    assert_eq!(suppressions(&scene.app).await, 0);
    scene.end().await;
}

fn mixed() -> SinkBuilder {
    SmtpSink::builder()
        .on_rcpt("later", reply("450 4.2.1 later"))
        .on_rcpt("never", reply("550 5.1.1 no such user"))
}

// S7
#[tokio::test]
async fn each_of_ten_recipients_has_an_outcome_of_its_own() {
    let scene = Scene::of(mixed()).await;
    let names =
        ["yes1", "yes2", "yes3", "later1", "later2", "later3", "never1", "never2", "never3", "never4"];
    let to: Vec<String> = names.iter().map(|name| format!("{name}@example.net")).collect();
    let mut body = mail("ann@example.net");
    body["to"] = to.into();
    let id = scene.oracle.send(&scene.app.client, body).await.expect("accepted");

    let tried = |message: &Value| {
        let deliveries = message["deliveries"].as_array().expect("deliveries");
        deliveries.iter().all(|delivery| delivery["attempts"].as_array().is_some_and(|list| !list.is_empty()))
    };
    let message = scene.app.client.until(&id, tried).await;
    let wanted = [vec!["delivered"; 3], vec!["queued"; 3], vec!["bounced"; 4]].concat();
    assert_eq!(statuses(&message), wanted);

    // The three that wait are tried again; the others are not.
    scene.sink.be_friendly();
    scene.app.database.make_due().await;
    let verdict = scene.end().await;
    assert_eq!((verdict.ended("delivered"), verdict.ended("bounced"), verdict.most_copies), (6, 4, 1));
}
