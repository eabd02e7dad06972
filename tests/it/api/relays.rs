//! `/v1/relays`: which mail goes where, and that their secrets stay sealed (security 5.13).

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{PATIENCE, mail};
use crate::support::sink::SmtpSink;

fn relay(sink: &SmtpSink, matches: Value) -> Value {
    json!({ "host": "127.0.0.1", "port": sink.address().port(), "tls": "none", "match": matches })
}

#[tokio::test]
async fn the_most_specific_relay_takes_the_mail_and_another_tenant_has_none_of_it() {
    let [own, domain, stream] = [
        SmtpSink::builder().start().await,
        SmtpSink::builder().start().await,
        SmtpSink::builder().start().await,
    ];
    let app = TestApp::builder().set("POSTROAD_ALLOW_PRIVATE", "true").start().await;
    for (sink, matches) in [
        (&domain, json!({ "domain": "Example.NET" })),
        (&stream, json!({ "stream": "news" })),
        (&own, json!({})),
    ] {
        let answer = app.client.post("/v1/relays", relay(sink, matches)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{:#}", answer.body);
    }
    // Nodes learn of them within half a second or so: the first mail through the last of them says when.
    let began = std::time::Instant::now();
    while own.received().is_empty() {
        assert!(began.elapsed() < PATIENCE);
        let id = app.client.send_mail(mail("probe@example.org")).await;
        app.client.ended(&id).await;
    }
    let probes = own.received().len();

    app.client.send_mail(mail("ann@example.net")).await;
    app.client.send_mail(mail("ann@example.org")).await;
    let mut news = mail("bob@example.org");
    news["stream"] = "news".into();
    app.client.send_mail(news).await;
    let other = app.account("other").await;
    let theirs = other.client.send_mail(mail("carl@example.net")).await;
    other.client.ended(&theirs).await;

    assert_eq!(domain.wait_for(1, PATIENCE).await[0].to(), ["ann@example.net"]);
    assert_eq!(stream.wait_for(1, PATIENCE).await[0].to(), ["bob@example.org"]);
    assert_eq!(own.wait_for(probes + 1, PATIENCE).await.last().expect("one").to(), ["ann@example.org"]);
    assert_eq!(
        (domain.received().len(), other.client.arrived(&theirs).await.len()),
        (1, 1),
        "theirs was captured"
    );
    app.stop().await;
}

#[tokio::test]
async fn secrets_are_sealed_and_never_shown() {
    let app = TestApp::builder().set("POSTROAD_ALLOW_PRIVATE", "true").start().await;
    let auth = json!({ "type": "password", "username": "postroad", "password": "a-most-secret-password" });
    let made = app.client.post("/v1/relays", json!({ "host": "smtp.example.net", "auth": auth })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    let id = made.text("/id");

    let shown = app.client.get(&format!("/v1/relays/{id}")).await;
    let listed = app.client.get("/v1/relays").await;
    for answer in [&made, &shown, &listed] {
        assert!(!answer.body.to_string().contains("secret-password"), "{:#}", answer.body);
    }
    assert_eq!(shown.body["has_credentials"], true);
    assert_eq!(shown.body["tls"], "required", "credentials make TLS a must");
    let tables = "SELECT count(*) FROM relays r WHERE r::text LIKE '%secret-password%'
                  OR r::text LIKE '%' || encode('a-most-secret-password', 'hex') || '%'";
    assert_eq!(app.database.count(tables).await, 0);
    let audited = "SELECT count(*) FROM audit_log a WHERE a.action = 'relay.create' AND a::text NOT LIKE '%secret-password%'";
    assert_eq!(app.database.count(audited).await, 1);

    assert_eq!(app.client.delete(&format!("/v1/relays/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.get(&format!("/v1/relays/{id}")).await.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_relay_is_refused_and_each_fault_named() {
    let app = TestApp::start().await;
    let password = json!({ "type": "password", "username": "u", "password": "p" });
    let cases = [
        (json!({}), "/host", "required"),
        (json!({ "host": "no host" }), "/host", "invalid_host"),
        (json!({ "host": "smtp.example.net", "port": 0 }), "/port", "out_of_range"),
        (json!({ "host": "smtp.example.net", "tls": "maybe" }), "/tls", "invalid_tls"),
        (json!({ "host": "smtp.example.net", "tls": "none", "auth": password }), "/auth", "unsafe"),
        (json!({ "host": "smtp.example.net", "auth": { "type": "magic" } }), "/auth/type", "invalid_type"),
        (
            json!({ "host": "smtp.example.net", "match": { "domain": "a b" } }),
            "/match/domain",
            "invalid_domain",
        ),
    ];
    for (body, pointer, code) in cases {
        let answer = app.client.post("/v1/relays", body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(
            answer.violations().contains(&(pointer.to_owned(), code.to_owned())),
            "{body}: {:#}",
            answer.body
        );
    }
    app.stop().await;
}

// Security 5.9's guard, for relays: a tenant does not reach into the operator's network.
#[tokio::test]
async fn a_tenants_relay_at_a_private_address_is_never_connected_to() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::start().await;
    let answer = app.client.post("/v1/relays", relay(&sink, json!({}))).await;
    if answer.status == StatusCode::CREATED {
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        let id = app.client.send_mail(mail("ann@example.net")).await;
        let message =
            app.client.until(&id, |message| message["deliveries"][0]["attempts"] != json!([])).await;
        assert_eq!(message["deliveries"][0]["status"], "queued", "{message:#}");
    }
    assert_eq!(sink.connections(), 0);
    app.stop().await;
}
