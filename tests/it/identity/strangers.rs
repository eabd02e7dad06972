//! What three strangers make of our signatures: dkimpy, mailauth and OpenDKIM (which knows RSA alone). None of them
//! may be missing: `scripts/install-test-tools.sh` brings them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::MessageParser;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{PATIENCE, mail};
use crate::support::sink::SmtpSink;

use super::{begin, zone};

/// Mails that are composed here.
fn composed() -> Vec<Value> {
    let with = |changes: Value| {
        let mut body = mail("ann@example.net");
        for (name, value) in changes.as_object().expect("an object") {
            body[name] = value.clone();
        }
        body
    };
    let file = |name: &str, octets: &[u8]| json!({ "filename": name, "content": STANDARD.encode(octets) });
    let every_octet: Vec<u8> = (0..=255).cycle().take(5000).collect();
    vec![
        with(json!({})),
        with(json!({ "text": "" })),
        with(json!({
            "html": "<p>Grüße <a href=\"https://shop.example/?a=1&amp;b=2\">Shop</a></p>",
            "tracking": { "opens": true, "clicks": true },
        })),
        with(json!({ "text": "trailing space  \n\ttabs\t\t\n\n\n\n" })),
        with(json!({ "text": ".\n..\n.dots\nFrom here\n" })),
        with(json!({ "html": "<p>Grüße</p>", "text": "Grüße aus Köln, 世界" })),
        with(json!({ "html": format!("<p>{}</p>", "x".repeat(5000)) })),
        with(json!({ "text": "A line of fifty thousand.\n".repeat(2000) })),
        with(json!({ "attachments": [file("a.bin", &every_octet), file("ü 世界.txt", b"text\r\n\r\n")] })),
        with(json!({ "subject": format!("Long {}", "words and more ".repeat(40)) })),
        with(json!({ "subject": "世界 Grüße 🎉", "from": "Jörg Müller <hello@news.acme.example>" })),
        with(json!({ "cc": ["bob@example.net", "Carl <carl@example.net>"], "reply_to": "r@acme.example" })),
        with(json!({ "headers": {
            "List-Unsubscribe": "<https://acme.example/u/1>, <mailto:u@acme.example>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "Feedback-ID": "a:b:c:own",
            "X-Long": "y ".repeat(400),
        } })),
    ]
}

/// Mails that come composed, header and body, CRLF added.
fn raw() -> Vec<Vec<u8>> {
    let crlf = |text: &str| text.replace('\n', "\r\n").into_bytes();
    let base = "From: hello@acme.example\nTo: ann@example.net\nSubject: x\n";
    let long = "word ".repeat(180);
    let signed = "Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"; micalg=pgp-sha256\n\n\
        --b\nContent-Type: text/plain\n\nsigned \n--b\nContent-Type: application/pgp-signature\n\nsig\n--b--\n";
    vec![
        crlf(&format!("{base}\n")),
        crlf(&format!("{base}\n\n\n\n")),
        crlf(&format!("{base}\nno line end at the end")),
        crlf(&format!("{base}MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nGrüße, 世界\n")),
        crlf(&format!("{base}MIME-Version: 1.0\n{signed}")),
        crlf(
            "FROM:hello@acme.example\ntO:\tann@example.net\nSUBJECT:\t folded\n \t  and  spaced   \n\tout \n\nx\n",
        ),
        crlf(&format!(
            "{base}X-Empty:\nReferences: <a@b>\n\t<c@d>\n  <e@f>\nIn-Reply-To: <a@b>\n\n \t \n\t\n"
        )),
        crlf(&format!(
            "{base}Received: from a by b; Wed, 25 Nov 2026 10:00:00 +0000\nReceived: from c by d; Wed, 25 Nov 2026 10:00:00 +0000\n\nx\n"
        )),
        crlf(&format!(
            "{base}List-Id: one <a.acme.example>\nSender: s@acme.example\n\n{long}\n{}\n",
            "z".repeat(2500)
        )),
        crlf(&format!("{base}X-Feed: a\u{c}b\u{b} c\n\na\u{c}b \u{b}c\n")),
        crlf(&format!(
            "{base}DKIM-Signature: v=1; a=rsa-sha256; d=old.example; s=x; h=from; bh=AAAA; b=AAAA\n\nx\n"
        )),
    ]
}

async fn send_raw(app: &TestApp, raw: Vec<u8>) -> StatusCode {
    let path = "/v1/messages?to=ann@example.net&from=hello@acme.example";
    let request = app.client.request(Method::POST, path).header("content-type", "message/rfc822");
    app.client.send(request.body(raw)).await.status
}

/// Sends everything and gives it as it arrived, with the zone that has the keys.
async fn arrived(narrow: &[&str]) -> (Vec<Vec<u8>>, Value) {
    let (dns, sink, app) = begin().await;
    if !narrow.is_empty() {
        sink.set_keywords(narrow.iter().copied());
    }
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let mut count = 0;
    for body in composed() {
        app.client.send_mail(body).await;
        count += 1;
    }
    for raw in raw() {
        let status = send_raw(&app, raw.clone()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&raw));
        count += 1;
    }
    let mails = wait(&sink, &app, count).await;
    let html = |mail: &Vec<u8>| {
        MessageParser::default().parse(mail).and_then(|read| read.body_html(0).map(|html| html.into_owned()))
    };
    let marked =
        mails.iter().filter_map(html).filter(|html| html.contains("/t/c/") && html.contains("/t/o/"));
    assert_eq!(marked.count(), 1, "one is marked for its recipient, and signed after that");
    app.stop().await;
    (mails, zone(&domain))
}

/// Copies of one mail to several recipients count as one.
async fn wait(sink: &SmtpSink, app: &TestApp, count: usize) -> Vec<Vec<u8>> {
    let ids: Vec<String> = app
        .client
        .all_pages("/v1/messages", 100)
        .await
        .iter()
        .map(|m| crate::support::client::text(m, "/id"))
        .collect();
    assert_eq!(ids.len(), count);
    for id in ids {
        app.client.ended(&id).await;
    }
    let mut mails: Vec<Vec<u8>> =
        sink.wait_for(count, PATIENCE).await.into_iter().map(|mail| mail.text).collect();
    mails.sort();
    mails.dedup();
    mails
}

fn tool(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "{} is missing: run scripts/install-test-tools.sh", path.display());
    path
}

/// Runs a verifier on all mails; gives what it says of each.
fn judged(mut command: Command, mails: &[Vec<u8>], zone: &Value) -> Vec<Value> {
    let encoded: Vec<_> = mails.iter().map(|mail| STANDARD.encode(mail)).collect();
    let input = json!({ "dns": zone, "mails": encoded }).to_string();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn dkimpy(mails: &[Vec<u8>], zone: &Value) -> Vec<Value> {
    let mut command = Command::new(tool("target/verifiers/dkim-python/bin/python3"));
    command.arg(tool("tests/verifiers/dkim/verify.py"));
    judged(command, mails, zone)
}

fn mailauth(mails: &[Vec<u8>], zone: &Value) -> Vec<Value> {
    let mut command = Command::new("node");
    command.arg(tool("tests/verifiers/dkim/verify.mjs")).arg(tool("target/verifiers/dkim-node"));
    judged(command, mails, zone)
}

/// Whether OpenDKIM finds our RSA signature good.
fn opendkim(mail: &[u8], zone: &BTreeMap<String, String>, directory: &Path) -> String {
    let data: String = zone.iter().map(|(name, text)| format!("{name} {text}\n")).collect();
    std::fs::write(directory.join("zone"), data).expect("written");
    std::fs::write(
        directory.join("conf"),
        format!("Mode v\nTestDNSData file:{}\n", directory.join("zone").display()),
    )
    .expect("written");
    std::fs::write(directory.join("mail"), mail).expect("written");
    let output = Command::new("/usr/sbin/opendkim")
        .args(["-v", "-x"])
        .arg(directory.join("conf"))
        .arg("-t")
        .arg(directory.join("mail"))
        .output()
        .expect("opendkim is missing: run scripts/install-test-tools.sh");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn assert_all_pass(mails: &[Vec<u8>], zone: &Value) {
    let by_python = dkimpy(mails, zone);
    let by_node = mailauth(mails, zone);
    assert_eq!((by_python.len(), by_node.len()), (mails.len(), mails.len()));
    let directory = tempfile::tempdir().expect("a directory");
    let names = zone.as_object().expect("a zone").iter();
    let names: BTreeMap<_, _> =
        names.map(|(name, text)| (name.clone(), text.as_str().expect("a text").to_owned())).collect();
    for ((mail, python), node) in mails.iter().zip(&by_python).zip(&by_node) {
        let shown = String::from_utf8_lossy(&mail[..mail.len().min(6000)]);
        assert_eq!(
            python.as_array().map(|all| &all[..2]),
            Some(&[json!("pass"), json!("pass")][..]),
            "{shown}"
        );
        let node: Vec<_> = node.as_array().expect("signatures").iter().take(2).collect();
        for (signature, method) in node.iter().zip(["rsa-sha256", "ed25519-sha256"]) {
            assert_eq!(
                (&signature["result"], &signature["algorithm"]),
                (&json!("pass"), &json!(method)),
                "{signature:#}\n{shown}"
            );
        }
        assert_eq!(node.len(), 2, "{shown}");
        let said = opendkim(mail, &names, directory.path());
        assert!(said.contains("succeeded"), "{said}\n{shown}");
    }
}

#[tokio::test]
async fn three_verifiers_find_every_signature_good() {
    let (mails, zone) = arrived(&[]).await;
    assert!(mails.len() > 20, "{}", mails.len());
    assert_all_pass(&mails, &zone);
}

// What is encoded anew for a peer of seven bits is signed as it goes.
#[tokio::test]
async fn and_so_they_do_when_the_peer_takes_seven_bits_only() {
    let (mails, zone) = arrived(&["PIPELINING", "SIZE 26214400", "ENHANCEDSTATUSCODES"]).await;
    assert!(mails.iter().all(|mail| mail.is_ascii()));
    assert_all_pass(&mails, &zone);
}

#[tokio::test]
async fn the_verifiers_see_what_is_wrong() {
    let (mails, zone) = arrived(&[]).await;
    let spoilt: Vec<Vec<u8>> = mails
        .iter()
        .map(|mail| {
            let text = String::from_utf8_lossy(mail).into_owned();
            format!("{text}One more line.\r\n").into_bytes()
        })
        .collect();
    assert!(dkimpy(&spoilt, &zone).iter().all(|all| all[0] != "pass" && all[1] != "pass"));
    assert!(mailauth(&spoilt, &zone).iter().all(|all| all[0]["result"] != "pass"));
    let forged: Vec<Vec<u8>> =
        mails.iter().map(|mail| [b"From: evil@evil.example\r\n".as_slice(), mail].concat()).collect();
    assert!(
        dkimpy(&forged, &zone).iter().all(|all| all[0] != "pass"),
        "From is signed once more than it is there"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let empty = BTreeMap::new();
    assert!(!opendkim(&mails[0], &empty, directory.path()).contains("succeeded"));
}
