//! `Content-Type: message/rfc822`: a message that the caller composed, kept octet for octet as far as it may be sent.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::captured::{contains, field, field_names};
use crate::support::client::{Answer, Client, text};

async fn post(client: &Client, query: &str, raw: impl Into<Vec<u8>>) -> Answer {
    let request = client.request(Method::POST, &format!("/v1/messages{query}"));
    client.send(request.header("Content-Type", "message/rfc822").body(raw.into())).await
}

const PLAIN: &str = "Date: Tue, 24 Nov 2026 10:00:00 +0100\r\nFrom: Acme <hello@acme.example>\r\n\
                     To: Ann <ann@example.net>\r\nSubject: Hello\r\nMessage-ID: <1@acme.example>\r\n\r\nText.\r\n";

#[tokio::test]
async fn a_complete_message_is_not_touched() {
    let app = TestApp::start().await;
    // Folding, space and case as nobody would write them; a long header; an attachment in a part of its own.
    let odd = "X-ODD:   two  spaces \r\n\tand a tab\r\nsUbJeCt: =?iso-8859-1?q?Gr=FC=DFe?=\r\nDATE: 24 Nov 2026 10:00 GMT\r\n\
               From:hello@acme.example\r\nmessage-id: <odd@acme.example>\r\nMIME-Version: 1.0\r\n\
               Content-Type: multipart/mixed;\r\n boundary=\"b\"\r\n\r\nPreamble\r\n--b\r\n\r\n trailing space \r\n.\r\n\r\n\
               --b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\nEpilogue\r\n";
    for raw in [PLAIN, odd] {
        let answer = post(&app.client, "?to=ann@example.net", raw).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
        let arrived = app.client.only_arrived(&answer.text("/id")).await;
        assert_eq!(String::from_utf8_lossy(&arrived), raw);
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_signed_or_encrypted_passes_octet_for_octet() {
    let app = TestApp::start().await;
    let head = "Date: Tue, 24 Nov 2026 10:00:00 +0100\r\nFrom: hello@acme.example\r\nMessage-ID: <2@acme.example>\r\n\
                MIME-Version: 1.0\r\nContent-Type: ";
    let signed = format!(
        "{head}multipart/signed; micalg=pgp-sha512;\r\n protocol=\"application/pgp-signature\"; boundary=s\r\n\r\n\
         --s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße \r\n-- \r\n\r\n\
         --s\r\nContent-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n--s--\r\n"
    );
    let encrypted = format!(
        "{head}multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=e\r\n\r\n\
         --e\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\
         --e\r\nContent-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n--e--\r\n"
    );
    for raw in [signed, encrypted] {
        let answer = post(&app.client, "?to=ann@example.net", raw.clone()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
        let arrived = app.client.only_arrived(&answer.text("/id")).await;
        assert_eq!(String::from_utf8_lossy(&arrived), raw);
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_protected_and_could_only_be_sent_changed_is_refused() {
    let app = TestApp::start().await;
    let raw = "From: hello@acme.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; protocol=\"x/y\"; \
               boundary=s\r\n\r\n--s\r\n\r\none\ntwo\r\n--s\r\nContent-Type: x/y\r\n\r\nsig\r\n--s--\r\n";
    let answer = post(&app.client, "?to=ann@example.net", raw).await;
    assert_eq!(answer.violations(), [(String::new(), "protected_content".into())]);
    app.stop().await;
}

#[tokio::test]
async fn the_envelope_is_in_the_query_and_the_header_only_labels() {
    let app = TestApp::start().await;
    let raw = PLAIN.replace("Subject:", "Cc: cyd@example.net\r\nBcc: secret@hidden.example\r\nSubject:");
    let query =
        "?from=Someone%20%3Csender%40acme.example%3E&to=bob%40example.net&to=Cyd%20%3Ccyd@example.net%3E";

    let answer = post(&app.client, query, raw).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    let message = app.client.ended(&answer.text("/id")).await;
    let deliveries = message["deliveries"].as_array().expect("a list");
    let shown: Vec<_> = deliveries.iter().map(|d| (text(d, "/recipient"), text(d, "/role"))).collect();
    let wanted = [("bob@example.net", "bcc"), ("cyd@example.net", "cc")];
    assert_eq!(shown, wanted.map(|(address, role)| (address.to_owned(), role.to_owned())));
    assert_eq!(message["to"], json!(["Ann <ann@example.net>"]));
    assert_eq!(message["cc"], json!(["cyd@example.net"]));
    assert_eq!(message["bcc"], json!(["bob@example.net"]));
    assert_eq!(text(&message, "/from"), "Acme <hello@acme.example>");
    for copy in app.client.arrived(&answer.text("/id")).await {
        assert!(!contains(&copy.raw, "hidden.example") && !contains(&copy.raw, "bob@example.net"));
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_added_and_line_ends_are_mended() {
    let app = TestApp::start().await;
    let raw = "From: hello@acme.example\nSubject: Hello\n\none\ntwo\r\nthree";

    let answer = post(&app.client, "?to=ann@example.net", raw).await;
    let arrived = app.client.only_arrived(&answer.text("/id")).await;

    assert_eq!(field_names(&arrived), ["From", "Subject", "Date", "Message-ID"]);
    assert_eq!(field(&arrived, "Message-ID"), answer.text("/message_id"));
    let message = String::from_utf8(arrived).expect("ASCII");
    assert!(message.ends_with("\r\n\r\none\r\ntwo\r\nthree\r\n"), "{message:?}");
    app.stop().await;
}

#[tokio::test]
async fn control_fields_and_traces_of_blind_copies_do_not_leave() {
    let app = TestApp::start().await;
    let raw = format!(
        "Return-Path: <x@hidden.example>\r\nResent-Bcc: x@hidden.example\r\nbcc: a@hidden.example,\r\n b@hidden.example\r\n\
         X-Postroad-Tag: hidden.example\r\nx-POSTROAD-metadata-a: hidden.example\r\n{PLAIN}"
    );
    let answer = post(&app.client, "?to=ann@example.net", raw).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    let arrived = app.client.only_arrived(&answer.text("/id")).await;
    assert_eq!(String::from_utf8_lossy(&arrived), PLAIN);
    app.stop().await;
}

#[tokio::test]
async fn a_message_that_is_not_well_is_told_why() {
    let app = TestApp::start().await;
    let twice = PLAIN.replace("Subject: Hello", "Subject: Hello\r\nSubject: Bye");
    let spoofed = PLAIN.replace("From: Acme", "From: other@evil.example\r\nFrom: Acme");
    let received = format!("{}{PLAIN}", "Received: by x; Tue, 24 Nov 2026 10:00:00 +0000\r\n".repeat(101));
    let cases: [(&str, &str); 10] = [
        ("", "invalid_message"),
        ("no header at all", "invalid_message"),
        ("Subject: Hello\r\n\r\nText\r\n", "invalid_from"),
        ("From: nobody\r\n\r\nText\r\n", "invalid_from"),
        ("From: a@acme.example, b@acme.example\r\n\r\nText\r\n", "invalid_from"),
        (&twice, "invalid_message"),
        (&spoofed, "invalid_message"),
        ("From: a@acme.example\r\nX: a\rBcc: x@example.net\r\n\r\nText\r\n", "invalid_message"),
        ("From: a@acme.example\r\n\r\nText\0\r\n", "invalid_message"),
        (&received, "mail_loop"),
    ];
    for (raw, code) in cases {
        let answer = post(&app.client, "?to=ann@example.net", raw).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{raw:.60}");
        assert_eq!(answer.violations(), [(String::new(), code.to_owned())], "{raw:.60}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_query_that_is_not_well_is_told_everything() {
    let app = TestApp::start().await;
    let cases: [(&str, &[(&str, &str)]); 6] = [
        ("", &[("?to", "required")]),
        ("?to=nobody", &[("?to", "invalid_address"), ("?to", "required")]),
        ("?to=nobody&to=ann@example.net", &[("?to", "invalid_address")]),
        ("?to=ann@example.net&from=x", &[("?from", "invalid_address")]),
        ("?to=ann@example.net&from=a@b.example&from=c@d.example", &[("?from", "repeated")]),
        (
            "?to=ann@example.net&subject=x&tag=y",
            &[("?subject", "unknown_parameter"), ("?tag", "unknown_parameter")],
        ),
    ];
    for (query, wanted) in cases {
        let answer = post(&app.client, query, PLAIN).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let wanted: Vec<_> = wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(answer.violations(), wanted, "{query}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_key_bound_to_a_domain_speaks_for_no_other_author() {
    let app = TestApp::start().await;
    let key = app.key(json!({ "name": "acme", "scopes": ["send"], "domains": ["acme.example"] })).await;
    let other = PLAIN.replace("hello@acme.example", "hello@evil.example");
    let both = PLAIN.replace(
        "From: Acme <hello@acme.example>",
        "From: a@acme.example, b@evil.example\r\nSender: a@acme.example",
    );
    for (query, raw) in [
        ("?to=ann@example.net", other.as_str()),
        ("?to=ann@example.net&from=a@acme.example", &other),
        ("?to=ann@example.net&from=a@evil.example", PLAIN),
        ("?to=ann@example.net", &both),
    ] {
        let answer = post(&key.client, query, raw).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::FORBIDDEN, "domain_not_allowed"),
            "{query}"
        );
    }
    assert_eq!(post(&key.client, "?to=ann@example.net", PLAIN).await.status, StatusCode::ACCEPTED);
    app.stop().await;
}
