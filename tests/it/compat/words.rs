//! What every provider's clients are told when something is wrong, each in that provider's own codes and words: a wrong
//! key, a sender that is not verified, no recipient, too many, a mail that is too large, and a recipient who is
//! suppressed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Said, ask, ses};
use crate::support::app::{KEY, TestApp};

const WRONG: &str = "wrong-key";
const SIGNER: (&str, &str) = ("AKIAOPERATOR", "the secret of the operator");
const CASES: [&str; 6] =
    ["a wrong key", "a bad sender", "no recipient", "too many", "too large", "a suppressed recipient"];

/// A status, and what the body has in it.
type Told = (u16, &'static [&'static str]);

/// How a provider's clients send, and what they are told, in the order of the cases.
struct Provider {
    name: &'static str,
    path: &'static str,
    key: fn(&str) -> (&'static str, String),
    mail: fn(&[String], &str) -> Value,
    /// More than it takes.
    too_many: usize,
    told: [Told; 6],
}

fn bearer(key: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {key}"))
}

fn basic(user: &str, key: &str) -> (&'static str, String) {
    ("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{key}"))))
}

fn each(to: &[String], member: &str) -> Value {
    to.iter().map(|email| json!({ member: email })).collect()
}

const FROM: &str = "hello@acme.example";

const PROVIDERS: &[Provider] = &[
    Provider {
        name: "sendgrid",
        path: "/v3/mail/send",
        key: bearer,
        mail: |to, text| {
            json!({
                "personalizations": [{ "to": each(to, "email") }], "from": { "email": FROM }, "subject": "x",
                "content": [{ "type": "text/plain", "value": text }],
            })
        },
        too_many: 1001,
        told: [
            (
                401,
                &[
                    "\"message\":\"The provided authorization grant is invalid, expired, or revoked\"",
                    "\"help\":null",
                ],
            ),
            (403, &["The from address does not match a verified Sender Identity.", "\"field\":\"from\""]),
            (
                400,
                &[
                    "The to array is required for all personalization objects",
                    "\"field\":\"personalizations.0.to\"",
                ],
            ),
            (400, &["The total number of recipients must be no more than 1000."]),
            (413, &["The payload exceeds the maximum allowed size"]),
            (202, &[]),
        ],
    },
    Provider {
        name: "mailgun",
        path: "/v3/acme.example/messages",
        key: |key| basic("api", key),
        mail: |to, text| {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("from", FROM).append_pair("subject", "x").append_pair("text", text);
            for email in to {
                form.append_pair("to", email);
            }
            Value::String(form.finish())
        },
        too_many: 1001,
        told: [
            (401, &["\"Forbidden\""]),
            (404, &["{\"message\":\"Domain not found: acme.example\"}"]),
            (400, &["{\"message\":\"to parameter is missing\"}"]),
            (400, &["too many recipients: at most 1000 are allowed"]),
            (413, &["{\"message\":\"Message is too large\"}"]),
            (200, &["\"message\":\"Queued. Thank you.\""]),
        ],
    },
    Provider {
        name: "postmark",
        path: "/email",
        key: |key| ("x-postmark-server-token", key.to_owned()),
        mail: |to, text| json!({ "From": FROM, "To": to.join(","), "Subject": "x", "TextBody": text }),
        too_many: 51,
        told: [
            (401, &["\"ErrorCode\":10", "Request does not contain a valid Server token."]),
            (422, &["\"ErrorCode\":400", "is not a Sender Signature on your account"]),
            (422, &["\"ErrorCode\":300", "Zero recipients specified"]),
            (422, &["\"ErrorCode\":300", "Too many recipients"]),
            (413, &["\"ErrorCode\":300"]),
            (
                422,
                &[
                    "\"ErrorCode\":406",
                    "Found inactive addresses: dead@example.net. Inactive recipients are ones",
                ],
            ),
        ],
    },
    Provider {
        name: "resend",
        path: "/emails",
        key: bearer,
        mail: |to, text| json!({ "from": FROM, "to": to, "subject": "x", "text": text }),
        too_many: 51,
        told: [
            (
                403,
                &["\"name\":\"invalid_api_key\"", "\"message\":\"API key is invalid\"", "\"statusCode\":403"],
            ),
            (403, &["\"name\":\"validation_error\"", "The acme.example domain is not verified."]),
            (422, &["\"name\":\"missing_required_field\"", "Missing `to` field."]),
            (422, &["\"name\":\"validation_error\"", "`to`"]),
            (413, &["\"name\":\"validation_error\"", "\"statusCode\":413"]),
            (200, &["\"id\":\""]),
        ],
    },
    Provider {
        name: "ses",
        path: "/v2/email/outbound-emails",
        // It is signed: see `send`.
        key: bearer,
        mail: |to, text| {
            json!({
                "FromEmailAddress": FROM, "Destination": { "ToAddresses": to },
                "Content": { "Simple": { "Subject": { "Data": "x" }, "Body": { "Text": { "Data": text } } } },
            })
        },
        too_many: 51,
        told: [
            (403, &["The security token included in the request is invalid."]),
            (
                400,
                &[
                    "Email address is not verified. The following identities failed the check in region US-EAST-1: ",
                ],
            ),
            (400, &["Destination"]),
            (400, &["Recipient count exceeds 50."]),
            (400, &["Message length is more than 20000 bytes long."]),
            (200, &["\"MessageId\":\""]),
        ],
    },
    Provider {
        name: "sparkpost",
        path: "/api/v1/transmissions",
        key: |key| ("authorization", key.to_owned()),
        mail: |to, text| {
            let content = json!({ "from": FROM, "subject": "x", "text": text });
            json!({ "recipients": each(to, "address"), "content": content })
        },
        too_many: 10_001,
        told: [
            (401, &["{\"errors\":[{\"message\":\"Unauthorized.\"}]}"]),
            (
                400,
                &[
                    "\"code\":\"7001\"",
                    "\"message\":\"Invalid domain\"",
                    "Unconfigured Sending Domain <acme.example>",
                ],
            ),
            (422, &["\"code\":\"1400\"", "recipients or list_id required"]),
            (422, &["\"code\":\"1300\"", "recipients: "]),
            (422, &["\"code\":\"1304\""]),
            (200, &["\"total_accepted_recipients\":1", "\"total_rejected_recipients\":0"]),
        ],
    },
    Provider {
        name: "brevo",
        path: "/v3/smtp/email",
        key: |key| ("api-key", key.to_owned()),
        mail: |to, text| json!({ "sender": { "email": FROM }, "to": each(to, "email"), "subject": "x", "textContent": text }),
        too_many: 1001,
        told: [
            (401, &["\"code\":\"unauthorized\"", "\"message\":\"Key not found\""]),
            (400, &["\"code\":\"invalid_parameter\"", "the sender you used is not valid"]),
            (400, &["\"code\":\"missing_parameter\"", "\"message\":\"to is missing\""]),
            (400, &["\"code\":\"invalid_parameter\"", "to: "]),
            (400, &["\"code\":\"invalid_parameter\""]),
            (201, &["\"messageId\":\"<"]),
        ],
    },
    Provider {
        name: "mailjet",
        path: "/v3.1/send",
        key: |key| basic("public", key),
        mail: |to, text| {
            json!({ "Messages": [
                { "From": { "Email": FROM }, "To": each(to, "Email"), "Subject": "x", "TextPart": text },
            ] })
        },
        too_many: 51,
        told: [
            (401, &["\"StatusCode\":401", "API key authentication/authorization failure."]),
            (403, &["\"ErrorCode\":\"send-0008\"", "\"ErrorRelatedTo\":[\"From\"]"]),
            (400, &["\"ErrorCode\":\"mj-0003\"", "\"ErrorRelatedTo\":[\"To\"]"]),
            (400, &["\"ErrorCode\":\"mj-0007\"", "\"ErrorRelatedTo\":[\"To\"]"]),
            (413, &["\"ErrorCode\":\"send-0022\""]),
            (200, &["\"Status\":\"success\""]),
        ],
    },
    Provider {
        name: "mailersend",
        path: "/v1/email",
        key: bearer,
        mail: |to, text| json!({ "from": { "email": FROM }, "to": each(to, "email"), "subject": "x", "text": text }),
        too_many: 1001,
        told: [
            (401, &["{\"message\":\"Unauthenticated.\"}"]),
            (
                422,
                &[
                    "\"from.email\":[\"The from.email domain must be verified in your account to send emails. #MS42207\"]",
                ],
            ),
            (422, &["\"to\":[\"The to field is required.\"]"]),
            (422, &["\"to\":[\"The to has too many items.\"]"]),
            (422, &["\"errors\":{"]),
            (202, &["\"type\":\"ALL_SUPPRESSED\"", "\"email\":\"dead@example.net\""]),
        ],
    },
    Provider {
        name: "netcore",
        path: "/v5.1/mail/send",
        key: |key| ("api_key", key.to_owned()),
        mail: |to, text| {
            json!({
                "from": { "email": FROM }, "subject": "x", "content": [{ "type": "html", "value": text }],
                "personalizations": [{ "to": each(to, "email") }],
            })
        },
        too_many: 1001,
        told: [
            (401, &["\"status\":\"error\"", "\"message\":\"Unauthorized\""]),
            (400, &["\"field\":\"from.email\"", "The from domain is not verified."]),
            (400, &["\"field\":\"personalizations.0.to\"", "The personalizations.0.to field is required."]),
            (400, &["\"field\":\"personalizations.0.to\""]),
            (413, &["\"message\":\"Payload too large\""]),
            (202, &["\"status\":\"success\""]),
        ],
    },
    Provider {
        name: "sendlayer",
        path: "/api/v1/email",
        key: bearer,
        mail: |to, text| {
            json!({
                "From": { "email": FROM }, "To": each(to, "email"), "Subject": "x", "ContentType": "Text",
                "PlainContent": text,
            })
        },
        too_many: 11,
        told: [
            (401, &["\"Code\":13", "Invalid SenderAPIKey"]),
            (422, &["\"Code\":32", "Domain is not activated"]),
            (422, &["\"Code\":20", "There is no recipient set for the email"]),
            (422, &["\"Code\":20", "exceeds the allowed recipient email address count"]),
            (413, &["\"Code\":413"]),
            (200, &["\"MessageID\":\""]),
        ],
    },
    Provider {
        name: "smtpcom",
        path: "/v4/messages",
        key: |key| ("x-smtpcom-api", key.to_owned()),
        mail: |to, text| {
            json!({
                "channel": "main", "recipients": { "to": each(to, "address") }, "subject": "x",
                "originator": { "from": { "address": FROM } },
                "body": { "parts": [{ "type": "text/plain", "content": text }] },
            })
        },
        too_many: 1001,
        told: [
            (401, &["\"status\":\"fail\"", "\"api_key\":\"invalid\""]),
            (400, &["\"originator.from\":\"is not a verified domain\""]),
            (400, &["\"recipients", "must be provided"]),
            (400, &["\"status\":\"fail\"", "\"recipients"]),
            (400, &["\"status\":\"fail\""]),
            (200, &["\"status\":\"success\""]),
        ],
    },
];

async fn send(app: &TestApp, provider: &Provider, key: &str, body: Value) -> Said {
    if provider.name == "ses" {
        let signer = if key == WRONG { ("AKIANOBODY", SIGNER.1) } else { SIGNER };
        return ses::signed(app, signer, Method::POST, provider.path, body).await;
    }
    let (name, value) = (provider.key)(key);
    let mut headers = vec![(name, value.as_str())];
    if body.is_string() {
        headers.push(("content-type", "application/x-www-form-urlencoded"));
    }
    ask(app, Method::POST, provider.path, &headers, body).await
}

async fn app(policy: &str) -> TestApp {
    TestApp::builder()
        .set("POSTROAD_AWS_ACCESS_KEY_ID", SIGNER.0)
        .set("POSTROAD_AWS_SECRET_ACCESS_KEY", SIGNER.1)
        .set("POSTROAD_SENDER_POLICY", policy)
        .set("POSTROAD_MAX_MESSAGE_BYTES", "20000")
        .start()
        .await
}

#[tokio::test]
async fn what_is_wrong_is_said_in_each_providers_words() {
    let (any, verified) = (app("any").await, app("verified").await);
    any.client.post("/v1/suppressions", json!({ "email": "dead@example.net" })).await;
    let ann = vec!["ann@example.net".to_owned()];
    let large = "All work and no play.\n".repeat(2000);
    let mut wrong = Vec::new();
    for provider in PROVIDERS {
        let many: Vec<String> = (0..provider.too_many).map(|n| format!("a{n}@example.net")).collect();
        let dead = ["dead@example.net".to_owned()];
        let mail = |to: &[String], text: &str| (provider.mail)(to, text);
        let answers = [
            send(&any, provider, WRONG, mail(&ann, "x")).await,
            send(&verified, provider, KEY, mail(&ann, "x")).await,
            send(&any, provider, KEY, mail(&[], "x")).await,
            send(&any, provider, KEY, mail(&many, "x")).await,
            send(&any, provider, KEY, mail(&ann, &large)).await,
            send(&any, provider, KEY, mail(&dead, "x")).await,
        ];
        for ((case, said), (status, words)) in CASES.iter().zip(&answers).zip(provider.told) {
            let body = said.body.to_string();
            if said.status != status || !words.iter().all(|words| body.contains(words)) {
                let shown: String = body.chars().take(400).collect();
                wrong.push(format!(
                    "{} {case}: {} {shown}, not {status} {words:?}",
                    provider.name, said.status
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    any.stop().await;
    verified.stop().await;
}
