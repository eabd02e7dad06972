//! Mailgun: mailgun.js, and its words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::clients::{assert_whole, by_recipient, run, text_of};
use super::matrix::Row;
use super::{Said, ask};
use crate::support::app::{KEY, TestApp};
use crate::support::captured::{contains, field};
use crate::support::client::text;

/// What is shown of it in `docs/compatibility.md`.
pub const ROWS: &[Row] = &[
    Row::yes(
        "One mail: addresses with names, Cc, Bcc, Reply-To, text, HTML, headers, files, inline pictures; multipart",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes("Forms without files, urlencoded", "forms_without_files_are_urlencoded_and_errors_are_its_own"),
    Row::yes("recipient-variables in subject, bodies, h: and v:", "its_node_client_sends_everything_it_can"),
    Row::yes("Newsletters, stored once", "a_newsletter_is_stored_once_whatever_it_says_to_each"),
    Row::yes(
        "o:tag, v:, template with t:variables, o:testmode, o:tracking, messages.mime",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes(
        "Bounces, complaints, unsubscribes; events; templates; domains; stats",
        "its_node_client_finds_what_is_around_the_send_and_understands_refusals",
    ),
    Row::yes("Errors in its words", "forms_without_files_are_urlencoded_and_errors_are_its_own"),
    Row::refused(
        "o:archive-to, Mailgun's own unsubscribe links in bodies, recipient-variables with messages.mime",
        "forms_without_files_are_urlencoded_and_errors_are_its_own",
    ),
    Row::ignored(
        "o:dkim, o:secondary-dkim, o:sending-ip, o:sending-ip-pool, o:skip-verification, o:deliverytime-optimize-period, o:time-zone-localize, amp-html",
        "there is nothing here that they could choose",
    ),
];

/// The message with this Message-ID.
async fn message(app: &TestApp, message_id: &str) -> String {
    let all = app.client.all_pages("/v1/messages", 100).await;
    let found = all.iter().find(|message| message["message_id"] == message_id);
    text(found.unwrap_or_else(|| panic!("no {message_id}")), "/id")
}

#[tokio::test]
async fn its_node_client_sends_everything_it_can() {
    let app = TestApp::start().await;
    let body = json!({ "alias": "welcome", "subject": "Hi {{name}}", "html": "<p>Dear {{name}}</p>" });
    app.client.post("/v1/templates", body).await;
    let out = run(&app, "mailgun.cjs", &[], &[]).await;
    assert_eq!(out["whole"]["message"], "Queued. Thank you.");
    let whole = message(&app, &text(&out, "/whole/id")).await;
    assert_whole(&app, &whole).await;
    let shown = app.client.get(&format!("/v1/messages/{whole}")).await.body;
    assert_eq!(
        (&shown["tags"], &shown["metadata"]),
        (&json!(["welcome", "second"]), &json!({ "order": "7" }))
    );

    let merged = message(&app, &text(&out, "/merged/id")).await;
    let mails = by_recipient(&app, &merged).await;
    for ((to, mail), (name, sum, leave)) in mails.iter().zip([("Ann", 7, "a"), ("Bob", 8, "b")]) {
        assert_eq!(field(&mail.raw, "Subject"), format!("Hi {name}"), "{to}");
        assert_eq!(text_of(mail), format!("Dear {name}, {sum}"));
        assert_eq!(field(&mail.raw, "List-Unsubscribe"), format!("<https://acme.example/u/{leave}>"));
        assert_eq!(field(&mail.raw, "To").contains("ann@"), *to == "ann@example.net", "alone in its To");
    }
    let events = app.client.all_pages(&format!("/v1/messages/{merged}/events"), 100).await;
    let mut who: Vec<&str> = events
        .iter()
        .filter(|event| event["type"] == "accepted")
        .filter_map(|event| event["metadata"]["who"].as_str())
        .collect();
    who.sort_unstable();
    assert_eq!(who, ["a1", "b2"]);

    let raw = app.client.only_arrived(&message(&app, &text(&out, "/mime/id")).await).await;
    assert!(contains(&raw, "\r\n\r\nAs it is.\r\n") && field(&raw, "Subject") == "Raw");
    let raw = app.client.only_arrived(&message(&app, &text(&out, "/template/id")).await).await;
    assert_eq!(field(&raw, "Subject"), "Hi Ann");
    let tested = message(&app, &text(&out, "/testmode/id")).await;
    assert!(app.client.arrived(&tested).await.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn its_node_client_finds_what_is_around_the_send_and_understands_refusals() {
    let app = TestApp::start().await;
    let body = json!({ "alias": "welcome", "subject": "Hi {{name}}", "html": "<p>Dear {{name}}</p>" });
    app.client.post("/v1/templates", body).await;
    let out = run(&app, "mailgun.cjs", &[], &[]).await;
    assert_eq!(out["bounces"], json!(["dead@example.net"]));
    assert_eq!(out["unbounced"]["address"], "dead@example.net");
    assert_eq!(out["domains"], json!(["mg.example"]));
    assert_eq!(out["templates"].as_array().map(Vec::len), Some(2));
    assert_eq!(out["version"], json!(["receipt", "v2"]), "versions never change: another was made");
    assert!(out["stats"][0].as_i64() > Some(0), "{:#}", out["stats"]);
    let mut events: Vec<String> =
        out["events"].as_array().expect("a list").iter().map(|to| to.to_string()).collect();
    events.sort();
    assert_eq!(events.len(), 4, "{events:?}");
    assert_eq!(
        (&out["noFrom"]["status"], &out["noFrom"]["message"]),
        (&json!(400), &json!("from parameter is missing"))
    );
    let bad = "'to' parameter is not a valid address. please check documentation";
    assert_eq!((&out["badTo"]["status"], &out["badTo"]["message"]), (&json!(400), &json!(bad)));
    assert_eq!((&out["wrongKey"]["status"], &out["wrongKey"]["message"]), (&json!(401), &json!("Forbidden")));
    app.stop().await;
}

async fn post(app: &TestApp, domain: &str, form: &str) -> Said {
    let basic = format!("Basic {}", STANDARD.encode(format!("api:{KEY}")));
    let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    ask(app, Method::POST, &format!("/v3/{domain}/messages"), &headers, Value::String(form.to_owned())).await
}

#[tokio::test]
async fn forms_without_files_are_urlencoded_and_errors_are_its_own() {
    let app = TestApp::builder().set("POSTROAD_SENDER_POLICY", "verified").start().await;
    let unknown = post(&app, "other.example", "from=a@other.example&to=b@example.net&text=x").await;
    assert_eq!(
        (unknown.status, unknown.body),
        (404, json!({ "message": "Domain not found: other.example" }))
    );
    app.stop().await;

    let app = TestApp::start().await;
    let plain = "from=a@acme.example&to=b@example.net&subject=x";
    let cases = [
        ("", 400, "from parameter is missing"),
        ("from=a@acme.example&text=x", 400, "to parameter is missing"),
        (plain, 400, "Need at least one of 'text', 'html' or 'template' parameters specified"),
        (
            &format!("{plain}&text=x&o:deliverytime=soon"),
            400,
            "'o:deliverytime' parameter is not a valid RFC-2822 date",
        ),
        (&format!("{plain}&template=nothing"), 400, "template not found"),
        (
            &format!("{plain}&text=x&recipient-variables=no"),
            400,
            "'recipient-variables' parameter is not a valid JSON object",
        ),
    ];
    for (form, status, message) in cases {
        let said = post(&app, "acme.example", form).await;
        assert_eq!((said.status, &said.body["message"]), (status, &json!(message)), "{form}");
    }
    let said = post(&app, "acme.example", &format!("{plain}&text=%unsubscribe_url%")).await;
    assert_eq!(said.status, 400, "{:#}", said.body);
    let said = post(&app, "acme.example", &format!("{plain}&text=x&to=c@example.net,+d@example.net")).await;
    assert_eq!(said.body["message"], "Queued. Thank you.");
    let listed = app.client.all_pages("/v1/messages", 100).await;
    assert_eq!(listed[0]["to"], json!(["b@example.net", "c@example.net", "d@example.net"]));
    app.stop().await;
}

#[tokio::test]
async fn a_newsletter_is_stored_once_whatever_it_says_to_each() {
    let app = TestApp::start().await;
    let people: Vec<String> = (0..500).map(|n| format!("reader{n}@example.net")).collect();
    let variables: serde_json::Map<String, Value> =
        people.iter().map(|to| (to.clone(), json!({ "name": to }))).collect();
    let html = format!("<p>Dear %recipient.name%</p>{}", "x".repeat(50_000));
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("from", "hello@acme.example")
        .append_pair("to", &people.join(","))
        .append_pair("subject", "News for %recipient.name%")
        .append_pair("html", &html)
        .append_pair("o:testmode", "yes")
        .append_pair("recipient-variables", &Value::Object(variables).to_string())
        .finish();
    let said = post(&app, "acme.example", &form).await;
    assert_eq!(said.status, 200, "{:#}", said.body);
    let id = message(&app, &text(&said.body, "/id")).await;
    assert_eq!(app.database.count("SELECT count(*) FROM deliveries").await, 500);
    assert_eq!(app.database.count("SELECT count(*) FROM bodies WHERE length(raw) < 60000").await, 1);
    let shown = app.client.get(&format!("/v1/messages/{id}")).await;
    assert_eq!(shown.text("/subject"), "News for reader0@example.net");
    app.stop().await;
}
