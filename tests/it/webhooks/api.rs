//! `/v1/webhooks` itself.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::hook;
use crate::support::app::TestApp;

#[tokio::test]
async fn a_webhook_is_made_changed_and_deleted_and_its_secret_told_once() {
    let app = TestApp::start().await;
    let made = app
        .client
        .post(
            "/v1/webhooks",
            json!({ "url": "https://hooks.acme.example/a?b=c", "types": ["delivered", "bounced"], "format": "postroad" }),
        )
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    assert!(made.text("/secret").starts_with("whsec_"));
    let id = made.text("/id");
    let mut expected = made.body.clone();
    expected.as_object_mut().expect("an object").remove("secret");
    assert_eq!(app.client.get(&format!("/v1/webhooks/{id}")).await.body, expected);
    assert_eq!(app.client.get("/v1/webhooks").await.body, json!({ "data": [expected], "next_cursor": null }));

    let change = json!({ "types": null, "streams": ["news"], "description": "mine", "batch_size": 7, "enabled": false });
    let changed = app.client.patch(&format!("/v1/webhooks/{id}"), change.clone()).await;
    for (name, value) in change.as_object().expect("an object") {
        assert_eq!(&changed.body[name], value, "{name}");
    }
    assert_eq!(changed.body["url"], expected["url"], "what is not given stays");
    assert_eq!(changed.body["disabled_because"], "manual");

    assert_eq!(app.client.delete(&format!("/v1/webhooks/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.get(&format!("/v1/webhooks/{id}")).await.status, StatusCode::NOT_FOUND);
    let audited = "SELECT count(*) FROM audit_log WHERE action IN ('webhook.create', 'webhook.update', 'webhook.delete')
                   AND details::text NOT LIKE '%whsec%'";
    assert_eq!(app.database.count(audited).await, 3);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_webhook_is_refused_and_each_fault_named() {
    let app = TestApp::start().await;
    let url = "https://hooks.acme.example/";
    let with = |name: &str, value: Value| {
        let mut body = json!({ "url": url });
        body[name] = value;
        body
    };
    let cases = [
        (json!({}), "/url", "required"),
        (json!({ "url": "hooks" }), "/url", "invalid_url"),
        (json!({ "url": "ftp://hooks.acme.example/" }), "/url", "invalid_url"),
        (json!({ "url": "https://me:secret@hooks.acme.example/" }), "/url", "invalid_url"),
        (json!({ "url": "https://hooks.acme.example:25/" }), "/url", "forbidden_url"),
        (json!({ "url": format!("{url}{}", "x".repeat(2000)) }), "/url", "too_long"),
        (with("types", json!(["delivered", "sent"])), "/types/1", "invalid_type"),
        (with("types", json!([])), "/types", "empty"),
        (with("streams", json!(["A B"])), "/streams/0", "invalid_stream"),
        (with("tags", json!([""])), "/tags/0", "invalid_tag"),
        (with("batch_size", json!(501)), "/batch_size", "out_of_range"),
        (with("secret", json!("whsec_short")), "/secret", "invalid_secret"),
        (
            json!({ "url": "https://hooks.acme.example", "format": "mailgun", "batch_size": 2 }),
            "/batch_size",
            "not_with_format",
        ),
        (with("format", json!("carrier pigeon")), "/format", "invalid_format"),
        (with("enable", json!(true)), "/enable", "unknown_field"),
    ];
    for (body, pointer, code) in cases {
        let answer = app.client.post("/v1/webhooks", body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    let (id, _) = hook(&app.client, json!({ "url": url })).await;
    for (body, pointer, code) in [
        (json!({ "format": "postroad" }), "/format", "unknown_field"),
        (json!({ "url": "x", "types": [] }), "/types", "empty"),
    ] {
        let answer = app.client.patch(&format!("/v1/webhooks/{id}"), body.clone()).await;
        assert!(
            answer.violations().contains(&(pointer.to_owned(), code.to_owned())),
            "{body}: {:#}",
            answer.body
        );
    }
    let answer =
        app.client.post(&format!("/v1/webhooks/{id}/rotate"), json!({ "overlap_seconds": 604_801 })).await;
    assert_eq!(answer.violations(), [("/overlap_seconds".to_owned(), "out_of_range".to_owned())]);
    app.stop().await;
}
