//! Mailjet: its JavaScript client over TLS, and its words.

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};

use super::clients::{every_octet, run, text_of};
use super::matrix::Row;
use super::tls::Secured;
use crate::support::captured::field;
use crate::support::client::text;

pub const ROWS: &[Row] = &[
    Row::yes(
        "v3.1 send, variables, files, inline images, CustomID, EventPayload",
        "mailjets_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::yes("SandboxMode", "mailjets_own_client_sends_and_is_refused_in_its_words"),
    Row::yes("each message with its own fate", "mailjets_own_client_sends_and_is_refused_in_its_words"),
    Row::refused(
        "bad addresses, missing contents, a wrong key",
        "mailjets_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::ignored(
        "TemplateErrorReporting, DeduplicateCampaign",
        "mail with faults is refused; campaigns are Mailjet's own",
    ),
];

/// The id of a message that a client was given as a UUID, once it has ended.
async fn ended(secured: &Secured, view: &Value) -> String {
    let id = super::id_of(&text(view, "/To/0/MessageUUID"));
    secured.app.client.ended(&id).await;
    id
}

#[tokio::test]
async fn mailjets_own_client_sends_and_is_refused_in_its_words() {
    let secured = Secured::start().await;
    let (app, environment) = (&secured.app, secured.environment());
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let out = run(app, "mailjet.cjs", &[], &environment).await;
    let view = &out["one"]["Messages"][0];
    assert_eq!((&view["Status"], &view["CustomID"]), (&json!("success"), &json!("order-7")));
    assert_eq!(
        (&view["To"][0]["Email"], &view["Cc"][0]["Email"]),
        (&json!("ann@example.net"), &json!("bob@example.net"))
    );
    // The client reads large numbers as texts.
    let number = view["To"][0]["MessageID"].to_string();
    assert!(number.trim_matches('"').parse::<i64>().is_ok(), "{number}");
    let id = ended(&secured, view).await;
    let message = app.client.ended(&id).await;
    assert_eq!(message["metadata"], json!({ "CustomID": "order-7", "EventPayload": "p" }));
    let arrived = app.client.arrived(&id).await;
    let raw = &arrived[0].raw;
    let mail = MessageParser::default().parse(raw).expect("a mail");
    assert_eq!(mail.subject(), Some("Grüße, A<nn"));
    assert_eq!(mail.body_html(0).as_deref().map(str::trim_end), Some("<p>Hi A&lt;nn!</p>"));
    assert_eq!((text_of(&arrived[0]).as_str(), field(raw, "X-Order").as_str()), ("Hi A<nn", "7"));
    let file = mail.attachments().find(|part| part.attachment_name() == Some("a.bin")).expect("the file");
    assert_eq!(file.contents(), every_octet());
    let logo = mail.attachments().find(|part| part.attachment_name() == Some("l.png")).expect("the picture");
    assert_eq!(logo.content_id(), Some("logo"));

    let partly = &out["partly"][1]["Messages"];
    assert_eq!(out["partly"][0], 400);
    assert_eq!(partly[0]["Errors"][0]["ErrorCode"], "mj-0013");
    assert_eq!(partly[0]["Errors"][0]["ErrorMessage"], "\"nobody\" is an invalid email address.");
    assert_eq!(partly[0]["Errors"][0]["ErrorRelatedTo"], json!(["To[0].Email"]));
    assert_eq!(partly[1]["Status"], "success");
    assert_eq!(partly[2]["Errors"][0]["ErrorCode"], "send-0003");
    let sandbox = ended(&secured, &out["sandbox"]["Messages"][0]).await;
    assert_eq!(app.client.get(&format!("/v1/messages/{sandbox}")).await.body["sandbox"], true);
    assert_eq!(out["wrong"][0], 401);
    secured.stop().await;
}
