//! What a stranger, Python's email package, reads in the composed mails.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::tests::{Material, file, mailbox, materials};
use super::*;

#[test]
fn composed_mail_has_no_defects_for_pythons_email_package() {
    let mut all = hard_materials();
    let mut runner = TestRunner::deterministic();
    let generated = std::iter::repeat_with(|| materials().new_tree(&mut runner).unwrap().current());
    all.extend(generated.filter(|material| compose(&material.draft()).is_ok()).take(300));
    let mails: Vec<_> = all.iter().map(|material| compose(&material.draft()).unwrap()).collect();

    let read = read_by_python(&mails);

    assert_eq!(read.len(), all.len());
    for ((material, mail), read) in all.iter().zip(&mails).zip(&read) {
        let mail = String::from_utf8_lossy(mail);
        assert_eq!(read["defects"], json!([]), "{mail}");
        assert_fields(material, read, &mail);
        assert_texts(material, read, &mail);
        assert_files(material, read, &mail);
    }
    let outlines: Vec<_> = read.iter().take(5).map(|read| read["outline"].clone()).collect();
    assert_eq!(outlines, hard_outlines());
}

fn assert_fields(material: &Material, read: &Value, mail: &str) {
    assert_eq!(read["subject"], json!(material.subject.trim_matches([' ', '\t'])), "{mail}");
    // Python before 3.13 puts a space between the parts of a name too long for one encoded word.
    let dense = |text: &str| text.replace(' ', "");
    let wanted = |mailbox: &Mailbox| {
        (dense(mailbox.name.as_deref().unwrap_or_default()), dense(mailbox.address.as_str()))
    };
    let found = |pair: &Value| (dense(pair[0].as_str().unwrap()), dense(pair[1].as_str().unwrap()));
    let all_found = |name: &str| read[name].as_array().unwrap().iter().map(found).collect::<Vec<_>>();
    assert_eq!(all_found("from"), [wanted(&material.from)], "{mail}");
    assert_eq!(all_found("to"), material.to.iter().map(wanted).collect::<Vec<_>>(), "{mail}");
}

/// Line ends aside: Python gives them as they were sent.
fn assert_texts(material: &Material, read: &Value, mail: &str) {
    let bare = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n").trim_end_matches('\n').to_owned();
    assert_eq!(read["html"].as_str().map(bare), material.html.as_deref().map(bare), "{mail}");
    if material.text.is_some() {
        assert_eq!(read["text"].as_str().map(bare), material.text.as_deref().map(bare), "{mail}");
    }
}

fn assert_files(material: &Material, read: &Value, mail: &str) {
    // An attached message is not a file to Python; its outline is looked at instead.
    let files = material.attachments.iter().filter(|file| file.filename() != "m.eml").map(|file| {
        let place = if file.content_id().is_some() { "inline" } else { "attachment" };
        let id = file.content_id().map(|id| format!("<{id}>"));
        json!([file.filename(), place, id, STANDARD.encode(file.content())]).to_string()
    });
    let mut wanted: Vec<_> = files.collect();
    let mut found: Vec<_> = read["files"].as_array().unwrap().iter().map(Value::to_string).collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted, "{mail}");
}

/// Mails with all that is hard to write.
fn hard_materials() -> Vec<Material> {
    let mut full = Material::new();
    full.from = mailbox("\"Müller, Jörg (Sales)\" <joerg@müller.example>");
    full.to = (0..40).map(|i| mailbox(&format!("\"Récipient, {i}\" <r{i}@example.net>"))).collect();
    full.subject =
        format!("Grüße  aus 日本 =?utf-8?q?x?= {}", "und noch mehr davon ".repeat(20)).trim().to_owned();
    full.text = Some("Zeile eins äöü\n.\nFrom here\n--=_mix\n".to_owned() + &"lang ".repeat(300));
    full.html = Some(format!("<p>{}</p>\n<img src=\"cid:logo@acme\">", "日本語".repeat(400)));
    full.headers = vec![
        Header::new(
            "List-Unsubscribe",
            &format!("<https://acme.example/{}>, <mailto:u@acme.example>", "u".repeat(200)),
        )
        .unwrap(),
        Header::new("References", &"<0123456789abcdef@acme.example> ".repeat(30)).unwrap(),
        Header::new("X-Ümlaut".replace('Ü', "U").as_str(), &"Ü wie Übermut, ".repeat(30)).unwrap(),
    ];
    full.attachments = vec![
        file("plain.bin", None, &[0, 10, 13, 10, 255]),
        file(&format!("{}.pdf", "sehr langer Name ".repeat(12)), None, b"x"),
        file("quote\"back\\slash;semi.txt", None, b"x"),
        file("履歴書 – Lebenslauf für Jörg Müller (endgültig).pdf", None, b"x"),
        file("logo.png", Some("logo@acme"), b"png"),
    ];
    let mut bare = Material::new();
    bare.subject = String::new();
    bare.text = None;
    let mut html = Material::new();
    html.text = None;
    html.html = Some("<p>ü</p>".to_owned());
    let mut files = Material::new();
    files.text = None;
    files.to.clear();
    files.attachments = vec![file("inline without html", Some("x"), b"")];
    let mut forward = Material::new();
    let inner = Bytes::from(full.composed());
    forward.attachments = vec![Attachment::new("m.eml", "message/rfc822", None, inner).unwrap()];
    vec![full, bare, html, files, forward]
}

/// How Python must see their parts.
fn hard_outlines() -> [Value; 5] {
    let related = json!(["multipart/related", ["text/html", "application/x-test"]]);
    let both = json!(["multipart/alternative", ["text/plain", related]]);
    let file = "application/x-test";
    let full = json!(["multipart/mixed", [both, file, file, file, file]]);
    let forward = json!(["multipart/mixed", ["text/plain", ["message/rfc822", [full.clone()]]]]);
    [full, json!("text/plain"), json!("text/html"), json!(["multipart/mixed", [file]]), forward]
}

/// Has Python's email package read the mails.
fn read_by_python(mails: &[Vec<u8>]) -> Vec<Value> {
    let mut python = Command::new("python3")
        .args(["-c", include_str!("read.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed by this test");
    let lines: Vec<_> = mails.iter().map(|mail| STANDARD.encode(mail)).collect();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
