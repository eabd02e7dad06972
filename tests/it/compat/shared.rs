//! What holds of every provider's door: keys, paths, and who is meant at a path that two share; and django-anymail's
//! backends, one after the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::clients::run;
use super::{ask, id_of};
use crate::support::app::{KEY, TestApp};
use crate::support::client::text;

#[tokio::test]
async fn one_key_works_wherever_a_client_puts_it() {
    let app = TestApp::start().await;
    let (bearer, basic) =
        (format!("Bearer {KEY}"), format!("Basic {}", STANDARD.encode(format!("api:{KEY}"))));
    let cases = [
        ("/v3/scopes", "authorization", bearer.as_str()),
        ("/v3/domains", "authorization", &basic),
        ("/server", "x-postmark-server-token", KEY),
        ("/api-keys", "authorization", &bearer),
    ];
    for (path, name, value) in cases {
        for path in [path.to_owned(), format!("{path}/")] {
            let said = ask(&app, Method::GET, &path, &[(name, value)], Value::Null).await;
            assert_eq!(said.status, 200, "{path}: {:#}", said.body);
            let said = ask(&app, Method::GET, &path, &[], Value::Null).await;
            assert_eq!(said.status, 401, "{path}: {:#}", said.body);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_shared_path_is_whose_key_is_shown() {
    let app = TestApp::start().await;
    app.client.post("/v1/templates", json!({ "alias": "welcome", "subject": "x", "text": "x" })).await;
    let bearer = format!("Bearer {KEY}");
    let postmark =
        ask(&app, Method::GET, "/templates", &[("x-postmark-server-token", KEY)], Value::Null).await;
    assert_eq!(postmark.body["TotalCount"], 1);
    let resend = ask(&app, Method::GET, "/domains", &[("authorization", &bearer)], Value::Null).await;
    assert_eq!(resend.body["object"], "list");
    // A path of Mailgun's form is its own only with a domain in it.
    let none = ask(&app, Method::POST, "/v3/mail/messages", &[("authorization", &bearer)], Value::Null).await;
    assert_eq!((none.status, &none.body["code"]), (404, &json!("not_found")));
    app.stop().await;
}

#[tokio::test]
async fn every_door_has_its_own_404_below_its_name() {
    let app = TestApp::start().await;
    let answers = [
        ("sendgrid", json!({ "errors": [{ "message": "Not Found", "field": null, "help": null }] })),
        ("mailgun", json!({ "message": "there is nothing at this path" })),
        ("postmark", json!({ "ErrorCode": 404, "Message": "there is nothing at this path" })),
        (
            "resend",
            json!({ "statusCode": 404, "name": "not_found", "message": "there is nothing at this path" }),
        ),
    ];
    for (provider, body) in answers {
        let said =
            ask(&app, Method::GET, &format!("/compat/{provider}/nothing/at/all"), &[], Value::Null).await;
        assert_eq!((said.status, said.body), (404, body), "{provider}");
    }
    let said = ask(&app, Method::GET, "/compat/nobody/x", &[], Value::Null).await;
    assert_eq!((said.status, &said.body["code"]), (404, &json!("not_found")));
    app.stop().await;
}

#[tokio::test]
async fn another_tenants_things_are_not_found_at_any_door() {
    let app = TestApp::start().await;
    let id = app.client.send_mail(crate::support::client::mail("ann@example.net")).await;
    app.client.post("/v1/templates", json!({ "alias": "own", "subject": "x", "text": "x" })).await;
    let other = app.account("other").await;
    let all = json!({ "name": "all", "scopes": ["send", "read", "manage"], "tenant_id": other.tenant });
    let made = app.key(all).await;
    let key = made.secret.as_str();
    let (bearer, basic) =
        (format!("Bearer {key}"), format!("Basic {}", STANDARD.encode(format!("api:{key}"))));
    let uuid = id.parse::<postroad::domain::id::MessageId>().expect("an id").uuid();
    let cases = [
        (format!("/v3/messages/{id}"), "authorization", bearer.as_str()),
        ("/v3/templates/own".to_owned(), "authorization", &bearer),
        ("/v3/acme.example/templates/own".to_owned(), "authorization", &basic),
        (format!("/messages/outbound/{uuid}/details"), "x-postmark-server-token", key),
        (format!("/emails/{uuid}"), "authorization", &bearer),
    ];
    for (path, name, value) in cases {
        let said = ask(&app, Method::GET, &path, &[(name, value)], Value::Null).await;
        assert_eq!(said.status, 404, "{path}: {:#}", said.body);
    }
    app.stop().await;
}

#[tokio::test]
async fn django_anymail_sends_through_every_backend() {
    let app = TestApp::start().await;
    let out = run(&app, "anymail_send.py", &["sendgrid", "mailgun", "postmark", "resend"], &[]).await;
    let status = |backend: &str| out[backend]["whole"]["status"].clone();
    assert_eq!(status("sendgrid"), json!(["queued"]), "{out:#}");
    assert_eq!(status("mailgun"), json!(["queued"]));
    assert_eq!(status("postmark"), json!(["sent"]));
    assert_eq!(status("resend"), json!(["queued"]));
    let all = app.client.all_pages("/v1/messages", 100).await;
    let with_order: Vec<&Value> = all.iter().filter(|message| message["metadata"]["order"] == "7").collect();
    assert_eq!(with_order.len(), 4, "each keeps its metadata");
    for message in with_order {
        super::clients::assert_whole(&app, &text(message, "/id")).await;
    }
    for backend in ["sendgrid", "mailgun"] {
        assert_eq!(out[backend]["merged"]["status"], json!(["queued"]), "{out:#}");
    }
    assert!(out["postmark"]["refused"]["refused"].is_string(), "{out:#}");
    app.client
        .get(&format!("/v1/messages/{}", id_of(&text(&out, "/resend/whole/message_id"))))
        .await
        .text("/id");
    app.stop().await;
}
