//! The addresses that mail leaves from, and whose mail uses which.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;

#[tokio::test]
async fn an_address_is_added_changed_and_removed_and_the_log_tells() {
    let app = TestApp::start().await;
    let body = json!({ "address": "192.0.2.10", "address6": "2001:db8::10", "ehlo": "out1.Mail.example" });
    let made = app.client.post("/v1/ips", body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    let path = format!("/v1/ips/{}", made.text("/id"));
    let shown = |of: &Value| {
        let Value::Object(mut of) = of.clone() else { panic!("an object") };
        of.remove("id");
        of.remove("created_at");
        Value::Object(of)
    };
    let expected = json!({
        "address": "192.0.2.10", "address6": "2001:db8::10", "ehlo": "out1.mail.example", "pool": "default",
        "state": "active", "warmup": null,
    });
    assert_eq!(shown(&made.body), expected);
    assert_eq!(app.client.get(&path).await.body, made.body);
    assert_eq!(app.client.post("/v1/ips", body).await.status, StatusCode::CONFLICT);

    let changed = app.client.patch(&path, json!({ "pool": "bulk", "state": "warming" })).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!((changed.text("/pool"), changed.text("/state")), ("bulk".to_owned(), "warming".to_owned()));
    assert_eq!((&changed.body["warmup"]["day"], &changed.body["warmup"]["today"]), (&json!(1), &json!([])));
    assert_eq!(app.client.get("/v1/ips").await.list("/data"), [changed.body]);

    assert_eq!(app.client.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.client.delete(&path).await.status, StatusCode::NOT_FOUND);
    let log = "SELECT action FROM audit_log WHERE action LIKE 'ip.%' ORDER BY id";
    assert_eq!(app.database.texts(log).await, ["ip.create", "ip.update", "ip.delete"]);
    app.stop().await;
}

#[tokio::test]
async fn a_rule_names_a_pool_for_a_tenant_and_a_stream() {
    let app = TestApp::start().await;
    let tenant = app.client.post("/v1/tenants", json!({ "name": "other" })).await.text("/id");
    let body = json!({ "tenant": tenant, "stream": "news", "pool": "bulk", "weight": 3 });
    let made = app.client.post("/v1/ip-rules", body.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    for (name, value) in body.as_object().expect("an object") {
        assert_eq!(made.body[name], *value, "{name}");
    }
    assert_eq!(app.client.post("/v1/ip-rules", body).await.status, StatusCode::CONFLICT);
    assert_eq!(app.client.post("/v1/ip-rules", json!({ "pool": "bulk" })).await.status, StatusCode::CREATED);
    let nobody = json!({ "tenant": "ten_00000000000000000000000000", "pool": "bulk" });
    assert_eq!(app.client.post("/v1/ip-rules", nobody).await.status, StatusCode::NOT_FOUND);
    let path = format!("/v1/ip-rules/{}", made.text("/id"));
    assert_eq!(app.client.get(&path).await.body, made.body);
    assert_eq!(app.client.get("/v1/ip-rules").await.list("/data").len(), 2);
    assert_eq!(app.client.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.delete(&path).await.status, StatusCode::NOT_FOUND);
    // A tenant takes its rules along.
    let rule = json!({ "tenant": tenant, "pool": "own" });
    assert_eq!(app.client.post("/v1/ip-rules", rule).await.status, StatusCode::CREATED);
    assert_eq!(app.client.delete(&format!("/v1/tenants/{tenant}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.get("/v1/ip-rules").await.list("/data").len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_named() {
    let app = TestApp::start().await;
    let cases = [
        ("/v1/ips", json!({}), vec!["/address", "/ehlo"]),
        (
            "/v1/ips",
            json!({ "address": "2001:db8::1", "address6": "192.0.2.1", "ehlo": "-", "pool": "A B", "state": "hot" }),
            vec!["/address", "/address6", "/ehlo", "/pool", "/state"],
        ),
        ("/v1/ips", json!({ "address": "0.0.0.0", "ehlo": "a.example", "x": 1 }), vec!["/address", "/x"]),
        ("/v1/ip-rules", json!({}), vec!["/pool"]),
        (
            "/v1/ip-rules",
            json!({ "tenant": "me", "stream": "No!", "pool": "", "weight": 0 }),
            vec!["/pool", "/stream", "/tenant", "/weight"],
        ),
    ];
    for (path, body, expected) in cases {
        let answer = app.client.post(path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let mut pointers: Vec<String> = answer.violations().into_iter().map(|(pointer, _)| pointer).collect();
        pointers.sort();
        assert_eq!(pointers, expected, "{body}");
    }
    app.stop().await;
}
