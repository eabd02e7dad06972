//! What becomes of submitted mail: the same as by HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::captured::{field, field_names, fields};
use crate::support::database::TestDatabase;
use crate::support::sink::SmtpSink;

use super::*;

const ANN: &[&str] = &["ann@example.net"];

#[tokio::test]
async fn a_mail_is_kept_octet_for_octet_below_our_trace_field() {
    let sink = SmtpSink::builder().start().await;
    let doors = Doors::of(TestApp::builder().relay(sink.address().port())).await;
    let text = format!(
        "{}\r\nX-Odd:   spaces  \r\n\tand a fold\r\n\r\n.leading dot\r\n..\r\n\r\ntrailing space \r\n{}\r\n",
        TEXT.split("\r\n\r\n").next().expect("a header"),
        "x".repeat(900)
    );
    // Dots are stuffed on the wire (RFC 5321 §4.5.2).
    let wire = text.replace("\r\n.", "\r\n..");
    let said = doors.logged_in().await.mail("bounces@acme.example", ANN, wire.trim_end_matches("\r\n")).await;
    let id = queued(&said);
    let mails = sink.wait_for(1, PATIENCE).await;
    let received = String::from_utf8(mails[0].text.clone()).expect("ASCII");
    let (trace, rest) = received.split_at(received.find("From: ").expect("a From"));
    assert_eq!(rest, text);
    assert!(
        trace.starts_with("Received: by mail.postroad.test (postroad) with ESMTPSA (TLSv1.3 TLS13_"),
        "{trace}"
    );
    assert_eq!(trace.matches("\r\n").count(), 2, "one folded field: {trace}");
    assert!(!trace.contains("client.test") && !trace.contains("127.0.0.1"), "{trace}");

    let message = doors.app.client.ended(&id).await;
    assert_eq!(message["from"], "Acme <hello@acme.example>");
    assert_eq!(message["subject"], "Hello");
    assert_eq!(doors.app.client.download(&format!("/v1/messages/{id}/raw")).await, received.into_bytes());
    doors.close().await;
}

// RFC 6409 §8
#[tokio::test]
async fn what_a_client_left_out_is_added_and_blind_copies_are_taken_out() {
    let doors = Doors::open().await;
    let text =
        "From: hello@acme.example\r\nTo: ann@example.net\r\nBcc: bob@example.net\r\nSubject: x\r\n\r\nx";
    let to = ["ann@example.net", "bob@example.net"];
    let id = queued(&doors.logged_in().await.mail("a@acme.example", &to, text).await);
    let raw = doors.app.client.download(&format!("/v1/messages/{id}/raw")).await;
    assert_eq!(field_names(&raw), ["Received", "From", "To", "Subject", "Date", "Message-ID"]);
    assert!(field(&raw, "Message-ID").ends_with("@acme.example>"));
    let message = doors.app.client.ended(&id).await;
    let roles: Vec<(&str, &str)> = message["deliveries"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["recipient"].as_str().expect("a text"), one["role"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(roles.len(), 2, "{roles:?}");
    assert_eq!(message["bcc"], json!(["bob@example.net"]));
    doors.close().await;
}

#[tokio::test]
async fn control_fields_say_what_json_says_and_never_leave() {
    let sink = SmtpSink::builder().start().await;
    let doors = Doors::of(TestApp::builder().relay(sink.address().port())).await;
    let control = "X-Postroad-Tag: welcome\r\nx-postroad-tag: spring\r\nX-Postroad-Metadata-Order: 7\r\n\
         X-Postroad-Stream: broadcast\r\nX-Postroad-Track: none\r\n";
    let id = queued(&doors.logged_in().await.mail("a@acme.example", ANN, &format!("{control}{TEXT}")).await);
    let message = doors.app.client.ended(&id).await;
    assert_eq!(message["tags"], json!(["welcome", "spring"]));
    assert_eq!(message["metadata"], json!({ "Order": "7" }));
    assert_eq!(message["stream"], "broadcast");
    let mails = sink.wait_for(1, PATIENCE).await;
    let names: Vec<String> =
        fields(&mails[0].text).into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert!(!names.iter().any(|name| name.starts_with("x-postroad")), "{names:?}");

    let mut client = doors.logged_in().await;
    for (field, trouble) in [
        (
            "X-Postroad-Send-At: tomorrow",
            "X-Postroad-Send-At: a moment as RFC 3339 has it is needed, such as 2026-11-24T10:00:00Z",
        ),
        (
            "X-Postroad-Send-At: 2099-01-01T00:00:00Z",
            "X-Postroad-Send-At: mail can be scheduled up to 30 days ahead",
        ),
        (
            "X-Postroad-Stream: No Such",
            "X-Postroad-Stream: a stream's name is 1 to 64 of a-z, 0-9, '_' and '-'",
        ),
        ("X-Postroad-Sendat: 2026-11-24T10:00:00Z", "X-Postroad-Sendat: there is no such control field"),
        ("X-Postroad-Track: reads", "X-Postroad-Track: opens, clicks or none is needed"),
    ] {
        let said = client.mail("a@acme.example", ANN, &format!("{field}\r\n{TEXT}")).await;
        assert_eq!(said, format!("550 5.6.0 {trouble}"));
    }
    assert_eq!(doors.app.client.all_pages("/v1/messages", 10).await.len(), 1, "nothing else was taken");
    doors.close().await;
}

#[tokio::test]
async fn a_scheduled_mail_waits() {
    let doors = Doors::open().await;
    let at = doors.app.server().clock().now() + time::Duration::hours(1);
    let at = at.replace_nanosecond(0).expect("a moment");
    let at = at.format(&time::format_description::well_known::Rfc3339).expect("a date");
    let text = format!("X-Postroad-Send-At: {at}\r\n{TEXT}");
    let id = queued(&doors.logged_in().await.mail("a@acme.example", ANN, &text).await);
    let message = doors.app.client.get(&format!("/v1/messages/{id}")).await.body;
    assert_eq!(
        (&message["send_at"], &message["deliveries"][0]["status"]),
        (&json!(at.replace('Z', ".000Z")), &json!("queued"))
    );
    doors.close().await;
}

#[tokio::test]
async fn the_same_idempotency_key_is_the_same_mail() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    let text =
        |date: &str| format!("X-Postroad-Idempotency-Key: order-7\r\n{}", TEXT.replace("10:00:00", date));
    let first = client.mail("a@acme.example", ANN, &text("10:00:00")).await;
    // A client that tries again writes another Date.
    assert_eq!(client.mail("a@acme.example", ANN, &text("10:00:30")).await, first);
    let other = client.mail("a@acme.example", &["bob@example.net"], &text("10:00:00")).await;
    assert_eq!(other, "550 5.6.0 X-Postroad-Idempotency-Key was used with another mail; use a new one");
    queued(&first);
    assert_eq!(doors.app.client.all_pages("/v1/messages", 10).await.len(), 1);
    doors.close().await;
}

#[tokio::test]
async fn a_key_sends_what_it_may_send_by_http_and_nothing_else() {
    let doors = Doors::open().await;
    let limited =
        json!({ "name": "x", "scopes": ["send"], "domains": ["acme.example"], "streams": ["transactional"] });
    let limited = doors.app.key(limited).await.secret;
    let mut client = doors.logged_in_with(&limited).await;
    queued(&client.mail("a@acme.example", ANN, TEXT).await);
    queued(&client.mail("", ANN, TEXT).await);
    let foreign = TEXT.replace("hello@acme.example", "hello@evil.example");
    let refused = "550 5.7.1 this key may not send as evil.example";
    assert_eq!(client.mail("a@acme.example", ANN, &foreign).await, refused);
    assert_eq!(client.mail("a@evil.example", ANN, TEXT).await, refused);
    let two = TEXT.replace(
        "From: Acme <hello@acme.example>",
        "From: a@acme.example, b@evil.example\r\nSender: a@acme.example",
    );
    assert_eq!(client.mail("a@acme.example", ANN, &two).await, refused, "nobody hides behind the first name");
    let stream = format!("X-Postroad-Stream: broadcast\r\n{TEXT}");
    let said = client.mail("a@acme.example", ANN, &stream).await;
    assert_eq!(said, "550 5.7.1 X-Postroad-Stream: this key may not use the stream broadcast");

    let test = doors.app.key(json!({ "name": "x", "scopes": ["send"], "test": true })).await.secret;
    let id = queued(&doors.logged_in_with(&test).await.mail("a@acme.example", ANN, TEXT).await);
    let message = doors.app.client.ended(&id).await;
    assert_eq!(
        (&message["sandbox"], &message["deliveries"][0]["status"]),
        (&json!(true), &json!("delivered"))
    );
    doors.close().await;
}

#[tokio::test]
async fn a_sender_that_is_not_verified_is_refused_with_the_reason() {
    let doors = Doors::of(TestApp::builder().set("POSTROAD_SENDER_POLICY", "verified")).await;
    let said = doors.logged_in().await.mail("a@acme.example", ANN, TEXT).await;
    assert!(said.starts_with("550 5.7.1 acme.example is not a verified domain"), "{said}");
    doors.close().await;
}

#[tokio::test]
async fn a_suppressed_recipient_is_taken_and_not_mailed() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    let dead = ["bounced@simulator.postroad.test"];
    doors.app.client.ended(&queued(&client.mail("", &dead, TEXT).await)).await;
    let suppressed = ["suppressed@simulator.postroad.test"];
    let id = queued(&client.mail("a@acme.example", &suppressed, TEXT).await);
    let message = doors.app.client.ended(&id).await;
    assert_eq!(message["deliveries"][0]["status"], "suppressed");
    doors.close().await;
}

#[tokio::test]
async fn a_thousand_recipients_are_taken_and_one_more_is_not() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    client.ask("MAIL FROM:<a@acme.example>\r\n").await;
    let commands: String =
        (0..1000).map(|n| format!("RCPT TO:<delivered+{n}@simulator.postroad.test>\r\n")).collect();
    client.send(commands).await;
    for _ in 0..1000 {
        assert_eq!(client.ask("").await, "250 2.1.5 Ok");
    }
    let beyond = client.ask("RCPT TO:<one-more@example.net>\r\n").await;
    assert_eq!(beyond, "452 4.5.3 Too many recipients, send the rest separately");
    client.ask("DATA\r\n").await;
    let id = queued(&client.ask(format!("{TEXT}\r\n.\r\n")).await);
    let message = doors.app.client.ended(&id).await;
    assert_eq!(message["deliveries"].as_array().map(Vec::len), Some(1000));
    doors.close().await;
}

#[tokio::test]
async fn a_mail_that_is_too_large_is_refused_early_or_at_its_end() {
    let doors = Doors::of(TestApp::builder().set("POSTROAD_MAX_MESSAGE_BYTES", "20000")).await;
    let mut client = doors.logged_in().await;
    let refused = "552 5.3.4 The mail is larger than this host accepts";
    assert_eq!(client.ask("MAIL FROM:<a@acme.example> SIZE=20001\r\n").await, refused);
    let large = format!("{TEXT}{}", "\r\nx".repeat(10_000));
    assert_eq!(client.mail("a@acme.example", ANN, &large).await, refused);
    queued(&client.mail("a@acme.example", ANN, &format!("{TEXT}{}", "\r\nx".repeat(5_000))).await);
    doors.close().await;
}

#[tokio::test]
async fn addresses_and_headers_in_utf_8_need_smtputf8_and_get_there() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    let said = client.ask("MAIL FROM:<grüße@acme.example>\r\n").await;
    assert_eq!(said, "553 5.6.7 Non-ASCII addresses need SMTPUTF8");
    client.ask("MAIL FROM:<a@acme.example> SMTPUTF8 BODY=8BITMIME\r\n").await;
    assert_eq!(client.ask("RCPT TO:<jörg@example.net>\r\n").await, "250 2.1.5 Ok");
    client.ask("DATA\r\n").await;
    let text = TEXT.replace("Subject: Hello", "Subject: Grüße").replace("Hello, Ann.", "Schöne Grüße");
    let id = queued(&client.ask(format!("{text}\r\n.\r\n")).await);
    let arrived = String::from_utf8(doors.app.client.only_arrived(&id).await).expect("UTF-8");
    assert!(arrived.contains("Subject: Grüße\r\n") && arrived.ends_with("Schöne Grüße\r\n"), "{arrived}");
    assert!(arrived.contains("with UTF8SMTPSA"), "{arrived}");
    doors.close().await;
}

#[tokio::test]
async fn what_is_no_mail_is_refused_with_the_reason() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    let looped = format!("{}{TEXT}", "Received: from x\r\n".repeat(101));
    let cases = [
        ("no header at all".to_owned(), "550 5.6.0 the message does not begin with a header field"),
        ("Subject: x\r\n\r\nx".to_owned(), "550 5.6.0 the message has no From"),
        (
            format!("Subject: again\r\n{TEXT}"),
            "550 5.6.0 the message has the header field Subject more than once",
        ),
        (looped, "554 5.4.6 the message has been through more than 100 servers: it is in a loop"),
        (format!("X-Long: {}\r\n{TEXT}", "x".repeat(1 << 20)), "550 5.6.0 "),
        (format!("{}{TEXT}", "X-Many: y\r\n".repeat(100_000)), "550 5.6.0 "),
    ];
    for (text, expected) in cases {
        let said = client.mail("a@acme.example", ANN, &text).await;
        assert!(said.starts_with(expected), "{said}");
    }
    doors.close().await;
}

#[tokio::test]
async fn with_the_database_away_nothing_is_promised() {
    let doors = Doors::open().await;
    let mut client = doors.logged_in().await;
    // It does not answer, and then it is gone.
    let held = doors.app.database.hold("deliveries").await;
    let said = client.mail("a@acme.example", ANN, TEXT).await;
    assert!(said.starts_with("451 4.3.0 The database does not answer; "), "{said}");
    drop(held);
    client.ask_all(&["MAIL FROM:<a@acme.example>", "RCPT TO:<ann@example.net>", "DATA"]).await;
    doors.app.database.drop_now().await;
    let said = client.ask(format!("{TEXT}\r\n.\r\n")).await;
    assert!(said.starts_with("451 4.3."), "{said}");
    let mut another = doors.encrypted().await;
    let said = another.log_in("a-key-that-nobody-has-looked-up").await;
    assert_eq!(said, "454 4.7.0 Logins cannot be checked now, try again");
    doors.close().await;
}

// A submission process has no API and no worker: another one delivers.
#[tokio::test]
async fn a_process_of_doors_alone_hands_over_to_the_workers() {
    use postroad::server::Role;
    let database = TestDatabase::fresh().await;
    let elsewhere = TestApp::builder().on(&database).start().await;
    let doors = Doors::of(TestApp::builder().on(&database).roles(&[Role::Smtp])).await;
    let id = queued(&doors.logged_in().await.mail("a@acme.example", ANN, TEXT).await);
    elsewhere.client.ended(&id).await;
    let Doors { app, .. } = doors;
    app.drain().await;
    elsewhere.stop().await;
}

#[tokio::test]
async fn readiness_names_the_role() {
    let doors = Doors::open().await;
    let ready = doors.app.client.send(doors.app.client.request(Method::GET, "/readyz")).await;
    assert_eq!(ready.status, StatusCode::OK);
    assert!(ready.body["roles"].as_array().is_some_and(|roles| roles.contains(&Value::from("smtp"))));
    doors.close().await;
}
