//! Amazon SES: its JavaScript client and boto3, both APIs, and what is not well signed.

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};

use super::clients::{every_octet, run};
use super::matrix::Row;
use crate::support::app::TestApp;
use crate::support::captured::field;
use crate::support::client::text;

pub const ROWS: &[Row] = &[
    Row::yes(
        "SigV4 of the AWS SDK for JavaScript, v2 and the query API",
        "amazons_javascript_client_works_unmodified",
    ),
    Row::yes("SigV4 of boto3", "boto3_works_unmodified_and_nothing_else_is_taken_for_signed"),
    Row::yes(
        "Simple, Raw and templated mail, attachments, tags",
        "amazons_javascript_client_works_unmodified",
    ),
    Row::yes("SendBulkEmail, each entry with its own fate", "amazons_javascript_client_works_unmodified"),
    Row::yes(
        "suppression list, identities, templates, account",
        "amazons_javascript_client_works_unmodified",
    ),
    Row::yes(
        "TestRenderEmailTemplate, GetMessageInsights, BatchGetMetricData",
        "amazons_javascript_client_works_unmodified",
    ),
    Row::yes(
        "the query API: templated and bulk templated mail, templates, domain identities, GetSendStatistics",
        "amazons_javascript_client_works_unmodified",
    ),
    Row::refused("a wrong secret, an unknown key", "amazons_javascript_client_works_unmodified"),
    Row::refused(
        "an altered body, a clock that is off by more than 15 minutes",
        "boto3_works_unmodified_and_nothing_else_is_taken_for_signed",
    ),
    Row::yes("keys that are revoked stop", "an_access_key_is_made_listed_and_revoked"),
    Row::ignored("configuration sets, tenants, list management", "they are Amazon's own"),
];

const SECRET: &str = "the secret of the operator";

async fn with_key() -> TestApp {
    TestApp::builder()
        .set("POSTROAD_AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
        .set("POSTROAD_AWS_SECRET_ACCESS_KEY", SECRET)
        .start()
        .await
}

#[tokio::test]
async fn amazons_javascript_client_works_unmodified() {
    let app = with_key().await;
    let out = run(&app, "ses.cjs", &["AKIAOPERATOR", SECRET], &[]).await;

    let id = text(&out, "/simple");
    let message = app.client.ended(&id).await;
    assert_eq!(message["metadata"], json!({ "order": "7" }));
    let arrived = app.client.arrived(&id).await;
    let mut recipients: Vec<&String> = arrived.iter().flat_map(|mail| &mail.recipients).collect();
    recipients.sort_unstable();
    assert_eq!(recipients, ["ann@example.net", "bob@example.net"]);
    let raw = &arrived[0].raw;
    let mail = MessageParser::default().parse(raw).expect("a mail");
    assert_eq!(mail.from().and_then(|from| from.first()?.name()), Some("Acme Tést"));
    assert_eq!(mail.subject(), Some("Grüße"));
    assert_eq!((field(raw, "Reply-To").as_str(), field(raw, "X-Order").as_str()), ("help@acme.example", "7"));
    let file = mail.attachments().next().expect("a file");
    assert_eq!((file.attachment_name(), file.contents()), (Some("a.bin"), every_octet().as_slice()));

    let raw = app.client.only_arrived(&text(&out, "/raw")).await;
    assert_eq!(field(&raw, "Subject"), "Raw");
    assert!(!String::from_utf8_lossy(&raw).contains("X-SES"), "control fields stay here");
    let raw = app.client.get(&format!("/v1/messages/{}", text(&out, "/raw"))).await;
    assert_eq!(raw.body["metadata"], json!({ "kind": "raw" }));

    assert_eq!(out["twice"][0], "AlreadyExistsException");
    assert_eq!(out["template"][0], "Welcome");
    assert_eq!(out["template"][1]["Text"], "Hi {{name}}.");
    let statuses: Vec<&Value> = (0..3).map(|index| &out["bulk"][index][0]).collect();
    assert_eq!(statuses, ["SUCCESS", "SUCCESS", "INVALID_PARAMETER"]);
    let ann = app.client.only_arrived(&text(&out, "/bulk/0/1")).await;
    assert_eq!(field(&ann, "Subject"), "Hi Ann");
    let bob = app.client.only_arrived(&text(&out, "/bulk/1/1")).await;
    assert_eq!(field(&bob, "Subject"), "Hi you");
    assert_eq!(out["templates"], json!(["Welcome"]));
    assert_eq!(out["gone"], json!(["NotFoundException", 404, "Template Welcome does not exist."]));

    assert_eq!(out["suppressed"], json!(["dead@example.net", "COMPLAINT", true]));
    assert_eq!(out["list"], 1);
    assert_eq!(out["free"][0], "NotFoundException");
    assert_eq!(out["identity"], json!(["DOMAIN", false, true]));
    assert_eq!((&out["identities"], &out["read"]), (&json!(["new.example"]), &json!("PENDING")));
    assert_eq!(out["account"], -1);

    let old = app.client.only_arrived(&text(&out, "/v1")).await;
    assert_eq!(field(&old, "Subject"), "Old & <good>");
    assert_eq!(out["rendered"], json!([true, true, false]));
    let of = |to: &str| json!([to, "SEND", true]);
    assert_eq!(out["insights"], json!(["Grüße", [of("ann@example.net"), of("bob@example.net")]]));
    assert_eq!(out["metrics"], json!([[["a", true]], ["b"]]));
    assert_eq!(
        (&out["v1again"][0], &out["v1template"]),
        (&json!("AlreadyExistsException"), &json!("Hi {{name}}"))
    );
    let statuses: Vec<&Value> = (0..3).map(|index| &out["v1bulk"][index][0]).collect();
    assert_eq!(statuses, ["Success", "Success", "InvalidParameterValue"]);
    for (pointer, subject) in
        [("/v1bulk/0/1", "Hi Ann"), ("/v1bulk/1/1", "Hi you"), ("/v1templated", "Hi Ann")]
    {
        assert_eq!(
            field(&app.client.only_arrived(&text(&out, pointer)).await, "Subject"),
            subject,
            "{pointer}"
        );
    }
    assert_eq!(
        (&out["v1templates"], &out["v1rendered"]),
        (&json!([["Shown", true], ["Older", true]]), &json!(true))
    );
    assert_eq!(
        (&out["v1gone"][0], &out["v1tokens"]),
        (&json!("TemplateDoesNotExistException"), &json!(true))
    );
    assert_eq!(out["v1verification"], json!({ "older.example": { "VerificationStatus": "Pending" } }));
    assert_eq!(out["v1statistics"], true);
    assert_eq!(out["v1quota"], -1);
    assert_eq!((&out["v1bad"][0], &out["v1bad"][1]), (&json!("InvalidParameterValue"), &json!(400)));
    assert_eq!((&out["wrong"][0], &out["wrong"][1]), (&json!("InvalidSignatureException"), &json!(403)));
    let unknown =
        json!(["UnrecognizedClientException", 403, "The security token included in the request is invalid."]);
    assert_eq!(out["stranger"], unknown);
    assert_eq!((&out["nobody"][0], &out["nobody"][1]), (&json!("BadRequestException"), &json!(400)));
    app.stop().await;
}

#[tokio::test]
async fn boto3_works_unmodified_and_nothing_else_is_taken_for_signed() {
    let app = with_key().await;
    let out = run(&app, "ses_client.py", &["AKIAOPERATOR", SECRET], &[]).await;
    let html = app.client.only_arrived(&text(&out, "/simple")).await;
    let mail = MessageParser::default().parse(&html).expect("a mail");
    assert_eq!(
        (mail.subject(), mail.body_html(0).as_deref().map(str::trim_end)),
        (Some("Grüße"), Some("<p>Hello.</p>"))
    );
    app.client.ended(&text(&out, "/raw")).await;
    assert_eq!(app.client.arrived(&text(&out, "/raw")).await[0].recipients, ["bob@example.net"]);
    assert_eq!((&out["quota"], &out["identity"]), (&json!(true), &json!("DOMAIN")));
    assert_eq!(out["plus"], "dead+one@example.net");
    assert_eq!(out["wrong"], json!(["InvalidSignatureException", 403]));
    assert_eq!(out["old_wrong"], json!(["SignatureDoesNotMatch", 403]));
    assert_eq!(out["signed"], json!([200, ""]));
    assert_eq!(out["in_time"], json!([200, ""]));
    for forged in ["altered", "late", "early"] {
        assert_eq!(out[forged], json!([403, "InvalidSignatureException"]), "{forged}");
    }
    app.stop().await;
}

#[tokio::test]
async fn an_access_key_is_made_listed_and_revoked() {
    let app = TestApp::start().await;
    let made = app
        .client
        .post("/v1/keys", json!({ "name": "ses", "scopes": ["send", "read", "manage"], "aws": true }))
        .await;
    assert_eq!(made.status, 201, "{:#}", made.body);
    let (id, secret) = (made.text("/access_key_id"), made.text("/secret_access_key"));
    let listed = app.client.get(&format!("/v1/keys/{}", made.text("/id"))).await;
    assert_eq!(listed.body["access_key_id"], id.as_str());
    assert!(listed.body.get("secret_access_key").is_none());
    let out = run(&app, "ses_client.py", &[&id, &secret], &[]).await;
    assert_eq!(out["signed"], json!([200, ""]));
    // The secret alone opens no door.
    assert_eq!(app.client.with_key(&secret).get("/v1/messages").await.status, 401);
    let dump = app.database.texts("SELECT k::text FROM api_keys k").await.join("\n");
    assert!(dump.contains(&id) && !dump.contains(&secret), "it is sealed");

    let gone = app.client.delete(&format!("/v1/keys/{}", made.text("/id"))).await;
    assert_eq!(gone.status, 204);
    let began = std::time::Instant::now();
    loop {
        let said = signed_get(&app, &id, &secret).await;
        if said == 403 {
            break;
        }
        assert!(began.elapsed() < crate::support::client::PATIENCE, "it is honoured for ever");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    app.stop().await;
}

/// `GET /v2/email/account`, signed by this test's own hand.
async fn signed_get(app: &TestApp, id: &str, secret: &str) -> u16 {
    signed(app, (id, secret), reqwest::Method::GET, "/v2/email/account", Value::Null).await.status
}

/// Any request of v2, likewise.
pub async fn signed(
    app: &TestApp,
    (id, secret): (&str, &str),
    method: reqwest::Method,
    path: &str,
    body: Value,
) -> super::Said {
    use aws_lc_rs::{digest, hmac};
    use data_encoding::HEXLOWER;
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let stamp = app.server().clock().now().format(format).expect("a moment");
    let date = &stamp[..8];
    let host = app.client.url().strip_prefix("http://").expect("a URL");
    let sha = |text: &str| HEXLOWER.encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let content = if body.is_null() { String::new() } else { body.to_string() };
    let canonical =
        format!("{method}\n{path}\n\nhost:{host}\nx-amz-date:{stamp}\n\nhost;x-amz-date\n{}", sha(&content));
    let scope = format!("{date}/eu-west-1/ses/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha(&canonical));
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in [date, "eu-west-1", "ses", "aws4_request", &to_sign] {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), step.as_bytes()).as_ref().to_vec();
    }
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=host;x-amz-date, Signature={}",
        HEXLOWER.encode(&key)
    );
    let headers = [("authorization", value.as_str()), ("x-amz-date", &stamp)];
    super::ask(app, method, path, &headers, body).await
}
