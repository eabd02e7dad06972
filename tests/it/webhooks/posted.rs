//! What is posted: the event, signed so that other people's libraries agree, and only what was asked for.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::receiver::{Received, Receiver};
use super::{app, hook, only};
use crate::support::client::{mail, text};

fn under_target(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/verifiers").join(path)
}

/// Has requests judged by the public packages, in Python and in JavaScript.
fn judge(requests: &[(&str, &Received)]) {
    let as_json: Vec<Value> = requests
        .iter()
        .map(|(secret, received)| {
            let headers: serde_json::Map<String, Value> = received
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").into()))
                .collect();
            json!({ "secret": secret, "headers": headers, "body": received.body })
        })
        .collect();
    let input = Value::Array(as_json).to_string();
    let verifiers = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers");
    let mut python = Command::new(under_target("python/bin/python3"));
    python.arg(verifiers.join("verify_webhook.py"));
    let mut node = Command::new("node");
    node.arg(verifiers.join("verify_webhook.mjs")).env("POSTROAD_NODE_MODULES", under_target("node"));
    for mut judge in [python, node] {
        let mut running = judge
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{judge:?}: {error}; run scripts/install-test-tools.sh"));
        running.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        let output = running.wait_with_output().expect("it ends");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "ok\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[tokio::test]
async fn every_event_is_posted_once_with_a_signature_that_others_verify() {
    let receiver = Receiver::start().await;
    let app = app().start().await;
    let before = app.client.send_mail(mail("early@example.net")).await;
    app.client.ended(&before).await;
    let (_, secret) = hook(&app.client, json!({ "url": receiver.url("/hook?a=b") })).await;
    let mut body = mail("ann@example.net");
    body["tags"] = json!(["welcome"]);
    body["metadata"] = json!({ "order": "7" });
    let message = app.client.send_mail(body).await;

    let received = receiver.wait_for(2).await;

    let mut events = app.client.all_pages(&format!("/v1/messages/{message}/events"), 100).await;
    events.reverse();
    for (request, event) in received.iter().zip(&events) {
        let expected = json!({
            "type": format!("message.{}", text(event, "/type")),
            "timestamp": event["created_at"],
            "data": event,
        });
        assert_eq!(request.json(), expected);
        assert_eq!(request.header("webhook-id"), text(event, "/id"));
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.path, "/hook");
    }
    let types: Vec<String> = received.iter().map(|request| request.about().0).collect();
    assert_eq!(types, ["message.accepted", "message.delivered"], "and nothing of what was before it");
    let requests: Vec<(&str, &Received)> =
        received.iter().map(|request| (secret.as_str(), request)).collect();
    judge(&requests);
    app.stop().await;
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_verify_and_afterwards_one() {
    let receiver = Receiver::start().await;
    let app = app().start().await;
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (id, first) = hook(&app.client, json!({ "url": receiver.url("/"), "secret": own })).await;
    assert_eq!(first, format!("{own}"));
    let rotate = async |body: Value| {
        let answer = app.client.post(&format!("/v1/webhooks/{id}/rotate"), body).await;
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        answer
    };
    let second = rotate(json!({})).await;
    assert!(second.body["previous_secret_until"].is_string());
    let second = second.text("/secret");
    assert_ne!(first, second);
    app.client.post(&format!("/v1/webhooks/{id}/test"), json!({})).await;
    let third = rotate(json!({ "overlap_seconds": 0 })).await;
    assert_eq!(third.body["previous_secret_until"], json!(null));
    let third = third.text("/secret");
    app.client.post(&format!("/v1/webhooks/{id}/test"), json!({})).await;

    let received = receiver.wait_for(2).await;
    let signatures = |request: &Received| request.header("webhook-signature").split(' ').count();
    assert_eq!((signatures(&received[0]), signatures(&received[1])), (2, 1));
    judge(&[(&first, &received[0]), (&second, &received[0]), (&third, &received[1])]);
    let sealed = "SELECT count(*) FROM webhooks w WHERE w::text LIKE '%MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw%'
                  OR w::text LIKE '%' || encode(decode('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64'), 'hex') || '%'";
    assert_eq!(app.database.count(sealed).await, 0);
    app.stop().await;
}

#[tokio::test]
async fn a_webhook_gets_only_what_it_is_narrowed_to() {
    let receiver = Receiver::start().await;
    let app = app().start().await;
    for (path, narrowed) in [
        ("/types", json!({ "types": ["delivered", "bounced"] })),
        ("/streams", json!({ "streams": ["news"], "types": ["accepted"] })),
        ("/tags", json!({ "tags": ["a", "b"], "types": ["accepted"] })),
        ("/both", json!({ "streams": ["news"], "tags": ["b"], "types": ["accepted"] })),
    ] {
        let mut body = only(&receiver.url(path), &[]);
        body.as_object_mut().expect("an object").extend(narrowed.as_object().expect("an object").clone());
        hook(&app.client, body).await;
    }
    let other = app.account("other").await;
    hook(&other.client, only(&receiver.url("/other"), &["accepted"])).await;

    let plain = app.client.send_mail(mail("ann@example.net")).await;
    let mut body = mail("bounced@simulator.postroad.test");
    body["stream"] = "news".into();
    let news = app.client.send_mail(body).await;
    let mut body = mail("bob@example.net");
    body["stream"] = "news".into();
    body["tags"] = json!(["b", "c"]);
    let both = app.client.send_mail(body).await;
    let foreign = other.client.send_mail(mail("carl@example.net")).await;

    let mut got: Vec<(String, String, String)> = receiver
        .wait_for(8)
        .await
        .iter()
        .map(|request| {
            let (kind, message) = request.about();
            (request.path.clone(), kind, message)
        })
        .collect();
    got.sort();
    let row = |path: &str, kind: &str, message: &str| {
        (path.to_owned(), format!("message.{kind}"), message.to_owned())
    };
    let mut expected = vec![
        row("/types", "delivered", &plain),
        row("/types", "bounced", &news),
        row("/types", "delivered", &both),
        row("/streams", "accepted", &news),
        row("/streams", "accepted", &both),
        row("/tags", "accepted", &both),
        row("/both", "accepted", &both),
        row("/other", "accepted", &foreign),
    ];
    expected.sort();
    assert_eq!(got, expected);
    app.stop().await;
}
