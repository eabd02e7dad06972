//! S10, S11: peers that can do less than a mail needs, and say so or not.

use super::*;
use crate::support::client::statuses;
use crate::support::sink::{Step, reply, take};

/// Text that is no ASCII.
const TEXT: &str = "Grüße aus Köln, 世界.\nEine zweite Zeile.\n";

fn raw_eight_bit() -> Vec<u8> {
    let head = "From: hello@acme.example\r\nTo: ann@example.net\r\nSubject: Hi\r\nMIME-Version: 1.0\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
    [head.as_bytes(), TEXT.replace('\n', "\r\n").as_bytes()].concat()
}

fn raw_signed() -> Vec<u8> {
    let mime = "From: hello@acme.example\r\nTo: ann@example.net\r\nSubject: Signed\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"; micalg=pgp-sha256\r\n\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e\r\n\
        --b\r\nContent-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n\
        -----END PGP SIGNATURE-----\r\n--b--\r\n";
    mime.as_bytes().to_vec()
}

/// What a reader makes of the text of a received mail.
fn text_read(content: &[u8]) -> String {
    let message = mail_parser::MessageParser::default().parse(content).expect("a mail");
    message.body_text(0).expect("a text").replace("\r\n", "\n")
}

// S10: RFC 1870 §6.1.
#[tokio::test]
async fn a_mail_larger_than_the_peer_takes_is_bounced_before_it_is_sent() {
    let scene = Scene::of(SmtpSink::builder().keywords(["PIPELINING", "8BITMIME", "SIZE 20000"])).await;
    let mut large = mail("ann@example.net");
    large["text"] = "A line of text.\n".repeat(2000).into();
    let id = scene.oracle.send(&scene.app.client, large).await.expect("accepted");

    let message = scene.ended(&id).await;

    assert_eq!(last_told(&message), "bounced message_invalid mail 552 5.3.4");
    assert!(!scene.sink.commands().contains(&"DATA".to_owned()), "{}", scene.sink.story());
    assert_eq!(scene.end().await.ended("bounced"), 1);
}

// S10: no SIZE was told, and the text is refused.
#[tokio::test]
async fn a_mail_that_is_too_large_at_its_end_is_bounced_and_suppresses_nobody() {
    let scene = Scene::of(SmtpSink::builder().on(Step::Dot, reply("552 5.3.4 message too big"))).await;

    let id = scene.send("ann@example.net").await;
    let message = scene.ended(&id).await;

    assert_eq!(last_told(&message), "bounced message_invalid body 552 5.3.4");
    assert_eq!(scene.app.database.count("SELECT count(*) FROM suppressions").await, 0);
    scene.end().await;
}

// S10: the size is told in MAIL, as RFC 1870 wants it, so that a peer may refuse it at once.
#[tokio::test]
async fn the_size_is_told_to_who_asks_for_it() {
    for (keywords, told) in [(vec!["SIZE 0"], true), (vec!["SIZE"], true), (vec![], false)] {
        let scene = Scene::of(SmtpSink::builder().keywords(keywords.clone())).await;
        scene.send("ann@example.net").await;
        let received = scene.sink.wait_for(1, PATIENCE).await;
        let size = format!(" SIZE={}", received[0].text.len());
        assert_eq!(scene.sink.story().contains(&size), told, "{keywords:?}: {}", scene.sink.story());
        scene.end().await;
    }
}

// S11: RFC 6152 §3.
#[tokio::test]
async fn eight_bit_mail_is_encoded_for_peers_that_take_seven() {
    for sink in [SmtpSink::builder().keywords(["PIPELINING"]), SmtpSink::builder().helo_only()] {
        let scene = Scene::of(sink).await;
        let client = &scene.app.client;
        scene.oracle.send_raw(client, &["ann@example.net"], &raw_eight_bit()).await.expect("accepted");
        let mut composed = mail("ann@example.net");
        composed["text"] = TEXT.into();
        scene.oracle.send(client, composed).await.expect("accepted");

        let received = scene.sink.wait_for(2, PATIENCE).await;

        for mail in received {
            assert!(mail.text.is_ascii(), "{}", String::from_utf8_lossy(&mail.text));
            assert_eq!(text_read(&mail.text), TEXT);
        }
        assert!(!scene.sink.story().contains("BODY="), "{}", scene.sink.story());
        scene.end().await;
    }
}

#[tokio::test]
async fn eight_bit_mail_goes_as_it_is_to_peers_that_take_it() {
    let scene = Scene::of(SmtpSink::builder()).await;

    scene.oracle.send_raw(&scene.app.client, &["ann@example.net"], &raw_eight_bit()).await.expect("accepted");

    let received = scene.sink.wait_for(1, PATIENCE).await;
    assert!(received[0].text.ends_with(TEXT.replace('\n', "\r\n").as_bytes()));
    assert!(scene.sink.story().contains("BODY=8BITMIME"), "{}", scene.sink.story());
    scene.end().await;
}

// S11: a signature would not survive.
#[tokio::test]
async fn signed_mail_is_bounced_rather_than_altered() {
    let scene = Scene::of(SmtpSink::builder().keywords(["PIPELINING"])).await;

    let id = scene.oracle.send_raw(&scene.app.client, &["ann@example.net"], &raw_signed()).await;
    let message = scene.ended(&id.expect("accepted")).await;

    assert_eq!(last_told(&message), "bounced message_invalid mail 554 5.6.3");
    scene.end().await;
}

// S11: RFC 6531 §3.3.
#[tokio::test]
async fn an_address_in_utf_8_needs_a_peer_that_takes_it() {
    let scene = Scene::of(SmtpSink::builder().keywords(["PIPELINING", "8BITMIME"])).await;
    let id = scene.send("jürgen@example.net").await;
    let message = scene.ended(&id).await;
    assert_eq!(last_told(&message), "bounced message_invalid mail 553 5.6.7");
    scene.end().await;

    let scene = Scene::of(SmtpSink::builder().keywords(["PIPELINING", "8BITMIME", "SMTPUTF8"])).await;
    scene.send("jürgen@example.net").await;
    let received = scene.sink.wait_for(1, PATIENCE).await;
    assert_eq!(received[0].to(), ["jürgen@example.net"]);
    assert!(scene.sink.story().contains("SMTPUTF8"));
    scene.end().await;
}

// S11: the domain alone is no reason: it has an ASCII form (RFC 5891).
#[tokio::test]
async fn a_domain_in_utf_8_goes_to_any_peer_in_its_a_labels() {
    let scene = Scene::of(SmtpSink::builder().helo_only()).await;

    scene.send("ann@köln.example").await;

    let received = scene.sink.wait_for(1, PATIENCE).await;
    assert_eq!(received[0].to(), ["ann@xn--kln-sna.example"]);
    scene.end().await;
}

// S9: what makes no sense is waited out, told as it was said, and hurts nobody.
#[tokio::test]
async fn replies_that_break_the_protocol_are_waited_out() {
    let long = format!("450 {}", "x".repeat(9000));
    let odd =
        ["250 go ahead", "999 what", "450-one\r\n450-two\r\n450 three", "450 gr\u{fc}\u{df}e", "450", &long];
    for line in odd {
        let scene = Scene::of(SmtpSink::builder().on(Step::Data, reply(line))).await;
        let id = scene.send("ann@example.net").await;
        let message = scene.tried(&id, 1).await;
        assert!(last_told(&message).starts_with("deferred "), "{line:.40}: {}", last_told(&message));
        assert_eq!(statuses(&message), ["queued"]);
        let words = words(&attempts(&message)[0]);
        assert!(words.len() <= 2000 && !words.contains(['\r', '\n']), "{words}");
        scene.sink.be_friendly();
        scene.app.database.make_due().await;
        let verdict = scene.end().await;
        assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 1), "{line:.40}");
    }
    let scene = Scene::of(SmtpSink::builder().on(Step::Dot, take().then(reply("250")))).await;
    let id = scene.send("ann@example.net").await;
    assert_eq!(statuses(&scene.ended(&id).await), ["delivered"], "no text is no fault");
    scene.end().await;
}
