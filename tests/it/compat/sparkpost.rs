//! SparkPost: its JavaScript client, and its words.

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};

use super::clients::{by_recipient, every_octet, run, text_of};
use super::matrix::Row;
use crate::support::app::TestApp;
use crate::support::captured::field;
use crate::support::client::text;

pub const ROWS: &[Row] = &[
    Row::yes(
        "transmissions, substitution data, metadata, files",
        "sparkposts_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::yes("copies by header_to", "sparkposts_own_client_sends_and_is_refused_in_its_words"),
    Row::yes("email_rfc822 and X-MSYS-API", "sparkposts_own_client_sends_and_is_refused_in_its_words"),
    Row::yes("suppression list", "sparkposts_own_client_sends_and_is_refused_in_its_words"),
    Row::yes(
        "transmissions: look-up, lists, canceling one or a campaign; events, metrics, the summary of suppressions",
        "sparkposts_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::refused(
        "content beside template_id, bad syntax",
        "sparkposts_own_client_sends_and_is_refused_in_its_words",
    ),
    Row::ignored("return_path, ip_pool, inline_css, tracking_domain", "they are SparkPost's own"),
];

#[tokio::test]
async fn sparkposts_own_client_sends_and_is_refused_in_its_words() {
    let app = TestApp::start().await;
    let out = run(&app, "sparkpost.cjs", &[], &[]).await;
    assert_eq!(out["sent"]["total_rejected_recipients"], 0);
    let id = text(&out, "/sent/id");
    let message = app.client.ended(&id).await;
    assert_eq!((&message["tags"], &message["metadata"]["order"]), (&json!(["spring"]), &json!("7")));
    let arrived = by_recipient(&app, &id).await;
    let ann = &arrived.iter().find(|(to, _)| to == "ann@example.net").expect("Ann's").1;
    let mail = MessageParser::default().parse(&ann.raw).expect("a mail");
    assert_eq!(mail.subject(), Some("Grüße, A<nn"));
    assert_eq!(mail.body_html(0).as_deref().map(str::trim_end), Some("<p>Hi A&lt;nn, dear: 1 2 </p>"));
    assert_eq!(text_of(ann), "Hi A<nn!");
    assert_eq!(
        (field(&ann.raw, "X-Order").as_str(), field(&ann.raw, "Reply-To").as_str()),
        ("7", "help@acme.example")
    );
    let file = mail.attachments().next().expect("a file");
    assert_eq!((file.attachment_name(), file.contents()), (Some("a.bin"), every_octet().as_slice()));
    let bob = &arrived.iter().find(|(to, _)| to == "bob@example.net").expect("Bob's").1;
    assert_eq!(text_of(bob), "Hi you!");
    assert!(arrived.iter().any(|(to, _)| to == "cid@example.net"), "a copy");

    assert_eq!(out["partly"]["total_accepted_recipients"], 1);
    assert_eq!(out["partly"]["total_rejected_recipients"], 1);
    assert_eq!(out["partly"]["rcpt_to_errors"][0]["code"], "2000");
    let raw = app.client.only_arrived(&text(&out, "/raw/id")).await;
    assert!(!String::from_utf8_lossy(&raw).contains("X-MSYS"), "control fields stay here");
    let raw = app.client.get(&format!("/v1/messages/{}", text(&out, "/raw/id"))).await;
    assert_eq!(raw.body["tags"], json!(["raw"]));

    let waits = &out["waits"];
    assert_eq!((&waits["state"], &waits["num_rcpts"]), (&json!("submitted"), &json!(1)), "{waits:#}");
    assert_eq!((&out["canceled"], &out["twice"][0]), (&json!("Canceled"), &json!(409)));
    assert_eq!(out["twice"][1][0]["message"], "resource conflict");
    assert_eq!((&out["campaign"], &out["nowhere"][0]), (&json!([[true, "Canceled"]]), &json!(404)));
    assert_eq!(out["events"], Value::Array(vec![json!(["injection", true, "spring"]); 3]));
    assert!(out["metrics"][0]["count_targeted"].is_number() && out["metrics"][0].get("count_sent").is_none());
    assert_eq!((&out["summary"]["manually_added"], &out["summary"]["total"]), (&json!(1), &json!(1)));

    assert_eq!((&out["empty"][0], &out["empty"][1][0]["code"]), (&json!(400), &json!("5005")));
    assert_eq!((&out["both"][0], &out["both"][1][0]["code"]), (&json!(422), &json!("1301")));
    assert_eq!(out["both"][1][0]["description"], "Both content object and template_id are specified");
    assert_eq!((&out["syntax"][0], &out["syntax"][1][0]["code"]), (&json!(422), &json!("3000")));
    assert_eq!(out["wrong"], json!([401, [{ "message": "Unauthorized." }]]));
    assert_eq!(out["suppressed"], json!([["dead@example.net", "Manually Added"]]));
    assert_eq!(out["free"][0], 404);
    app.stop().await;
}
