//! Idempotency-Keys: one request is carried out once, however often and wherever it is made (fault H5).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};

use crate::support::app::TestApp;
use crate::support::client::{Answer, Client, mail, statuses};

async fn keyed(client: &Client, key: &str, body: &Value) -> Answer {
    post(client, "/v1/messages", key, body).await
}

async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    client.send(client.request(Method::POST, path).header("Idempotency-Key", key).json(body)).await
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

/// Asserts that this is the first answer to a mail that was accepted; gives its id.
fn accepted_now(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    assert_eq!(answer.header("idempotent-replayed"), None);
    answer.text("/id")
}

async fn messages(app: &TestApp) -> i64 {
    app.database.count("SELECT count(*) FROM messages").await
}

async fn age_records(app: &TestApp, interval: &str) {
    let statement = format!("UPDATE idempotency SET created_at = created_at - interval '{interval}'");
    let done = app.database.connect().await.execute(AssertSqlSafe(statement)).await.expect("aged");
    assert_eq!(done.rows_affected(), 1);
}

/// Makes `count` equal requests at the same moment, in turn to each of these.
async fn at_once(clients: &[&Client], count: usize, key: &str, body: &Value) -> Vec<Answer> {
    let mut calls = tokio::task::JoinSet::new();
    for client in clients.iter().cycle().take(count) {
        let (client, key, body) = (Client::clone(client), key.to_owned(), body.clone());
        calls.spawn(async move { keyed(&client, &key, &body).await });
    }
    calls.join_all().await
}

fn assert_one_answer(answers: &[Answer]) {
    let first = answers.iter().filter(|answer| !is_replay(answer)).count();
    assert_eq!(first, 1, "one call was carried out, the others got its answer");
    for answer in answers {
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
        assert_eq!(answer.body, answers[0].body);
    }
}

#[tokio::test]
async fn fifty_equal_requests_at_once_are_one_mail() {
    let app = TestApp::start().await;

    let answers = at_once(&[&app.client], 50, "order-7", &mail("ann@example.net")).await;

    assert_one_answer(&answers);
    let id = answers[0].text("/id");
    assert_eq!(statuses(&app.client.ended(&id).await), ["delivered"]);
    assert_eq!(app.client.arrived(&id).await.len(), 1, "one mail came out of SMTP");
    assert_eq!(messages(&app).await, 1);
    for table in ["deliveries", "bodies", "idempotency"] {
        assert_eq!(app.database.count(&format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
    }
    assert_eq!(app.client.event_types(&id).await, ["accepted", "delivered"]);
    app.stop().await;
}

#[tokio::test]
async fn equal_requests_to_two_nodes_are_one_mail() {
    let one = TestApp::start().await;
    let other = TestApp::builder().on(&one.database).start().await;

    let answers = at_once(&[&one.client, &other.client], 40, "order-7", &mail("ann@example.net")).await;

    assert_one_answer(&answers);
    assert_eq!(messages(&one).await, 1);
    other.drain().await;
    one.stop().await;
}

#[tokio::test]
async fn the_first_answer_is_given_again_whatever_has_become_of_the_mail() {
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    body["to"] = json!(["ann@example.net", "suppressed@simulator.postroad.test"]);
    let first = keyed(&app.client, "k", &body).await;
    let id = accepted_now(&first);
    app.client.ended(&id).await;

    let again = keyed(&app.client, "k", &body).await;

    assert!(is_replay(&again));
    assert_eq!((again.status, again.body), (first.status, first.body));
    let listed = app.client.all_pages("/v1/messages", 100).await;
    assert_eq!(listed.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn the_order_of_members_and_nulls_make_no_other_request() {
    let app = TestApp::start().await;
    let first = keyed(&app.client, "k", &mail("ann@example.net")).await;
    let same = r#"{"text":"Some text.\n","subject":"Hello","cc":[],"html":null,
        "to":[{"email":"ann@example.net"}],"from":{"name":"Acme","email":"hello@acme.example"}}"#;
    let request = app.client.request(Method::POST, "/v1/messages").header("Idempotency-Key", "k");
    let again = app.client.send(request.header("Content-Type", "application/json").body(same)).await;
    assert!(is_replay(&again), "{:#}", again.body);
    assert_eq!(again.body, first.body);
    app.stop().await;
}

#[tokio::test]
async fn a_key_with_any_other_content_is_refused_and_nothing_is_sent() {
    let app = TestApp::start().await;
    let mut original = mail("ann@example.net");
    original["attachments"] =
        json!([{ "filename": "a.txt", "content": "YQ==", "content_type": "text/plain" }]);
    accepted_now(&keyed(&app.client, "k", &original).await);
    let changes = [
        ("from", json!("Acme <other@acme.example>")),
        ("from", json!("hello@acme.example")),
        ("to", json!("bob@example.net")),
        ("to", json!(["ann@example.net", "bob@example.net"])),
        ("cc", json!("bob@example.net")),
        ("bcc", json!("bob@example.net")),
        ("reply_to", json!("bob@example.net")),
        ("subject", json!("Hello!")),
        ("text", json!("Some text.")),
        ("html", json!("<p>Some text.</p>")),
        ("headers", json!({ "X-Order": "7" })),
        ("headers", json!({ "Message-ID": "<7@acme.example>" })),
        ("headers", json!({ "Date": "Tue, 24 Nov 2026 10:00:00 +0000" })),
        ("attachments", json!([])),
        ("attachments", json!([{ "filename": "b.txt", "content": "YQ==", "content_type": "text/plain" }])),
        ("attachments", json!([{ "filename": "a.txt", "content": "Yg==", "content_type": "text/plain" }])),
        ("attachments", json!([{ "filename": "a.txt", "content": "YQ==", "content_type": "text/html" }])),
        (
            "attachments",
            json!([{ "filename": "a.txt", "content": "YQ==", "content_type": "text/plain", "content_id": "a" }]),
        ),
        ("tags", json!(["a"])),
        ("metadata", json!({ "a": "b" })),
        ("stream", json!("news")),
        ("priority", json!("high")),
        ("send_at", json!("2099-01-01T00:00:00Z")),
        ("ttl_seconds", json!(300)),
        ("sandbox", json!(true)),
    ];
    for (name, value) in changes {
        let mut body = original.clone();
        body[name] = value.clone();
        let answer = keyed(&app.client, "k", &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {value}: {:#}", answer.body);
        // A time that is too far ahead is wrong in itself.
        if name != "send_at" {
            assert_eq!(answer.code(), "idempotency_key_reused", "{name}: {value}");
        }
    }
    assert_eq!(messages(&app).await, 1);
    assert!(is_replay(&keyed(&app.client, "k", &original).await), "the key is as good as before");
    app.stop().await;
}

#[tokio::test]
async fn different_requests_with_one_key_at_once_leave_one_winner() {
    let app = TestApp::start().await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        let client = app.client.clone();
        calls.spawn(async move { keyed(&client, "k", &mail(&format!("r{number}@example.net"))).await });
    }
    let answers = calls.join_all().await;
    let won = answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).count();
    let lost = answers.iter().filter(|answer| {
        answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.code() == "idempotency_key_reused"
    });
    assert_eq!((won, lost.count()), (1, 19));
    assert_eq!(messages(&app).await, 1);
    app.stop().await;
}

#[tokio::test]
async fn tenants_have_their_own_keys() {
    let app = TestApp::start().await;
    let (one, other) = (app.account("one").await, app.account("other").await);
    let first = accepted_now(&keyed(&one.client, "k", &mail("ann@example.net")).await);
    let second = accepted_now(&keyed(&other.client, "k", &mail("ann@example.net")).await);
    let third = accepted_now(&keyed(&app.client, "k", &mail("bob@example.net")).await);
    assert!(first != second && second != third);
    let again = keyed(&other.client, "k", &mail("ann@example.net")).await;
    assert_eq!((is_replay(&again), again.text("/id")), (true, second));
    app.stop().await;
}

#[tokio::test]
async fn what_was_refused_leaves_no_record() {
    let app = TestApp::start().await;
    for path in ["/v1/messages", "/v1/messages/batch"] {
        let wrap = |body: Value| if path.ends_with("batch") { json!([body]) } else { body };
        let refused = post(&app.client, path, "k", &wrap(mail("nobody"))).await;
        assert!(!is_replay(&refused), "{path}");
        assert_eq!(app.database.count("SELECT count(*) FROM idempotency").await, 0, "{path}");
    }
    let corrected = keyed(&app.client, "k", &mail("ann@example.net")).await;
    accepted_now(&corrected);
    let wrong = keyed(&app.client, "k", &mail("nobody")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(messages(&app).await, 1);
    app.stop().await;
}

#[tokio::test]
async fn a_batch_is_replayed_with_its_refusals() {
    let app = TestApp::start().await;
    let batch = json!([mail("ann@example.net"), mail("nobody"), mail("bob@example.net")]);

    let first = post(&app.client, "/v1/messages/batch", "k", &batch).await;
    let again = post(&app.client, "/v1/messages/batch", "k", &batch).await;

    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!((is_replay(&first), is_replay(&again)), (false, true));
    assert_eq!(first.text("/data/1/error/errors/0/code"), "invalid_address");
    // The request ids in the refusals are the calls' own.
    let anonymous = |answer: &Answer| {
        let mut body = answer.body.clone();
        body["data"][1]["error"]["request_id"].take();
        body
    };
    assert_eq!(anonymous(&first), anonymous(&again));
    assert_eq!(messages(&app).await, 2);
    let shorter = json!([mail("ann@example.net"), mail("nobody")]);
    let other = post(&app.client, "/v1/messages/batch", "k", &shorter).await;
    assert_eq!(other.code(), "idempotency_key_reused");
    app.stop().await;
}

#[tokio::test]
async fn equal_batches_at_once_are_carried_out_once() {
    let app = TestApp::start().await;
    let batch: Value = (0..20).map(|n| mail(&format!("r{n}@example.net"))).collect();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (client, batch) = (app.client.clone(), batch.clone());
        calls.spawn(async move { post(&client, "/v1/messages/batch", "k", &batch).await });
    }
    assert_one_answer(&calls.join_all().await);
    assert_eq!(messages(&app).await, 20);
    app.stop().await;
}

#[tokio::test]
async fn raw_mail_is_the_same_request_if_its_envelope_is() {
    let app = TestApp::start().await;
    let send = |to: &str, date: &str| {
        let raw = format!("Date: {date}\r\nFrom: a@acme.example\r\nTo: ann@example.net\r\n\r\nText\r\n");
        let request = app.client.request(Method::POST, &format!("/v1/messages?to={to}"));
        let request = request.header("Content-Type", "message/rfc822").header("Idempotency-Key", "k");
        app.client.send(request.body(raw))
    };
    let id = accepted_now(&send("ann@example.net", "Tue, 24 Nov 2026 10:00:00 +0000").await);
    let again = send("ann@example.net", "Tue, 24 Nov 2026 10:00:05 +0000").await;
    assert_eq!((is_replay(&again), again.text("/id")), (true, id));
    let other = send("bob@example.net", "Tue, 24 Nov 2026 10:00:00 +0000").await;
    assert_eq!(other.code(), "idempotency_key_reused");
    app.stop().await;
}

#[tokio::test]
async fn a_key_is_remembered_for_a_day_and_then_forgotten() {
    let app = TestApp::start().await;
    let first = accepted_now(&keyed(&app.client, "k", &mail("ann@example.net")).await);

    age_records(&app, "23 hours 55 minutes").await;
    let replayed = keyed(&app.client, "k", &mail("ann@example.net")).await;
    assert_eq!((is_replay(&replayed), replayed.text("/id")), (true, first.clone()));

    age_records(&app, "10 minutes").await;
    let second = accepted_now(&keyed(&app.client, "k", &mail("bob@example.net")).await);
    assert_ne!(first, second);
    let replayed = keyed(&app.client, "k", &mail("bob@example.net")).await;
    assert_eq!((is_replay(&replayed), replayed.text("/id")), (true, second));
    app.stop().await;
}

#[tokio::test]
async fn a_test_keys_call_does_not_stand_for_a_real_one() {
    let app = TestApp::start().await;
    let test_key = app.key(json!({ "name": "test", "scopes": ["send"], "test": true })).await;
    accepted_now(&keyed(&test_key.client, "k", &mail("ann@example.net")).await);
    let real = keyed(&app.client, "k", &mail("ann@example.net")).await;
    assert_eq!(real.code(), "idempotency_key_reused", "it must not look as if it had been sent");
    app.stop().await;
}

#[tokio::test]
async fn a_key_has_1_to_256_printable_characters() {
    let app = TestApp::start().await;
    let send = |key: Vec<u8>| {
        let value = reqwest::header::HeaderValue::from_bytes(&key).expect("a header");
        let request = app.client.request(Method::POST, "/v1/messages").header("Idempotency-Key", value);
        app.client.send(request.json(&mail("ann@example.net")))
    };
    for good in ["a", "a b~!", &"k".repeat(256)] {
        accepted_now(&send(good.into()).await);
    }
    let quoted = send(b"\"a\"".to_vec()).await;
    assert!(is_replay(&quoted), "the quotes are not part of it");
    let stored = messages(&app).await;
    for bad in [b"".to_vec(), b"\"\"".to_vec(), vec![b'k'; 257], "k\u{e4}".into(), b"a\tb".to_vec()] {
        let answer = send(bad.clone()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::BAD_REQUEST, "invalid_request"),
            "{bad:?}"
        );
    }
    let twice = app.client.request(Method::POST, "/v1/messages");
    let twice = twice.header("Idempotency-Key", "x").header("Idempotency-Key", "y");
    let answer = app.client.send(twice.json(&mail("ann@example.net"))).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::BAD_REQUEST, "invalid_request"),
        "two keys"
    );
    assert_eq!(messages(&app).await, stored);
    app.stop().await;
}
