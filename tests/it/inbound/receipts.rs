//! Receipts (RFC 8098): a program tells that a mail was shown.

use serde_json::json;

use super::routes::{make, until_taken};
use super::*;

/// A receipt; `about`: more fields of its report.
fn receipt(disposition: &str, about: &str) -> String {
    format!(
        "From: Ann <ann@example.net>\nTo: you\nSubject: Read: Hello\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=disposition-notification; boundary=\"b\"\n\n--b\n\
         Content-Type: text/plain\n\nIt was displayed. 550 5.1.1 User unknown\n\n--b\n\
         Content-Type: message/disposition-notification\n\nReporting-UA: mail.example.net; Mailer 1.0\n\
         Final-Recipient: rfc822; ann@example.net\n{about}Disposition: {disposition}\n\n--b--\n"
    )
}

const SHOWN: &str = "manual-action/MDN-sent-manually; displayed";

/// Nobody reads a mail within a second of its delivery.
async fn long_ago(app: &TestApp) {
    app.database.change("UPDATE outcomes SET at = at - interval '1 hour'").await;
}

#[tokio::test]
async fn a_receipt_at_the_return_path_is_an_open_once_and_never_a_bounce() {
    let app = builder().start().await;
    let sent = delivered(&app, "ann@example.net").await;
    long_ago(&app).await;
    for other in
        ["manual-action/MDN-sent-manually; deleted", "automatic-action/MDN-sent-automatically; processed"]
    {
        let said = post(door(&app), "", &sent.return_path, &receipt(other, "")).await;
        assert_eq!(said, "250 2.0.0 Ok: taken");
    }
    assert_eq!(app.client.event_types(&sent.id).await, ["accepted", "delivered"]);

    let text = receipt(SHOWN, "");
    let copies = (0..4).map(|_| post(door(&app), "", &sent.return_path, &text));
    for said in futures_util::future::join_all(copies).await {
        assert_eq!(said, "250 2.0.0 Ok: taken");
    }
    assert_eq!(app.client.event_types(&sent.id).await, ["accepted", "delivered", "opened"]);
    let opened = events(&app, &sent.id, "opened").await.remove(0);
    let expected = json!({ "receipt": true, "user_agent": "mail.example.net; Mailer 1.0", "first": true, "machine": false });
    assert_eq!((&opened["data"], &opened["recipient"]), (&expected, &json!("ann@example.net")));
    assert_eq!(status(&app, &sent.id).await, "delivered");
    assert_eq!(suppressed(&app).await, [""; 0]);
    app.stop().await;
}

#[tokio::test]
async fn a_receipt_at_a_tenants_own_address_is_kept_and_told_of_its_own_mail_alone() {
    let app = builder().start().await;
    make(&app.client, json!({ "match": "*@in.acme.example", "action": "store" })).await;
    until_taken(&app, "receipts@in.acme.example").await;
    let sent = delivered(&app, "ann@example.net").await;
    let other = app.account("other").await;
    let foreign = other.client.send_mail(mail("ann@example.net")).await;
    other.client.ended(&foreign).await;
    long_ago(&app).await;
    for (client, id) in [(&other.client, &foreign), (&app.client, &sent.id)] {
        let message_id = text(&client.get(&format!("/v1/messages/{id}")).await.body, "/message_id");
        let receipt = receipt(SHOWN, &format!("Original-Message-ID: {message_id}\n"));
        let said = post(door(&app), "", "receipts@in.acme.example", &receipt).await;
        assert_eq!(said, "250 2.0.0 Ok: taken");
    }

    assert_eq!(app.client.event_types(&sent.id).await, ["accepted", "delivered", "opened"]);
    assert_eq!(other.client.event_types(&foreign).await, ["accepted", "delivered"]);
    let kept = app.client.get("/v1/inbound").await.list("/data");
    let kinds: Vec<&Value> = kept.iter().map(|mail| &mail["kind"]).collect();
    assert_eq!(kinds, ["receipt", "receipt"]);
    app.stop().await;
}
