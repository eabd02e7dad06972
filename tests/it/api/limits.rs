//! H1, and security 5.7: what is too large, too deep, broken or meant to deceive.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{KEY, TestApp};
use crate::support::client::{Answer, Client, PATIENCE, mail};

async fn post_raw(client: &Client, body: impl Into<reqwest::Body>) -> Answer {
    let request = client.request(Method::POST, "/v1/messages").header("content-type", "application/json");
    client.send(request.body(body)).await
}

#[tokio::test]
async fn json_that_is_broken_is_refused_with_a_problem() {
    let app = TestApp::start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"{\"from\": NaN}".to_vec(),
        b"{\"from\": \"a@acme.example\", \"from\": \"b@acme.example\"}".to_vec(),
        b"{\"subject\": \"\\ud800\"}".to_vec(),
        b"{\"subject\": \"\xff\xfe\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{} {}".to_vec(),
        deep.into_bytes(),
    ];
    for case in cases {
        let shown = String::from_utf8_lossy(&case[..case.len().min(60)]).into_owned();
        let answer = post_raw(&app.client, case).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{shown}: {:#}", answer.body);
        assert_eq!(answer.content_type(), "application/problem+json", "{shown}");
    }
    for other in ["[]", "7", "\"mail\"", "null"] {
        let answer = post_raw(&app.client, other).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{other}");
    }
    app.stop().await;
}

/// What is answered to a mail with such fields, by when so many chunks of 64 KiB have been written: a client that
/// reads only then is listened to for long enough.
async fn told_after(app: &TestApp, fields: &str, chunks: usize) -> String {
    let url = app.client.url().trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&url).await.expect("connected");
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {url}\r\nContent-Type: application/json\r\n{fields}\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("written");
    let chunk = [b"10000\r\n", " ".repeat(0x10000).as_bytes(), b"\r\n"].concat();
    for _ in 0..chunks {
        socket.write_all(&chunk).await.expect("it is listened to");
    }
    let read = async {
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let octet = socket.read_u8().await.expect("answered");
            answer.push(octet);
        }
        String::from_utf8(answer).expect("text")
    };
    tokio::time::timeout(PATIENCE, read).await.expect("answered in time")
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let app = TestApp::builder().set("POSTROAD_MAX_MESSAGE_BYTES", "100000").start().await;
    let mut large = mail("ann@example.net");
    large["text"] = "x".repeat(2_000_000).into();
    let answer = app.client.post("/v1/messages", large).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));

    // Told by its length alone, and, where no length is told, as soon as it is too long.
    let key = format!("Authorization: Bearer {KEY}\r\n");
    let told = told_after(&app, &format!("{key}Content-Length: 1000000000\r\n"), 0).await;
    assert!(told.starts_with("HTTP/1.1 413 ") && told.contains("the body may have at most"), "{told}");
    let told = told_after(&app, &format!("{key}Transfer-Encoding: chunked\r\n"), 100).await;
    assert!(told.starts_with("HTTP/1.1 413 ") && told.contains("the body may have at most"), "{told}");
    let told = told_after(&app, "Transfer-Encoding: chunked\r\n", 100).await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");

    // Within the body's limit, beyond the mail's.
    let mut large = mail("ann@example.net");
    large["text"] = "A line.\n".repeat(15_000).into();
    let answer = app.client.post("/v1/messages", large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{:#}", answer.body);
    assert!(app.client.all_pages("/v1/messages", 100).await.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn a_compressed_body_is_refused_rather_than_expanded() {
    let app = TestApp::start().await;
    let request = app.client.request(Method::POST, "/v1/messages").header("content-type", "application/json");
    let answer =
        app.client.send(request.header("content-encoding", "gzip").body(vec![0x1f, 0x8b, 8, 0])).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{:#}", answer.body);
    app.stop().await;
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let app = TestApp::start().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let request = app.client.request(Method::POST, "/v1/messages").header("content-type", kind);
        let answer = app.client.send(request.body(mail("ann@example.net").to_string())).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_thousand_recipients_are_taken_and_one_more_is_not() {
    let app = TestApp::start().await;
    let to = |count: usize| -> Value { (0..count).map(|n| json!(format!("u{n}@example.net"))).collect() };
    let mut many = mail("x@example.net");
    many["sandbox"] = true.into();
    many["to"] = to(1001);
    let answer = app.client.post("/v1/messages", many.clone()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", answer.body);
    many["to"] = to(1000);
    let answer = app.client.post("/v1/messages", many).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    assert_eq!(answer.list("/deliveries").len(), 1000);
    app.stop().await;
}

/// What can end a line, or be taken for its end, in some reader.
const BREAKS: [&str; 9] =
    ["\r\n", "\n", "\r", "\u{0}", "\u{85}", "\u{2028}", "\u{2029}", "%0d%0a", "=?utf-8?q?=0D=0A?="];

/// Members of a mail with a text in every place that takes one.
fn poisoned(line: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("subject", json!(line)),
        ("from", json!({ "email": "hello@acme.example", "name": line })),
        ("reply_to", json!({ "email": "help@acme.example", "name": line })),
        ("to", json!([{ "email": "ann@example.net", "name": line }])),
        ("cc", json!(format!("ann{line}@example.net"))),
        ("headers", json!({ "X-Note": line })),
        ("headers", json!({ format!("X-{line}"): "x" })),
        ("attachments", json!([{ "filename": line, "content": "YQ==" }])),
        (
            "attachments",
            json!([{ "filename": "a", "content": "YQ==", "content_type": format!("text/plain; x={line}") }]),
        ),
        ("tags", json!([line])),
        ("metadata", json!({ "note": line })),
        ("stream", json!(line)),
    ]
}

// Security 5.7
#[tokio::test]
async fn no_field_can_write_a_header_or_a_command() {
    let app = TestApp::start().await;
    for end in BREAKS {
        for (member, value) in
            poisoned(&format!("x{end}Bcc: victim@example.net{end}{end}injected{end}.{end}MAIL FROM:<a@b.c>"))
        {
            let mut body = mail("ann@example.net");
            body[member] = value;
            let answer = app.client.post("/v1/messages", body).await;
            if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
                continue;
            }
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{end:?} in {member}: {:#}", answer.body);
            let id = answer.text("/id");
            app.client.ended(&id).await;
            for arrived in app.client.arrived(&id).await {
                let raw = String::from_utf8_lossy(&arrived.raw);
                let (head, _) = raw.split_once("\r\n\r\n").expect("a header");
                let written = head.split("\r\n").any(|line| {
                    line.to_ascii_lowercase().starts_with("bcc:") || line.starts_with("injected")
                });
                assert!(!written, "{end:?} in {member}:\n{head}");
                assert!(
                    !head.replace("\r\n", "").contains(['\r', '\n', '\0', '\u{85}', '\u{2028}', '\u{2029}']),
                    "{end:?} in {member}:\n{head}"
                );
                assert_eq!(arrived.recipients.len(), 1, "{end:?} in {member}");
            }
        }
    }
    assert!(
        app.client
            .all_pages("/v1/captured", 100)
            .await
            .iter()
            .all(|mail| !mail.to_string().contains("victim@example.net\"]"))
    );
    app.stop().await;
}
