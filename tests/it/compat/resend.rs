//! Resend: its Node and Python clients, and its words.

use reqwest::Method;
use serde_json::{Value, json};

use super::clients::{assert_whole, every_octet, run};
use super::matrix::Row;
use super::{ask, id_of};
use crate::support::app::{KEY, TestApp};
use crate::support::captured::field;
use crate::support::client::text;

/// What is shown of it in `docs/compatibility.md`.
pub const ROWS: &[Row] = &[
    Row::yes(
        "One mail: addresses with names, Cc, Bcc, Reply-To, text, HTML, headers, files, inline pictures",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes("Idempotency-Key", "its_node_client_sends_everything_it_can"),
    Row::yes(
        "Batches, strict and permissive; scheduling, updating, canceling",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes(
        "Emails, domains, API keys",
        "its_node_client_finds_what_is_around_the_send_and_understands_refusals",
    ),
    Row::yes("Files as lists of octets (the Python client)", "its_python_client_sends_a_list_of_octets"),
    Row::yes("Errors by name", "errors_have_its_names"),
    Row::refused("Attachments by path", "errors_have_its_names"),
    Row::ignored("topic_id", "who wants which topics is not known here"),
];

#[tokio::test]
async fn its_node_client_sends_everything_it_can() {
    let app = TestApp::start().await;
    let out = run(&app, "resend.cjs", &[], &[]).await;
    let whole = id_of(&text(&out, "/whole/data/id"));
    assert_whole(&app, &whole).await;
    let shown = app.client.get(&format!("/v1/messages/{whole}")).await.body;
    assert_eq!(shown["metadata"], json!({ "order": "7" }));
    assert_eq!(out["first"]["data"]["id"], out["again"]["data"]["id"], "once, with one Idempotency-Key");
    assert_eq!(out["other"]["error"]["name"], "invalid_idempotent_request");
    assert_eq!(out["batch"]["data"]["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(out["badBatch"]["error"]["name"], "validation_error");
    assert_eq!(out["found"]["data"]["last_event"], "scheduled");
    assert_eq!(out["canceled"]["data"]["id"], out["scheduled"]["data"]["id"]);
    assert!(out["tooLate"]["error"].is_object() && out["missing"]["error"]["name"] == "not_found");
    // One for each that was sent, and none of the batch that was wrong.
    let sent = app.client.all_pages("/v1/messages", 100).await.len();
    assert_eq!(sent, 7, "whole, first, two of a batch, scheduled, the template's, and the restricted key's");
    app.stop().await;
}

#[tokio::test]
async fn its_node_client_finds_what_is_around_the_send_and_understands_refusals() {
    let app = TestApp::start().await;
    let out = run(&app, "resend.cjs", &[], &[]).await;
    assert_eq!(out["domain"]["data"]["status"], "not_started");
    assert_eq!(out["domains"]["data"]["data"][0]["name"], "rs.example");
    assert!(out["verified"]["data"]["id"].is_string() && out["removed"]["data"]["deleted"] == true);
    assert_eq!(out["restricted"]["error"]["name"], "restricted_api_key");
    assert!(out["sentWithIt"]["data"]["id"].is_string());
    assert!(out["listed"]["data"]["data"].as_array().map(Vec::len) > Some(3));
    assert_eq!(out["noTo"]["error"]["message"], "Missing `to` field.");
    assert_eq!(out["noTo"]["error"]["name"], "missing_required_field");
    let bad = "Invalid `to` field. The email address needs to follow the `email@example.com` or `Name <email@example.com>` format.";
    assert_eq!(out["badTo"]["error"]["message"], bad);
    assert_eq!(out["wrongKey"]["error"]["message"], "API key is invalid");
    assert_eq!(out["wrongKey"]["error"]["name"], "invalid_api_key");
    let draft = &out["draft"];
    assert_eq!((&draft["status"], &draft["alias"]), (&json!("draft"), &json!("receipt")), "{draft:#}");
    assert_eq!(out["unpublished"]["error"]["statusCode"], 422);
    let raw = app.client.only_arrived(&id_of(&text(&out, "/ofTemplate/data/id"))).await;
    assert_eq!(field(&raw, "Subject"), "For you", "what stands for it");
    assert_eq!(out["lacking"]["error"]["name"], "validation_error", "no fallback");
    assert_eq!(out["templates"], json!([["Receipts", "published"], ["Receipts (Copy)", "draft"]]));
    assert_eq!(out["dropped"], json!([true, true]));
    assert_eq!(
        (&out["suppression"]["email"], &out["suppression"]["origin"]),
        (&json!("gone@example.net"), &json!("manual"))
    );
    assert_eq!((&out["suppressedMany"], &out["unsuppressedMany"]), (&json!(2), &json!(2)));
    assert_eq!(
        (&out["suppressions"]["has_more"], &out["unsuppressed"]["deleted"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(out["free"]["error"]["statusCode"], 404);
    assert!(
        out["metrics"]["totals"]["sent"].is_number() && out["metrics"]["data"].is_array(),
        "{:#}",
        out["metrics"]
    );
    app.stop().await;
}

#[tokio::test]
async fn its_python_client_sends_a_list_of_octets() {
    let app = TestApp::start().await;
    let out = run(&app, "resend_client.py", &[], &[]).await;
    let raw = app.client.only_arrived(&id_of(&text(&out, "/one"))).await;
    let mail = mail_parser::MessageParser::default().parse(&raw).expect("a mail");
    assert_eq!(mail.attachment(0).expect("the file").contents(), every_octet());
    assert_eq!(out["batch"].as_array().map(Vec::len), Some(2));
    assert!(
        out["bad_to"]["message"].as_str().is_some_and(|message| message.starts_with("Invalid `to` field."))
    );
    app.stop().await;
}

#[tokio::test]
async fn errors_have_its_names() {
    let app = TestApp::builder().set("POSTROAD_SENDER_POLICY", "verified").start().await;
    let bearer = format!("Bearer {KEY}");
    let mail = json!({ "from": "a@other.example", "to": "b@example.net", "subject": "x", "text": "x" });
    let with = |name: &str, value: Value| {
        let mut mail = mail.clone();
        mail[name] = value;
        mail
    };
    let cases = [
        (mail.clone(), 403, "validation_error"),
        (with("subject", Value::Null), 422, "missing_required_field"),
        (with("text", Value::Null), 422, "validation_error"),
        (with("scheduled_at", json!("sometime")), 422, "validation_error"),
        (with("attachments", json!([{ "path": "https://x.example/a.pdf" }])), 422, "validation_error"),
        (json!("{"), 400, "validation_error"),
    ];
    for (body, status, name) in cases {
        let said = ask(&app, Method::POST, "/emails", &[("authorization", &bearer)], body.clone()).await;
        let expected = (status, json!(status), json!(name));
        assert_eq!(
            (said.status, said.body["statusCode"].clone(), said.body["name"].clone()),
            expected,
            "{body}: {:#}",
            said.body
        );
    }
    let long = "x".repeat(257);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", long.as_str())];
    let said = ask(&app, Method::POST, "/emails", &headers, mail).await;
    assert_eq!((said.status, &said.body["name"]), (400, &json!("invalid_idempotency_key")));
    app.stop().await;
}
