//! Late bounces: a peer had taken the mail, and sends it back.

use super::*;
use crate::support::sink::{SmtpSink, reply};

#[tokio::test]
async fn a_late_bounce_moves_a_delivered_mail_to_bounced_once_however_often_it_comes() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let text = notice(&sent.recipient, "5.1.1", "550 5.1.1 User unknown");

    let address = door(&app);
    let copies = (0..8).map(|_| post(address, "", &sent.return_path, &text));
    for said in futures_util::future::join_all(copies).await {
        assert_eq!(said, "250 2.0.0 Ok: taken");
    }
    assert_eq!(post(address, "", &sent.return_path.to_uppercase(), &text).await, "250 2.0.0 Ok: taken");

    assert_eq!(status(&app, &sent.id).await, "bounced");
    let bounced = events(&app, &sent.id, "bounced").await;
    assert_eq!(bounced.len(), 1, "{bounced:#?}");
    let expected = serde_json::json!({
        "class": "invalid_recipient", "hard": true, "late": true,
        "smtp": { "step": "rcpt", "code": 550, "enhanced": "5.1.1", "text": "User unknown",
                  "host": "mx.example.net", "ip": null, "tls": null },
    });
    assert_eq!(bounced[0]["data"], expected);
    assert_eq!(app.client.event_types(&sent.id).await, ["accepted", "delivered", "bounced"]);
    let outcomes = "SELECT ordinal || ' ' || status::text FROM outcomes ORDER BY ordinal";
    assert_eq!(app.database.texts(outcomes).await, ["0 delivered", "1 bounced"]);
    assert_eq!(suppressed(&app).await, ["ann@example.net  bounce"]);
    let again = app.client.post("/v1/messages", mail("Ann@example.net")).await;
    assert_eq!(again.body["deliveries"][0]["status"], "suppressed");
    app.stop().await;
}

#[tokio::test]
async fn only_evidence_about_the_address_suppresses_it() {
    let app = builder().start().await;
    let cases = [
        ("blocked@example.net", "5.7.1", "554 5.7.1 blocked using zen.spamhaus.org", "reputation_block"),
        ("full@example.net", "5.2.2", "552 5.2.2 mailbox is full", "mailbox_full"),
    ];
    for (recipient, status_code, said, class) in cases {
        let sent = delivered(&app, recipient).await;
        post(door(&app), "", &sent.return_path, &notice(recipient, status_code, said)).await;
        assert_eq!(events(&app, &sent.id, "bounced").await[0]["data"]["class"], class);
    }
    assert_eq!(suppressed(&app).await, [""; 0]);
    for _ in 0..2 {
        let sent = delivered(&app, "full@example.net").await;
        post(door(&app), "", &sent.return_path, &notice("full@example.net", "5.2.2", "552 5.2.2 full")).await;
    }
    assert_eq!(suppressed(&app).await, ["full@example.net  bounce"], "the third within thirty days");
    app.stop().await;
}

#[tokio::test]
async fn delays_successes_answers_and_mail_change_nothing() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let failed = notice(&sent.recipient, "5.1.1", "550 5.1.1 User unknown");
    let harmless = [
        failed.replace("Action: failed", "Action: delayed").replace("5.1.1", "4.4.1"),
        failed.replace("Action: failed", "Action: delivered").replace("5.1.1", "2.0.0"),
        "From: Ann <ann@example.net>\nSubject: Out of Office\nAuto-Submitted: auto-replied\n\n550 5.1.1\n"
            .to_owned(),
        "From: Ann <ann@example.net>\nSubject: Re: Hello\n\nThanks! 550 5.1.1 User unknown\n".to_owned(),
    ];
    for text in harmless {
        assert_eq!(post(door(&app), "", &sent.return_path, &text).await, "250 2.0.0 Ok: taken");
    }
    assert_eq!(app.client.event_types(&sent.id).await, ["accepted", "delivered"]);
    assert_eq!(suppressed(&app).await, [""; 0]);
    app.stop().await;
}

#[tokio::test]
async fn a_forged_or_foreign_token_has_no_mailbox() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let mut peer = Peer::of(door(&app)).await;
    let (local, _) = sent.return_path.split_once('@').expect("an address");
    let mut forged = local.to_owned();
    let last = forged.pop().expect("a token");
    forged.push(if last == 'a' { 'b' } else { 'a' });
    for local in [
        forged.as_str(),
        "b+",
        "b+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        &local.replacen("b+", "u+", 1),
    ] {
        let said = peer.send("", &[&format!("{local}@{OURS}")], "x").await;
        assert_eq!(said, "550 5.1.1 There is no such mailbox here", "{local}");
    }
    let tagged = format!("prvs=1234abcdef={}", sent.return_path);
    assert_eq!(peer.send("", &[&tagged], "Subject: x\n\nx").await, "250 2.0.0 Ok: taken");
    assert_eq!(status(&app, &sent.id).await, "delivered");
    app.stop().await;
}

// Our own record of the delivery may be slower than the peer's notice.
#[tokio::test]
async fn a_notice_about_mail_that_has_no_end_yet_must_come_again() {
    let sink = SmtpSink::builder().on_rcpt("later@", reply("451 4.7.1 later")).start().await;
    let app = builder().relay(sink.address().port()).start().await;
    let id = app.client.send_mail(mail("later@example.net")).await;
    app.client.until(&id, |message| message["deliveries"][0]["attempts"] != serde_json::json!([])).await;
    let said =
        sink.commands().into_iter().find_map(|line| Some(line.strip_prefix("MAIL FROM:<")?.to_owned()));
    let said = said.expect("it was tried");
    let return_path = said.split('>').next().expect("a path");

    let text = notice("later@example.net", "5.1.1", "550 5.1.1 User unknown");
    let said = post(door(&app), "", return_path, &text).await;
    assert_eq!(said, "451 4.3.0 The delivery it tells of is still being recorded, try again");
    assert_eq!(events(&app, &id, "bounced").await.len(), 0);
    app.stop().await;
}

#[tokio::test]
async fn a_bounce_of_a_mail_that_ended_otherwise_is_told_no_more() {
    let app = builder().start().await;
    let id = app.client.send_mail(mail("bounced@simulator.postroad.test")).await;
    let message = app.client.ended(&id).await;
    let delivery = text(&message, "/deliveries/0/id").parse().expect("an id");
    let master = postroad::seal::MasterKey::parse(crate::support::app::MASTER_KEY).expect("a key");
    let path = postroad::domain::return_path::ReturnPaths::new(&master, OURS).of(delivery);
    let text = notice("bounced@simulator.postroad.test", "5.1.1", "550 5.1.1 User unknown");
    assert_eq!(post(door(&app), "", &path, &text).await, "250 2.0.0 Ok: taken");
    assert_eq!(events(&app, &id, "bounced").await.len(), 1);
    app.stop().await;
}
