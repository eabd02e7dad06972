//! Running the providers' own clients, and looking at what they sent.

use std::path::PathBuf;
use std::process::Stdio;

use mail_parser::{MessageParser, MimeHeaders};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::app::{KEY, TestApp};
use crate::support::captured::{Arrived, field};
use crate::support::client::PATIENCE;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a script of `tests/compat-clients` against a postroad; gives the JSON that it prints.
pub async fn run(app: &TestApp, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    judge(script, arguments, environment, Some(app.client.url()), "").await
}

/// Runs a script that only reads; gives the JSON that it prints.
pub async fn read(script: &str, input: &str) -> Value {
    judge(script, &[], &[], None, input).await
}

async fn judge(
    script: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    url: Option<&str>,
    input: &str,
) -> Value {
    let set = root().join("target/compat-clients");
    let program =
        if script.ends_with(".py") { set.join("python/bin/python3") } else { PathBuf::from("node") };
    let mut command = Command::new(&program);
    command
        .arg(root().join("tests/compat-clients").join(script))
        .args(arguments)
        .env("NODE_PATH", set.join("node/node_modules"))
        .env("POSTROAD_URL", url.unwrap_or_default())
        .env("POSTROAD_KEY", KEY)
        .env("NO_PROXY", "*")
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?}: {error}; run scripts/install-test-tools.sh"));
    let mut stdin = child.stdin.take().expect("piped");
    // A script that does not read is not wrong for it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE * 2, child.wait_with_output())
        .await
        .expect("an end in time")
        .expect("our child");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {said}{complained}");
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{script}: {said}{complained}"))
}

/// All octets, as the scripts attach them.
pub fn every_octet() -> Vec<u8> {
    (0..=255).collect()
}

/// Holds against the mail that every script sends first: addressees, names, bodies, the files octet for octet, and the
/// caller's header; sent to three recipients, one of them in no header.
pub async fn assert_whole(app: &TestApp, id: &str) {
    let arrived = assert_written(app, id).await;
    let mail = MessageParser::default().parse(&arrived.raw).expect("a mail");
    // Some clients name it by its content id.
    let html = mail.body_html(0).expect("HTML");
    let logo = mail.attachments().find(|part| part.contents() == b"PNG").expect("the picture");
    let content_id = logo.content_id().expect("it is inline");
    assert!(html.contains(&format!("cid:{content_id}")), "{html} shows {content_id}");
}

/// The same without the picture, for providers that have none.
pub async fn assert_written(app: &TestApp, id: &str) -> Arrived {
    app.client.ended(id).await;
    let mut arrived = app.client.arrived(id).await;
    let mut recipients: Vec<&str> =
        arrived.iter().flat_map(|mail| &mail.recipients).map(String::as_str).collect();
    recipients.sort_unstable();
    recipients.retain(|recipient| *recipient != "dora@example.net");
    assert_eq!(recipients, ["ann@example.net", "bob@example.net", "carl@example.net"]);
    let raw = &arrived[0].raw;
    let mail = MessageParser::default().parse(raw).expect("a mail");
    let from = mail.from().and_then(|from| from.first()).expect("an author");
    assert_eq!((from.name(), from.address()), (Some("Acme, Inc."), Some("hello@acme.example")));
    let to = mail.to().and_then(|to| to.first()).expect("an addressee");
    assert_eq!((to.name(), to.address()), (Some("Ann Ä"), Some("ann@example.net")));
    assert_eq!(mail.subject(), Some("Grüße"));
    assert_eq!(field(raw, "Cc"), "carl@example.net");
    assert_eq!(field(raw, "Reply-To"), "help@acme.example");
    assert_eq!(field(raw, "X-Order"), "7");
    assert!(!String::from_utf8_lossy(raw).contains("bob@"), "a blind copy is in no header");
    assert_eq!(mail.body_text(0).as_deref().map(str::trim_end), Some("Hallo Ann"));
    let file = mail.attachments().find(|part| part.attachment_name() == Some("ü.bin")).expect("the file");
    assert_eq!(file.contents(), every_octet());
    arrived.swap_remove(0)
}

/// What arrived of a message, by its only recipient.
pub async fn by_recipient(app: &TestApp, id: &str) -> Vec<(String, Arrived)> {
    app.client.ended(id).await;
    let arrived = app.client.arrived(id).await;
    let mut all: Vec<(String, Arrived)> =
        arrived.into_iter().map(|mail| (mail.recipients[0].clone(), mail)).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// The text of a mail.
pub fn text_of(arrived: &Arrived) -> String {
    let mail = MessageParser::default().parse(&arrived.raw).expect("a mail");
    mail.body_text(0).unwrap_or_default().trim_end().to_owned()
}
