//! A peer's replies: "slow down" slows that site, or stops it, and nobody else; and all processes know it.

use super::*;
use crate::support::sink::{Step, at, reply, tries, usual};

const TELLING: &str = "
[[provider.here.feedback]]
reply = 'TSS04'
suspend = '2h'
[[provider.here.feedback]]
reply = 'unusual rate'
slow = { mails = '1/min', connections = 1, for = '30min' }
";

/// A postroad whose mail to `told.example` goes to a sink of its own.
async fn scene(told: &SmtpSink, other: &SmtpSink) -> (TestApp, Table) {
    let table = Table::of(&format!("[provider.here]\nrelays = ['{}']\n{TELLING}", told.address()));
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route(other)).relay_for("told.example", &route(told));
    (table.laid_over(app).start().await, table)
}

/// How long from now until a message's first delivery is tried again, in minutes.
fn minutes_until_next(app: &TestApp, message: &Value) -> i64 {
    let next = message.pointer("/deliveries/0/next_attempt_at").and_then(Value::as_str).expect("a moment");
    let next =
        time::OffsetDateTime::parse(next, &time::format_description::well_known::Rfc3339).expect("a moment");
    (next - app.server().clock().now()).whole_minutes()
}

// S2
#[tokio::test]
async fn a_421_that_says_slow_down_suspends_that_site_alone_on_every_node() {
    let (told, other) = (SmtpSink::builder().start().await, SmtpSink::builder().start().await);
    let (app, table) = scene(&told, &other).await;
    told.set(at(Step::Mail), reply("421 4.7.0 [TSS04] Messages from 127.0.0.1 temporarily deferred"));

    let first = app.client.send_mail(mail("ann@told.example")).await;
    app.client.until(&first, |message| attempts(message) == 1).await;
    let connections = told.connections();
    until_count(
        &app,
        "SELECT count(*) FROM sites WHERE suspended_until > clock_timestamp() + interval '110 min'",
        1,
    )
    .await;

    // Mail for it waits, untried, until the two hours are over; another's goes on.
    let second = app.client.send_mail(mail("bob@told.example")).await;
    let waiting = |message: &Value| {
        message["deliveries"][0]["status"] == "queued"
            && message["deliveries"][0]["next_attempt_at"] != Value::Null
    };
    let held = app
        .client
        .until(&second, |message| waiting(message) && minutes_until_next(&app, message) > 100)
        .await;
    assert_eq!(attempts(&held), 0);
    let elsewhere = app.client.send_mail(mail("carl@example.net")).await;
    app.client.ended(&elsewhere).await;

    // A process that has heard nothing itself does not ask again.
    let node = table.laid_over(TestApp::builder().on(&app.database).set("POSTROAD_ALLOW_PRIVATE", "true"));
    let node = node.set("POSTROAD_ROUTE", &route(&other)).start().await;
    let third = node.client.send_mail(mail("dora@told.example")).await;
    let held = node
        .client
        .until(&third, |message| waiting(message) && minutes_until_next(&app, message) > 100)
        .await;
    assert_eq!(attempts(&held), 0);
    assert_eq!(told.connections(), connections, "{}", told.story());
    node.drain().await;
    app.stop().await;
}

#[tokio::test]
async fn a_site_that_wants_less_gets_less() {
    let (told, other) = (SmtpSink::builder().start().await, SmtpSink::builder().start().await);
    let (app, _table) = scene(&told, &other).await;
    told.set(at(Step::Dot), tries([reply("451 4.7.28 an unusual rate of mail from you"), usual()]));
    let first = app.client.send_mail(mail("ann@told.example")).await;
    app.client.until(&first, |message| attempts(message) == 1).await;

    send_batch(&app, 10, "told.example").await;
    // All but one a minute are back in the table, uncounted.
    let back =
        "SELECT count(*) FROM queue WHERE leased_by IS NULL AND attempts = 0 AND due_at > clock_timestamp()";
    let began = std::time::Instant::now();
    while app.database.count(back).await < 9 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(told.received().len() <= 2, "{}", told.story());
    assert_eq!(most_at_once(&told), 1);
    let elsewhere = app.client.send_mail(mail("carl@example.net")).await;
    app.client.ended(&elsewhere).await;
    app.stop().await;
}

// S8
#[tokio::test]
async fn greylisting_slows_nothing() {
    let (told, other) = (SmtpSink::builder().start().await, SmtpSink::builder().start().await);
    let (app, _table) = scene(&told, &other).await;
    told.set(at(Step::Rcpt).of("ann@"), tries([reply("451 4.7.1 Greylisted, come back later"), usual()]));
    let grey = app.client.send_mail(mail("ann@told.example")).await;
    app.client.until(&grey, |message| attempts(message) == 1).await;

    let next = app.client.send_mail(mail("bob@told.example")).await;
    app.client.ended(&next).await;
    let message = app.client.get(&format!("/v1/messages/{grey}")).await.body;
    assert!((4..=10).contains(&minutes_until_next(&app, &message)), "{message:#}");
    app.stop().await;
}
