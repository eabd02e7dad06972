//! Limits of tenants: refused in time and told how long to wait, never exceeded over processes, not spent by what
//! was not accepted, and told of at 80 and 100 percent (security 5.15).

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::app::TestApp;
use crate::support::client::{Answer, Client, PATIENCE, mail};

/// Limits a tenant; these processes know.
async fn limit(apps: &[&TestApp], account: &Account, limits: Value) {
    let app = apps[0];
    let answer = app.client.patch(&format!("/v1/tenants/{}/limits", account.tenant), limits).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    for app in apps {
        app.server().quotas().reload().await.expect("read");
    }
}

async fn send(client: &Client, to: &[&str]) -> Answer {
    let mut body = mail("x@example.net");
    body["to"] = json!(to);
    client.post("/v1/messages", body).await
}

async fn accepted(client: &Client, count: usize) -> usize {
    let mut accepted = 0;
    for number in 0..count {
        let answer = send(client, &[&format!("r{number}@example.net")]).await;
        match answer.status {
            StatusCode::ACCEPTED => accepted += 1,
            StatusCode::TOO_MANY_REQUESTS => {}
            other => panic!("{other}: {:#}", answer.body),
        }
    }
    accepted
}

#[tokio::test]
async fn a_days_limit_is_refused_with_the_time_to_wait_and_told_at_80_and_100_percent() {
    let app = TestApp::start().await;
    let acme = app.account("acme").await;
    limit(&[&app], &acme, json!({ "per_day": 10 })).await;
    assert_eq!(accepted(&acme.client, 9).await, 9);

    let refused = send(&acme.client, &["a@example.net", "b@example.net"]).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"));
    let wait: i64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("a wait");
    assert!((1..=86_401).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"day\";q=10;w=86400"));
    assert_eq!(refused.header("ratelimit"), Some(format!("\"day\";r=1;t={wait}").as_str()));
    assert_eq!(send(&acme.client, &["c@example.net"]).await.status, StatusCode::ACCEPTED, "one is left");
    assert_eq!(send(&acme.client, &["d@example.net"]).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 10);

    let notices = acme.client.all_pages("/v1/notices?type=quota.reached", 100).await;
    let mut percents: Vec<i64> = notices.iter().filter_map(|one| one["data"]["percent"].as_i64()).collect();
    percents.sort_unstable();
    assert_eq!(percents, [80, 100], "{notices:#?}");

    let usage = acme.client.get("/v1/usage").await;
    assert_eq!(usage.status, StatusCode::OK);
    let day = &usage.body["day"];
    assert_eq!((&day["recipients"], &day["limit"], &day["remaining"]), (&json!(10), &json!(10), &json!(0)));
    assert_eq!(
        (&usage.body["month"]["recipients"], &usage.body["month"]["limit"]),
        (&json!(10), &Value::Null)
    );
    assert_eq!(usage.body["limits"]["per_day"], 10);

    // More may be sent as soon as the operator says so, and others were never limited.
    limit(&[&app], &acme, json!({ "per_day": null })).await;
    assert_eq!(accepted(&acme.client, 3).await, 3);
    assert_eq!(accepted(&app.client, 3).await, 3);
    app.stop().await;
}

#[tokio::test]
async fn two_processes_together_never_exceed_a_limit_and_use_all_of_it() {
    let app = TestApp::start().await;
    let other = TestApp::builder().on(&app.database).start().await;
    let acme = app.account("acme").await;
    let elsewhere = {
        let key = acme.client.make_key(json!({ "name": "n", "scopes": ["send"] })).await;
        other.client.with_key(&key.secret)
    };
    limit(&[&app, &other], &acme, json!({ "per_day": 60 })).await;

    let (one, two) = tokio::join!(accepted(&acme.client, 50), accepted(&elsewhere, 50));
    assert!(one + two <= 60 && one > 0 && two > 0, "{one} and {two}");
    // What one has taken and not spent, the other has once it is given back.
    let began = Instant::now();
    let mut all = one + two;
    while all < 60 {
        assert!(began.elapsed() < PATIENCE, "{all} of 60");
        all += accepted(&elsewhere, 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(accepted(&acme.client, 2).await + accepted(&elsewhere, 2).await, 0);
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 60);
    other.drain().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_accepted_or_repeated_or_a_test_costs_nothing() {
    let app = TestApp::start().await;
    let acme = app.account("acme").await;
    limit(&[&app], &acme, json!({ "per_month": 3 })).await;
    let keyed = |key: &str| {
        let request = acme.client.request(reqwest::Method::POST, "/v1/messages");
        request.header("idempotency-key", key).json(&mail("ann@example.net"))
    };
    for _ in 0..5 {
        assert_eq!(acme.client.send(keyed("one")).await.status, StatusCode::ACCEPTED);
        assert_eq!(send(&acme.client, &["no address"]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let tests = acme.client.make_key(json!({ "name": "t", "scopes": ["send"], "test": true })).await.client;
    assert_eq!(accepted(&tests, 5).await, 5);
    assert_eq!(accepted(&acme.client, 5).await, 2);
    let replayed = acme.client.send(keyed("one")).await;
    assert_eq!(replayed.status, StatusCode::ACCEPTED, "what was accepted is answered as it was");
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    assert_eq!(acme.client.send(keyed("two")).await.status, StatusCode::TOO_MANY_REQUESTS);
    app.stop().await;
}

#[tokio::test]
async fn size_recipients_and_rate_of_a_tenant_are_bounded() {
    let app = TestApp::start().await;
    let acme = app.account("acme").await;
    limit(&[&app], &acme, json!({ "message_bytes": 2000, "recipients": 2, "per_second": 2 })).await;
    let many = send(&acme.client, &["a@example.net", "b@example.net", "c@example.net"]).await;
    assert_eq!(many.violations(), [("/to".into(), "too_many_recipients".into())]);
    let mut large = mail("a@example.net");
    large["text"] = "x".repeat(3000).into();
    assert_eq!(acme.client.post("/v1/messages", large).await.status, StatusCode::PAYLOAD_TOO_LARGE);

    let began = Instant::now();
    let mut sent = 0;
    let refused = loop {
        let answer = send(&acme.client, &["a@example.net"]).await;
        match answer.status {
            StatusCode::ACCEPTED => sent += 1,
            _ => break answer,
        }
        assert!(began.elapsed() < PATIENCE);
    };
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("quota_exceeded", Some("1")));
    let seconds = began.elapsed().as_secs() as usize + 2;
    assert!(sent <= 2 * seconds, "{sent} in {seconds} s");
    app.stop().await;
}

#[tokio::test]
async fn limits_are_numbers_and_operators_set_them() {
    let app = TestApp::start().await;
    let acme = app.account("acme").await;
    let path = format!("/v1/tenants/{}/limits", acme.tenant);
    for (body, pointer, code) in [
        (json!({ "per_day": -1 }), "/per_day", "out_of_range"),
        (json!({ "per_second": 0 }), "/per_second", "out_of_range"),
        (json!({ "per_year": 1 }), "/per_year", "unknown_field"),
    ] {
        let answer = app.client.patch(&path, body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    let none = json!({ "per_second": null, "per_day": null, "per_month": null, "message_bytes": null, "recipients": null });
    assert_eq!(app.client.get(&path).await.body, none);
    assert_eq!(acme.client.patch(&path, json!({ "per_day": 9 })).await.status, StatusCode::FORBIDDEN);
    assert_eq!(app.client.patch(&path, json!({ "per_day": 0 })).await.body["per_day"], 0);
    app.stop().await;
}
