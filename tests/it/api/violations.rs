//! What cannot be accepted is refused whole, and everything that is wrong with it is named by its place and kind.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::mail;

/// A plain mail with some members set; null in `changes` is given as null.
fn with(changes: Value) -> Value {
    let mut body = mail("ann@example.net");
    let members = changes.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(members);
    body
}

fn long(count: usize) -> String {
    "x".repeat(count)
}

#[tokio::test]
async fn each_kind_of_bad_field_is_named_by_pointer_and_code() {
    let app = TestApp::start().await;
    let many = |count: usize| -> Vec<String> { (0..count).map(|n| format!("t{n}")).collect() };
    let object = |count: usize| -> Value { many(count).into_iter().map(|name| (name, json!("x"))).collect() };
    let file = |changes: Value| {
        let mut file = json!({ "filename": "a.txt", "content": "YQ==" });
        file.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        json!({ "attachments": [{ "filename": "ok.txt", "content": "" }, file] })
    };
    let cases = [
        (json!({ "from": null }), "/from", "required"),
        (json!({ "from": "nobody" }), "/from", "invalid_address"),
        (json!({ "from": ["a@acme.example"] }), "/from", "invalid_address"),
        (json!({ "from": "a@acme.example, b@acme.example" }), "/from", "invalid_address"),
        (json!({ "from": { "name": "Acme" } }), "/from/email", "required"),
        (json!({ "from": { "email": 7 } }), "/from/email", "wrong_type"),
        (json!({ "from": { "email": "a@b@c" } }), "/from/email", "invalid_address"),
        (json!({ "from": { "email": "a@acme.example", "name": "a\r\nb" } }), "/from/name", "invalid_name"),
        (json!({ "from": { "email": "a@acme.example", "nmae": "x" } }), "/from/nmae", "unknown_field"),
        (json!({ "to": null }), "/to", "required"),
        (json!({ "to": [] }), "/to", "required"),
        (json!({ "to": 7 }), "/to", "invalid_address"),
        (json!({ "to": ["ann@example.net", ""] }), "/to/1", "invalid_address"),
        (json!({ "to": ["ann@example.net", null] }), "/to/1", "invalid_address"),
        (json!({ "to": [{ "email": "x" }] }), "/to/0/email", "invalid_address"),
        (json!({ "cc": ["x@y", "a b@c"] }), "/cc/1", "invalid_address"),
        (json!({ "bcc": "@example.net" }), "/bcc", "invalid_address"),
        (json!({ "reply_to": ["nobody"] }), "/reply_to/0", "invalid_address"),
        (json!({ "subject": 7 }), "/subject", "wrong_type"),
        (json!({ "subject": long(2001) }), "/subject", "too_long"),
        (json!({ "subject": "a\nBcc: x@example.net" }), "/subject", "invalid_subject"),
        (json!({ "subject": "a\u{0}b" }), "/subject", "invalid_character"),
        (json!({ "text": null }), "/text", "required"),
        (json!({ "text": ["x"] }), "/text", "wrong_type"),
        (json!({ "text": null, "html": 7 }), "/html", "wrong_type"),
        (json!({ "text": "a\u{0}" }), "/text", "invalid_character"),
        (json!({ "headers": [] }), "/headers", "wrong_type"),
        (json!({ "headers": { "X-A": 7 } }), "/headers/X-A", "wrong_type"),
        (json!({ "headers": { "X A": "x" } }), "/headers/X A", "invalid_header"),
        (json!({ "headers": { "X/A~": "a\rb" } }), "/headers/X~1A~0", "invalid_header"),
        (json!({ "headers": { "Bcc": "x@example.net" } }), "/headers/Bcc", "invalid_header"),
        (json!({ "headers": { "content-TYPE": "text/html" } }), "/headers/content-TYPE", "invalid_header"),
        (json!({ "headers": { "Message-ID": "nothing" } }), "/headers/Message-ID", "invalid_header"),
        (json!({ "headers": { "Date": "yesterday" } }), "/headers/Date", "invalid_header"),
        (json!({ "headers": object(101) }), "/headers", "too_many"),
        (json!({ "attachments": {} }), "/attachments", "wrong_type"),
        (json!({ "attachments": ["a.txt"] }), "/attachments/0", "wrong_type"),
        (
            json!({ "attachments": vec![json!({ "filename": "a", "content": "" }); 201] }),
            "/attachments",
            "too_many",
        ),
        (file(json!({ "filename": null })), "/attachments/1/filename", "required"),
        (file(json!({ "filename": "a\r\nb" })), "/attachments/1/filename", "invalid_attachment"),
        (file(json!({ "filename": " " })), "/attachments/1/filename", "invalid_attachment"),
        (file(json!({ "content": null })), "/attachments/1/content", "required"),
        (file(json!({ "content": "no base 64!" })), "/attachments/1/content", "invalid_base64"),
        (file(json!({ "content": "YQ" })), "/attachments/1/content", "invalid_base64"),
        (file(json!({ "content_type": "text" })), "/attachments/1/content_type", "invalid_attachment"),
        (
            file(json!({ "content_type": "multipart/mixed" })),
            "/attachments/1/content_type",
            "invalid_attachment",
        ),
        (file(json!({ "content_id": "a b" })), "/attachments/1/content_id", "invalid_attachment"),
        (file(json!({ "disposition": "inline" })), "/attachments/1/disposition", "unknown_field"),
        (json!({ "tags": "a" }), "/tags", "wrong_type"),
        (json!({ "tags": ["a", 7] }), "/tags/1", "wrong_type"),
        (json!({ "tags": ["a", ""] }), "/tags/1", "invalid_tag"),
        (json!({ "tags": [long(129)] }), "/tags/0", "invalid_tag"),
        (json!({ "tags": ["a\nb"] }), "/tags/0", "invalid_tag"),
        (json!({ "tags": many(21) }), "/tags", "too_many"),
        (json!({ "metadata": ["a"] }), "/metadata", "wrong_type"),
        (json!({ "metadata": { "a": 7 } }), "/metadata/a", "wrong_type"),
        (json!({ "metadata": { "": "x" } }), "/metadata/", "invalid_key"),
        (json!({ "metadata": { "a": long(1025) } }), "/metadata/a", "too_long"),
        (json!({ "metadata": object(51) }), "/metadata", "too_many"),
        (json!({ "stream": "Big News" }), "/stream", "invalid_stream"),
        (json!({ "stream": 7 }), "/stream", "wrong_type"),
        (json!({ "priority": "urgent" }), "/priority", "invalid_priority"),
        (json!({ "send_at": "2026-13-01T00:00:00Z" }), "/send_at", "invalid_time"),
        (json!({ "send_at": 1_700_000_000 }), "/send_at", "wrong_type"),
        (json!({ "ttl_seconds": 7 }), "/ttl_seconds", "out_of_range"),
        (json!({ "sandbox": "yes" }), "/sandbox", "wrong_type"),
        (json!({ "tracking": true }), "/tracking", "wrong_type"),
        (json!({ "tracking": { "opens": 1 } }), "/tracking/opens", "wrong_type"),
        (json!({ "tracking": { "oepns": false } }), "/tracking/oepns", "unknown_field"),
        (json!({ "sned_at": "now" }), "/sned_at", "unknown_field"),
        (json!({ "a/b~c": 1 }), "/a~1b~0c", "unknown_field"),
        (json!({ "template": "welcome" }), "/template", "wrong_type"),
        (json!({ "variables": [] }), "/variables", "wrong_type"),
        (json!({ "recipients": [] }), "/recipients", "required"),
        (json!({ "recipients": [{ "to": "x" }], "to": null }), "/recipients/0/to", "invalid_address"),
    ];
    for (changes, pointer, code) in cases {
        let shown = changes.to_string();
        let answer = app.client.post("/v1/messages", with(changes)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{shown:.200}");
        assert_eq!(answer.code(), "validation_failed", "{shown:.200}");
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{shown:.200}");
    }
    assert!(app.client.all_pages("/v1/messages", 100).await.is_empty(), "nothing was stored");
    app.stop().await;
}

#[tokio::test]
async fn what_is_null_is_as_good_as_left_out() {
    let app = TestApp::start().await;
    let nothing = json!({
        "cc": null, "bcc": [], "reply_to": null, "html": null, "headers": null, "attachments": null,
        "template": null, "variables": null, "recipients": null, "tags": null, "metadata": null,
        "stream": null, "priority": null, "send_at": null, "ttl_seconds": null,
        "tracking": { "opens": false, "clicks": null }, "sandbox": null,
    });
    let answer = app.client.post("/v1/messages", with(nothing)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    app.stop().await;
}

#[tokio::test]
async fn the_largest_of_everything_is_taken() {
    let app = TestApp::start().await;
    let entries: Value = (0..50).map(|n| (format!("{n:064}"), json!(long(1024)))).collect();
    let headers: Value = (0..100).map(|n| (format!("X-{n}"), json!("x"))).collect();
    let tags: Vec<String> = (0..20).map(|n| format!("{n:0128}")).collect();
    let files = vec![json!({ "filename": "a", "content": "YQ==" }); 200];
    let body = with(json!({
        "subject": long(2000), "metadata": entries, "headers": headers, "tags": tags, "attachments": files,
        "stream": long(64), "sandbox": true,
    }));
    let answer = app.client.post("/v1/messages", body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    app.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_named_at_once() {
    let app = TestApp::start().await;
    let cases = [
        (json!({}), vec!["/from required", "/text required", "/to required"]),
        (json!({ "to": [], "cc": null, "text": "x" }), vec!["/from required", "/to required"]),
        (json!({ "cc": "x", "text": "x" }), vec!["/cc invalid_address", "/from required"]),
        (
            json!({ "from": "a@acme.example", "recipients": [] }),
            vec!["/recipients required", "/text required"],
        ),
    ];
    for (body, wanted) in cases {
        let answer = app.client.post("/v1/messages", body.clone()).await;
        let mut found: Vec<String> =
            answer.violations().iter().map(|(pointer, code)| format!("{pointer} {code}")).collect();
        found.sort();
        assert_eq!(found, wanted, "{body}");
    }
    app.stop().await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let app = TestApp::start().await;
    let body = json!({
        "from": "nobody", "to": ["ann@example.net", "x", { "email": "y", "name": 7 }], "subject": 1,
        "headers": { "To": "x", "X-B": "a\nb" }, "attachments": [{ "filename": "", "content": "!" }],
        "tags": [""], "metadata": { "a": 1 }, "send_at": "x", "priority": "x", "template": {}, "typo": 1,
    });

    let answer = app.client.post("/v1/messages", body).await;

    let mut found = answer.violations();
    found.sort();
    let mut wanted = [
        ("/attachments/0/content", "invalid_base64"),
        ("/from", "invalid_address"),
        ("/headers/To", "invalid_header"),
        ("/headers/X-B", "invalid_header"),
        ("/metadata/a", "wrong_type"),
        ("/priority", "invalid_priority"),
        ("/send_at", "invalid_time"),
        ("/subject", "not_with_template"),
        ("/tags/0", "invalid_tag"),
        ("/template/id", "required"),
        ("/to/1", "invalid_address"),
        ("/to/2/email", "invalid_address"),
        ("/to/2/name", "wrong_type"),
        ("/typo", "unknown_field"),
    ]
    .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()));
    wanted.sort();
    assert_eq!(found, wanted);
    app.stop().await;
}

#[tokio::test]
async fn mail_that_is_too_large_is_refused_however_it_comes() {
    let app = TestApp::builder().set("POSTROAD_MAX_MESSAGE_BYTES", "4096").start().await;
    let attached = data_encoding::BASE64.encode(&[7; 3500]);
    let cases = [
        with(json!({ "text": long(5000) })),
        with(json!({ "html": long(5000) })),
        with(json!({ "attachments": [{ "filename": "a", "content": attached }] })),
        // Small as it is given, and large once it is composed.
        with(json!({ "text": "ü".repeat(1500) })),
    ];
    for body in cases {
        let answer = app.client.post("/v1/messages", body).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    }
    let raw = format!("From: a@acme.example\r\n\r\n{}\r\n", "x\r\n".repeat(2000));
    let request = app.client.request(Method::POST, "/v1/messages?to=ann@example.net");
    let answer = app.client.send(request.header("Content-Type", "message/rfc822").body(raw)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let batch = json!([with(json!({})), with(json!({ "text": long(5000) }))]);
    let answer = app.client.post("/v1/messages/batch", batch).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.text("/data/1/error/code"), "too_large");
    assert_eq!(app.client.all_pages("/v1/messages", 100).await.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_key_bound_to_domains_and_streams_is_told_what_it_may_not() {
    let app = TestApp::start().await;
    let limits = json!({ "name": "n", "scopes": ["send"], "domains": ["acme.example"], "streams": ["news"] });
    let key = app.key(limits).await;
    let cases = [
        (json!({ "stream": "news" }), StatusCode::ACCEPTED, ""),
        (json!({ "stream": "news", "from": "a@ACME.example" }), StatusCode::ACCEPTED, ""),
        (json!({ "stream": "other" }), StatusCode::FORBIDDEN, "stream_not_allowed"),
        (json!({}), StatusCode::FORBIDDEN, "stream_not_allowed"),
        (json!({ "stream": "news", "from": "a@evil.example" }), StatusCode::FORBIDDEN, "domain_not_allowed"),
        (
            json!({ "stream": "news", "from": "a@sub.acme.example" }),
            StatusCode::FORBIDDEN,
            "domain_not_allowed",
        ),
    ];
    for (changes, status, code) in cases {
        let answer = key.client.post("/v1/messages", with(changes.clone())).await;
        assert_eq!(answer.status, status, "{changes}: {:#}", answer.body);
        if !code.is_empty() {
            assert_eq!(answer.code(), code, "{changes}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn without_a_verified_domain_nobody_sends_where_one_is_demanded() {
    let app = TestApp::builder().set("POSTROAD_SENDER_POLICY", "verified").start().await;
    let answer = app.client.post("/v1/messages", with(json!({}))).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::FORBIDDEN, "sender_not_verified"));
    assert_eq!(answer.violations(), [("/from".into(), "sender_not_verified".into())]);
    app.stop().await;
}
