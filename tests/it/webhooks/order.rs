//! Order, and that each event is posted once, whoever is at work and in whatever order transactions end.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use postroad::store::{Use, calls};
use serde_json::json;
use sqlx::Connection;

use super::receiver::{Receiver, Reply, ok};
use super::{app, hook};
use crate::support::client::mail;

#[tokio::test]
async fn events_of_a_message_come_in_order_and_once_however_many_are_under_way() {
    // Answers of different length, so that what is not held back would overtake.
    let receiver = Receiver::with(|_, before| match before % 3 {
        0 => Reply::Slowly(Duration::from_millis(40)),
        1 => Reply::Slowly(Duration::from_millis(5)),
        _ => ok(),
    })
    .await;
    let first = app().start().await;
    let second = app().on(&first.database).start().await;
    hook(&first.client, json!({ "url": receiver.url("/") })).await;
    let mut messages = Vec::new();
    for n in 0..40 {
        let client = if n % 2 == 0 { &first.client } else { &second.client };
        let mut body = mail(&format!("ann{n}@example.net"));
        body["to"] = json!([format!("ann{n}@example.net"), "bounced@simulator.postroad.test"]);
        messages.push(client.send_mail(body).await);
    }
    let received = receiver.wait_for(160).await;

    let ids: HashSet<&str> = received.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!((ids.len(), received.len()), (160, 160), "each once");
    let mut by_message: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in &received {
        let (kind, message) = request.about();
        by_message.entry(message).or_default().push(kind);
    }
    assert_eq!(by_message.len(), 40);
    for (message, kinds) in by_message {
        assert_eq!(kinds[..2], ["message.accepted", "message.accepted"], "{message}: {kinds:?}");
        assert_eq!(kinds.len(), 4, "{message}: {kinds:?}");
    }
    second.drain().await;
    first.stop().await;
}

// Invariant 10: ids and even commits are in another order than transactions.
#[tokio::test]
async fn an_event_that_is_committed_late_is_not_passed_over() {
    let receiver = Receiver::start().await;
    let app = app().start().await;
    let message = app.client.send_mail(mail("ann@example.net")).await;
    app.client.ended(&message).await;
    hook(&app.client, json!({ "url": receiver.url("/") })).await;

    let mut late = app.database.connect().await;
    let mut transaction = late.begin().await.expect("begun");
    let statement = "INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
         SELECT txid_current(), e.lane, 'opened', e.delivery_id,
                overlay(e.id::text placing CASE right(e.id::text, 1) WHEN '0' THEN '1' ELSE '0' END from 36 for 1)::uuid, e.tenant_id, '{}'
         FROM events e WHERE e.type = 'delivered'";
    let inserted = sqlx::query(statement).execute(&mut *transaction).await.expect("inserted");
    assert_eq!(inserted.rows_affected(), 1);
    let next = app.client.send_mail(mail("bob@example.net")).await;
    app.client.ended(&next).await;
    // Another reader's step, while the first transaction is open: it must not get to what came after it.
    let database = app.database.open();
    let mut link = database.link(Use::Maintain);
    let connection = link.get().await.expect("connected");
    let now = app.server().clock().now();
    loop {
        let mut step = connection.begin().await.expect("begun");
        let Some(after) = calls::lock_follower(&mut step).await.expect("asked") else {
            step.rollback().await.expect("rolled back");
            continue;
        };
        let done = calls::dispatch(&mut step, after, now, 1000).await.expect("dispatched");
        assert_eq!(done.calls, 0, "nothing beyond an open transaction");
        step.commit().await.expect("committed");
        break;
    }
    assert_eq!(receiver.received().len(), 0);

    transaction.commit().await.expect("committed");

    let received = receiver.wait_for(3).await;
    let kinds: Vec<(String, String)> = received.iter().map(super::receiver::Received::about).collect();
    let row = |kind: &str, message: &String| (format!("message.{kind}"), message.clone());
    assert!(kinds.contains(&row("opened", &message)), "{kinds:?}");
    assert!(kinds.contains(&row("delivered", &next)), "{kinds:?}");
    assert_eq!(kinds.len(), 3);
    link.close().await;
    database.close().await;
    app.stop().await;
}
