//! Erasing a recipient: nothing of him is left in any table, others keep what is theirs, and if he is not to be mailed
//! again, that holds although nobody knows who he is (faults 5.20).

use std::time::{Duration, Instant};

use mail_parser::MessageParser;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Client, PATIENCE, mail, statuses, text};
use crate::support::database::TestDatabase;
use crate::support::sink::{SmtpSink, Step, at, hold, reply};

const ANN: &str = "Ann.Secret.7@example.net";

/// The tables in which a text stands, in any case; contents are searched octet by octet.
async fn tables_with(database: &TestDatabase, wanted: &str) -> Vec<String> {
    let all = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY 1";
    let mut found = Vec::new();
    for table in database.texts(all).await {
        let hex: String = wanted.bytes().map(|octet| format!("{octet:02x}")).collect();
        let count = format!(
            "SELECT count(*) FROM \"{table}\" t WHERE strpos(lower(t::text), lower('{wanted}')) > 0
             OR strpos(t::text, '{hex}') > 0"
        );
        if database.count(&count).await > 0 {
            found.push(table);
        }
    }
    found
}

/// Opens the mail that is watched, as its recipient's reader would.
async fn open(app: &TestApp, sink: &SmtpSink) {
    let html = |raw: &[u8]| {
        let read = MessageParser::default().parse(raw)?;
        read.body_html(0).map(|html| html.into_owned()).filter(|html| html.contains("/t/o/"))
    };
    let marked = sink.received().iter().find_map(|mail| html(&mail.text)).expect("a pixel");
    let at = marked.find("/t/o/").expect("a pixel");
    let path: String = marked[at..].chars().take_while(|c| *c != '"').collect();
    let visitor = reqwest::Client::builder().no_proxy().build().expect("a client");
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    let request = visitor.get(format!("{}{path}", app.client.url())).header("user-agent", agent);
    assert_eq!(request.send().await.expect("answered").status(), StatusCode::OK);
}

async fn send(client: &Client, to: Value, more: Value) -> String {
    let mut body = mail("x@example.net");
    body["to"] = to;
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    client.send_mail(body).await
}

#[tokio::test]
async fn nothing_of_an_erased_recipient_is_left_and_others_keep_what_is_theirs() {
    let refusal = "550 5.7.1 <Ann.Secret.7@example.net>: not today, Ann.Secret.7";
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let client = app.account("acme").await.client;
    let html = json!({ "html": "<p>Hi</p>", "tracking": { "opens": true }, "metadata": { "who": ANN } });
    let alone = send(&client, json!(format!("Ann <{ANN}>")), html).await;
    let shared = send(&client, json!([ANN, "bob@example.net"]), json!({})).await;
    client.ended(&alone).await;
    client.ended(&shared).await;
    let later = app.server().clock().now() + time::Duration::hours(1);
    let later = later.format(&time::format_description::well_known::Rfc3339).expect("a moment");
    let waiting = send(&client, json!(ANN), json!({ "send_at": later })).await;
    sink.set(at(Step::Rcpt), reply(refusal));
    let refused = send(&client, json!(ANN), json!({ "subject": format!("For {ANN}") })).await;
    assert_eq!(statuses(&client.ended(&refused).await), ["bounced"]);
    open(&app, &sink).await;
    let began = Instant::now();
    while !client.event_types(&alone).await.contains(&"opened".to_owned()) {
        assert!(began.elapsed() < PATIENCE, "the visit is not written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.post("/v1/suppressions", json!({ "email": ANN, "stream": "news" })).await;
    let before = tables_with(&app.database, ANN).await;
    for kind in ["deliveries", "messages", "bodies", "attempts"] {
        assert!(before.iter().any(|table| table.starts_with(kind)), "{kind}: {before:?}");
    }
    assert!(
        ["suppressions", "audit_log"].iter().all(|kind| before.contains(&(*kind).to_owned())),
        "{before:?}"
    );

    let id = client.erase(ANN, false).await;

    let mut left = tables_with(&app.database, "Ann.Secret.7").await;
    left.retain(|table| !table.starts_with("bodies"));
    assert_eq!(left, [""; 0]);
    let done = client.get(&format!("/v1/erasures/{id}")).await.body;
    assert_eq!(done["erased"], json!({ "deliveries": 4, "contents": 3, "inbound": 0 }), "{done:#}");
    for gone in [&alone, &refused, &waiting] {
        let path = format!("/v1/messages/{gone}/raw");
        assert_eq!(client.get(&path).await.status, StatusCode::NOT_FOUND, "his alone");
    }
    let message = client.get(&format!("/v1/messages/{shared}")).await.body;
    let recipients: Vec<String> =
        message["deliveries"].as_array().expect("two").iter().map(|one| text(one, "/recipient")).collect();
    assert!(
        recipients[0].ends_with("@erased.invalid") && recipients[1] == "bob@example.net",
        "{recipients:?}"
    );
    assert_eq!(message["to"], json!([recipients[0], "bob@example.net"]), "{message:#}");
    assert_eq!(client.get(&format!("/v1/messages/{shared}/raw")).await.status, StatusCode::OK);
    assert_eq!(statuses(&client.get(&format!("/v1/messages/{waiting}")).await.body), ["canceled"]);
    let by_him = client.all_pages(&format!("/v1/events?recipient={ANN}"), 100).await;
    assert_eq!(by_him, Vec::<Value>::new());
    assert!(client.event_types(&alone).await.contains(&"opened".to_owned()), "that it happened stays");
    app.stop().await;
}

#[tokio::test]
async fn neither_captured_copies_nor_the_log_of_webhooks_keep_an_erased_recipient() {
    let app = TestApp::builder().set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8").start().await;
    let client = app.account("acme").await.client;
    // Nobody listens there: what was to be posted is in the log all the same.
    let hook = json!({ "url": "http://127.0.0.1:9/", "types": ["delivered"] });
    assert_eq!(client.post("/v1/webhooks", hook).await.status, StatusCode::CREATED);
    send(&client, json!(ANN), json!({})).await;
    let began = Instant::now();
    loop {
        let tables = tables_with(&app.database, ANN).await;
        if ["captured", "posts"].iter().all(|kind| tables.iter().any(|table| table.starts_with(kind))) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{tables:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    client.erase(ANN, false).await;

    assert_eq!(tables_with(&app.database, "Ann.Secret.7").await, [""; 0]);
    app.stop().await;
}

#[tokio::test]
async fn who_is_not_to_be_mailed_again_is_suppressed_although_nobody_knows_who_he_is() {
    let app = TestApp::start().await;
    let (acme, other) = (app.account("acme").await.client, app.account("other").await.client);
    acme.erase(ANN, true).await;
    assert_eq!(tables_with(&app.database, "Ann.Secret.7").await, [""; 0]);
    let listed = acme.all_pages("/v1/suppressions", 100).await;
    assert_eq!(listed.len(), 1);
    assert!(text(&listed[0], "/email").starts_with("hmac:"), "{listed:#?}");

    let began = Instant::now();
    loop {
        let answer = acme.post("/v1/messages", mail("ANN.secret.7@Example.Net")).await;
        if answer.body["deliveries"][0]["status"] == "suppressed" {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{:#}", answer.body);
    }
    let body =
        json!({ "from": "hello@acme.example", "subject": "x", "text": "x", "to": [ANN, "bob@example.net"] });
    let mixed = acme.post("/v1/messages", body).await;
    let states: Vec<Value> =
        mixed.list("/deliveries").iter().map(|delivery| delivery["status"].clone()).collect();
    assert_eq!(states, ["suppressed", "queued"]);
    let theirs = other.post("/v1/messages", mail(ANN)).await;
    assert_eq!(theirs.body["deliveries"][0]["status"], "queued", "another tenant's list is another");

    let path = format!("/v1/suppressions/{}", text(&listed[0], "/id"));
    assert_eq!(acme.delete(&path).await.status, StatusCode::NO_CONTENT);
    let again = acme.post("/v1/messages", mail(ANN)).await;
    assert_eq!(again.body["deliveries"][0]["status"], "queued", "the tenant has thought better of it");
    app.stop().await;
}

#[tokio::test]
async fn mail_in_hand_is_waited_for() {
    let (stop, mut held) = hold();
    let sink = SmtpSink::builder().on_rcpt("ann", stop.then(reply("250 2.1.5 Ok"))).start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let id = app.client.send_mail(mail("ann.secret.7@example.net")).await;
    held.reached().await;
    let request = app.client.request(Method::POST, "/v1/erasures").json(&json!({ "email": ANN }));
    let erasure = app.client.send(request).await.text("/id");
    // The first batch has been: the mail is marked, and nothing is said to be done.
    let began = Instant::now();
    while app.database.count("SELECT count(*) FROM queue WHERE cancel_requested").await == 0 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.client.get(&format!("/v1/erasures/{erasure}")).await.body["status"], "running");
    held.release();
    app.client.ended(&id).await;
    while app.client.get(&format!("/v1/erasures/{erasure}")).await.body["status"] != "done" {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(tables_with(&app.database, "Ann.Secret.7").await, [""; 0]);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_address_is_not_erased() {
    let app = TestApp::start().await;
    for (body, pointer, code) in [
        (json!({}), "/email", "required"),
        (json!({ "email": "ann" }), "/email", "invalid_address"),
        (json!({ "email": "a@b.example", "keep_suppressed": 1 }), "/keep_suppressed", "wrong_type"),
    ] {
        let answer = app.client.post("/v1/erasures", body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    app.stop().await;
}
