//! SMTP as providers' clients are used to it: their user names, their control fields; and clients without a login.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::captured::field_names;
use crate::support::sink::SmtpSink;

use super::*;

const ANN: &[&str] = &["ann@example.net"];

async fn log_in_as(doors: &Doors, user: &str, password: &str) -> String {
    let mut client = doors.encrypted().await;
    let token = STANDARD.encode(format!("\0{user}\0{password}"));
    client.ask(format!("AUTH PLAIN {token}\r\n")).await
}

#[tokio::test]
async fn every_providers_user_name_is_a_user_name() {
    let doors = Doors::open().await;
    for user in [
        "apikey",
        "resend",
        "SMTP_Injection",
        "SMTP_Injection:X-MSYS-SUBACCOUNT=123",
        "hello@acme.example",
        KEY,
    ] {
        assert_eq!(log_in_as(&doors, user, KEY).await, "235 2.7.0 Ok", "{user}");
    }
    doors.close().await;
}

#[tokio::test]
async fn an_access_key_logs_in_with_its_secret_or_the_password_made_of_it() {
    let builder = TestApp::builder()
        .set("POSTROAD_AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .set("POSTROAD_AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let doors = Doors::of(builder).await;
    let id = "AKIAIOSFODNN7EXAMPLE";
    // As the program in Amazon's guide makes it, for eu-west-1.
    let made = "BEW1uMsJNijX9ThCfEJCkeH4gPo9MWFsAUXj6NZO5jyz";
    for password in ["wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", made] {
        assert_eq!(log_in_as(&doors, id, password).await, "235 2.7.0 Ok");
    }
    assert!(log_in_as(&doors, "somebody-else", made).await.starts_with("535 "));
    assert!(log_in_as(&doors, id, &made[1..]).await.starts_with("535 "));

    let mut client = doors.encrypted().await;
    let token = STANDARD.encode(format!("\0{id}\0{made}"));
    client.ask(format!("AUTH PLAIN {token}\r\n")).await;
    let said = client.mail("a@acme.example", ANN, TEXT).await;
    assert!(said.starts_with("250 "), "the key is asked for again with each mail: {said}");
    doors.close().await;
}

#[tokio::test]
async fn control_fields_of_providers_count_and_never_leave() {
    let sink = SmtpSink::builder().start().await;
    let doors = Doors::of(TestApp::builder().relay(sink.address().port())).await;
    let control = "X-SMTPAPI: {\"category\": [\"a\"],\r\n \"unique_args\": {\"order\": 7}}\r\n\
         X-Mailgun-Tag: b\r\nX-PM-Metadata-Who: ann\r\nX-MSYS-API: {\"bcc\": [{\"email\": \"bob@example.net\"}]}\r\n\
         X-SES-CONFIGURATION-SET: any\r\nX-MJ-CustomID: 9\r\nResend-Idempotency-Key: once\r\nX-PM-Message-Stream: news\r\n";
    let mut client = doors.logged_in().await;
    let id = queued(&client.mail("a@acme.example", ANN, &format!("{control}{TEXT}")).await);
    let message = doors.app.client.ended(&id).await;
    assert_eq!(message["tags"], json!(["a", "b"]));
    assert_eq!(message["metadata"], json!({ "order": "7", "Who": "ann", "CustomID": "9" }));
    assert_eq!(message["stream"], "news");
    let mails = sink.wait_for(2, PATIENCE).await;
    let mut to: Vec<&str> = mails.iter().flat_map(|mail| mail.to()).collect();
    to.sort_unstable();
    assert_eq!(to, ["ann@example.net", "bob@example.net"]);
    let names = field_names(&mails[0].text);
    assert!(!names.iter().any(|name| name.starts_with("X-") || name.starts_with("Resend")), "{names:?}");

    let again = client.mail("a@acme.example", ANN, &format!("{control}{TEXT}")).await;
    assert_eq!(queued(&again), id, "the same Idempotency-Key");
    let refused = client
        .mail("a@acme.example", ANN, &format!("X-SMTPAPI: {{\"to\": [\"x@y.example\"]}}\r\n{TEXT}"))
        .await;
    assert!(refused.starts_with("550 5.6.0 X-SMTPAPI: to: "), "{refused}");
    doors.close().await;
}

#[tokio::test]
async fn a_printer_sends_by_its_address_alone_until_its_key_is_revoked() {
    let doors = Doors::open().await;
    let key = json!({ "name": "printers", "scopes": ["send"], "domains": ["acme.example"], "smtp_networks": ["127.0.0.2/32"] });
    let made = doors.app.client.post("/v1/keys", key).await;
    assert_eq!(
        (made.status, made.body["smtp_networks"].clone()),
        (StatusCode::CREATED, json!(["127.0.0.2/32"]))
    );

    // In clear, and without AUTH; but from nowhere else.
    let began = std::time::Instant::now();
    let mut client = loop {
        let mut client = Raw::from("127.0.0.2", doors.submission()).await;
        client.ask("").await;
        client.ask("EHLO printer\r\n").await;
        if client.ask("MAIL FROM:<scan@acme.example>\r\n").await.starts_with("250 ") {
            break client;
        }
        assert!(began.elapsed() < PATIENCE, "it is never let in");
    };
    client.ask("RSET\r\n").await;
    let id = queued(&client.mail("scan@acme.example", ANN, TEXT).await);
    let raw = doors.app.client.only_arrived(&id).await;
    assert!(String::from_utf8_lossy(&raw).contains(" with ESMTP;"), "neither encrypted nor logged in");
    let foreign = TEXT.replace("acme.example", "other.example");
    let refused = client.mail("scan@other.example", ANN, &foreign).await;
    assert!(refused.starts_with("550 5.7.1 "), "the key's limits hold: {refused}");
    let mut other = doors.greeted().await;
    other.ask("EHLO client.test\r\n").await;
    assert!(other.ask("MAIL FROM:<scan@acme.example>\r\n").await.starts_with("530 "));

    let gone = doors.app.client.delete(&format!("/v1/keys/{}", made.text("/id"))).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let began = std::time::Instant::now();
    while client.ask("MAIL FROM:<scan@acme.example>\r\n").await.starts_with("250 ") {
        client.ask("RSET\r\n").await;
        assert!(began.elapsed() < PATIENCE, "it is let in for ever");
    }
    doors.close().await;
}

#[tokio::test]
async fn networks_without_a_login_are_the_operators_and_no_two_tenants() {
    let doors = Doors::open().await;
    let of = |nets: &[&str]| json!({ "name": "p", "scopes": ["send"], "smtp_networks": nets });
    let other = doors.app.account("other").await;
    let forbidden = other.client.post("/v1/keys", of(&["192.0.2.0/24"])).await;
    assert_eq!(forbidden.status, StatusCode::FORBIDDEN);
    let made = doors.app.client.post("/v1/keys", of(&["192.0.2.0/24"])).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let mut taken = of(&["192.0.2.128/25"]);
    taken["tenant_id"] = other.tenant.clone().into();
    let refused = doors.app.client.post("/v1/keys", taken).await;
    assert_eq!(refused.violations(), [("/smtp_networks".to_owned(), "network_taken".to_owned())]);
    doors.close().await;
}
