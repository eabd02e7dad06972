//! What holds of every provider's door: keys, paths, and who is meant at a path that two share; and django-anymail's
//! backends, one after the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::ask;
use super::clients::run;
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
        ("/templates/own".to_owned(), "authorization", &bearer),
        (format!("/api/v1/transmissions/{id}"), "authorization", key),
        (format!("/compat/mailersend/v1/messages/{id}"), "authorization", &bearer),
    ];
    for (path, name, value) in cases {
        let said = ask(&app, Method::GET, &path, &[(name, value)], Value::Null).await;
        assert_eq!(said.status, 404, "{path}: {:#}", said.body);
    }
    app.stop().await;
}

#[tokio::test]
async fn django_anymail_sends_through_every_backend() {
    let app = TestApp::builder()
        .set("POSTROAD_AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
        .set("POSTROAD_AWS_SECRET_ACCESS_KEY", "the secret of the operator")
        .start()
        .await;
    // Where a template may have gaps, one has; SendGrid's dynamic ones are known by their ids.
    let text_of = |gaps: &str| format!("{{{{name}}}} at {{{{site}}}}{gaps}");
    for (alias, gaps) in [("1042", "{{gone}}"), ("d-1042", "{{gone}}"), ("1043", "")] {
        let template = json!({ "alias": alias, "subject": "Hi {{name}}", "text": text_of(gaps) });
        app.client.post("/v1/templates", template).await;
    }
    let all = [
        "sendgrid",
        "mailgun",
        "postmark",
        "resend",
        "amazon_ses",
        "brevo",
        "mailersend",
        "mailjet",
        "sparkpost",
    ];
    let key = [("AWS_ID", "AKIAOPERATOR"), ("AWS_SECRET", "the secret of the operator")];
    let mut seen = std::collections::HashSet::new();
    for backend in all {
        let id = match backend {
            "sendgrid" => "d-1042",
            "resend" | "amazon_ses" | "mailjet" => "1043",
            _ => "1042",
        };
        let out = run(&app, "anymail_send.py", &[backend, id], &key).await;
        let status = if backend == "postmark" || backend == "mailjet" { "sent" } else { "queued" };
        assert_eq!(out["whole"]["status"], json!([status]), "{backend}: {out:#}");
        let mut messages = app.client.all_pages("/v1/messages", 100).await;
        messages.retain(|message| seen.insert(text(message, "/id")));
        let whole = messages.iter().find(|message| message["subject"] == "Grüße").expect("it is listed");
        let id = text(whole, "/id");
        match backend {
            "brevo" => drop(super::clients::assert_written(&app, &id).await),
            _ => super::clients::assert_whole(&app, &id).await,
        }
        assert_eq!(whole["tags"], json!(["welcome"]), "{backend}");
        let order = match backend {
            "mailersend" => json!({}),
            "brevo" => json!({ "X-Mailin-custom": "{\"order\": \"7\"}" }),
            "mailjet" => json!({ "EventPayload": "{\"order\": \"7\"}" }),
            _ => json!({ "order": "7" }),
        };
        let mut metadata = whole["metadata"].clone();
        // What anymail adds of its own, to know the mail again.
        metadata.as_object_mut().expect("an object").remove("anymail_id");
        assert_eq!(metadata, order, "{backend} keeps what is the caller's");
        let refused = &out["refused"];
        let is_refused = refused["refused"].is_string() || refused.get("error").is_some();
        assert!(is_refused || refused["status"] == json!(["failed"]), "{backend}: {out:#}");
        let mut texts = Vec::new();
        for message in messages.iter().filter(|message| message["subject"] != "Grüße") {
            let arrived = super::clients::by_recipient(&app, &text(message, "/id")).await;
            texts.extend(arrived.iter().map(|(to, mail)| (to.clone(), super::clients::text_of(mail))));
        }
        for (name, words) in
            [("merged", ["Dear Ann", "Dear Bob"]), ("templated", ["Ann at Acme", "Bob at Acme"])]
        {
            let Some(sent) = out.get(name) else { continue };
            assert_eq!(sent["status"], json!([status]), "{backend} {name}: {out:#}");
            for (to, words) in ["ann@example.net", "bob@example.net"].into_iter().zip(words) {
                assert!(texts.contains(&(to.to_owned(), words.to_owned())), "{backend} {name}: {texts:?}");
            }
        }
    }
    app.stop().await;
}
