//! Complaints and leave taken by mail. The reports are in `tests/data/arf`, with places for what is ours.

use postroad::domain::id::DeliveryId;
use postroad::domain::unsubscribe::Unsubscribes;
use postroad::seal::MasterKey;

use super::*;
use crate::support::app::MASTER_KEY;

fn leave(delivery: DeliveryId) -> String {
    Unsubscribes::new(&MasterKey::parse(MASTER_KEY).expect("a key"), OURS).address(delivery)
}

/// A report about a mail of ours.
pub(super) async fn report(app: &TestApp, name: &str, sent: &Sent) -> String {
    let path = format!("{}/tests/data/arf/{name}.eml", env!("CARGO_MANIFEST_DIR"));
    let form = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let message = app.client.get(&format!("/v1/messages/{}", sent.id)).await;
    let message_id = message.text("/message_id");
    let delivery = message.text("/deliveries/0/id").parse().expect("an id");
    form.replace("@RETURN_PATH@", &sent.return_path)
        .replace("@RECIPIENT@", &sent.recipient)
        .replace("@MESSAGE_ID@", message_id.trim_matches(['<', '>']))
        .replace("@UNSUBSCRIBE@", &leave(delivery))
}

#[tokio::test]
async fn a_complaint_is_matched_by_whatever_of_ours_was_left_in_it() {
    let app = builder().start().await;
    let cases = [
        ("rfc5965-full", "abuse", "SomeGenerator/1.0"),
        ("redacted-message-id", "fbl", "Yahoo!-Mail-Feedback/2.0"),
        ("redacted-unsubscribe-token", "abuse", "ReturnPathFBL/1.0"),
    ];
    for (name, local, agent) in cases {
        let sent = delivered(&app, &format!("{name}@example.net")).await;
        let text = report(&app, name, &sent).await;
        let to = format!("{local}@{OURS}");
        for _ in 0..2 {
            let said = post(door(&app), "feedback@provider.example", &to, &text).await;
            assert_eq!(said, "250 2.0.0 Ok: taken", "{name}");
        }
        let told = events(&app, &sent.id, "complained").await;
        assert_eq!(told.len(), 1, "{name}: {told:#?}");
        assert_eq!(told[0]["data"]["feedback_type"], "abuse");
        assert_eq!(told[0]["data"]["user_agent"], agent);
        assert!(
            suppressed(&app).await.contains(&format!("{name}@example.net transactional complaint")),
            "{name}"
        );
    }
    assert_eq!(app.database.count("SELECT count(*) FROM inbound").await, 0, "nothing is left to be read");
    // For the stream alone.
    let mut news = mail("rfc5965-full@example.net");
    news["stream"] = "news".into();
    let answer = app.client.post("/v1/messages", news).await;
    assert_eq!(answer.body["deliveries"][0]["status"], "queued");
    app.stop().await;
}

#[tokio::test]
async fn a_report_to_the_return_path_is_about_that_delivery_however_much_was_taken_out() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let text = report(&app, "about-others", &sent).await;
    assert_eq!(post(door(&app), "", &sent.return_path, &text).await, "250 2.0.0 Ok: taken");
    assert_eq!(events(&app, &sent.id, "complained").await.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_report_about_mail_of_others_is_kept_for_a_person_and_has_no_effect() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let text = report(&app, "about-others", &sent).await;
    assert_eq!(post(door(&app), "", &format!("abuse@{OURS}"), &text).await, "250 2.0.0 Ok: taken");
    assert_eq!(events(&app, &sent.id, "complained").await.len(), 0);
    assert_eq!(suppressed(&app).await, [""; 0]);
    assert_eq!(app.database.texts("SELECT recipient FROM inbound").await, [format!("abuse@{OURS}")]);
    app.stop().await;
}

#[tokio::test]
async fn several_recipients_are_told_apart_or_nobody_is_suppressed() {
    let app = builder().start().await;
    let mut body = mail("ann@example.net");
    body["to"] = serde_json::json!(["ann@example.net", "bob@example.net"]);
    let id = app.client.send_mail(body).await;
    app.client.ended(&id).await;
    let sent = Sent { id, recipient: "bob@example.net".into(), return_path: String::new() };
    let text = report(&app, "redacted-message-id", &sent).await;
    let to = format!("fbl@{OURS}");
    post(door(&app), "", &to, &text).await;
    assert_eq!(events(&app, &sent.id, "complained").await.len(), 0, "whose complaint it is was taken out");
    let named =
        text.replace("Original-Rcpt-To: redacted@provider.example", "Original-Rcpt-To: <bob@example.net>");
    post(door(&app), "", &to, &named).await;
    let told = events(&app, &sent.id, "complained").await;
    assert_eq!((told.len(), &told[0]["recipient"]), (1, &"bob@example.net".into()));
    app.stop().await;
}

#[tokio::test]
async fn other_kinds_of_feedback_do_what_they_say() {
    let app = builder().start().await;
    let to = format!("fbl@{OURS}");
    let sent = delivered(&app, "ann@example.net").await;
    post(door(&app), "", &to, &report(&app, "auth-failure", &sent).await).await;
    assert_eq!(app.client.event_types(&sent.id).await, ["accepted", "delivered"]);

    post(door(&app), "", &to, &report(&app, "rfc5965-full", &sent).await).await;
    assert_eq!(suppressed(&app).await, ["ann@example.net transactional complaint"]);
    post(door(&app), "", &to, &report(&app, "not-spam", &sent).await).await;
    assert_eq!(suppressed(&app).await, [""; 0], "she took it out of the spam folder");
    let audited = "SELECT count(*) FROM audit_log WHERE action = 'suppression.delete' AND actor = 'feedback'";
    assert_eq!(app.database.count(audited).await, 1);

    post(door(&app), "", &to, &report(&app, "opt-out", &sent).await).await;
    assert_eq!(events(&app, &sent.id, "unsubscribed").await[0]["data"]["method"], "opt-out");
    assert_eq!(suppressed(&app).await, ["ann@example.net transactional unsubscribe"]);
    app.stop().await;
}

// RFC 2369 §3.2.
#[tokio::test]
async fn a_mail_to_the_address_in_list_unsubscribe_takes_leave_of_the_stream_once() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let delivery = app.client.get(&format!("/v1/messages/{}", sent.id)).await.text("/deliveries/0/id");
    let address = leave(delivery.parse().expect("an id"));
    let bounce = notice(&sent.recipient, "5.1.1", "550 5.1.1 User unknown");
    post(door(&app), "", &address, &bounce).await;
    assert_eq!(suppressed(&app).await, [""; 0], "a notice takes no leave");

    for case in [address.clone(), address.to_uppercase()] {
        let said = post(door(&app), "ann@example.net", &case, "Subject: unsubscribe\n\n").await;
        assert_eq!(said, "250 2.0.0 Ok: taken");
    }
    let told = events(&app, &sent.id, "unsubscribed").await;
    assert_eq!((told.len(), &told[0]["data"]), (1, &serde_json::json!({ "method": "mailto" })));
    assert_eq!(suppressed(&app).await, ["ann@example.net transactional unsubscribe"]);
    app.stop().await;
}

#[tokio::test]
async fn a_mail_of_ours_attached_to_the_feedback_address_is_complained_about() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    let text = format!(
        "From: staff@provider.example\nSubject: complaint\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
         Content-Type: message/rfc822\n\nReturn-Path: <{}>\nFrom: hello@acme.example\nSubject: Hello\n\nText\n--b--\n",
        sent.return_path
    );
    post(door(&app), "staff@provider.example", &format!("fbl@{OURS}"), &text).await;
    assert_eq!(events(&app, &sent.id, "complained").await.len(), 1);
    app.stop().await;
}
