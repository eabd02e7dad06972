//! What is sent is what arrives: each field of `POST /v1/messages`, judged by the octets that came over SMTP.

use mail_parser::{HeaderForm, Message, MessageParser, MimeHeaders, PartType};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::captured::{contains, field, field_names, fields, find};
use crate::support::client::{mail, text};

/// Sends a mail to one recipient and gives its octets as they arrived.
async fn sent(app: &TestApp, body: Value) -> Vec<u8> {
    let id = app.client.send_mail(body).await;
    app.client.only_arrived(&id).await
}

fn parsed(raw: &[u8]) -> Message<'_> {
    MessageParser::default().parse(raw).expect("a mail")
}

/// `mixed(alternative(text/plain text/html) image/png)`.
fn structure(message: &Message<'_>, part: u32) -> String {
    let part = message.part(part).expect("a part");
    let kind = part.content_type();
    match &part.body {
        PartType::Multipart(parts) => {
            let kind = kind.and_then(|kind| kind.subtype()).expect("a subtype");
            let inside: Vec<_> = parts.iter().map(|part| structure(message, *part)).collect();
            format!("{kind}({})", inside.join(" "))
        }
        _ => kind.map_or_else(
            || "none".to_owned(),
            |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()),
        ),
    }
}

fn file(name: &str, content: &[u8], kind: &str, content_id: Option<&str>) -> Value {
    let content = data_encoding::BASE64.encode(content);
    json!({ "filename": name, "content": content, "content_type": kind, "content_id": content_id })
}

#[tokio::test]
async fn text_html_and_both_arrive_as_they_were_given() {
    let app = TestApp::start().await;
    let (plain, html) = ("Grüße\n\n  .\n.leading dots\nFrom here\n", "<p>Zwölf &amp; €</p>\r\n<hr>\r\n");
    let cases = [
        (json!(plain), Value::Null, "text/plain"),
        (Value::Null, json!(html), "text/html"),
        (json!(plain), json!(html), "alternative(text/plain text/html)"),
    ];
    for (text, html_given, wanted) in cases {
        let mut body = mail("ann@example.net");
        body["text"] = text.clone();
        body["html"] = html_given.clone();
        let raw = sent(&app, body).await;
        let message = parsed(&raw);
        assert_eq!(structure(&message, 0), wanted);
        let lines = |text: &str| text.replace("\r\n", "\n");
        if !text.is_null() {
            assert_eq!(lines(&message.body_text(0).expect("text")), plain);
        }
        if !html_given.is_null() {
            let part = message.html_bodies().next().expect("html");
            assert_eq!(lines(part.text_contents().expect("text")), lines(html));
        }
        assert!(raw.is_ascii(), "needs no 8BITMIME");
    }
    app.stop().await;
}

#[tokio::test]
async fn files_are_beside_the_text_and_inline_files_with_the_html() {
    let app = TestApp::start().await;
    let every_octet: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let mut body = mail("ann@example.net");
    body["html"] = json!("<img src=\"cid:logo@acme.example\">");
    body["attachments"] = json!([
        file("all.bin", &every_octet, "application/octet-stream", None),
        file("logo.png", b"\x89PNG", "image/png", Some("logo@acme.example")),
        file("a.txt", b"\n.\n", "text/plain; charset=utf-8", None),
    ]);

    let raw = sent(&app, body).await;

    let message = parsed(&raw);
    assert_eq!(
        structure(&message, 0),
        "mixed(alternative(text/plain related(text/html image/png)) application/octet-stream text/plain)"
    );
    let found = |name: &str| {
        let mut parts = message.parts.iter().filter(|part| part.attachment_name() == Some(name));
        parts.next().unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(found("all.bin").contents(), every_octet);
    assert_eq!(found("a.txt").contents(), b"\n.\n");
    assert_eq!(found("logo.png").content_id(), Some("logo@acme.example"));
    let dispositions = ["all.bin", "logo.png", "a.txt"]
        .map(|name| found(name).content_disposition().expect("a disposition").ctype().to_owned());
    assert_eq!(dispositions, ["attachment", "inline", "attachment"]);
    app.stop().await;
}

#[tokio::test]
async fn base64_may_have_line_breaks_and_a_file_need_not_have_a_type() {
    let app = TestApp::start().await;
    let content: Vec<u8> = (0..200).collect();
    let encoded = data_encoding::BASE64_MIME.encode(&content);
    let mut body = json!({ "from": "a@acme.example", "to": "ann@example.net" });
    body["attachments"] = json!([{ "filename": "x", "content": encoded }]);

    let raw = sent(&app, body).await;

    let message = parsed(&raw);
    let part = message.attachments().next().expect("a file");
    assert_eq!(part.contents(), content);
    assert_eq!(structure(&message, 0), "mixed(application/octet-stream)");
    app.stop().await;
}

#[tokio::test]
async fn every_script_reads_back_from_names_subjects_and_file_names() {
    let app = TestApp::start().await;
    let words = [
        "Grüße aus Köln",
        "你好，世界",
        "مرحبا بالعالم",
        "Привет, мир",
        "😀 👨‍👩‍👧‍👦",
        "\"quoted\", with, commas; and (parens)",
        "a b  c   two and three spaces",
        "=?utf-8?q?not_a_word?=",
        &"sehr länglich ".repeat(30),
    ];
    for word in words {
        let word = word.trim();
        let mut body = mail("ann@example.net");
        body["from"] = json!({ "email": "hello@acme.example", "name": word });
        body["to"] = json!([{ "email": "ann@example.net", "name": word }]);
        body["subject"] = word.into();
        body["text"] = word.into();
        if word.len() < 200 && !word.starts_with("=?") {
            body["attachments"] = json!([file(&format!("{word}.txt"), b"x", "text/plain", None)]);
        }
        let raw = sent(&app, body.clone()).await;
        let message = parsed(&raw);
        assert_eq!(message.subject(), Some(word));
        for address in [message.from(), message.to()] {
            let address = address.and_then(|address| address.first()).expect("an address");
            assert_eq!(address.name(), Some(word), "{}", String::from_utf8_lossy(&raw));
        }
        assert_eq!(message.body_text(0).expect("text").trim_end(), word);
        if body.get("attachments").is_some() {
            let name = message.attachments().next().expect("a file").attachment_name();
            assert_eq!(name, Some(format!("{word}.txt").as_str()));
        }
        let header_end = find(&raw, b"\r\n\r\n").expect("a header");
        assert!(raw[..header_end].is_ascii(), "needs no SMTPUTF8");
        let longest = raw.split(|c| *c == b'\n').map(<[u8]>::len).max();
        assert!(longest <= Some(999), "a line of {longest:?} octets");
    }
    app.stop().await;
}

#[tokio::test]
async fn the_callers_own_fields_identity_and_date_are_kept() {
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    body["headers"] = json!({
        "X-Order": "7",
        "X-Greeting": "Ümläut und 世界",
        "List-Unsubscribe": "<https://acme.example/u/1>, <mailto:u@acme.example>",
        "In-Reply-To": "<first@acme.example>",
        "Message-ID": "<own.id@acme.example>",
        "Date": "Mon, 23 Nov 2026 10:00:00 +0100",
    });

    let answer = app.client.post("/v1/messages", body).await;

    assert_eq!(answer.text("/message_id"), "<own.id@acme.example>");
    let raw = app.client.only_arrived(&answer.text("/id")).await;
    assert_eq!(field(&raw, "Message-ID"), "<own.id@acme.example>");
    assert_eq!(field(&raw, "Date"), "Mon, 23 Nov 2026 10:00:00 +0100");
    assert_eq!(field(&raw, "X-Order"), "7");
    assert_eq!(field(&raw, "In-Reply-To"), "<first@acme.example>");
    let message = parsed(&raw);
    let greeting = message.header_as("X-Greeting", HeaderForm::Text);
    assert_eq!(greeting.first().and_then(|value| value.as_text()), Some("Ümläut und 世界"));
    assert_eq!(field(&raw, "List-Unsubscribe"), "<https://acme.example/u/1>, <mailto:u@acme.example>");
    app.stop().await;
}

#[tokio::test]
async fn a_mail_has_exactly_the_fields_it_needs() {
    let app = TestApp::start().await;

    let answer = app.client.post("/v1/messages", mail("ann@example.net")).await;
    let raw = app.client.only_arrived(&answer.text("/id")).await;

    let names = field_names(&raw);
    let wanted = ["Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type"];
    let encoding = "Content-Transfer-Encoding".to_owned();
    assert_eq!(names.iter().filter(|name| **name != encoding).collect::<Vec<_>>(), wanted, "{names:?}");
    assert_eq!(field(&raw, "From"), "Acme <hello@acme.example>");
    assert_eq!(field(&raw, "To"), "ann@example.net");
    let message_id = field(&raw, "Message-ID");
    assert_eq!(message_id, answer.text("/message_id"));
    assert!(message_id.ends_with("@acme.example>"), "{message_id}");
    app.stop().await;
}

#[tokio::test]
async fn what_is_stored_is_what_went_over_the_wire() {
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    body["text"] = json!(".\n..\n.leading\nlast without end");
    let id = app.client.send_mail(body).await;

    let arrived = app.client.only_arrived(&id).await;
    let stored = app.client.download(&format!("/v1/messages/{id}/raw")).await;

    assert_eq!(String::from_utf8_lossy(&arrived), String::from_utf8_lossy(&stored));
    let message = app.client.get(&format!("/v1/messages/{id}")).await;
    assert_eq!(message.body["size_bytes"], json!(stored.len()));
    app.stop().await;
}

#[tokio::test]
async fn copies_show_cc_and_reply_to_and_no_octet_of_a_blind_one() {
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    body["cc"] = json!(["Bob <bob@example.net>", { "email": "cyd@example.net", "name": "Cyd" }]);
    body["bcc"] = json!(["secret.one@hidden.example", "Two <secret.two@hidden.example>"]);
    body["reply_to"] = json!("Help <help@acme.example>");

    let id = app.client.send_mail(body).await;
    let message = app.client.ended(&id).await;
    let arrived = app.client.arrived(&id).await;

    let mut recipients: Vec<_> = arrived.iter().flat_map(|mail| mail.recipients.clone()).collect();
    recipients.sort();
    let wanted = [
        "ann@example.net",
        "bob@example.net",
        "cyd@example.net",
        "secret.one@hidden.example",
        "secret.two@hidden.example",
    ];
    assert_eq!(recipients, wanted);
    for mail in &arrived {
        assert_eq!(mail.recipients.len(), 1, "one recipient a transaction");
        assert_eq!(field(&mail.raw, "Cc"), "Bob <bob@example.net>, Cyd <cyd@example.net>");
        assert_eq!(field(&mail.raw, "Reply-To"), "Help <help@acme.example>");
        assert!(fields(&mail.raw).iter().all(|(name, _)| !name.eq_ignore_ascii_case("bcc")));
        for trace in ["secret.one", "secret.two", "hidden.example"] {
            assert!(!contains(&mail.raw, trace), "{}", String::from_utf8_lossy(&mail.raw));
            assert!(!mail.return_path.contains(trace));
        }
    }
    let stored = app.client.download(&format!("/v1/messages/{id}/raw")).await;
    assert!(!contains(&stored, "hidden.example"));
    assert_eq!(message["bcc"], json!(["secret.one@hidden.example", "Two <secret.two@hidden.example>"]));
    assert_eq!(message["cc"], json!(["Bob <bob@example.net>", "Cyd <cyd@example.net>"]));
    let roles: Vec<_> =
        message["deliveries"].as_array().expect("a list").iter().map(|d| text(d, "/role")).collect();
    assert_eq!(roles, ["to", "cc", "cc", "bcc", "bcc"]);
    app.stop().await;
}

#[tokio::test]
async fn a_mail_only_to_blind_copies_has_no_address_in_its_header() {
    let app = TestApp::start().await;
    let body = json!({ "from": "a@acme.example", "bcc": "ann@hidden.example", "subject": "s", "text": "t" });

    let raw = sent(&app, body).await;

    assert_eq!(field(&raw, "To"), "undisclosed-recipients:;");
    assert!(!contains(&raw, "hidden.example"));
    app.stop().await;
}

#[tokio::test]
async fn addresses_may_be_texts_objects_or_lists() {
    let app = TestApp::start().await;
    let cases = [
        (json!("ann@example.net"), "ann@example.net"),
        (json!("Ann <ann@example.net>"), "Ann <ann@example.net>"),
        (json!("\"Smith, Ann\" <ann@example.net>"), "\"Smith, Ann\" <ann@example.net>"),
        (json!(["<ann@example.net>"]), "ann@example.net"),
        (json!({ "email": "ann@example.net" }), "ann@example.net"),
        (json!([{ "email": "ann@example.net", "name": "Ann" }]), "Ann <ann@example.net>"),
        (json!({ "email": "ann@example.net", "name": "" }), "ann@example.net"),
        (json!({ "email": "ann@example.net", "name": null }), "ann@example.net"),
    ];
    for (to, shown) in cases {
        let mut body = mail("x@example.net");
        body["to"] = to.clone();
        body["sandbox"] = json!(true);
        let answer = app.client.post("/v1/messages", body).await;
        assert_eq!(answer.text("/deliveries/0/recipient"), "ann@example.net", "{to}");
        let message = app.client.get(&format!("/v1/messages/{}", answer.text("/id"))).await;
        assert_eq!(message.body["to"], json!([shown]), "{to}");
    }
    app.stop().await;
}

#[tokio::test]
async fn labels_and_data_come_back_with_the_message_and_its_events() {
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    let tags = json!(["welcome", "a\"b", "c\\d", "NULL", "{e,f}", "Grüße", "two words"]);
    let metadata = json!({ "order": "7", "quote\"key": "va\\lue", "leer": "", "smile": "😀" });
    body["tags"] = tags.clone();
    body["metadata"] = metadata.clone();
    body["stream"] = json!("news-1");
    body["priority"] = json!("high");

    let id = app.client.send_mail(body).await;
    let message = app.client.ended(&id).await;
    let events = app.client.get(&format!("/v1/messages/{id}/events")).await.list("/data");

    assert_eq!((&message["tags"], &message["metadata"]), (&tags, &metadata));
    assert_eq!((text(&message, "/stream"), text(&message, "/priority")), ("news-1".into(), "high".into()));
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!((&event["tags"], &event["metadata"]), (&tags, &metadata));
        assert_eq!(text(&event, "/stream"), "news-1");
    }
    let raw = app.client.only_arrived(&id).await;
    assert!(!contains(&raw, "welcome") && !contains(&raw, "two words"), "labels stay in the house");
    app.stop().await;
}

#[tokio::test]
async fn a_mail_shows_what_it_was_accepted_with() {
    let app = TestApp::start().await;

    let answer = app.client.post("/v1/messages", mail("Ann <ann@example.net>")).await;
    let message = app.client.ended(&answer.text("/id")).await;

    let mut shown = message.clone();
    let deliveries = shown["deliveries"].take();
    shown.as_object_mut().expect("an object").remove("deliveries");
    let size = app.client.download(&format!("/v1/messages/{}/raw", answer.text("/id"))).await.len();
    let wanted = json!({
        "id": answer.text("/id"),
        "message_id": answer.text("/message_id"),
        "created_at": answer.text("/created_at"),
        "from": "Acme <hello@acme.example>",
        "to": ["Ann <ann@example.net>"],
        "cc": [],
        "bcc": [],
        "reply_to": [],
        "subject": "Hello",
        "stream": "transactional",
        "priority": "normal",
        "tags": [],
        "metadata": {},
        "send_at": null,
        "ttl_seconds": 259_200,
        "size_bytes": size,
        "sandbox": false,
    });
    assert_eq!(shown, wanted);
    let delivery = &deliveries[0];
    assert_eq!(delivery["id"], answer.body["deliveries"][0]["id"]);
    assert_eq!(delivery["attempt_count"], json!(1));
    assert_eq!(delivery["next_attempt_at"], Value::Null);
    assert!(text(delivery, "/ended_at") >= text(&message, "/created_at"));
    app.stop().await;
}

#[tokio::test]
async fn nothing_is_rendered_unless_it_is_asked_for() {
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    body["subject"] = json!("Hi {{name}} %7B%7B");
    body["html"] = json!("<b>{{{name}}}</b> {% if x %}");

    let raw = sent(&app, body).await;

    let message = parsed(&raw);
    assert_eq!(message.subject(), Some("Hi {{name}} %7B%7B"));
    assert_eq!(message.body_html(0).expect("html").trim_end(), "<b>{{{name}}}</b> {% if x %}");
    app.stop().await;
}
