//! Streams, and leaving them: what mail of a broadcast stream says, and what its link does (RFC 2369, RFC 8058).

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::captured::{field, field_names};
use crate::support::client::{Answer, Client, PATIENCE, mail, statuses, text};

const PUBLIC: &str = "https://mail.postroad.test";

async fn app() -> TestApp {
    TestApp::builder().set("POSTROAD_PUBLIC_URL", PUBLIC).start().await
}

fn of_stream(stream: &str, to: &str) -> Value {
    let mut body = mail(to);
    body["stream"] = stream.into();
    body
}

/// Describes a stream, and waits until accept knows it.
async fn describe(client: &Client, body: Value) -> String {
    let made = client.post("/v1/streams", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    made.text("/id")
}

/// The octets of a mail to a stream, once it is treated as one for many.
async fn broadcast(client: &Client, stream: &str, to: &str) -> Vec<u8> {
    let began = std::time::Instant::now();
    loop {
        let id = client.send_mail(of_stream(stream, to)).await;
        let raw = client.only_arrived(&id).await;
        if field_names(&raw).contains(&"List-Unsubscribe".to_owned()) {
            return raw;
        }
        assert!(began.elapsed() < PATIENCE, "the stream is never known");
    }
}

/// The path of the one https link in List-Unsubscribe.
fn link(raw: &[u8]) -> String {
    let value = field(raw, "List-Unsubscribe");
    let links: Vec<&str> = value
        .split(',')
        .map(|link| link.trim().trim_start_matches('<').trim_end_matches('>'))
        .filter(|link| link.starts_with("https://"))
        .collect();
    assert_eq!(links.len(), 1, "{value}");
    links[0].strip_prefix(PUBLIC).expect("below the public URL").to_owned()
}

/// A request as anybody makes it: no key, no cookie, no redirect.
async fn anybody(client: &Client, method: Method, path: &str, body: Option<(&str, &str)>) -> Answer {
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let mut request = http.request(method, format!("{}{path}", client.url()));
    if let Some((kind, body)) = body {
        request = request.header("content-type", kind).body(body.to_owned());
    }
    let response = request.send().await.expect("answered");
    let (status, headers) = (response.status(), response.headers().clone());
    assert!(headers.get("set-cookie").is_none());
    let body = Value::String(response.text().await.expect("text"));
    Answer { status, headers, body }
}

const FORM: &str = "application/x-www-form-urlencoded";

// As Gmail does it: the header's link, POSTed with the one pair, and nothing else.
#[tokio::test]
async fn one_click_leaves_the_stream_at_once_and_only_that() {
    let app = app().await;
    let raw = broadcast(&app.client, "broadcast", "Ann@example.net").await;
    assert_eq!(field(&raw, "List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    let path = link(&raw);

    let looked = anybody(&app.client, Method::GET, &path, None).await;
    assert_eq!(looked.status, StatusCode::OK);
    assert!(looked.body.as_str().expect("a page").contains("ann@example.net"));
    assert_eq!(looked.header("cache-control"), Some("no-store"));
    let suppressions = async || app.client.all_pages("/v1/suppressions", 100).await;
    assert!(suppressions().await.is_empty(), "looking changes nothing");

    for _ in 0..2 {
        let left =
            anybody(&app.client, Method::POST, &path, Some((FORM, "List-Unsubscribe=One-Click"))).await;
        assert_eq!(left.status, StatusCode::OK, "no redirect, no question");
    }
    let listed = suppressions().await;
    assert_eq!(listed.len(), 1);
    let of = |name: &str| listed[0][name].clone();
    assert_eq!(
        (of("email"), of("stream"), of("reason")),
        (json!("ann@example.net"), json!("broadcast"), json!("unsubscribe"))
    );
    let events = app.client.all_pages("/v1/events?type=unsubscribed", 100).await;
    assert_eq!(events.len(), 1, "told once");
    assert_eq!(events[0]["data"], json!({ "method": "one_click", "streams": ["broadcast"] }));
    assert_eq!(events[0]["delivery_id"], listed[0]["delivery_id"]);

    let again = app.client.post("/v1/messages", of_stream("broadcast", "ann@example.net")).await;
    assert_eq!(again.text("/deliveries/0/status"), "suppressed");
    let other = app.client.send_mail(mail("ann@example.net")).await;
    assert_eq!(statuses(&app.client.ended(&other).await), ["delivered"], "what she awaits still comes");
    app.stop().await;
}

#[tokio::test]
async fn a_mail_program_may_send_its_pair_as_multipart_too() {
    let app = app().await;
    let path = link(&broadcast(&app.client, "broadcast", "ann@example.net").await);
    let body =
        "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
    let left =
        anybody(&app.client, Method::POST, &path, Some(("multipart/form-data; boundary=x", body))).await;
    assert_eq!(left.status, StatusCode::OK);
    assert_eq!(app.client.all_pages("/v1/suppressions?reason=unsubscribe", 100).await.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn the_page_offers_all_streams_for_many_and_leaves_those_that_are_ticked() {
    let app = app().await;
    for (name, title) in [("news", "The <News>"), ("offers", "Offers")] {
        describe(&app.client, json!({ "name": name, "title": title, "kind": "broadcast" })).await;
    }
    describe(&app.client, json!({ "name": "receipts", "title": "Receipts" })).await;
    let path = link(&broadcast(&app.client, "news", "ann@example.net").await);
    let page = anybody(&app.client, Method::GET, &path, None).await;
    let shown = page.body.as_str().expect("a page");
    assert!(shown.contains("Offers") && !shown.contains("Receipts"), "{shown}");
    assert!(!shown.contains("The <News>") && shown.contains("value=\"news\" checked"), "{shown}");

    let ticked = "topic=offers&topic=receipts";
    let left = anybody(&app.client, Method::POST, &path, Some((FORM, ticked))).await;
    assert!(left.body.as_str().expect("a page").contains("Offers"));
    let streams = async || {
        let listed = app.client.all_pages("/v1/suppressions?email=ann@example.net", 100).await;
        let mut streams: Vec<String> = listed.iter().map(|one| text(one, "/stream")).collect();
        streams.sort();
        streams
    };
    assert_eq!(streams().await, ["offers"], "of others nobody is taken off");
    anybody(&app.client, Method::POST, &path, Some((FORM, "everything=yes"))).await;
    assert_eq!(streams().await, ["news", "offers"]);
    app.stop().await;
}

#[tokio::test]
async fn each_recipient_has_a_link_of_his_own_and_what_the_caller_wrote_of_them_goes() {
    let app = app().await;
    let mut body = of_stream("broadcast", "ann@example.net");
    body["to"] = json!(["ann@example.net", "bob@example.net"]);
    body["headers"] =
        json!({ "List-Unsubscribe": "<https://elsewhere.example/>", "List-Id": "<news.acme.example>" });
    let id = app.client.send_mail(body).await;
    app.client.ended(&id).await;
    let arrived = app.client.arrived(&id).await;
    assert_eq!(arrived.len(), 2);
    let links: Vec<String> = arrived.iter().map(|mail| link(&mail.raw)).collect();
    assert_ne!(links[0], links[1]);
    for mail in &arrived {
        assert_eq!(field(&mail.raw, "List-Id"), "<news.acme.example>");
    }
    anybody(&app.client, Method::POST, &links[0], Some((FORM, "List-Unsubscribe=One-Click"))).await;
    let listed = app.client.all_pages("/v1/suppressions", 100).await;
    let left = text(&listed[0], "/email");
    assert!(arrived[0].recipients[0].contains(&left), "{left}");
    assert_eq!(listed.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_link_of_ours_does_nothing() {
    let app = app().await;
    let path = link(&broadcast(&app.client, "broadcast", "ann@example.net").await);
    let mut altered = path.clone().into_bytes();
    altered[20] = if altered[20] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).expect("ASCII");
    for path in [altered.as_str(), "/u/x", "/u/%00", &path[..path.len() - 4]] {
        for method in [Method::GET, Method::POST] {
            let answer = anybody(&app.client, method, path, None).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
    assert!(app.client.all_pages("/v1/suppressions", 100).await.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn a_link_outlives_the_history_of_its_mail() {
    let app = app().await;
    let path = link(&broadcast(&app.client, "broadcast", "ann@example.net").await);
    for table in ["events", "outcomes", "attempts", "deliveries", "bodies", "messages"] {
        let statement = sqlx::AssertSqlSafe(format!("DELETE FROM {table}"));
        sqlx::query(statement).execute(&mut app.database.connect().await).await.expect("deleted");
    }
    let left = anybody(&app.client, Method::POST, &path, Some((FORM, "List-Unsubscribe=One-Click"))).await;
    assert_eq!(left.status, StatusCode::OK);
    assert_eq!(app.client.all_pages("/v1/suppressions?reason=unsubscribe", 100).await.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_stream_is_described_changed_and_deleted() {
    let app = app().await;
    let body = json!({ "name": "news", "title": "News", "kind": "broadcast", "priority": "low", "tracking": { "opens": true } });
    let made = app.client.post("/v1/streams", body.clone()).await;
    let expected = json!({
        "id": made.text("/id"), "name": "news", "title": "News", "kind": "broadcast", "priority": "low",
        "tracking": { "opens": true, "clicks": false }, "created_at": made.body["created_at"],
    });
    assert_eq!((made.status, &made.body), (StatusCode::CREATED, &expected));
    assert_eq!(app.client.post("/v1/streams", body).await.status, StatusCode::CONFLICT);
    let id = made.text("/id");
    assert_eq!(app.client.get(&format!("/v1/streams/{id}")).await.body, expected);
    assert_eq!(app.client.get("/v1/streams").await.list("/data"), [expected]);
    let changed = app.client.patch(&format!("/v1/streams/{id}"), json!({ "kind": "transactional" })).await;
    assert_eq!((&changed.body["kind"], &changed.body["priority"]), (&json!("transactional"), &json!("low")));
    assert_eq!(app.client.delete(&format!("/v1/streams/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.get(&format!("/v1/streams/{id}")).await.status, StatusCode::NOT_FOUND);
    for (body, pointer, code) in [
        (json!({}), "/name", "required"),
        (json!({ "name": "A B" }), "/name", "invalid_stream"),
        (json!({ "name": "a", "title": "" }), "/title", "invalid_title"),
        (json!({ "name": "a", "kind": "spam" }), "/kind", "invalid_kind"),
        (json!({ "name": "a", "priority": "urgent" }), "/priority", "invalid_priority"),
        (json!({ "name": "a", "tracking": { "opens": 1 } }), "/tracking/opens", "wrong_type"),
    ] {
        let answer = app.client.post("/v1/streams", body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    app.stop().await;
}

#[tokio::test]
async fn mail_takes_its_streams_priority_and_a_strict_tenant_refuses_unknown_streams() {
    let app = app().await;
    describe(&app.client, json!({ "name": "news", "kind": "broadcast", "priority": "low" })).await;
    broadcast(&app.client, "news", "ann@example.net").await;
    let priority = async |changes: Value| {
        let mut body = of_stream("news", "ann@example.net");
        body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        let id = app.client.send_mail(body).await;
        app.client.get(&format!("/v1/messages/{id}")).await.text("/priority")
    };
    assert_eq!(priority(json!({})).await, "low");
    assert_eq!(priority(json!({ "priority": "high" })).await, "high");

    assert_eq!(app.client.get("/v1/streams/policy").await.body, json!({ "unknown": "accept" }));
    let set = app.client.patch("/v1/streams/policy", json!({ "unknown": "refuse" })).await;
    assert_eq!(set.body, json!({ "unknown": "refuse" }));
    let began = std::time::Instant::now();
    let refused = loop {
        let answer = app.client.post("/v1/messages", of_stream("newz", "ann@example.net")).await;
        if answer.status != StatusCode::ACCEPTED {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "never refused");
    };
    assert_eq!(refused.violations(), [("/stream".to_owned(), "unknown_stream".to_owned())]);
    for stream in ["news", "transactional", "broadcast"] {
        app.client.send_mail(of_stream(stream, "bob@example.net")).await;
    }
    let other = app.account("other").await;
    other.client.send_mail(of_stream("newz", "ann@example.net")).await;
    app.stop().await;
}
