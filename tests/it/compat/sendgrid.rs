//! SendGrid: @sendgrid/mail, @sendgrid/client, its Python client, and its words.

use reqwest::Method;
use serde_json::{Value, json};

use super::ask;
use super::clients::{assert_whole, by_recipient, run, text_of};
use super::matrix::Row;
use crate::support::app::{KEY, TestApp};
use crate::support::captured::field;
use crate::support::client::text;

/// What is shown of it in `docs/compatibility.md`.
pub const ROWS: &[Row] = &[
    Row::yes(
        "One mail: addresses with names, Cc, Bcc, Reply-To, text, HTML, headers, files, inline pictures",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes("Categories, custom_args", "its_node_client_sends_everything_it_can"),
    Row::yes(
        "Personalizations with substitutions and sections, subjects, headers, dynamic_template_data",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes("Templates by id or alias", "its_node_client_sends_everything_it_can"),
    Row::yes(
        "send_at, sandbox_mode, click and open tracking, footer",
        "its_node_client_sends_everything_it_can",
    ),
    Row::yes("All or nothing", "a_request_is_accepted_as_a_whole_or_not_at_all"),
    Row::yes(
        "Suppressions, global and of groups; templates and versions; domains; stats; messages; scopes",
        "its_node_client_finds_what_is_around_the_send",
    ),
    Row::yes("Errors by field", "every_wrong_field_is_named_with_dots"),
    Row::yes("401 and 403", "a_foreign_sender_and_a_weak_key_are_refused_with_403"),
    Row::yes("The Python client", "its_clients_are_refused_in_its_words"),
    Row::refused(
        "batch_id, bypass_*, subscription_tracking, ganalytics, mail_settings.bcc and spam_check, content other than text and HTML",
        "every_wrong_field_is_named_with_dots",
    ),
    Row::ignored("ip_pool_name, asm.groups_to_display", "there is nothing here that they could choose"),
];

async fn with_template(app: &TestApp) -> String {
    let body = json!({ "alias": "d-0123456789abcdef0123456789abcdef", "subject": "Hi {{name}}", "html": "<p>Dear {{name}}</p>" });
    app.client.post("/v1/templates", body).await.text("/alias")
}

#[tokio::test]
async fn its_node_client_sends_everything_it_can() {
    let app = TestApp::start().await;
    let template = with_template(&app).await;
    let out = run(&app, "sendgrid.cjs", &[], &[("TEMPLATE", &template)]).await;

    assert_eq!((&out["whole"]["status"], &out["whole"]["body"]), (&json!(202), &json!("")));
    let id = text(&out, "/whole/id");
    assert_whole(&app, &id).await;
    let shown = app.client.get(&format!("/v1/messages/{id}")).await.body;
    assert_eq!(
        (&shown["tags"], &shown["metadata"]),
        (&json!(["welcome", "second"]), &json!({ "order": "7" }))
    );

    let merged = by_recipient(&app, &text(&out, "/merged/id")).await;
    let seen: Vec<(String, String, String)> =
        merged.iter().map(|(to, mail)| (to.clone(), field(&mail.raw, "Subject"), text_of(mail))).collect();
    let row = |to: &str, subject: &str, text: &str| (to.to_owned(), subject.to_owned(), text.to_owned());
    assert_eq!(
        seen,
        [
            row("ann@example.net", "Hi Ann", "Dear Ann, 7 €"),
            row("bob@example.net", "Hi Bob", "Dear Bob, 8 €"),
        ]
    );
    let template = by_recipient(&app, &text(&out, "/template/id")).await;
    let subjects: Vec<String> = template.iter().map(|(_, mail)| field(&mail.raw, "Subject")).collect();
    assert_eq!(subjects, ["Hi Ann", "Hi Bob"]);
    let several = by_recipient(&app, &text(&out, "/several/id")).await;
    assert_eq!(field(&several[0].1.raw, "Subject"), "For Ann", "each has a mail of its own");

    assert_eq!(out["sandbox"]["status"], 200);
    assert!(app.client.arrived(&text(&out, "/sandbox/id")).await.is_empty());
    let scheduled = app.client.get(&format!("/v1/messages/{}", text(&out, "/scheduled/id"))).await;
    assert!(scheduled.body["send_at"].is_string());
    app.stop().await;
}

#[tokio::test]
async fn its_node_client_finds_what_is_around_the_send() {
    let app = TestApp::start().await;
    let template = with_template(&app).await;
    let out = run(&app, "sendgrid.cjs", &[], &[("TEMPLATE", &template)]).await;
    let status = |name: &str| out[name]["status"].as_u64().unwrap_or_default();
    assert_eq!((status("added"), status("removed"), status("deleted")), (201, 204, 204));
    assert_eq!(out["gone"]["body"], json!({ "recipient_email": "gone@example.net" }));
    assert_eq!(out["unsubscribes"]["body"][0]["email"], "gone@example.net");
    assert_eq!(out["notGone"]["body"], json!({}));
    assert_eq!((status("version"), &out["version"]["body"]["active"]), (201, &json!(1)));
    let all = out["templates"]["body"]["result"].as_array().expect("a list");
    let names: Vec<&str> = all.iter().filter_map(|template| template["name"].as_str()).collect();
    assert!(names.contains(&"Welcome"), "{names:?}");
    assert!(out["scopes"]["body"]["scopes"].as_array().expect("a list").contains(&json!("mail.send")));
    assert!(
        out["stats"]["body"][0]["stats"][0]["metrics"]["requests"].as_i64() > Some(0),
        "{:#}",
        out["stats"]
    );
    assert_eq!((status("domain"), &out["domain"]["body"]["valid"]), (201, &json!(false)));
    assert_eq!(out["validated"]["body"]["valid"], false);
    assert_eq!(out["message"]["body"]["subject"], "Grüße");
    app.stop().await;
}

#[tokio::test]
async fn its_clients_are_refused_in_its_words() {
    let app = TestApp::start().await;
    let template = with_template(&app).await;
    let out = run(&app, "sendgrid.cjs", &[], &[("TEMPLATE", &template)]).await;
    assert_eq!(out["wrongKey"]["status"], 401);
    let invalid = "The provided authorization grant is invalid, expired, or revoked";
    let expected = json!({ "errors": [{ "message": invalid, "field": null, "help": null }] });
    assert_eq!(out["wrongKey"]["body"], expected);
    assert_eq!(
        (&out["noSubject"]["status"], &out["noSubject"]["body"]["errors"][0]["field"]),
        (&json!(400), &json!("subject"))
    );

    let out = run(&app, "sendgrid_client.py", &[], &[]).await;
    assert_eq!((&out["status"], &out["body"]), (&json!(202), &json!("")));
    assert_eq!(out["wrong_key"]["status"], 401);
    app.client.only_arrived(&text(&out, "/id")).await;
    app.stop().await;
}

fn mail() -> Value {
    json!({
        "personalizations": [{ "to": [{ "email": "ann@example.net" }] }],
        "from": { "email": "hello@acme.example" },
        "subject": "Hello",
        "content": [{ "type": "text/plain", "value": "x" }],
    })
}

async fn refused(app: &TestApp, body: Value) -> (u16, Value) {
    let bearer = format!("Bearer {KEY}");
    let said = ask(app, Method::POST, "/v3/mail/send", &[("authorization", &bearer)], body).await;
    (said.status, said.body["errors"].clone())
}

#[tokio::test]
async fn every_wrong_field_is_named_with_dots() {
    let app = TestApp::start().await;
    let with = |pointer: &str, value: Value| {
        let mut body = mail();
        match pointer.rsplit_once('/') {
            Some(("", name)) => body[name] = value,
            Some((base, name)) => body.pointer_mut(base).expect("a place")[name] = value,
            None => {}
        }
        body
    };
    let cases = [
        (with("/from", Value::Null), "from.email"),
        (with("/from", json!({ "email": "nobody" })), "from.email"),
        (with("/personalizations", json!([])), "personalizations"),
        (with("/personalizations/0/to", json!([])), "personalizations.0.to"),
        (with("/personalizations/0/to", json!([{ "email": "x" }])), "personalizations.0.to.0.email"),
        (with("/personalizations/0/cc", json!([{ "email": "Ann@example.net" }])), "personalizations"),
        (with("/subject", Value::Null), "subject"),
        (with("/content", json!([])), "content"),
        (with("/content", json!([{ "type": "text/plain", "value": "" }])), "content.0.value"),
        (with("/headers", json!({ "Subject": "x" })), "headers.Subject"),
        (with("/attachments", json!([{ "content": "*", "filename": "a" }])), "attachments.0.content"),
        (with("/template_id", json!("d-none")), "template_id"),
        (with("/send_at", json!("soon")), "send_at"),
        (with("/sned_at", json!(1)), "sned_at"),
        (with("/batch_id", json!("x")), "batch_id"),
        (
            with("/mail_settings", json!({ "bypass_list_management": { "enable": true } })),
            "mail_settings.bypass_list_management",
        ),
    ];
    for (body, field) in cases {
        let (status, errors) = refused(&app, body.clone()).await;
        assert_eq!((status, errors.as_array().map(Vec::len)), (400, Some(1)), "{body}: {errors:#}");
        assert_eq!(errors[0]["field"], field, "{body}: {errors:#}");
    }
    let (status, errors) = refused(&app, with("/custom_args", json!({ "n": 1 }))).await;
    assert_eq!((status, errors), (400, json!([{ "message": "Bad Request", "field": null, "help": null }])));
    app.stop().await;
}

#[tokio::test]
async fn a_request_is_accepted_as_a_whole_or_not_at_all() {
    let app = TestApp::start().await;
    app.client
        .post("/v1/templates", json!({ "alias": "shows", "subject": "Hi {{name}}", "text": "{{name}}" }))
        .await;
    let mut body = mail();
    body["template_id"] = "shows".into();
    body["personalizations"] = json!([
        { "to": [{ "email": "ann@example.net" }], "subject": "so that each is a mail", "dynamic_template_data": { "name": "Ann" } },
        { "to": [{ "email": "bob@example.net" }], "dynamic_template_data": { "name": "a line\nand another" } },
    ]);
    let (status, _) = refused(&app, body).await;
    assert_eq!(status, 400);
    assert!(app.client.get("/v1/messages").await.list("/data").is_empty(), "nothing was sent");
    app.stop().await;
}

#[tokio::test]
async fn a_foreign_sender_and_a_weak_key_are_refused_with_403() {
    let app = TestApp::builder().set("POSTROAD_SENDER_POLICY", "verified").start().await;
    let (status, errors) = refused(&app, mail()).await;
    let message = errors[0]["message"].as_str().expect("a text");
    assert!(
        status == 403 && message.starts_with("The from address does not match a verified Sender Identity.")
    );
    let key = app.client.post("/v1/keys", json!({ "name": "reader", "scopes": ["read"] })).await.text("/key");
    let bearer = format!("Bearer {key}");
    let said = ask(&app, Method::POST, "/v3/mail/send", &[("authorization", &bearer)], mail()).await;
    assert_eq!((said.status, &said.body["errors"][0]["message"]), (403, &json!("access forbidden")));
    app.stop().await;
}
