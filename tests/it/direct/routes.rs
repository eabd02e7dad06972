//! Which mail goes directly: by tenant, stream and domain.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::World;
use crate::faults::{attempts, last_told, words};
use crate::support::app::TestApp;
use crate::support::client::{PATIENCE, mail, statuses, text};
use crate::support::sink::SmtpSink;

/// A captured route, and the world beside it for what goes directly.
async fn captured() -> World {
    World::with(SmtpSink::builder(), |app| app.set("POSTROAD_ROUTE", "capture")).await
}

async fn route(app: &TestApp, body: Value) -> Value {
    let answer = app.client.post("/v1/relays", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{:#}", answer.body);
    answer.body
}

/// Sends to the domain until the world's server sees it: nodes learn of a route within a second.
async fn until_taken(world: &World, to: &str) {
    let began = std::time::Instant::now();
    while world.sink.connections() == 0 {
        assert!(began.elapsed() < PATIENCE, "the route is not used");
        let id = world.app.client.send_mail(mail(to)).await;
        world.tried_again(&id, 1).await;
    }
}

#[tokio::test]
async fn a_tenant_may_send_directly_what_others_do_not() {
    let world = captured().await;
    world.host("example.net", "127.0.0.1");
    let made = route(&world.app, json!({ "route": "direct", "match": { "domain": "example.net" } })).await;
    assert_eq!(
        (&made["route"], &made["host"], &made["port"], &made["tls"], &made["max_connections"]),
        (&json!("direct"), &Value::Null, &Value::Null, &json!("opportunistic"), &Value::Null)
    );
    until_taken(&world, "ann@example.net").await;
    let taken = world.sink.received().len();

    let captured = world.app.client.send_mail(mail("ann@elsewhere.example")).await;
    world.app.client.ended(&captured).await;
    let other = world.app.account("other").await;
    let theirs = other.client.send_mail(mail("ann@example.net")).await;
    assert_eq!(statuses(&other.client.ended(&theirs).await), ["delivered"]);
    assert_eq!(world.sink.received().len(), taken, "theirs was captured");

    let id = text(&made, "/id");
    assert_eq!(world.app.client.get(&format!("/v1/relays/{id}")).await.body, made);
    assert_eq!(other.client.get(&format!("/v1/relays/{id}")).await.status, StatusCode::NOT_FOUND);
    world.app.stop().await;
}

#[tokio::test]
async fn a_direct_route_may_demand_verified_tls() {
    let world = captured().await;
    world.host("example.net", "127.0.0.1");
    route(&world.app, json!({ "route": "direct", "tls": "required" })).await;
    until_taken(&world, "ann@example.net").await;

    let message = world.tried("ann@example.net", 1).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5");
    assert!(words(&attempts(&message)[0]).contains("TLS is required"));
    assert!(!world.sink.story().contains("MAIL FROM"), "{}", world.sink.story());
    world.app.stop().await;
}

#[tokio::test]
async fn what_a_direct_route_cannot_have_is_refused_by_name() {
    let app = TestApp::start().await;
    let cases = [
        (json!({ "route": "pigeon", "host": "smtp.example.net" }), "/route", "invalid_route"),
        (json!({ "route": "direct", "host": "smtp.example.net" }), "/host", "not_with_direct"),
        (json!({ "route": "direct", "port": 25 }), "/port", "not_with_direct"),
        (json!({ "route": "direct", "max_connections": 3 }), "/max_connections", "not_with_direct"),
        (json!({ "route": "direct", "tls": "none" }), "/tls", "invalid_tls"),
    ];
    for (body, pointer, code) in cases {
        let answer = app.client.post("/v1/relays", body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(answer.violations().contains(&(pointer.to_owned(), code.to_owned())), "{:#}", answer.body);
    }
    app.stop().await;
}
