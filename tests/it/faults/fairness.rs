//! Order and fairness in the queue; and what never reaches the wire.

use serde_json::json;

use super::*;
use crate::support::client::{Client, statuses};
use crate::support::sink::{Step, hold, reply, take, usual};

/// Where in the order of arrival a recipient's mail was.
fn position(sink: &SmtpSink, recipient: &str) -> Option<usize> {
    sink.received().iter().position(|mail| mail.to() == [recipient])
}

fn in_ten_minutes(app: &TestApp) -> String {
    (app.server().clock().now() + Duration::from_secs(600)).format(&Rfc3339).expect("a time")
}

async fn queue_bulk(client: &Client, count: usize, domain: &str) {
    for _ in 0..count / 1000 {
        let mails = (0..1000).map(|n| mail(&format!("u{n}@{domain}"))).collect();
        assert_eq!(Oracle::new().send_batch(client, mails).await, 1000);
    }
}

#[tokio::test]
async fn another_tenants_mail_does_not_wait_behind_bulk() {
    let bulk = if std::env::var_os("POSTROAD_TORTURE").is_some() { 100_000 } else { 5_000 };
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route(&sink)).start().await;
    let other = app.account("other").await.client;
    queue_bulk(&app.client, bulk, "bulk.example").await;

    for (priority, name) in [("high", "reset"), ("normal", "receipt")] {
        let before = sink.received().len();
        let mut single = mail(&format!("{name}@example.net"));
        single["priority"] = priority.into();
        let began = std::time::Instant::now();
        other.send_mail(single).await;
        let recipient = format!("{name}@example.net");
        sink.wait_until(PATIENCE, |sink| position(sink, &recipient).is_some()).await;
        let after = position(&sink, &recipient).expect("it has come") - before.min(sink.received().len());
        let took = began.elapsed();
        println!("{priority}: after {after} others, {took:?}, {} of {bulk} delivered before", before);
        // Far from the end of the bulk: what was in couriers' hands, and the other's fair share of the rest.
        assert!(took < Duration::from_secs(5), "{priority} took {took:?} behind {after} others");
    }
    app.stop().await;
}

// Over one connection, with the first tenant's mail in memory, all of it before the other's.
#[tokio::test]
async fn tenants_take_turns_at_a_site() {
    let (act, mut held) = hold();
    let sink =
        SmtpSink::builder().on(Step::Dot, take().then(act).then(reply("250 2.0.0 taken"))).start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &narrow(&sink)).start().await;
    let other = app.account("other").await.client;
    app.client.send_mail(mail("first@bulk.example")).await;
    held.reached().await;
    let bulk = (0..100).map(|n| mail(&format!("u{n}@bulk.example"))).collect();
    assert_eq!(Oracle::new().send_batch(&app.client, bulk).await, 100);
    other.send_mail(mail("ann@example.net")).await;
    assert_eq!(
        app.database.count("SELECT count(*) FROM queue WHERE leased_by IS NULL").await,
        0,
        "all in memory"
    );

    held.release();
    sink.wait_for(102, PATIENCE).await;

    let place = position(&sink, "ann@example.net").expect("it has come");
    assert!(place <= 3, "after {place} others");
    app.stop().await;
}

#[tokio::test]
async fn high_goes_before_normal_before_low_and_the_earlier_before_the_later() {
    let sink = SmtpSink::builder().start().await;
    let app =
        TestApp::builder().set("POSTROAD_ROUTE", &narrow(&sink)).set("POSTROAD_LANES", "1").start().await;
    // Scheduled, so that it is the table that orders them.
    let later = in_ten_minutes(&app);
    for (priority, name) in
        [("low", "c1"), ("normal", "b1"), ("high", "a1"), ("normal", "b2"), ("high", "a2")]
    {
        let mut body = mail(&format!("{name}@example.net"));
        body["priority"] = priority.into();
        body["send_at"] = later.clone().into();
        app.client.send_mail(body).await;
    }

    // In one statement, so that one claim finds them all: those with a 2 have been due for longer.
    let due = "UPDATE queue q SET due_at = now() - CASE WHEN d.recipient LIKE '_2@%' THEN interval '2 s' ELSE interval '1 s' END
               FROM deliveries d WHERE d.lane = q.lane AND d.id = q.delivery_id";
    sqlx::query(due).execute(&mut app.database.connect().await).await.expect("changed");
    let arrived = sink.wait_for(5, PATIENCE).await;

    let order: Vec<String> = arrived.iter().map(|mail| mail.to()[0].chars().take(2).collect()).collect();
    assert_eq!(order, ["a2", "a1", "b2", "b1", "c1"]);
    app.stop().await;
}

// Over one connection, which another mail holds up, after the claim has found that there is time left.
#[tokio::test]
async fn mail_whose_time_ends_while_it_waits_in_memory_never_reaches_the_wire() {
    let (act, mut held) = hold();
    let sink = SmtpSink::builder().on(Step::Dot, act.then(usual())).start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &narrow(&sink)).start().await;
    let mut late = mail("late@example.net");
    late["send_at"] = in_ten_minutes(&app).into();
    let late = app.client.send_mail(late).await;
    let first = app.client.send_mail(mail("first@example.net")).await;
    held.reached().await;

    let mut database = app.database.connect().await;
    let due = "UPDATE queue SET due_at = clock_timestamp(), expires_at = clock_timestamp() + interval '2 s'
               WHERE leased_by IS NULL";
    sqlx::query(due).execute(&mut database).await.expect("changed");
    let began = std::time::Instant::now();
    let leased = "SELECT count(*) FROM queue WHERE leased_by IS NOT NULL";
    while app.database.count(leased).await < 2 && began.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(2100).saturating_sub(began.elapsed())).await;
    held.release();

    assert_eq!(statuses(&app.client.ended(&first).await), ["delivered"]);
    assert_eq!(statuses(&app.client.ended(&late).await), ["expired"]);
    assert_eq!(sink.every_mail().len(), 1, "{}", sink.story());
    app.stop().await;
}

// Scheduled, canceled, expired, suppressed, sandboxed and of a suspended tenant.
#[tokio::test]
async fn what_must_not_be_sent_never_reaches_the_wire() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &route(&sink)).start().await;
    let later = in_ten_minutes(&app);
    let scheduled = |to: &str| {
        let mut body = mail(to);
        body["send_at"] = later.clone().into();
        body
    };
    let canceled = app.client.send_mail(scheduled("canceled@example.net")).await;
    let expired = app.client.send_mail(scheduled("expired@example.net")).await;
    let suppressed = app.client.send_mail(scheduled("suppressed@example.net")).await;
    let waiting = app.client.send_mail(scheduled("waiting@example.net")).await;
    let mut sandbox = mail("sandbox@example.net");
    sandbox["sandbox"] = true.into();
    let sandboxed = app.client.send_mail(sandbox).await;

    app.client.post(&format!("/v1/messages/{canceled}/cancel"), json!({})).await;
    let mut database = app.database.connect().await;
    let statements = [
        "INSERT INTO suppressions (tenant_id, id, address, stream, reason)
         SELECT id, gen_random_uuid(), 'suppressed@example.net', '', 'manual' FROM tenants",
        "UPDATE queue SET expires_at = clock_timestamp() - interval '1 second', due_at = clock_timestamp()
         WHERE delivery_id IN (SELECT id FROM deliveries WHERE recipient = 'expired@example.net')",
        "UPDATE queue SET due_at = clock_timestamp()
         WHERE delivery_id IN (SELECT id FROM deliveries WHERE recipient = 'suppressed@example.net')",
    ];
    for statement in statements {
        sqlx::query(statement).execute(&mut database).await.expect("changed");
    }

    let ends =
        [(canceled, "canceled"), (expired, "expired"), (suppressed, "suppressed"), (sandboxed, "delivered")];
    for (id, status) in ends {
        assert_eq!(statuses(&app.client.ended(&id).await), [status]);
    }
    assert_eq!(statuses(&app.client.get(&format!("/v1/messages/{waiting}")).await.body), ["queued"]);
    // And one that may go out, to be sure that the way is open.
    app.client.send_mail(mail("ann@example.net")).await;
    sink.wait_for(1, PATIENCE).await;
    assert_eq!(
        sink.received().iter().map(|mail| mail.to()[0].to_owned()).collect::<Vec<_>>(),
        ["ann@example.net"]
    );
    app.stop().await;
}
