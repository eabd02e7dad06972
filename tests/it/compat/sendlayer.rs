//! SendLayer on the wire, and the Python clients of six providers, its own among them.

use reqwest::Method;
use serde_json::{Value, json};

use super::ask;
use super::clients::run;
use super::matrix::Row;
use super::tls::Secured;
use crate::support::app::{KEY, TestApp};
use crate::support::client::text;

pub const ROWS: &[Row] = &[
    Row::yes("its Python client", "six_python_clients_send_unmodified"),
    Row::refused("missing and bad fields by its codes", "sendlayers_refusals_have_its_codes"),
    Row::ignored("TemplateID, TargetListID", "they are in no reference"),
];

#[tokio::test]
async fn six_python_clients_send_unmodified() {
    let secured = Secured::start().await;
    let environment = secured.environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let out = run(&secured.app, "six_clients.py", &[], &environment).await;
    assert_eq!(out["sparkpost"]["total_accepted_recipients"], 2, "{out:#}");
    assert_eq!(out["mailjet"], json!([200, "success"]));
    assert_eq!(out["netcore"]["status"], "success");
    let client = &secured.app.client;
    for id in ["/sparkpost/id", "/mailersend", "/sendlayer/MessageID", "/netcore/data/message_id"] {
        client.ended(&text(&out, id)).await;
    }
    let netcore = client.get(&format!("/v1/messages/{}", text(&out, "/netcore/data/message_id"))).await;
    assert_eq!(netcore.body["subject"], "Hi Ann");
    let all = client.all_pages("/v1/messages", 100).await;
    let subjects: Vec<&Value> = all.iter().map(|one| &one["subject"]).filter(|one| *one == "Grüße").collect();
    assert_eq!((all.len(), subjects.len()), (6, 5));
    assert!(all.iter().any(|one| one["message_id"] == out["brevo"]));
    secured.stop().await;
}

#[tokio::test]
async fn sendlayers_refusals_have_its_codes() {
    let app = TestApp::start().await;
    let bearer = format!("Bearer {KEY}");
    let good = json!({
        "From": { "email": "hello@acme.example" }, "To": [{ "email": "ann@example.net" }], "Subject": "x",
        "ContentType": "HTML", "HTMLContent": "<p>x</p>",
    });
    let headers = [("authorization", bearer.as_str())];
    let said = ask(&app, Method::POST, "/api/v1/email", &headers, good.clone()).await;
    assert_eq!(said.status, 200, "{:#}", said.body);
    app.client.ended(&text(&said.body, "/MessageID")).await;
    for (member, value, code, message) in [
        ("From", json!(null), 3, "Missing FromEmail"),
        ("From", json!({ "email": "x" }), 23, "Invalid from email address format"),
        ("To", json!([]), 20, "There is no recipient set for the email"),
        ("To", json!([{ "email": "x" }]), 19, "Recipient email address is invalid"),
        ("BCC", json!([{ "email": "x" }]), 26, "BCC email address is invalid"),
        ("Subject", json!(null), 8, "Missing Subject"),
        ("HTMLContent", json!(null), 10, "Missing HTMLContent"),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        let said = ask(&app, Method::POST, "/api/v1/email", &headers, bad).await;
        assert_eq!(
            (said.status, said.body),
            (422, json!({ "Errors": [{ "Code": code, "Message": message }] })),
            "{member}"
        );
    }
    let said = ask(&app, Method::POST, "/api/v1/email", &[("authorization", "Bearer x")], good).await;
    assert_eq!(
        (said.status, said.body),
        (401, json!({ "Errors": [{ "Code": 13, "Message": "Invalid SenderAPIKey" }] }))
    );
    app.stop().await;
}
