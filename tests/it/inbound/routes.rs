//! Inbound routes: what tenants want done with mail for their domains.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::{HeaderMap, StatusCode};
use postroad::domain::webhook::WebhookSecret;
use reqwest::StatusCode as Status;
use serde_json::json;

use super::*;
use crate::support::client::{Client, PATIENCE};

/// What was posted: header and body.
type Posted = Vec<(HeaderMap, Vec<u8>)>;

/// A tenant's program: what was posted to it, and what it answers.
struct Program {
    url: String,
    posted: Arc<Mutex<Posted>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Program {
    /// Answers with these, one after the other, and then with 200.
    async fn answering(answers: &[u16]) -> Program {
        let posted: Arc<Mutex<Posted>> = Arc::default();
        let left = Arc::new(Mutex::new(answers.iter().rev().copied().collect::<Vec<u16>>()));
        let (kept, said) = (Arc::clone(&posted), Arc::clone(&left));
        let take = move |headers: HeaderMap, body: bytes::Bytes| {
            let (kept, said) = (Arc::clone(&kept), Arc::clone(&said));
            async move {
                kept.lock().expect("no panic").push((headers, body.to_vec()));
                StatusCode::from_u16(said.lock().expect("no panic").pop().unwrap_or(200)).expect("a status")
            }
        };
        let router = axum::Router::new().route("/hook", axum::routing::post(take));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Program { url, posted, answers: left }
    }

    async fn wait_for(&self, count: usize) -> Posted {
        let began = Instant::now();
        loop {
            let posted = self.posted.lock().expect("no panic").clone();
            if posted.len() >= count {
                return posted;
            }
            assert!(began.elapsed() < PATIENCE, "posted {} times, not {count}", posted.len());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

pub(super) async fn make(client: &Client, body: Value) -> Value {
    let made = client.post("/v1/inbound-routes", body).await;
    assert_eq!(made.status, Status::CREATED, "{:#}", made.body);
    made.body
}

/// Waits until the door knows a route: it learns of it within a second.
pub(super) async fn until_taken(app: &TestApp, to: &str) {
    let began = Instant::now();
    loop {
        let mut peer = Peer::of(door(app)).await;
        peer.ask("MAIL FROM:<>\r\n").await;
        if peer.ask(&format!("RCPT TO:<{to}>\r\n")).await.starts_with("250 ") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{to} is not taken");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

const LETTER: &str = "From: =?utf-8?q?Zo=C3=AB?= <zoe@example.net>\nTo: help@in.acme.example\nSubject: Re: Hello\n\
    Message-ID: <1@example.net>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: text/plain\n\n\
    Yes, please.\n\nOn Monday, Acme wrote:\n> Shall we?\n--m\nContent-Type: text/csv; name=a.csv\n\
    Content-Disposition: attachment; filename=a.csv\n\n1,2\n--m--\n";

#[tokio::test]
async fn stored_mail_is_read_by_its_tenant_alone() {
    let app = builder().start().await;
    let route = make(&app.client, json!({ "match": "*@in.acme.example", "action": "store" })).await;
    until_taken(&app, "help@in.acme.example").await;
    assert_eq!(
        post(door(&app), "zoe@example.net", "Help@IN.acme.example", LETTER).await,
        "250 2.0.0 Ok: taken"
    );

    let page = app.client.get("/v1/inbound?recipient=help@in.acme.example").await.list("/data");
    let [mail] = page.as_slice() else { panic!("{page:#?}") };
    let expected = json!({
        "route_id": route["id"], "sender": "zoe@example.net", "recipient": "Help@in.acme.example",
        "from": "Zoë <zoe@example.net>", "subject": "Re: Hello", "message_id": "<1@example.net>", "webhook": null,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(mail[name], *value, "{name}");
    }
    assert_eq!(mail["client"]["helo"], "mx.example.net");
    let id = text(mail, "/id");
    assert_eq!(app.client.get(&format!("/v1/inbound/{id}")).await.body, *mail);
    let raw = app.client.download(&format!("/v1/inbound/{id}/raw")).await;
    assert!(String::from_utf8_lossy(&raw).ends_with("--m--\r\n\r\n"));
    let told = app.client.get("/v1/events?type=received&recipient=help@in.acme.example").await.list("/data");
    assert_eq!((told.len(), &told[0]["inbound_id"]), (1, &mail["id"]));

    let other = app.account("other").await;
    assert_eq!(other.client.get(&format!("/v1/inbound/{id}")).await.status, Status::NOT_FOUND);
    assert_eq!(other.client.get("/v1/inbound").await.list("/data"), [Value::Null; 0]);
    let taken = other
        .client
        .post("/v1/inbound-routes", json!({ "match": "x@in.acme.example", "action": "store" }))
        .await;
    assert_eq!(taken.violations(), [("/match".to_owned(), "domain_not_verified".to_owned())]);
    app.stop().await;
}

#[tokio::test]
async fn mail_is_posted_signed_and_tried_again_until_it_is_taken() {
    let program = Program::answering(&[500]).await;
    let app = builder().set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8").start().await;
    let route =
        make(&app.client, json!({ "match": "in.acme.example", "action": "webhook", "url": program.url }))
            .await;
    let secret = WebhookSecret::parse(&text(&route, "/secret")).expect("a secret");
    let shown = app.client.get(&format!("/v1/inbound-routes/{}", text(&route, "/id"))).await;
    assert_eq!(shown.body.get("secret"), None, "told once");
    until_taken(&app, "help@in.acme.example").await;
    post(door(&app), "zoe@example.net", "help@in.acme.example", LETTER).await;

    let posted = program.wait_for(2).await;
    let (headers, body) = &posted[1];
    let header = |name: &str| headers[name].to_str().expect("ASCII").to_owned();
    let timestamp = header("webhook-timestamp").parse().expect("a number");
    assert_eq!(header("webhook-signature"), secret.sign(&header("webhook-id"), timestamp, body));
    assert_eq!(posted[0].0["webhook-id"], header("webhook-id"), "the same at every try");
    let sent: Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(sent["type"], "inbound.received");
    let data = &sent["data"];
    assert_eq!((&data["reply"], &data["subject"]), (&json!("Yes, please."), &json!("Re: Hello")));
    assert_eq!(data["attachments"][0]["filename"], "a.csv");
    assert_eq!(data["attachments"][0]["content"], "MSwy", "{data:#}");
    assert!(data["headers"].as_array().expect("a list").contains(&json!(["Subject", "Re: Hello"])));
    let id = text(data, "/id");
    assert_eq!(header("webhook-id"), id);
    let began = Instant::now();
    loop {
        let mail = app.client.get(&format!("/v1/inbound/{id}")).await.body;
        if mail["webhook"]["state"] == "delivered" {
            assert_eq!(
                (&mail["webhook"]["attempts"], &mail["webhook"]["last_status"]),
                (&json!(2), &json!(200))
            );
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{mail:#}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // 410: never again.
    program.answers.lock().expect("no panic").push(410);
    post(door(&app), "zoe@example.net", "help@in.acme.example", LETTER).await;
    program.wait_for(3).await;
    let began = Instant::now();
    while app.database.texts("SELECT state FROM inbound_calls ORDER BY state").await
        != ["delivered", "failed"]
    {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let sealed = "SELECT count(*) FROM inbound_routes r WHERE r::text LIKE '%whsec_%'";
    assert_eq!(app.database.count(sealed).await, 0);
    app.stop().await;
}

// Security 5.9.
#[tokio::test]
async fn mail_is_not_posted_into_the_operators_network() {
    let program = Program::answering(&[]).await;
    let app = builder().start().await;
    for url in [
        program.url.as_str(),
        "http://localhost/x",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "ftp://a/",
    ] {
        let body = json!({ "match": "in.acme.example", "action": "webhook", "url": url });
        let answer = app.client.post("/v1/inbound-routes", body).await;
        assert_eq!(answer.violations(), [("/url".to_owned(), "invalid_url".to_owned())], "{url}");
    }
    assert_eq!(program.posted.lock().expect("no panic").len(), 0);
    app.stop().await;
}

#[tokio::test]
async fn the_lowest_priority_wins_and_reject_refuses_at_the_door() {
    let app = builder().start().await;
    make(&app.client, json!({ "match": "*@in.acme.example", "action": "store", "priority": 50 })).await;
    make(&app.client, json!({ "match": "spam*@in.acme.example", "action": "reject", "priority": 10 })).await;
    until_taken(&app, "help@in.acme.example").await;
    let began = Instant::now();
    let mut peer = Peer::of(door(&app)).await;
    while peer.send("", &["spamtrap@in.acme.example"], "x").await != "550 5.7.1 This mailbox takes no mail" {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for to in [
        "a%example.net@in.acme.example",
        "example.net!a@in.acme.example",
        "\"a@example.net\"@in.acme.example",
    ] {
        let said = peer.send("", &[to], "x").await;
        assert!(said.starts_with("550 5.7.1 Relaying denied"), "{to}: {said}");
    }
    let kept = app.client.get("/v1/inbound").await.list("/data").len();
    assert_eq!(
        peer.send("", &["a@in.acme.example", "b@in.acme.example"], "Subject: x\n\nx").await,
        "250 2.0.0 Ok: taken"
    );
    assert_eq!(app.client.get("/v1/inbound").await.list("/data").len(), kept + 2, "one for each recipient");
    app.stop().await;
}

#[tokio::test]
async fn a_route_that_is_deleted_takes_no_more_mail() {
    let app = builder().start().await;
    let route = make(&app.client, json!({ "match": "*@in.acme.example", "action": "store" })).await;
    until_taken(&app, "help@in.acme.example").await;
    let path = format!("/v1/inbound-routes/{}", text(&route, "/id"));
    assert_eq!(app.client.delete(&path).await.status, Status::NO_CONTENT);
    assert_eq!(app.client.get(&path).await.status, Status::NOT_FOUND);
    let began = Instant::now();
    let mut peer = Peer::of(door(&app)).await;
    while !peer.send("", &["help@in.acme.example"], "Subject: x\n\nx").await.starts_with("550 5.7.1 Relaying")
    {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let audited = "SELECT action FROM audit_log WHERE action LIKE 'inbound_route.%' ORDER BY id";
    assert_eq!(app.database.texts(audited).await, ["inbound_route.create", "inbound_route.delete"]);
    app.stop().await;
}

#[tokio::test]
async fn where_domains_must_be_proved_a_route_needs_a_proved_one() {
    let app = builder().set("POSTROAD_SENDER_POLICY", "verified").start().await;
    let body = json!({ "match": "*@in.acme.example", "action": "store" });
    let refused = app.client.post("/v1/inbound-routes", body).await;
    assert_eq!(refused.violations(), [("/match".to_owned(), "domain_not_verified".to_owned())]);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_route_is_refused_and_each_fault_named() {
    let app = builder().start().await;
    let cases = [
        (json!({}), vec![("/match", "required"), ("/action", "required")]),
        (
            json!({ "match": "a b", "action": "keep" }),
            vec![("/match", "invalid_match"), ("/action", "invalid_action")],
        ),
        (json!({ "match": "in.acme.example", "action": "webhook" }), vec![("/url", "required")]),
        (
            json!({ "match": "in.acme.example", "action": "store", "url": "http://x.example/" }),
            vec![("/url", "wrong_action")],
        ),
        (
            json!({ "match": "in.acme.example", "action": "store", "priority": -1 }),
            vec![("/priority", "out_of_range")],
        ),
    ];
    for (body, expected) in cases {
        let answer = app.client.post("/v1/inbound-routes", body.clone()).await;
        assert_eq!(answer.status, Status::UNPROCESSABLE_ENTITY, "{body}");
        let expected: Vec<_> = expected.iter().map(|(p, c)| ((*p).to_owned(), (*c).to_owned())).collect();
        assert_eq!(answer.violations(), expected, "{body}");
    }
    make(&app.client, json!({ "match": "in.acme.example", "action": "store" })).await;
    let again = app
        .client
        .post("/v1/inbound-routes", json!({ "match": "*@IN.acme.example", "action": "reject" }))
        .await;
    assert_eq!((again.status, again.code().as_str()), (Status::CONFLICT, "conflict"));
    app.stop().await;
}
