//! Notices to submitters (RFC 3461): who is told what, once, and in what form.

use serde_json::json;

use crate::support::captured::field;
use crate::support::sink::{Mail, SmtpSink, Step, at, reply};

use super::*;

const DEAD: &str = "bounced@simulator.postroad.test";
const ALIVE: &str = "delivered@simulator.postroad.test";

/// Says these commands and sends a mail; gives its id.
async fn submit(client: &mut Raw, mail: &str, recipients: &[&str]) -> String {
    assert_eq!(client.ask(format!("MAIL FROM:{mail}\r\n")).await, "250 2.1.0 Ok", "{mail}");
    for recipient in recipients {
        assert_eq!(client.ask(format!("RCPT TO:{recipient}\r\n")).await, "250 2.1.5 Ok", "{recipient}");
    }
    client.ask("DATA\r\n").await;
    queued(&client.ask(format!("{TEXT}\r\n.\r\n")).await)
}

/// A postroad whose notices go to a sink.
async fn with_sink() -> (Doors, SmtpSink) {
    let sink = SmtpSink::builder().start().await;
    let doors = Doors::of(TestApp::builder().relay(sink.address().port())).await;
    (doors, sink)
}

/// Waits until all notices are written, and gives what the sink has.
async fn told(doors: &Doors, sink: &SmtpSink, count: usize) -> Vec<Mail> {
    let mails = sink.wait_for(count, PATIENCE).await;
    settled(doors).await;
    assert_eq!(sink.received().len(), count, "nothing else was told");
    mails
}

/// Waits until there is nothing left to send or to tell.
async fn settled(doors: &Doors) {
    let began = std::time::Instant::now();
    let open = "SELECT (SELECT count(*) FROM notices) + (SELECT count(*) FROM queue)";
    while doors.app.database.count(open).await > 0 {
        assert!(began.elapsed() < PATIENCE, "something is left");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_bounce_is_told_to_the_return_path_with_a_null_sender() {
    let (doors, sink) = with_sink().await;
    let mut client = doors.logged_in().await;
    let dead = format!("<{DEAD}> NOTIFY=FAILURE ORCPT=rfc822;Bob+2Bx@example.net");
    submit(&mut client, "<bounces@acme.example> RET=FULL ENVID=QQ+20314159", &[&dead, &format!("<{ALIVE}>")])
        .await;

    let mails = told(&doors, &sink, 1).await;
    assert_eq!((mails[0].from.as_str(), mails[0].to()), ("", vec!["bounces@acme.example"]));
    let notice = &mails[0].text;
    assert_eq!(field(notice, "To"), "bounces@acme.example");
    assert_eq!(field(notice, "Auto-Submitted"), "auto-replied");
    let text = mails[0].text();
    for line in [
        "Reporting-MTA: dns; mail.postroad.test\r\n",
        "Original-Envelope-Id: QQ 314159\r\n",
        "Original-Recipient: rfc822; Bob+x@example.net\r\n",
        "Final-Recipient: rfc822; bounced@simulator.postroad.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 simulated: no such mailbox\r\n",
        "Subject: Hello\r\n",
        "Hello, Ann.\r\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains(ALIVE), "of a delivery nobody wanted to hear");
    judged(notice).await;
    doors.close().await;
}

/// What Python thinks of a notice: no defects, and the three parts of RFC 3462.
async fn judged(notice: &[u8]) {
    let script = "import sys, email, email.policy\n\
         m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)\n\
         assert not [d for p in m.walk() for d in p.defects], [p.defects for p in m.walk()]\n\
         print(m.get_content_type(), m.get_param('report-type'), [p.get_content_type() for p in m.iter_parts()])\n";
    let output = super::clients::run_with("python3", &["-c", script], &String::from_utf8_lossy(notice)).await;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "multipart/report delivery-status ['text/plain', 'message/delivery-status', 'message/rfc822']",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn success_is_told_if_it_was_asked_for() {
    let (doors, sink) = with_sink().await;
    let mut client = doors.logged_in().await;
    submit(
        &mut client,
        "<a@acme.example>",
        &[&format!("<{ALIVE}> NOTIFY=SUCCESS"), &format!("<{DEAD}> NOTIFY=SUCCESS")],
    )
    .await;
    let mails = told(&doors, &sink, 1).await;
    let text = mails[0].text();
    assert!(
        text.contains(&format!("Final-Recipient: rfc822; {ALIVE}\r\nAction: relayed\r\nStatus: 2.0.0\r\n")),
        "{text}"
    );
    assert!(
        text.contains("Content-Type: text/rfc822-headers\r\n") && !text.contains("Hello, Ann."),
        "{text}"
    );
    doors.close().await;
}

#[tokio::test]
async fn a_delay_is_told_once_and_an_expiry_at_last() {
    let (doors, sink) = with_sink().await;
    sink.set(at(Step::Rcpt).of("late@"), reply("451 4.7.1 later"));
    let mut client = doors.logged_in().await;
    let id = submit(&mut client, "<a@acme.example>", &["<late@example.net> NOTIFY=DELAY,FAILURE"]).await;
    let attempts = |count: usize| {
        let doors = &doors;
        let id = id.clone();
        async move {
            let enough = |message: &serde_json::Value| {
                message["deliveries"][0]["attempts"].as_array().is_some_and(|list| list.len() >= count)
            };
            doors.app.client.until(&id, enough).await
        }
    };
    attempts(1).await;
    assert_eq!(sink.received().len(), 0, "nothing is late yet");
    for (seconds, tries) in [(3700, 2), (60, 3), (4 * 3600, 4)] {
        doors.app.database.age(seconds).await;
        attempts(tries).await;
    }
    let mails = sink.wait_for(1, PATIENCE).await;
    let text = mails[0].text();
    assert!(
        text.contains("Action: delayed\r\nStatus: 4.7.1\r\n") && text.contains("Will-Retry-Until: "),
        "{text}"
    );

    doors.app.database.age(5 * 24 * 3600).await;
    let mails = told(&doors, &sink, 2).await;
    let text = mails[1].text();
    assert!(text.contains("Action: failed\r\nStatus: 5.4.7\r\n"), "{text}");
    doors.close().await;
}

#[tokio::test]
async fn who_did_not_ask_has_no_sender_or_used_http_is_told_nothing() {
    let (doors, sink) = with_sink().await;
    let mut client = doors.logged_in().await;
    submit(&mut client, "<a@acme.example>", &[&format!("<{DEAD}> NOTIFY=NEVER")]).await;
    submit(&mut client, "<>", &[&format!("<{DEAD}> NOTIFY=SUCCESS,FAILURE,DELAY")]).await;
    submit(&mut client, "<a@acme.example>", &[&format!("<{ALIVE}>")]).await;
    let by_http = doors.app.client.send_mail(crate::support::client::mail(DEAD)).await;
    doors.app.client.ended(&by_http).await;
    // A notice that cannot be delivered is not answered by another.
    let to_nowhere = submit(&mut client, &format!("<{DEAD}>"), &[&format!("<{DEAD}>")]).await;
    doors.app.client.ended(&to_nowhere).await;
    // Without NOTIFY a failure is told: it comes after all those.
    submit(&mut client, "<told@acme.example>", &[&format!("<{DEAD}>")]).await;
    let mails = told(&doors, &sink, 1).await;
    assert_eq!(mails[0].to(), ["told@acme.example"]);
    let listed = doors.app.client.all_pages("/v1/messages", 100).await;
    assert_eq!(listed.len(), 6 + 2, "six mails, the notice to nowhere, and the one that was told");
    doors.close().await;
}

#[tokio::test]
async fn a_tenant_may_want_no_notices_or_delays_too() {
    let (doors, sink) = with_sink().await;
    let account = doors.app.account("quiet").await;
    let path = format!("/v1/tenants/{}", account.tenant);
    let set = doors.app.client.patch(&path, json!({ "dsn": "never" })).await;
    assert_eq!((set.status.as_u16(), &set.body["dsn"]), (200, &json!("never")));
    let wrong = doors.app.client.patch(&path, json!({ "dsn": "sometimes" })).await;
    assert_eq!((wrong.status.as_u16(), wrong.text("/errors/0/pointer").as_str()), (422, "/dsn"));
    let key = account.client.make_key(json!({ "name": "x", "scopes": ["send"] })).await.secret;
    let mut quiet = doors.logged_in_with(&key).await;
    let id = submit(&mut quiet, "<a@acme.example>", &[&format!("<{DEAD}> NOTIFY=FAILURE")]).await;
    account.client.ended(&id).await;
    settled(&doors).await;
    assert_eq!(sink.received().len(), 0);

    doors.app.client.patch(&path, json!({ "dsn": "always" })).await;
    sink.set(at(Step::Rcpt).of("late@"), reply("451 4.7.1 later"));
    let id = submit(&mut quiet, "<a@acme.example>", &["<late@example.net>"]).await;
    let tried = |message: &serde_json::Value| {
        message["deliveries"][0]["attempts"].as_array().is_some_and(|list| !list.is_empty())
    };
    account.client.until(&id, tried).await;
    doors.app.database.age(3700).await;
    let mails = sink.wait_for(1, PATIENCE).await;
    assert!(mails[0].text().contains("Action: delayed\r\n"));
    doors.close().await;
}

#[tokio::test]
async fn a_notice_that_is_begun_twice_is_sent_once() {
    let (doors, sink) = with_sink().await;
    let mut client = doors.logged_in().await;
    submit(&mut client, "<a@acme.example>", &[&format!("<{DEAD}>")]).await;
    told(&doors, &sink, 1).await;
    // As after a crash between the notice's commit and the row's end.
    let again = "INSERT INTO notices (event_id, lane, delivery_id, tenant_id, kind, due_at)
         SELECT id, lane, delivery_id, tenant_id, 'failed', now() FROM events WHERE type = 'bounced'";
    sqlx::query(again).execute(&mut doors.app.database.connect().await).await.expect("as before");
    told(&doors, &sink, 1).await;
    assert_eq!(doors.app.client.all_pages("/v1/messages", 100).await.len(), 2);
    doors.close().await;
}

#[tokio::test]
async fn a_peer_with_dsn_is_told_what_was_asked_and_asked_for_every_failure() {
    let (doors, sink) = with_sink().await;
    sink.set_keywords(["PIPELINING", "SIZE 1000000", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES"]);
    let mut client = doors.logged_in().await;
    let id = submit(
        &mut client,
        "<a@acme.example> RET=HDRS ENVID=QQ+20314159",
        &["<ann@example.net> NOTIFY=DELAY ORCPT=rfc822;Ann@example.net"],
    )
    .await;
    doors.app.client.ended(&id).await;
    let plain = submit(&mut client, "<a@acme.example>", &["<bob@example.net> NOTIFY=NEVER"]).await;
    doors.app.client.ended(&plain).await;
    let mails = told(&doors, &sink, 2).await;
    let params = |mail: &Mail| {
        let of_mail =
            mail.params.iter().filter(|param| param.starts_with("RET") || param.starts_with("ENVID"));
        of_mail.chain(&mail.recipients[0].params).cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        params(&mails[0]),
        "RET=HDRS ENVID=QQ+20314159 NOTIFY=FAILURE,DELAY ORCPT=rfc822;Ann@example.net"
    );
    assert!(mails[0].from.starts_with("b+"), "it leads back to us: {}", mails[0].from);
    assert_eq!(params(&mails[1]), "NOTIFY=FAILURE");
    doors.close().await;
}

// RFC 8098: read receipts are the recipient's business.
#[tokio::test]
async fn a_request_for_a_read_receipt_passes_through() {
    let (doors, sink) = with_sink().await;
    let text = format!("Disposition-Notification-To: hello@acme.example\r\n{TEXT}");
    queued(&doors.logged_in().await.mail("a@acme.example", &["ann@example.net"], &text).await);
    let mails = sink.wait_for(1, PATIENCE).await;
    assert_eq!(field(&mails[0].text, "Disposition-Notification-To"), "hello@acme.example");
    doors.close().await;
}
