//! Netcore on the wire; its Python client is among those of `sendlayer`.

use reqwest::Method;
use serde_json::json;

use super::ask;
use super::clients::text_of;
use super::matrix::Row;
use crate::support::app::{KEY, TestApp};
use crate::support::client::text;

pub const ROWS: &[Row] = &[
    Row::yes(
        "v5, v5.1 and v6 mail/send with attributes and token_to",
        "netcores_mail_is_sent_and_refused_in_its_words",
    ),
    Row::refused("AMP content, bad addresses, a wrong key", "netcores_mail_is_sent_and_refused_in_its_words"),
    Row::ignored("settings.footer, unsubscribe_track, hepf", "they are Netcore's own"),
];

#[tokio::test]
async fn netcores_mail_is_sent_and_refused_in_its_words() {
    let app = TestApp::start().await;
    let headers = [("api_key", KEY)];
    let mail = json!({
        "from": { "email": "hello@acme.example", "name": "Acme" }, "reply_to": "help@acme.example",
        "subject": "Hi [%name%]", "content": [{ "type": "html", "value": "<p>Hi [%name%], {{x}}</p>" }],
        "personalizations": [{ "to": [{ "email": "ann@example.net" }], "attributes": { "name": "Ann" }, "token_to": "7" }],
        "settings": { "footer": false }, "tags": ["welcome"],
    });
    for path in ["/v5/mail/send", "/v5.1/mail/send/", "/v6/mail/send", "/compat/netcore/v5.1/mail/send"] {
        let said = ask(&app, Method::POST, path, &headers, mail.clone()).await;
        assert_eq!((said.status, &said.body["message"]), (202, &json!("OK")), "{:#}", said.body);
        let id = text(&said.body, "/data/message_id");
        let message = app.client.ended(&id).await;
        assert_eq!(message["metadata"], json!({ "X-APIHEADER": "7" }));
        assert_eq!(message["subject"], "Hi Ann");
        assert!(text_of(&app.client.arrived(&id).await[0]).contains("Hi Ann, {{x}}"));
    }
    let mut bad = mail.clone();
    bad["content"] = json!([{ "type": "amp", "value": "x" }]);
    bad["personalizations"][0]["to"] = json!([{ "email": "nobody" }]);
    let said = ask(&app, Method::POST, "/v5.1/mail/send", &headers, bad).await;
    assert_eq!((said.status, &said.body["status"]), (400, &json!("error")));
    let fields: Vec<String> =
        (0..2).map(|index| text(&said.body, &format!("/error/{index}/field"))).collect();
    assert!(fields.contains(&"personalizations.0.to.0.email".to_owned()), "{:#}", said.body);
    let said = ask(&app, Method::POST, "/v5.1/mail/send", &[("api_key", "wrong")], mail).await;
    assert_eq!((said.status, &said.body["error"][0]["field"]), (401, &json!("api_key")));
    app.stop().await;
}
