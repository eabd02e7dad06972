//! Brevo: its JavaScript client, and its words.

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::json;

use super::clients::{every_octet, run, text_of};
use super::matrix::Row;
use crate::support::app::TestApp;
use crate::support::captured::{Arrived, field};
use crate::support::client::text;

pub const ROWS: &[Row] = &[
    Row::yes(
        "single mail, params, files, tags, X-Mailin-custom",
        "brevos_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::yes("messageVersions", "brevos_own_client_sends_and_is_refused_in_its_words"),
    Row::yes("scheduledAt, X-Sib-Sandbox", "brevos_own_client_sends_and_is_refused_in_its_words"),
    Row::refused(
        "a missing recipient, an unknown template, a wrong key",
        "brevos_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::ignored("batchId, sender.ip", "they are Brevo's own"),
];

/// A message by its Message-ID.
async fn by_message_id(app: &TestApp, message_id: &str) -> serde_json::Value {
    let all = app.client.all_pages("/v1/messages", 100).await;
    all.into_iter().find(|one| one["message_id"] == message_id).unwrap_or_else(|| panic!("no {message_id}"))
}

#[tokio::test]
async fn brevos_own_client_sends_and_is_refused_in_its_words() {
    let app = TestApp::start().await;
    let out = run(&app, "brevo.cjs", &[], &[]).await;
    let message = by_message_id(&app, &text(&out, "/one/messageId")).await;
    let id = text(&message, "/id");
    assert_eq!(
        (&message["tags"], &message["metadata"]),
        (&json!(["welcome"]), &json!({ "X-Mailin-custom": "a:b" }))
    );
    app.client.ended(&id).await;
    let arrived: Vec<Arrived> = app.client.arrived(&id).await;
    let mut recipients: Vec<&String> = arrived.iter().flat_map(|mail| &mail.recipients).collect();
    recipients.sort_unstable();
    assert_eq!(recipients, ["ann@example.net", "bob@example.net"]);
    let raw = &arrived[0].raw;
    let mail = MessageParser::default().parse(raw).expect("a mail");
    assert_eq!(mail.subject(), Some("Grüße, A<nn"));
    assert_eq!(mail.body_html(0).as_deref().map(str::trim_end), Some("<p>Hi A&lt;nn</p>"));
    assert_eq!(text_of(&arrived[0]), "Hi A<NN");
    assert_eq!((field(raw, "X-Order").as_str(), field(raw, "Reply-To").as_str()), ("7", "help@acme.example"));
    assert!(!String::from_utf8_lossy(raw).contains("X-Mailin"), "the caller's data is not shown");
    let file = mail.attachments().next().expect("a file");
    assert_eq!((file.attachment_name(), file.contents()), (Some("a.pdf"), every_octet().as_slice()));

    let two = by_message_id(&app, &text(&out, "/versions/messageIds/1")).await;
    assert_eq!((&two["subject"], &two["to"]), (&json!("Own"), &json!(["bob@example.net"])));
    let sandbox = by_message_id(&app, &text(&out, "/sandbox/messageId")).await;
    assert_eq!(sandbox["sandbox"], true);
    let later = by_message_id(&app, &text(&out, "/later/messageId")).await;
    assert!(later["send_at"].is_string());
    assert_eq!(out["nobody"], json!([400, { "code": "missing_parameter", "message": "to is missing" }]));
    assert_eq!(
        out["bad"],
        json!([400, { "code": "invalid_parameter", "message": "email is not valid in to" }])
    );
    assert_eq!(
        out["template"],
        json!([400, { "code": "document_not_found", "message": "Template ID does not exist" }])
    );
    assert_eq!(out["wrong"], json!([401, { "code": "unauthorized", "message": "Key not found" }]));
    app.stop().await;
}
