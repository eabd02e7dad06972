//! Many events in one request.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::receiver::{Receiver, Reply, ok};
use super::{app, hook, logged};
use crate::support::client::mail;

fn batch(body: &Value) -> Vec<(String, String)> {
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let list = body.as_array().expect("a list");
    list.iter().map(|event| (text(event, "/data/id"), text(event, "/type"))).collect()
}

#[tokio::test]
async fn a_batch_is_a_list_and_is_tried_again_as_it_was() {
    let receiver = Receiver::with(|_, _| Reply::Status(500, Vec::new())).await;
    let app = app().start().await;
    let (id, _) = hook(&app.client, json!({ "url": receiver.url("/"), "batch_size": 20 })).await;
    for n in 0..30 {
        app.client.send_mail(mail(&format!("ann{n}@example.net"))).await;
    }
    let failed = receiver.wait_for(1).await.remove(0);
    logged(&app.client, &id, |posts| !posts.is_empty()).await;
    receiver.behave(|_, _| ok());
    app.database.make_calls_due().await;

    // Every event of the thirty mails, in lists of at most twenty.
    let received = receiver
        .until(|received| {
            let taken = received[1..].iter().flat_map(|one| batch(&one.json()));
            taken.map(|(id, _)| id).collect::<HashSet<_>>().len() == 60
        })
        .await;

    assert!(received.iter().all(|one| (1..=20).contains(&batch(&one.json()).len())));
    let again: Vec<_> =
        received[1..].iter().filter(|one| one.header("webhook-id") == failed.header("webhook-id")).collect();
    assert!(!again.is_empty() && again.iter().all(|one| one.body == failed.body), "as it was");
    let taken: Vec<(String, String)> = again
        .iter()
        .take(1)
        .chain(
            received
                .iter()
                .filter(|one| one.header("webhook-id") != failed.header("webhook-id"))
                .collect::<Vec<_>>()
                .iter(),
        )
        .flat_map(|one| batch(&one.json()))
        .collect();
    let distinct: HashSet<&String> = taken.iter().map(|(id, _)| id).collect();
    assert_eq!(distinct.len(), 60);
    let posts = logged(&app.client, &id, |posts| {
        let events = posts.iter().filter(|post| post["result"] == "delivered");
        events.map(|post| post["event_ids"].as_array().expect("a list").len()).sum::<usize>() == 60
    })
    .await;
    assert!(posts.len() < 30, "{} requests for sixty events", posts.len());
    app.stop().await;
}
