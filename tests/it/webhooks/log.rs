//! The log, the test button, and posting again.

use serde_json::{Value, json};

use super::receiver::{Receiver, Reply};
use super::{app, hook, logged, only};
use crate::support::client::{mail, text};

#[tokio::test]
async fn the_test_button_tells_what_came_of_it_even_when_the_webhook_is_disabled() {
    let receiver =
        Receiver::with(|_, before| Reply::Status(if before == 0 { 200 } else { 500 }, Vec::new())).await;
    let app = app().start().await;
    let (id, _) = hook(&app.client, json!({ "url": receiver.url("/"), "enabled": false })).await;
    for (result, status) in [("delivered", 200), ("failed", 500)] {
        let tested = app.client.post(&format!("/v1/webhooks/{id}/test"), json!({})).await;
        assert_eq!(tested.status, 200, "{:#}", tested.body);
        assert_eq!(
            (tested.text("/result"), &tested.body["response"]["status"]),
            (result.to_owned(), &json!(status))
        );
        assert_eq!(tested.body["response"]["body"], "as you wish");
    }
    let posted = receiver.received()[0].json();
    assert_eq!((&posted["type"], &posted["data"]), (&json!("webhook.test"), &json!({ "webhook_id": id })));
    assert_eq!(logged(&app.client, &id, |posts| posts.len() == 2).await.len(), 2);
    app.stop().await;
}

#[tokio::test]
async fn the_log_tells_request_and_answer_and_replays_one_or_a_time() {
    let receiver = Receiver::start().await;
    let app = app().start().await;
    let (id, _) = hook(&app.client, only(&receiver.url("/"), &["delivered"])).await;
    let mut messages = Vec::new();
    for name in ["ann", "bob", "carl"] {
        messages.push(app.client.send_mail(mail(&format!("{name}@example.net"))).await);
    }
    let received = receiver.wait_for(3).await;
    let posts = logged(&app.client, &id, |posts| posts.len() == 3).await;
    let of = |message: &String| {
        let post = posts.iter().find(|post| text(post, "/request/body").contains(message.as_str()));
        post.expect("it is logged").clone()
    };
    let post = of(&messages[1]);
    let request = received.iter().find(|one| one.about().1 == messages[1]).expect("it came");
    assert_eq!(text(&post, "/request/body"), request.body);
    assert_eq!(text(&post, "/webhook_id_header"), request.header("webhook-id"));
    assert_eq!(post["response"], json!({ "status": 200, "body": "as you wish", "error": null }));
    assert_eq!(post["event_ids"], json!([request.header("webhook-id")]));
    let by_event = format!("/v1/webhooks/{id}/deliveries?event_id={}", request.header("webhook-id"));
    assert_eq!(app.client.get(&by_event).await.list("/data"), std::slice::from_ref(&post));
    assert!(
        app.client.get(&format!("/v1/webhooks/{id}/deliveries?result=failed")).await.list("/data").is_empty()
    );

    let replay = async |body: Value| {
        let answer = app.client.post(&format!("/v1/webhooks/{id}/replay"), body).await;
        assert_eq!(answer.status, 202, "{:#}", answer.body);
        answer.body
    };
    assert_eq!(replay(json!({ "delivery_id": post["id"] })).await, json!({ "queued": 1, "after": null }));
    let again = receiver.wait_for(4).await.remove(3);
    assert_eq!((again.header("webhook-id"), &again.body), (request.header("webhook-id"), &request.body));

    // Both ends of the time are events': the first is in it, the last is not.
    let events = app.client.all_pages("/v1/events?type=delivered", 100).await;
    let since = text(&events[2], "/created_at");
    assert_eq!(replay(json!({ "since": since })).await, json!({ "queued": 3, "after": null }));
    receiver.wait_for(7).await;
    let nothing = json!({ "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z" });
    assert_eq!(replay(nothing).await, json!({ "queued": 0, "after": null }));
    for (body, pointer, code) in [
        (json!({}), "/since", "required"),
        (json!({ "delivery_id": "whp_x" }), "/delivery_id", "invalid_id"),
        (json!({ "delivery_id": post["id"], "since": since }), "/since", "conflict"),
        (json!({ "delivery_id": text(&post, "/id").replace("whp_0", "whp_1") }), "/delivery_id", "not_found"),
    ] {
        let answer = app.client.post(&format!("/v1/webhooks/{id}/replay"), body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    app.stop().await;
}
