//! MailerSend: its JavaScript client, and its words.

use mail_parser::{MessageParser, MimeHeaders};
use reqwest::Method;
use serde_json::json;

use super::ask;
use super::clients::{by_recipient, every_octet, run, text_of};
use super::matrix::Row;
use crate::support::app::{KEY, TestApp};
use crate::support::captured::field;
use crate::support::client::text;

pub const ROWS: &[Row] = &[
    Row::yes(
        "email, personalization, files, tags",
        "mailersends_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::yes("bulk-email", "mailersends_own_client_sends_and_is_refused_in_its_words"),
    Row::yes(
        "the status of bulk mail (24 hours), messages, scheduled messages, suppressions",
        "mailersends_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::yes("warnings of suppressed recipients", "who_is_suppressed_is_warned_of"),
    Row::refused(
        "bad addresses, missing contents, a wrong key",
        "mailersends_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::ignored("settings.track_content", "content is always kept"),
];

#[tokio::test]
async fn mailersends_own_client_sends_and_is_refused_in_its_words() {
    let app = TestApp::start().await;
    let out = run(&app, "mailersend.cjs", &[], &[]).await;
    assert_eq!(out["one"][0], 202);
    let id = text(&out, "/one/1");
    let arrived = by_recipient(&app, &id).await;
    let [(to, ann), (_, bob)] = arrived.as_slice() else { panic!("{} mails", arrived.len()) };
    assert_eq!(to, "ann@example.net");
    let mail = MessageParser::default().parse(&ann.raw).expect("a mail");
    assert_eq!(mail.subject(), Some("Grüße, A<nn"));
    assert_eq!(mail.body_html(0).as_deref().map(str::trim_end), Some("<p>Hi A&lt;nn</p>"));
    assert_eq!(field(&ann.raw, "Reply-To"), "Help <help@acme.example>");
    let file = mail.attachments().next().expect("a file");
    assert_eq!((file.attachment_name(), file.contents()), (Some("a.bin"), every_octet().as_slice()));
    assert_eq!(text_of(bob), "Hi Bob");
    assert_eq!(app.client.get(&format!("/v1/messages/{id}")).await.body["tags"], json!(["welcome"]));
    assert_eq!(out["bulk"][0], 202);
    let status = &out["status"];
    assert_eq!((&status["state"], &status["total_recipients_count"]), (&json!("completed"), &json!(2)));
    let listed = status["messages_id"].as_array().expect("a list");
    assert_eq!((listed.len(), &status["id"]), (2, &out["bulk"][1]));
    for id in listed {
        app.client.ended(id.as_str().expect("an id")).await;
    }
    assert_eq!(out["strange"][0], 404);
    let emails = out["message"]["emails"].as_array().expect("a list");
    assert_eq!(
        (emails.len(), &out["message"]["id"], &emails[0]["tags"]),
        (2, &json!(id), &json!(["welcome"]))
    );
    assert!(out["messages"].as_array().is_some_and(|all| all.len() == 3), "{:#}", out["messages"]);
    assert_eq!((&out["scheduled"], &out["canceled"]), (&json!("scheduled"), &json!(204)));
    assert_eq!((&out["blocked"], &out["unblocked"]), (&json!(201), &json!(200)));
    assert_eq!(out["blocklist"], json!(["gone@example.net"]));
    assert_eq!(app.client.all_pages("/v1/suppressions", 100).await, Vec::<serde_json::Value>::new());

    assert_eq!(out["bad"][0], 422);
    let errors = &out["bad"][1]["errors"];
    assert_eq!(errors["to.0.email"], json!(["The to.0.email must be a valid email address."]), "{errors:#}");
    assert!(text(errors, "/text/0").ends_with("#MS42204"));
    assert_eq!(out["wrong"], json!([401, { "message": "Unauthenticated." }]));
    app.stop().await;
}

#[tokio::test]
async fn who_is_suppressed_is_warned_of() {
    let app = TestApp::start().await;
    app.client.post("/v1/suppressions", json!({ "email": "dead@example.net" })).await;
    let bearer = format!("Bearer {KEY}");
    let mail = |to: &[&str]| {
        let to: Vec<_> = to.iter().map(|email| json!({ "email": email })).collect();
        json!({ "from": { "email": "hello@acme.example" }, "to": to, "subject": "x", "text": "x" })
    };
    let headers = [("authorization", bearer.as_str())];
    for (to, kind) in [
        (&["dead@example.net"][..], "ALL_SUPPRESSED"),
        (&["dead@example.net", "ann@example.net"], "SOME_SUPPRESSED"),
    ] {
        let said = ask(&app, Method::POST, "/v1/email", &headers, mail(to)).await;
        assert_eq!((said.status, &said.body["warnings"][0]["type"]), (202, &json!(kind)), "{:#}", said.body);
        assert_eq!(said.body["warnings"][0]["recipients"][0]["email"], "dead@example.net");
    }
    let said = ask(&app, Method::POST, "/v1/email", &headers, mail(&["ann@example.net"])).await;
    assert_eq!((said.status, said.body), (202, json!("")));
    assert!(said.headers.contains_key("x-message-id") && said.headers.contains_key("content-type"));
    app.stop().await;
}
