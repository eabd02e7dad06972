//! SMTP.com on the wire: there is no client of its own for the languages here.

use mail_parser::MessageParser;
use reqwest::Method;
use serde_json::json;

use super::ask;
use super::clients::by_recipient;
use super::matrix::Row;
use crate::support::app::{KEY, TestApp};
use crate::support::captured::field;
use crate::support::client::text;

pub const ROWS: &[Row] = &[
    Row::yes("messages, attachments, bulk_list, X-SMTPAPI", "smtpcoms_mail_is_sent_and_refused_in_its_words"),
    Row::yes("messages/mime", "smtpcoms_composed_mail_is_sent"),
    Row::refused("missing fields, a wrong key", "smtpcoms_mail_is_sent_and_refused_in_its_words"),
    Row::ignored("channel", "the key says whose mail it is"),
];

#[tokio::test]
async fn smtpcoms_mail_is_sent_and_refused_in_its_words() {
    let app = TestApp::start().await;
    let headers = [("x-smtpcom-api", KEY)];
    let mut mail = json!({
        "channel": "any", "subject": "Grüße",
        "recipients": { "to": [{ "name": "Ann Ünal", "address": "ann@example.net" }] },
        "originator": { "from": { "name": "Acme", "address": "hello@acme.example" }, "reply_to": { "address": "help@acme.example" } },
        "custom_headers": { "X-Order": "7", "X-SMTPAPI": "{\"unique_args\": {\"order\": \"7\"}}" },
        "body": {
            "parts": [{ "type": "text/plain", "content": "Hello" }, { "type": "text/html", "content": "<p>Hello</p>" }],
            "attachments": [{ "type": "application/octet-stream", "filename": "a.bin", "encoding": "base64", "content": "AAEC" }],
        },
    });
    let said = ask(&app, Method::POST, "/v4/messages", &headers, mail.clone()).await;
    assert_eq!((said.status, &said.body["status"]), (200, &json!("success")), "{:#}", said.body);
    let id = text(&said.body, "/data/msg_id");
    assert!(text(&said.body, "/data/message").ends_with(&format!("msg_id: {id}")));
    let raw = app.client.only_arrived(&id).await;
    assert_eq!(
        (field(&raw, "X-Order").as_str(), field(&raw, "Reply-To").as_str()),
        ("7", "help@acme.example")
    );
    assert!(!String::from_utf8_lossy(&raw).contains("X-SMTPAPI"));
    let parsed = MessageParser::default().parse(&raw).expect("a mail");
    assert_eq!(parsed.attachments().next().map(|file| file.contents().to_vec()), Some(vec![0, 1, 2]));
    let message = app.client.get(&format!("/v1/messages/{id}")).await;
    assert_eq!(message.body["metadata"], json!({ "order": "7" }));

    mail["recipients"] =
        json!({ "bulk_list": [{ "address": "ann@example.net" }, { "address": "bob@example.net" }] });
    let said = ask(&app, Method::POST, &format!("/v4/messages?api_key={KEY}"), &[], mail.clone()).await;
    let arrived = by_recipient(&app, &text(&said.body, "/data/msg_id")).await;
    let to: Vec<String> = arrived.iter().map(|(_, mail)| field(&mail.raw, "To")).collect();
    assert_eq!(to, ["ann@example.net", "bob@example.net"]);

    let said = ask(&app, Method::POST, "/v4/messages", &headers, json!({ "channel": "x" })).await;
    assert_eq!(said.status, 400);
    let errors = &said.body["data"]["errors"];
    assert_eq!(
        (&errors["recipients"], &errors["body"]),
        (&json!("must be provided"), &json!("must be provided"))
    );
    let said = ask(&app, Method::POST, "/v4/messages", &[("x-smtpcom-api", "x")], mail).await;
    assert_eq!(
        (said.status, said.body),
        (401, json!({ "status": "fail", "data": { "api_key": "invalid" } }))
    );
    app.stop().await;
}

#[tokio::test]
async fn smtpcoms_composed_mail_is_sent() {
    let app = TestApp::start().await;
    let mail = json!({
        "channel": "any", "recipients": { "to": [{ "address": "ann@example.net" }] },
        "mime": "From: hello@acme.example\nTo: ann@example.net\nX-SMTPAPI: {\"category\": \"raw\"}\nSubject: Raw\n\nRaw.\n",
    });
    let said = ask(&app, Method::POST, "/v4/messages/mime", &[("x-smtpcom-api", KEY)], mail).await;
    assert_eq!(said.status, 200, "{:#}", said.body);
    let id = text(&said.body, "/data/msg_id");
    let raw = app.client.only_arrived(&id).await;
    assert_eq!(field(&raw, "Subject"), "Raw");
    assert!(!String::from_utf8_lossy(&raw).contains("X-SMTPAPI"));
    assert_eq!(app.client.get(&format!("/v1/messages/{id}")).await.body["tags"], json!(["raw"]));
    app.stop().await;
}
