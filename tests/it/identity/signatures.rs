//! What goes over the wire of a mail whose sender is proved: signatures, marks, return path; and that a second copy is
//! the first one's twin.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{PATIENCE, mail, text};
use crate::support::domains::{publish, records};
use crate::support::sink::{Step, at, close, take, tries, usual};

use super::{begin, begin_with, tag, values};

#[tokio::test]
async fn every_mail_is_signed_by_both_keys_over_what_matters() {
    let (dns, sink, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let mut body = mail("ann@example.net");
    body["headers"] = json!({ "List-Unsubscribe": "<https://acme.example/u/1>", "X-Order": "7" });
    body["reply_to"] = "help@acme.example".into();
    let id = app.client.send_mail(body).await;
    let raw = sink.wait_for(1, PATIENCE).await.remove(0);

    let signatures = values(&raw.text, "DKIM-Signature");
    let methods: Vec<_> = signatures.iter().map(|signature| tag(signature, "a")).collect();
    assert_eq!(methods, ["rsa-sha256", "ed25519-sha256"]);
    let selectors = records(&domain, "dkim");
    for (signature, key) in signatures.iter().zip(&selectors) {
        assert_eq!((tag(signature, "d"), tag(signature, "c")), ("acme.example", "relaxed/relaxed"));
        assert_eq!(format!("{}._domainkey.acme.example", tag(signature, "s")), text(key, "/name"));
        let mut signed: Vec<_> = tag(signature, "h").split(':').collect();
        assert_eq!(signed.iter().filter(|name| **name == "From").count(), 2, "oversigned: {signature}");
        signed.sort_unstable();
        for name in ["Subject", "To", "Date", "Message-ID", "Reply-To", "List-Unsubscribe", "Feedback-ID"] {
            assert!(signed.contains(&name), "{name}: {signature}");
        }
        assert!(!signed.contains(&"X-Order") && !signed.contains(&"List-Unsubscribe-Post"), "{signature}");
        assert!(tag(signature, "l").is_empty(), "{signature}");
        let born = app.client.get(&format!("/v1/messages/{id}")).await.text("/created_at");
        let born = time::OffsetDateTime::parse(&born, &time::format_description::well_known::Rfc3339);
        assert_eq!(tag(signature, "t"), born.expect("a time").unix_timestamp().to_string());
    }
    let feedback = values(&raw.text, "Feedback-ID").remove(0);
    let parts: Vec<_> = feedback.split(':').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("transactional", text(&domain, "/id").as_str(), "postroad"));
    app.stop().await;
}

// SPF is checked for MAIL FROM: at the sender's own return path it is aligned with From (RFC 9989).
#[tokio::test]
async fn bounces_go_to_the_senders_own_return_path_as_long_as_that_is_published() {
    let (dns, sink, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    app.client.send_mail(mail("ann@example.net")).await;
    let first = sink.wait_for(1, PATIENCE).await.remove(0);
    assert!(first.from.starts_with("b+") && first.from.ends_with("@bounce.acme.example"), "{}", first.from);

    dns.clear("bounce.acme.example");
    assert_eq!(app.client.verify_domain(&domain).await["status"], "failing");
    app.client.send_mail(mail("bob@example.net")).await;
    let second = sink.wait_for(2, PATIENCE).await.remove(1);
    assert!(second.from.ends_with("@bounce.postroad.test"), "{}", second.from);
    assert_eq!(values(&second.text, "DKIM-Signature").len(), 2, "and it is signed as before");
    app.stop().await;
}

#[tokio::test]
async fn only_keys_whose_records_are_found_sign() {
    let (dns, sink, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    dns.clear(&text(&records(&domain, "dkim")[1], "/name"));
    assert_eq!(app.client.verify_domain(&domain).await["status"], "failing");
    app.client.send_mail(mail("ann@example.net")).await;
    let raw = sink.wait_for(1, PATIENCE).await.remove(0);
    let signatures = values(&raw.text, "DKIM-Signature");
    assert_eq!(signatures.iter().map(|one| tag(one, "a")).collect::<Vec<_>>(), ["rsa-sha256"]);
    app.stop().await;
}

#[tokio::test]
async fn after_a_change_of_keys_the_new_ones_sign() {
    let (dns, sink, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let path = format!("/v1/domains/{}/rotate", text(&domain, "/id"));
    let rotated = app.client.post(&path, json!({})).await.body;
    let selectors = async |to: &str, count: usize| {
        app.client.send_mail(mail(to)).await;
        let raw = sink.wait_for(count, PATIENCE).await.remove(count - 1);
        values(&raw.text, "DKIM-Signature").iter().map(|one| tag(one, "s").to_owned()).collect::<Vec<_>>()
    };
    let of = |domain: &Value, state: &str| -> Vec<String> {
        let keys = domain["keys"].as_array().expect("keys").iter();
        keys.filter(|key| key["state"] == state).map(|key| text(key, "/selector")).collect()
    };
    assert_eq!(
        selectors("a@example.net", 1).await,
        of(&rotated, "active"),
        "the old, until the new are found"
    );
    records(&rotated, "dkim").iter().for_each(|record| publish(&dns, record));
    app.client.verify_domain(&domain).await;
    assert_eq!(selectors("b@example.net", 2).await, of(&rotated, "next"));
    app.stop().await;
}

// The copy that a crash between the peer's 250 and our commit makes: another process, and the same octets.
#[tokio::test]
async fn a_second_copy_has_the_same_octets() {
    let (dns, sink, app) = begin().await;
    app.client.verified_domain(&dns, "acme.example").await;
    sink.set(at(Step::Dot), tries([take().then(close()), usual()]));
    let id = app.client.send_mail(mail("ann@example.net")).await;
    app.client.until(&id, |message| message["deliveries"][0]["attempts"] != json!([])).await;
    let database = app.drain().await;

    // In whole seconds a signature says when it was made.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let again = TestApp::builder()
        .dns(&dns)
        .on(&database)
        .relay(sink.address().port())
        .set("POSTROAD_BOUNCE_DOMAIN", "bounce.postroad.test")
        .set("POSTROAD_SENDER_POLICY", "verified")
        .start()
        .await;
    database.make_due().await;
    assert_eq!(again.client.ended(&id).await["deliveries"][0]["status"], "delivered");

    let copies = sink.every_mail();
    assert_eq!(copies.len(), 2, "{}", sink.story());
    assert_eq!(values(&copies[0].text, "DKIM-Signature").len(), 2);
    assert_eq!(copies[0].text, copies[1].text);
    assert_eq!(copies[0].from, copies[1].from);
    again.stop().await;
}

#[tokio::test]
async fn the_installation_signs_too_and_names_where_complaints_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key.pem");
    std::fs::write(&file, PLATFORM_KEY).expect("written");
    let (dns, sink, app) = begin_with(|builder| {
        builder
            .set("POSTROAD_DKIM_DOMAIN", "postroad.test")
            .set("POSTROAD_DKIM_SELECTOR", "own")
            .set("POSTROAD_DKIM_KEY", &file.display().to_string())
            .set("POSTROAD_CFBL_ADDRESS", "fbl@mail.postroad.test")
            .set("POSTROAD_FEEDBACK_SENDER", "acme-mail")
    })
    .await;
    app.client.verified_domain(&dns, "acme.example").await;
    app.client.send_mail(mail("ann@example.net")).await;
    let raw = sink.wait_for(1, PATIENCE).await.remove(0);
    let signatures = values(&raw.text, "DKIM-Signature");
    let domains: Vec<_> = signatures.iter().map(|one| tag(one, "d")).collect();
    assert_eq!(domains, ["acme.example", "acme.example", "postroad.test"]);
    assert!(signatures.iter().all(|one| tag(one, "h").split(':').any(|name| name == "CFBL-Address")));
    assert_eq!(values(&raw.text, "CFBL-Address"), ["fbl@mail.postroad.test;report=arf"]);
    assert!(values(&raw.text, "Feedback-ID")[0].ends_with(":acme-mail"));
    app.stop().await;
}

/// RFC 8463 §A.1.
const PLATFORM_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

#[tokio::test]
async fn a_message_is_signed_once_for_all_who_get_the_same() {
    let (dns, sink, app) = begin().await;
    app.client.verified_domain(&dns, "acme.example").await;
    let mut body = mail("ann@example.net");
    body["to"] = (0..8).map(|n| json!(format!("ann{n}@example.net"))).collect();
    app.client.send_mail(body).await;
    let mails = sink.wait_for(8, PATIENCE).await;
    let texts: std::collections::HashSet<_> = mails.iter().map(|mail| mail.text.clone()).collect();
    assert_eq!(texts.len(), 1);
    app.stop().await;
}
