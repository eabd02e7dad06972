//! SMTP smuggling outwards: towards a server that takes for the end of a mail what is none (CVE-2024-27305), nothing
//! that a tenant writes becomes a second mail.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::*;
use crate::support::peer::Server;

const BREAKS: [&str; 8] = ["\n", "\r", "\r\n", "\r\r\n", "\n\r", "\0\r\n", "\u{85}", "\u{2028}"];
const SMUGGLED: &str =
    "MAIL FROM:<evil@acme.example>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: smuggled\r\n\r\nx";

/// A text with each pair of breaks around a dot, and what would be a mail behind it.
fn vectors() -> Vec<String> {
    let pairs = BREAKS.iter().flat_map(|before| BREAKS.iter().map(move |after| (before, after)));
    pairs.map(|(before, after)| format!("hi{before}.{after}{SMUGGLED}{before}.{after}")).collect()
}

/// What the peer has seen: whom each mail is said to be from.
fn senders(peer: &Server) -> Vec<String> {
    let first = |mail: String| mail.lines().next().unwrap_or_default().to_owned();
    peer.dumped().into_iter().map(first).collect()
}

/// Whoever does not care what he sends smuggles a mail past this peer: it is as vulnerable as it is said to be.
async fn smuggle(peer: &Server) {
    let stream = TcpStream::connect(("127.0.0.1", peer.port())).await.expect("connected");
    let mut stream = BufReader::new(stream);
    for line in
        ["", "HELO x\r\n", "MAIL FROM:<a@acme.example>\r\n", "RCPT TO:<b@example.net>\r\n", "DATA\r\n"]
    {
        stream.write_all(line.as_bytes()).await.expect("written");
        let mut reply = String::new();
        stream.read_line(&mut reply).await.expect("a reply");
    }
    stream.write_all(format!("hi\n.\r\n{SMUGGLED}\r\n.\r\n").as_bytes()).await.expect("written");
    for wanted in ["250", "250", "250", "354", "250"] {
        let mut reply = String::new();
        stream.read_line(&mut reply).await.expect("a reply");
        assert_eq!(&reply[..3], wanted, "{reply}");
    }
}

#[tokio::test]
async fn a_peer_that_ends_mail_where_it_has_no_end_gets_one_mail_for_each() {
    let peer = Server::vulnerable().await;
    smuggle(&peer).await;
    let mut seen = senders(&peer);
    seen.sort_unstable();
    assert_eq!(seen, ["From a@acme.example", "From evil@acme.example"]);

    let app = TestApp::builder().set("POSTROAD_ROUTE", &peer.route()).start().await;
    let mut ids = Vec::new();
    let mut accepted = [0; 2];
    for vector in vectors() {
        let mut body = mail("ann@example.net");
        body["text"] = vector.clone().into();
        body["html"] = format!("<pre>{vector}</pre>").into();
        body["attachments"] = json!([{ "filename": "x.txt", "content_type": "text/plain",
            "content": data_encoding::BASE64.encode(vector.as_bytes()) }]);
        let raw = format!("From: hello@acme.example\r\nSubject: x\r\n\r\n{vector}");
        let as_json = app.client.request(Method::POST, "/v1/messages").json(&body);
        let as_mime = app.client.request(Method::POST, "/v1/messages?to=ann@example.net");
        let as_mime = as_mime.header("Content-Type", "message/rfc822").body(raw);
        for (door, request) in [as_json, as_mime].into_iter().enumerate() {
            let answer = app.client.send(request).await;
            match answer.status {
                StatusCode::ACCEPTED => {
                    accepted[door] += 1;
                    ids.push(answer.text("/id"));
                }
                StatusCode::UNPROCESSABLE_ENTITY => {}
                other => panic!("{vector:?}: {other} {:#}", answer.body),
            }
        }
    }
    for id in &ids {
        let message = app.client.ended(id).await;
        assert_eq!(crate::support::client::statuses(&message), ["delivered"], "{message:#}");
    }
    // Control characters are refused where they cannot be meant; all else goes, by either door.
    assert!(accepted.iter().all(|count| *count >= 49), "{accepted:?} of 64");
    let ours = senders(&peer).len() - seen.len();
    assert_eq!(ours, ids.len(), "{:?}", senders(&peer));
    assert_eq!(
        senders(&peer).iter().filter(|sender| sender.contains("evil@")).count(),
        1,
        "the one of above"
    );
    app.stop().await;
}
