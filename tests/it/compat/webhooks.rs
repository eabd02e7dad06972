//! Webhooks in the shapes of other providers, judged by receivers that nobody here wrote: django-anymail's views, and
//! SendGrid's own verifier.

use serde_json::{Value, json};

use super::clients::read;
use crate::support::app::{Builder, TestApp};
use crate::support::client::{mail, text};
use crate::webhooks::receiver::{Received, Receiver};

const FORMATS: [&str; 9] =
    ["sendgrid", "mailgun", "postmark", "ses", "sparkpost", "brevo", "resend", "mailjet", "mailersend"];

fn app() -> Builder {
    TestApp::builder().set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8")
}

fn header_map(received: &Received) -> Value {
    let all = received.headers.iter();
    all.map(|(name, value)| (name.to_string(), Value::from(value.to_str().expect("ASCII"))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// What anymail makes of requests, each with its webhook's format and secret.
async fn judged(requests: &[(String, String, Received)]) -> Vec<Value> {
    let input: Vec<Value> = requests
        .iter()
        .map(|(format, secret, received)| {
            json!({ "format": format, "secret": secret, "headers": header_map(received), "body": received.body })
        })
        .collect();
    let answered = read("anymail_receive.py", &Value::Array(input).to_string()).await;
    answered.as_array().cloned().expect("a list")
}

/// What anymail calls what happened: by the recipient of the simulator, in each format.
fn words(format: &str) -> [&'static [&'static str]; 2] {
    // Of a mail that is delivered, and of one that bounces.
    match format {
        "sendgrid" | "mailgun" | "sparkpost" | "brevo" => [&["queued", "delivered"], &["queued", "bounced"]],
        "ses" | "resend" | "mailersend" => [&["sent", "delivered"], &["sent", "bounced"]],
        _ => [&["delivered"], &["bounced"]],
    }
}

#[tokio::test]
async fn django_anymail_understands_every_shape() {
    let receiver = Receiver::start().await;
    let app = app().start().await;
    let mut secrets = std::collections::HashMap::new();
    for format in FORMATS {
        let body = json!({ "url": receiver.url(&format!("/{format}")), "format": format });
        let made = app.client.post("/v1/webhooks", body).await;
        assert_eq!(made.status, 201, "{:#}", made.body);
        secrets.insert(format!("/{format}"), (format.to_owned(), made.text("/secret")));
    }
    let send = async |to: &str| {
        let mut body = mail(to);
        body["tags"] = json!(["welcome"]);
        body["metadata"] = json!({ "order": "7" });
        app.client.send_mail(body).await
    };
    let delivered = send("delivered@simulator.postroad.test").await;
    send("bounced@simulator.postroad.test").await;
    let expected: usize =
        FORMATS.iter().map(|format| words(format).iter().map(|words| words.len()).sum::<usize>()).sum();
    let received = receiver.wait_for(expected).await;
    let requests: Vec<(String, String, Received)> = received
        .into_iter()
        .map(|request| {
            let (format, secret) = secrets[&request.path].clone();
            (format, secret, request)
        })
        .collect();
    let judged = judged(&requests).await;
    let message = app.client.get(&format!("/v1/messages/{delivered}")).await.body;
    for format in FORMATS {
        for (words, to) in words(format).iter().zip(["delivered", "bounced"]) {
            let own = judged.iter().filter(|answer| answer["format"] == format);
            let events: Vec<&Value> = own
                .inspect(|answer| assert_eq!(answer["status"], 200, "{answer:#}"))
                .flat_map(|answer| answer["events"].as_array().expect("a list"))
                .filter(|event| event["recipient"] == format!("{to}@simulator.postroad.test"))
                .collect();
            let mut types: Vec<String> = events.iter().map(|event| text(event, "/type")).collect();
            types.sort_by_key(|kind| words.iter().position(|word| word == kind));
            assert_eq!(types, *words, "{format}: {judged:#?}");
            for event in events {
                assert!(event["message_id"].is_string() && event["at"].is_number(), "{format}: {event:#}");
                if !matches!(format, "mailersend") {
                    assert_eq!(event["metadata"]["order"], "7", "{format}: {event:#}");
                }
                assert_eq!(event["tags"], json!(["welcome"]), "{format}: {event:#}");
                if to == "delivered" && format == "mailgun" {
                    assert_eq!(event["message_id"], message["message_id"], "as the send answered");
                }
            }
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn sendgrids_own_library_verifies_and_sees_an_altered_body() {
    let receiver = Receiver::start().await;
    let app = app().start().await;
    let body = json!({ "url": receiver.url("/"), "format": "sendgrid", "batch_size": 10 });
    let made = app.client.post("/v1/webhooks", body).await;
    let key = made.text("/verification_key");
    let id = app.client.send_mail(mail("ann@example.net")).await;
    app.client.ended(&id).await;
    let received = receiver
        .until(|all| {
            let events = all.iter().map(|request| request.json().as_array().map_or(0, Vec::len));
            events.sum::<usize>() >= 2
        })
        .await;
    let input: Vec<Value> = received
        .iter()
        .map(|request| {
            json!({
                "key": key,
                "signature": request.header("x-twilio-email-event-webhook-signature"),
                "timestamp": request.header("x-twilio-email-event-webhook-timestamp"),
                "body": request.body,
            })
        })
        .collect();
    let verdicts = read("sendgrid_verify.cjs", &Value::Array(input).to_string()).await;
    for verdict in verdicts.as_array().expect("a list") {
        assert_eq!(*verdict, json!([true, false]));
    }
    let first = &received[0].json()[0];
    assert_eq!(first["sg_message_id"].as_str().and_then(|own| own.split('.').next()), Some(id.as_str()));
    app.stop().await;
}

#[tokio::test]
async fn mailguns_406_and_postmarks_403_end_a_call_and_not_the_webhook() {
    let receiver = Receiver::with(|request, _| {
        let status = if request.path == "/mailgun" { 406 } else { 403 };
        crate::webhooks::receiver::Reply::Status(status, Vec::new())
    })
    .await;
    let app = app().start().await;
    for format in ["mailgun", "postmark"] {
        let body =
            json!({ "url": receiver.url(&format!("/{format}")), "format": format, "types": ["delivered"] });
        app.client.post("/v1/webhooks", body).await;
    }
    app.client.send_mail(mail("ann@example.net")).await;
    receiver.wait_for(2).await;
    let done = "SELECT count(*) FROM posts WHERE result = 'failed' AND next_at IS NULL";
    let began = std::time::Instant::now();
    while app.database.count(done).await < 2 {
        assert!(began.elapsed() < crate::support::client::PATIENCE, "the posts are written");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let failing = "SELECT count(*) FROM webhooks WHERE failing_since IS NOT NULL OR disabled_at IS NOT NULL";
    assert_eq!(app.database.count(failing).await, 0);
    app.stop().await;
}
