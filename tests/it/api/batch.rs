//! Many mails in one call: the valid ones commit together, the others are answered alone, in order.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{mail, statuses, text};

fn with(changes: Value) -> Value {
    let mut body = mail("ann@example.net");
    body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    body
}

#[tokio::test]
async fn each_mail_of_a_batch_has_its_own_fate_in_its_own_place() {
    let app = TestApp::start().await;
    let key = app.key(json!({ "name": "n", "scopes": ["send", "read"], "streams": ["transactional"] })).await;
    let batch = json!([
        mail("first@example.net"),
        with(json!({ "to": "nobody", "typo": 1 })),
        "no mail",
        with(json!({ "stream": "news" })),
        with(json!({ "to": ["x@example.net", "y@example.net"], "subject": "Second" })),
        null,
    ]);

    let answer = key.client.post("/v1/messages/batch", batch).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    let entries = answer.list("/data");
    let told = |index: usize| {
        let error = &entries[index]["error"];
        let errors = error["errors"].as_array().cloned().unwrap_or_default();
        let errors: Vec<String> = errors
            .iter()
            .map(|error| format!("{} {}", text(error, "/pointer"), text(error, "/code")))
            .collect();
        (error["status"].as_u64(), text(error, "/code"), errors)
    };
    assert_eq!(entries.len(), 6);
    let mut second = told(1);
    second.2.sort();
    let both = vec!["/to invalid_address".to_owned(), "/typo unknown_field".to_owned()];
    assert_eq!(second, (Some(422), "validation_failed".to_owned(), both));
    assert_eq!(told(2), (Some(422), "validation_failed".to_owned(), vec![" wrong_type".to_owned()]));
    assert_eq!(told(3).0, Some(403));
    assert_eq!(told(3).1, "stream_not_allowed");
    assert_eq!(told(5), (Some(422), "validation_failed".to_owned(), vec![" wrong_type".to_owned()]));
    for (index, recipients) in [(0, vec!["first@example.net"]), (4, vec!["x@example.net", "y@example.net"])] {
        let message = app.client.ended(&text(&entries[index], "/id")).await;
        let told: Vec<String> = message["deliveries"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|delivery| text(delivery, "/recipient"))
            .collect();
        assert_eq!(told, recipients);
        assert!(statuses(&message).iter().all(|status| status == "delivered"));
    }
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 2);
    app.stop().await;
}

#[tokio::test]
async fn a_thousand_mails_are_one_call_and_one_more_is_too_many() {
    let app = TestApp::start().await;
    let many = |count: usize| -> Value {
        (0..count).map(|n| with(json!({ "to": format!("r{n}@example.net"), "sandbox": true }))).collect()
    };
    for count in [0, 1001] {
        let answer = app.client.post("/v1/messages/batch", many(count)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{count}");
        assert_eq!(answer.violations(), [(String::new(), "out_of_range".into())], "{count}");
    }
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 0);

    let answer = app.client.post("/v1/messages/batch", many(1000)).await;

    let entries = answer.list("/data");
    let recipients: Vec<String> =
        entries.iter().map(|entry| text(entry, "/deliveries/0/recipient")).collect();
    let wanted: Vec<String> = (0..1000).map(|n| format!("r{n}@example.net")).collect();
    assert_eq!(recipients, wanted, "in order");
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 1000);
    app.stop().await;
}

#[tokio::test]
async fn ten_thousand_recipients_are_one_call_and_one_more_is_too_many() {
    let app = TestApp::start().await;
    let to = |count: usize| -> Vec<String> { (0..count).map(|n| format!("r{n}@example.net")).collect() };
    let ten = |last: usize| -> Value {
        let counts = std::iter::repeat_n(1000, 10).chain(Some(last));
        counts.map(|count| with(json!({ "to": to(count), "sandbox": true }))).collect()
    };
    let answer = app.client.post("/v1/messages/batch", ten(1)).await;
    assert_eq!(answer.violations(), [(String::new(), "too_many_recipients".into())]);
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 0);

    // An address that is named twice counts once.
    let mut nearly = ten(1);
    nearly[10]["to"] = json!([]);
    nearly[9]["cc"] = json!(to(5));
    let answer = app.client.post("/v1/messages/batch", nearly).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 10_000);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_list_is_no_batch() {
    let app = TestApp::start().await;
    for body in [json!({}), json!("x"), json!(null), mail("ann@example.net")] {
        let answer = app.client.post("/v1/messages/batch", body.clone()).await;
        assert_eq!(answer.violations(), [(String::new(), "wrong_type".into())], "{body}");
    }
    app.stop().await;
}
