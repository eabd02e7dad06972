//! Many recipients in one call, each with a mail of his own.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::captured::{contains, field};
use crate::support::client::{PATIENCE, statuses};
use crate::support::sink::{SmtpSink, Step, close, reply, take, tries, usual};

use super::*;

/// A mail of their own for each of these.
fn to_each(recipients: Value) -> Value {
    json!({
        "from": "Acme <hello@acme.example>", "reply_to": "help@acme.example", "subject": "Hi {{name}}",
        "text": "{{greeting}}, {{name}}.", "html": "<p>{{greeting}}, {{name}}.</p>",
        "variables": { "greeting": "Hello" }, "recipients": recipients,
        "headers": { "X-Order": "7" },
        "attachments": [{ "filename": "a.bin", "content": "AAECAw==" }],
        "metadata": { "campaign": "c", "who": "all" },
    })
}

fn delivery(answer: &Answer, index: usize) -> String {
    answer.text(&format!("/deliveries/{index}/id"))
}

async fn accepted(client: &Client, body: Value) -> Answer {
    let answer = client.post("/v1/messages", body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
    answer
}

/// The mail as it is stored for a delivery.
async fn stored(client: &Client, answer: &Answer, index: usize) -> Vec<u8> {
    let (id, delivery) = (answer.text("/id"), delivery(answer, index));
    client.download(&format!("/v1/messages/{id}/raw?delivery={delivery}")).await
}

/// What Python's email package holds against mails; nothing, if they are well.
fn defects(mails: &[Vec<u8>]) -> String {
    const JUDGE: &str = "import sys, json, base64, email, email.policy\n\
        for line in sys.stdin:\n\
        \x20   m = email.message_from_bytes(base64.b64decode(line), policy=email.policy.default)\n\
        \x20   parts = list(m.walk())\n\
        \x20   bad = [repr(d) for p in parts for d in p.defects] + [repr(d) for n, v in m.items() for d in getattr(v, 'defects', [])]\n\
        \x20   if bad: print(bad)\n";
    let mut python = Command::new("python3")
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut input = python.stdin.take().expect("piped");
    for mail in mails {
        writeln!(input, "{}", data_encoding::BASE64.encode(mail)).expect("written");
    }
    drop(input);
    let output = python.wait_with_output().expect("ended");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn each_gets_a_mail_of_his_own_alone_in_its_to() {
    let sink = SmtpSink::builder().start().await;
    let app = towards(sink.address().port()).await;
    let answer = accepted(
        &app.client,
        to_each(json!([
            { "to": "Ann <ann@example.net>", "variables": { "name": "Ann & <Co>" }, "metadata": { "who": "ann" } },
            { "to": "bob@example.net", "variables": { "name": "Bob", "greeting": "Servus" },
              "cc": "carl@example.net", "bcc": ["dora@example.net"] },
            { "to": "ann@example.net", "variables": { "name": "Ann again" } },
        ])),
    )
    .await;
    let recipients: Vec<_> = answer.list("/deliveries").iter().map(|it| it["recipient"].clone()).collect();
    assert_eq!(
        recipients,
        ["ann@example.net", "bob@example.net", "carl@example.net", "dora@example.net", "ann@example.net"]
    );
    let id = answer.text("/id");
    let message = app.client.ended(&id).await;
    assert_eq!(statuses(&message), ["delivered"; 5]);
    assert_eq!(message["subject"], "Hi Ann & <Co>");
    let roles: Vec<_> =
        message["deliveries"].as_array().expect("five").iter().map(|it| it["role"].clone()).collect();
    assert_eq!(roles, ["to", "to", "cc", "bcc", "to"]);

    let mails = sink.wait_for(5, PATIENCE).await;
    for index in 0..5 {
        let form = stored(&app.client, &answer, index).await;
        let same = mails.iter().filter(|mail| mail.text.ends_with(&form)).count();
        assert_eq!(same, if (1..4).contains(&index) { 3 } else { 1 }, "{}", String::from_utf8_lossy(&form));
    }
    let ann = stored(&app.client, &answer, 0).await;
    assert_eq!(field(&ann, "To"), "Ann <ann@example.net>");
    assert_eq!(field(&ann, "Subject"), "Hi Ann & <Co>");
    assert_eq!(field(&ann, "X-Order"), "7");
    assert!(contains(&ann, "Hello, Ann &amp; <Co>.") || contains(&ann, "Hello, Ann &amp; &lt;Co&gt;."));
    assert!(contains(&ann, "AAECAw=="));
    let bob = stored(&app.client, &answer, 1).await;
    assert_eq!((field(&bob, "To"), field(&bob, "Cc")), ("bob@example.net".into(), "carl@example.net".into()));
    assert!(contains(&bob, "Servus, Bob.") && !contains(&bob, "dora") && !contains(&bob, "ann"));
    let ids: BTreeSet<String> = mails.iter().map(|mail| field(&mail.text, "Message-ID")).collect();
    assert_eq!(ids.len(), 3, "one for each mail: {ids:?}");
    assert_eq!(app.client.download(&format!("/v1/messages/{id}/raw")).await, ann, "the first one's");

    let events = app.client.all_pages(&format!("/v1/events?message_id={id}&type=delivered"), 100).await;
    let who = |wanted: &str| {
        let event = events.iter().find(|event| event["delivery_id"] == wanted).expect("told");
        event["metadata"].clone()
    };
    assert_eq!(who(&delivery(&answer, 0)), json!({ "campaign": "c", "who": "ann" }));
    assert_eq!(who(&delivery(&answer, 1)), json!({ "campaign": "c", "who": "all" }));
    let raws: Vec<Vec<u8>> = mails.into_iter().map(|mail| mail.text).collect();
    assert_eq!(defects(&raws), "");
    assert_eq!(app.database.count("SELECT count(*) FROM bodies").await, 1, "one body for all");
    app.stop().await;
}

#[tokio::test]
async fn a_second_copy_is_the_same_octets_from_memory_and_from_the_table() {
    let lost = take().then(close());
    let sink = SmtpSink::builder().on(Step::Dot, tries([lost, usual()])).start().await;
    let app = towards(sink.address().port()).await;
    let mjml = "<mjml><mj-body><mj-section><mj-column><mj-text>{{name}}</mj-text></mj-column></mj-section></mj-body></mjml>";
    template(&app.client, json!({ "alias": "t", "subject": "Hi {{name}}", "mjml": mjml })).await;
    let body = json!({
        "from": "hello@acme.example", "template": { "id": "t" },
        "recipients": [{ "to": "ann@example.net", "variables": { "name": "Änn" } }],
        "attachments": [{ "filename": "a.txt", "content": "YQ==", "content_id": "a" }],
    });
    let answer = accepted(&app.client, body).await;
    let id = answer.text("/id");
    app.client.until(&id, |message| message["deliveries"][0]["attempts"] != json!([])).await;
    // What it was made of is gone: the mail keeps it.
    app.client.delete("/v1/templates/t").await;
    app.database.make_due().await;
    app.client.ended(&id).await;

    let copies = sink.every_mail();
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0].text, copies[1].text);
    assert!(copies[1].text.ends_with(&stored(&app.client, &answer, 0).await));
    app.stop().await;
}

#[tokio::test]
async fn scheduled_and_deferred_mail_is_composed_out_of_the_table() {
    let sink = SmtpSink::builder().on(Step::Rcpt, tries([reply("451 4.7.1 later"), usual()])).start().await;
    let app = towards(sink.address().port()).await;
    let recipients = json!([
        { "to": "ann@example.net", "variables": { "name": "Ann" } },
        { "to": "bob@example.net", "variables": { "name": "Bob" } },
    ]);
    let answer = accepted(&app.client, to_each(recipients)).await;
    let id = answer.text("/id");
    let tried = |message: &Value| {
        message["deliveries"].as_array().expect("two").iter().all(|it| it["attempts"] != json!([]))
    };
    app.client.until(&id, tried).await;
    app.database.make_due().await;
    app.client.ended(&id).await;
    let mails = sink.wait_for(2, PATIENCE).await;
    for index in 0..2 {
        let form = stored(&app.client, &answer, index).await;
        assert_eq!(mails.iter().filter(|mail| mail.text.ends_with(&form)).count(), 1);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_mail_sent_again_is_each_ones_own_again() {
    let app = TestApp::start().await;
    let recipients = json!([
        { "to": "Ann <ann@example.net>", "variables": { "name": "Ann" }, "metadata": { "who": "ann" } },
        { "to": "bob@example.net", "variables": { "name": "Bob" }, "cc": "carl@example.net", "bcc": "dora@example.net" },
    ]);
    let first = accepted(&app.client, to_each(recipients)).await;
    let again = app.client.post(&format!("/v1/messages/{}/resend", first.text("/id")), json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{:#}", again.body);
    let addresses = |answer: &Answer| -> Vec<Value> {
        answer.list("/deliveries").iter().map(|it| it["recipient"].clone()).collect()
    };
    assert_eq!(addresses(&again), addresses(&first));
    for index in 0..4 {
        let [old, new] = [stored(&app.client, &first, index).await, stored(&app.client, &again, index).await];
        let names = ["To", "Subject", "X-Order", "Reply-To", "Cc"];
        for name in &names[..if index == 0 { 4 } else { 5 }] {
            assert_eq!(field(&new, name), field(&old, name));
        }
        assert_ne!(field(&new, "Message-ID"), field(&old, "Message-ID"));
    }
    app.stop().await;
}

#[tokio::test]
async fn without_any_variables_all_get_the_same_words_verbatim() {
    let app = TestApp::start().await;
    let body = json!({
        "from": "hello@acme.example", "subject": "{{x}}", "text": "{{y}}",
        "recipients": [{ "to": "ann@example.net" }, { "to": "bob@example.net" }],
    });
    let answer = accepted(&app.client, body).await;
    for (index, to) in ["ann@example.net", "bob@example.net"].iter().enumerate() {
        let form = stored(&app.client, &answer, index).await;
        assert_eq!((field(&form, "To"), field(&form, "Subject")), ((*to).to_owned(), "{{x}}".to_owned()));
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_any_recipient_refuses_the_call_and_is_named() {
    let app = TestApp::start().await;
    let cases = [
        (json!([]), vec![("/recipients", "required")]),
        (json!({}), vec![("/recipients", "wrong_type")]),
        (json!([{ "variables": {} }]), vec![("/recipients/0/to", "required")]),
        (json!([{ "to": "ann" }]), vec![("/recipients/0/to", "invalid_address")]),
        (json!([{ "to": "a@b.example", "nmae": 1 }]), vec![("/recipients/0/nmae", "unknown_field")]),
        (
            json!([{ "to": "a@b.example", "variables": { "name": 1 } }, { "to": "c@d.example" }]),
            vec![("/recipients/1/variables/name", "missing_variable")],
        ),
        (
            json!([{ "to": "a@b.example", "variables": { "name": "x\r\nBcc: e@f.example" } }, { "to": "c@d.example", "variables": { "name": "\n" } },
                   { "to": "c@d.example", "variables": { "name": "a\u{2028}b" } }]),
            vec![
                ("/recipients/0/variables", "invalid_subject"),
                ("/recipients/2/variables", "invalid_subject"),
            ],
        ),
        (
            json!([{ "to": "a@b.example", "metadata": { "a": 1 }, "variables": [] }]),
            vec![("/recipients/0/metadata/a", "wrong_type"), ("/recipients/0/variables", "wrong_type")],
        ),
    ];
    for (recipients, expected) in cases {
        let mut found = refused(&app.client, "/v1/messages", to_each(recipients.clone())).await;
        found.sort();
        assert_eq!(found, wrong(&expected), "{recipients}");
    }
    let both = with(
        to_each(json!([{ "to": "a@b.example", "variables": { "name": 1 } }])),
        json!({ "to": "c@d.example" }),
    );
    assert_eq!(refused(&app.client, "/v1/messages", both).await, wrong(&[("/to", "not_with_recipients")]));
    let own_id = with(
        to_each(json!([{ "to": "a@b.example", "variables": { "name": 1 } }])),
        json!({ "headers": { "Message-ID": "<a@b.example>" } }),
    );
    assert_eq!(
        refused(&app.client, "/v1/messages", own_id).await,
        wrong(&[("/headers/Message-ID", "not_with_recipients")])
    );
    assert!(app.client.all_pages("/v1/messages", 100).await.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn the_largest_mail_of_all_decides_whether_they_are_too_large() {
    let app = TestApp::builder().set("POSTROAD_MAX_MESSAGE_BYTES", "60000").start().await;
    let call = |length: usize| {
        to_each(json!([
            { "to": "a@b.example", "variables": { "name": "x" } },
            { "to": "c@d.example", "variables": { "name": "x", "greeting": "y".repeat(length) } },
        ]))
    };
    accepted(&app.client, call(20_000)).await;
    assert_eq!(app.client.post("/v1/messages", call(35_000)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    app.stop().await;
}

#[tokio::test]
async fn a_thousand_recipients_in_one_call_get_a_thousand_mails() {
    let sink = SmtpSink::builder().start().await;
    let app = towards(sink.address().port()).await;
    let recipients: Vec<Value> = (0..1000)
        .map(|n| json!({ "to": format!("r{n}@example.net"), "variables": { "name": format!("N{n}.") } }))
        .collect();
    let began = Instant::now();
    let answer = accepted(&app.client, to_each(json!(recipients))).await;
    println!("accepted within {:?}", began.elapsed());
    assert_eq!(answer.list("/deliveries").len(), 1000);
    let mails = sink.wait_for(1000, PATIENCE * 4).await;
    println!("delivered within {:?}", began.elapsed());
    let told: BTreeSet<(String, String)> =
        mails.iter().map(|mail| (field(&mail.text, "To"), field(&mail.text, "Subject"))).collect();
    let wanted = (0..1000).map(|n| (format!("r{n}@example.net"), format!("Hi N{n}."))).collect();
    assert_eq!(told, wanted);
    for mail in mails.iter().step_by(100) {
        assert_eq!(mail.to(), [field(&mail.text, "To").as_str()]);
    }
    let bodies = app.database.count("SELECT sum(length(raw)) FROM bodies").await;
    assert!(bodies < 4000, "the words are stored once: {bodies} octets");
    let mut many: Vec<Value> = recipients;
    many.push(json!({ "to": "one@example.net", "variables": { "name": "too many" } }));
    assert_eq!(
        refused(&app.client, "/v1/messages", to_each(json!(many))).await,
        wrong(&[("/recipients", "too_many")])
    );
    app.stop().await;
}
