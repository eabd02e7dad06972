//! Servers that nobody here wrote: Postfix as the relay, and Postfix's smtp-sink.

use super::*;
use crate::support::client::statuses;
use crate::support::peer::Server;

fn kinds_of_mail() -> Vec<Value> {
    let plain = mail("ann@example.net");
    let mut dots = mail("bob@example.net");
    dots["text"] = ".\n..\n.leading dot\nFrom here\nend".into();
    let mut wide = mail("Zoë <zoe@example.net>");
    wide["subject"] =
        "Grüße aus 世界, mit einem Betreff, der so lang ist, dass er gefaltet werden muss, und noch etwas"
            .into();
    wide["text"] = "Übung macht den Meister.\n".repeat(50).into();
    wide["html"] = format!("<p>{}</p>", "ein sehr langer Absatz ohne Umbruch ".repeat(200)).into();
    let mut files = mail("carl@example.net");
    files["attachments"] =
        serde_json::json!([{ "filename": "übersicht.bin", "content": "AAECAwQFBgcICQoLDA0ODw==" }]);
    let mut many = mail("d1@example.net");
    many["to"] = serde_json::json!(["d1@example.net", "d2@example.net"]);
    many["bcc"] = serde_json::json!(["d3@example.net"]);
    vec![plain, dots, wide, files, many]
}

/// The mail below the fields that hops have put before it.
fn from_date(content: &[u8]) -> &[u8] {
    let at = content.windows(6).position(|window| window == b"Date: ").expect("a Date");
    &content[at..]
}

#[tokio::test]
async fn postfix_takes_all_that_we_send_and_hands_it_on_unchanged() {
    let sink = SmtpSink::builder().start().await;
    let postfix = Server::postfix(&sink).await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &postfix.route()).start().await;
    let mut ids = Vec::new();
    for mail in kinds_of_mail() {
        ids.push(app.client.send_mail(mail).await);
    }

    for id in &ids {
        let message = app.client.ended(id).await;
        assert!(statuses(&message).iter().all(|status| status == "delivered"), "{message:#}");
        assert!(last_told(&message).starts_with("delivered - body 250 2.0.0"));
    }
    let received = sink.wait_for(7, PATIENCE).await;
    for id in &ids {
        let raw = app.client.download(&format!("/v1/messages/{id}/raw")).await;
        let equal = |mail: &&crate::support::sink::Mail| from_date(&mail.text) == from_date(&raw);
        let copies = received.iter().filter(equal).count();
        let deliveries = app.client.get(&format!("/v1/messages/{id}")).await.list("/deliveries").len();
        assert_eq!(copies, deliveries, "{}", String::from_utf8_lossy(&raw));
    }
    app.stop().await;
}

#[tokio::test]
async fn postfixs_refusals_are_understood() {
    let sink = SmtpSink::builder().start().await;
    let postfix = Server::postfix(&sink).await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &postfix.route()).start().await;

    let gone = app.client.send_mail(mail("gone@example.net")).await;
    let later = app.client.send_mail(mail("later@example.net")).await;
    let mut huge = mail("huge@example.net");
    huge["text"] = "A line of text that says little.\n".repeat(40_000).into();
    let huge = app.client.send_mail(huge).await;

    let message = app.client.ended(&gone).await;
    assert_eq!(last_told(&message), "bounced invalid_recipient rcpt 550 5.1.1");
    let message = app.client.until(&later, |message| !attempts(message).is_empty()).await;
    assert!(last_told(&message).starts_with("deferred ") && last_told(&message).ends_with("rcpt 450 4.2.0"));
    assert_eq!(last_told(&app.client.ended(&huge).await), "bounced message_invalid mail 552 5.3.4");
    app.stop().await;
}

#[tokio::test]
async fn smtp_sink_gets_what_is_stored() {
    let sink = Server::smtp_sink(&[]).await;
    let app = TestApp::builder().set("POSTROAD_ROUTE", &sink.route()).start().await;
    let id = app.client.send_mail(mail("ann@example.net")).await;

    assert_eq!(statuses(&app.client.ended(&id).await), ["delivered"]);

    let raw = String::from_utf8(app.client.download(&format!("/v1/messages/{id}/raw")).await).expect("ASCII");
    let [dumped] = sink.dumped().try_into().expect("one file");
    // It ends each file with an empty line of its own.
    assert!(dumped.trim_end().ends_with(raw.replace("\r\n", "\n").trim_end()), "{dumped}");
    app.stop().await;
}

// S11: smtp-sink without 8BITMIME, without PIPELINING, without ESMTP at all.
#[tokio::test]
async fn smtp_sink_with_little_to_offer_gets_its_mail_too() {
    for options in [vec!["-8", "-p"], vec!["-e"], vec!["-p", "-N"]] {
        let sink = Server::smtp_sink(&options).await;
        let app = TestApp::builder().set("POSTROAD_ROUTE", &sink.route()).start().await;
        let id = app.client.send_mail(mail("ann@example.net")).await;
        assert_eq!(statuses(&app.client.ended(&id).await), ["delivered"], "{options:?}");
        assert_eq!(sink.dumped().len(), 1);
        app.stop().await;
    }
}
