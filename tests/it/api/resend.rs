//! Sending a message again: the same content to the same recipients, as a new mail that is checked anew.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::support::app::TestApp;
use crate::support::captured::{contains, field, field_names, find};
use crate::support::client::{Answer, Client, mail, statuses};

async fn resend(client: &Client, id: &str) -> Answer {
    client.send(client.request(Method::POST, &format!("/v1/messages/{id}/resend"))).await
}

fn body_of(raw: &[u8]) -> &[u8] {
    &raw[find(raw, b"\r\n\r\n").expect("a header and a body")..]
}

#[tokio::test]
async fn it_is_the_same_mail_with_an_identity_of_its_own() {
    let app = TestApp::start().await;
    let mut body = mail("Ann <ann@example.net>");
    let changes = json!({
        "cc": "bob@example.net", "bcc": "eve@example.net", "html": "<p>Größe</p>", "tags": ["a"],
        "metadata": { "order": "7" }, "stream": "news", "priority": "high", "ttl_seconds": 600,
        "headers": { "X-Order": "7" }, "attachments": [{ "filename": "a.txt", "content": "YQ==" }],
        "reply_to": "help@acme.example",
    });
    body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    let first = app.client.send_mail(body).await;
    app.client.ended(&first).await;

    let answer = resend(&app.client, &first).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    let second = answer.text("/id");
    assert_ne!(first, second);
    let recipients: Vec<Value> =
        answer.list("/deliveries").iter().map(|delivery| delivery["recipient"].clone()).collect();
    assert_eq!(recipients, ["ann@example.net", "bob@example.net", "eve@example.net"]);
    let (old, new) = (app.client.ended(&first).await, app.client.ended(&second).await);
    assert_eq!(statuses(&new), ["delivered"; 3]);
    for same in ["subject", "stream", "priority", "tags", "metadata", "ttl_seconds", "from"] {
        assert_eq!(new[same], old[same], "{same}");
    }
    assert_ne!(new["message_id"], old["message_id"]);
    let old = app.client.download(&format!("/v1/messages/{first}/raw")).await;
    let new = app.client.download(&format!("/v1/messages/{second}/raw")).await;
    assert_eq!(body_of(&old), body_of(&new), "octet for octet");
    let sorted = |raw: &[u8]| {
        let mut names = field_names(raw);
        names.sort();
        names
    };
    assert_eq!(sorted(&old), sorted(&new));
    for same in ["From", "To", "Cc", "Subject", "Reply-To", "X-Order", "Content-Type"] {
        assert_eq!(field(&old, same), field(&new, same));
    }
    assert_ne!(field(&old, "Message-ID"), field(&new, "Message-ID"));
    assert!(!contains(&new, "eve@example.net"), "a Bcc is seen by nobody");
    assert_eq!(app.client.arrived(&second).await.len(), 3);
    app.stop().await;
}

#[tokio::test]
async fn it_is_checked_by_what_holds_now() {
    let app = TestApp::start().await;
    let id = app.client.send_mail(mail("ann@example.net")).await;
    app.client.ended(&id).await;

    let bound = app.key(json!({ "name": "n", "scopes": ["send"], "domains": ["other.example"] })).await;
    let refused = resend(&bound.client, &id).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "domain_not_allowed"));

    let test_key = app.key(json!({ "name": "n", "scopes": ["send"], "test": true })).await;
    let sandboxed = resend(&test_key.client, &id).await.text("/id");
    assert_eq!(app.client.ended(&sandboxed).await["sandbox"], json!(true));

    let mut connection = app.database.connect().await;
    let suppress = "INSERT INTO suppressions (tenant_id, id, address, reason)
                    SELECT tenant_id, id, 'ann@example.net', 'manual' FROM messages LIMIT 1";
    connection.execute(suppress).await.expect("suppressed");
    let again = resend(&app.client, &id).await;
    assert_eq!(statuses(&again.body), ["suppressed"]);
    assert_eq!(app.client.event_types(&again.text("/id")).await, ["accepted", "suppressed"]);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_longer_stored_cannot_be_sent_again() {
    let app = TestApp::start().await;
    let id = app.client.send_mail(mail("ann@example.net")).await;
    app.client.ended(&id).await;
    app.database.connect().await.execute("DELETE FROM bodies").await.expect("gone");

    let answer = resend(&app.client, &id).await;

    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::CONFLICT, "conflict"));
    assert_eq!(app.client.all_pages("/v1/messages", 100).await.len(), 1);
    let raw = app.client.get(&format!("/v1/messages/{id}/raw")).await;
    assert_eq!(raw.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn mail_that_still_waits_can_be_sent_again_at_once() {
    let app = TestApp::start().await;
    let later = app.server().clock().now() + time::Duration::hours(1);
    let mut body = mail("ann@example.net");
    body["send_at"] = later.format(&time::format_description::well_known::Rfc3339).expect("a moment").into();
    let planned = app.client.send_mail(body).await;
    let now = resend(&app.client, &planned).await.text("/id");
    assert_eq!(statuses(&app.client.ended(&now).await), ["delivered"]);
    assert_eq!(statuses(&app.client.get(&format!("/v1/messages/{planned}")).await.body), ["queued"]);
    app.stop().await;
}
