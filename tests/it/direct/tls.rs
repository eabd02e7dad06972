//! TLS to strangers: as good as they have it, recorded as it is, and in clear only where nothing forbids it.

use serde_json::{Value, json};

use super::World;
use crate::faults::{attempts, last_told};
use crate::support::app::TestApp;
use crate::support::client::{mail, statuses, text};
use crate::support::sink::{Identity, SmtpSink, Step, expired, raw, reply, self_signed};

pub(super) fn tls_of(message: &Value) -> String {
    attempts(message)
        .last()
        .and_then(|attempt| attempt.pointer("/smtp/tls")?.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// A postroad that trusts this certificate besides the machine's roots.
pub(super) async fn trusting(
    sink: crate::support::sink::SinkBuilder,
    identity: &Identity,
) -> (World, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, &identity.pem).expect("written");
    let roots = roots.display().to_string();
    (World::with(sink, |app| app.set("POSTROAD_TLS_ROOTS", &roots)).await, directory)
}

// T2
#[tokio::test]
async fn every_certificate_will_do_and_what_is_wrong_with_it_is_recorded() {
    let cases = [
        (self_signed("mx.example.net"), "unverified (unknown issuer)"),
        (expired("mx.example.net"), "unverified ("),
        (self_signed("other.example"), "unverified ("),
    ];
    for (identity, said) in cases {
        let world = World::of(SmtpSink::builder().starttls(&identity)).await;
        world.host("example.net", "127.0.0.1");
        let message = world.ended("ann@example.net").await;
        assert_eq!(statuses(&message), ["delivered"]);
        assert!(tls_of(&message).starts_with("TLSv1.3 ") && tls_of(&message).contains(said), "{message:#}");
        world.end(&[]).await;
    }
    let identity = self_signed("mx.example.net");
    let (world, _directory) = trusting(SmtpSink::builder().starttls(&identity), &identity).await;
    world.host("example.net", "127.0.0.1");
    let message = world.ended("ann@example.net").await;
    assert!(tls_of(&message).ends_with(" verified"), "{}", tls_of(&message));
    world.end(&[]).await;
}

// T1, RFC 7435
#[tokio::test]
async fn broken_tls_is_better_than_no_mail() {
    let identity = self_signed("mx.example.net");
    let starttls = || SmtpSink::builder().starttls(&identity);
    let sinks = [
        starttls().on(Step::Handshake, raw("this is no TLS\r\n")),
        starttls().on(Step::Handshake, crate::support::sink::close()),
        starttls().on(Step::StartTls, reply("454 4.7.0 not available")),
        SmtpSink::builder(),
    ];
    for sink in sinks {
        let world = World::of(sink).await;
        world.host("example.net", "127.0.0.1");
        let message = world.ended("ann@example.net").await;
        assert_eq!((statuses(&message), tls_of(&message)), (vec!["delivered".to_owned()], String::new()));
        assert_eq!(attempts(&message).len(), 1, "in one attempt");
        world.end(&[]).await;
    }
}

// T3, RFC 3207 §4.2
#[tokio::test]
async fn what_is_injected_before_the_handshake_is_not_believed() {
    // In one segment: what comes later falls into the handshake, and breaks that. The sink goes on by the last code.
    let injected = raw("220 2.0.0 go ahead\r\n250 2.0.0 injected\r\n220 2.0.0 injected\r\n");
    let sink = SmtpSink::builder().starttls(&self_signed("mx.example.net")).on(Step::StartTls, injected);
    let world = World::of(sink).await;
    world.host("example.net", "127.0.0.1");
    let message = world.ended("ann@example.net").await;
    // The handshake is not begun; an opportunist goes on in clear, on a new connection.
    assert_eq!((statuses(&message), tls_of(&message)), (vec!["delivered".to_owned()], String::new()));
    assert_eq!(world.sink.connections(), 2);
    world.end(&[]).await;
}

#[tokio::test]
async fn a_mail_that_requires_tls_waits_for_it_and_others_do_not() {
    let identity = self_signed("mx.example.net");
    let (world, _directory) = trusting(SmtpSink::builder().starttls(&identity), &identity).await;
    world.host("example.net", "127.0.0.1");
    // The same server under another name, which its certificate does not bear.
    world.host("example.org", "127.0.0.1");
    let demanding = |to: &str| {
        let mut body = mail(to);
        body["require_tls"] = true.into();
        body
    };
    let message = world.app.client.send_mail(demanding("ann@example.org")).await;
    let message = world.tried_again(&message, 1).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5");
    assert!(!world.sink.story().contains("MAIL FROM"), "{}", world.sink.story());
    let message = world.ended("bob@example.org").await;
    assert_eq!(statuses(&message), ["delivered"], "it goes on a connection of its own");
    let message = world.app.client.send_mail(demanding("ann@example.net")).await;
    let message = world.app.client.ended(&message).await;
    assert!(tls_of(&message).ends_with(" verified"), "{message:#}");
    world.app.stop().await;
}

#[tokio::test]
async fn a_relay_in_clear_gets_no_mail_that_requires_tls() {
    let sink = SmtpSink::builder().start().await;
    let app = TestApp::builder().relay(sink.address().port()).start().await;
    let mut body = mail("ann@example.net");
    body["require_tls"] = true.into();
    let id = app.client.send_mail(body).await;
    let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5");
    assert!(!sink.story().contains("MAIL FROM"), "{}", sink.story());
    app.stop().await;
    // Mail that is only kept is on no way at all.
    let app = TestApp::start().await;
    let mut body = mail("ann@example.net");
    body["require_tls"] = true.into();
    let id = app.client.send_mail(body).await;
    assert_eq!(statuses(&app.client.ended(&id).await), ["delivered"]);
    app.stop().await;
}

#[tokio::test]
async fn a_tenant_or_a_sender_domain_may_require_tls_for_all_its_mail() {
    let identity = self_signed("mx.example.net");
    let (world, _directory) = trusting(SmtpSink::builder().starttls(&identity), &identity).await;
    world.host("example.net", "127.0.0.1");
    // The same server under another name, which its certificate does not bear.
    world.host("example.org", "127.0.0.1");
    let client = &world.app.client;
    let domain = client.verified_domain(&world.dns, "acme.example").await;
    let path = format!("/v1/domains/{}", text(&domain, "/id"));
    let changed = client.patch(&path, json!({ "require_tls": true })).await;
    assert_eq!(changed.body["require_tls"], true, "{:#}", changed.body);
    settle().await;
    let message = world.tried("ann@example.org", 1).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5", "from acme.example");
    let mut other = mail("bob@example.org");
    other["from"] = "hello@other.example".into();
    let id = client.send_mail(other.clone()).await;
    assert_eq!(statuses(&client.ended(&id).await), ["delivered"], "from another domain");

    assert_eq!(client.patch(&path, json!({ "require_tls": false })).await.body["require_tls"], false);
    let tenants = client.get("/v1/tenants").await.list("/data");
    let path = format!("/v1/tenants/{}", text(&tenants[0], "/id"));
    assert_eq!(client.patch(&path, json!({ "require_tls": true })).await.body["require_tls"], true);
    settle().await;
    let id = client.send_mail(other).await;
    let message = world.tried_again(&id, 1).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5", "from this tenant");
    let message = world.ended("ann@example.net").await;
    assert!(tls_of(&message).ends_with(" verified"), "{message:#}");
    world.app.stop().await;
}

/// What is set is obeyed by every process within a second.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
}
