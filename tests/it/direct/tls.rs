//! TLS to strangers: as good as they have it, recorded as it is, and in clear only where nothing forbids it.

use serde_json::Value;

use super::World;
use crate::faults::attempts;
use crate::support::client::statuses;
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
    let injected = reply("220 2.0.0 go ahead").then(raw("250 2.0.0 injected\r\n250 2.0.0 injected\r\n"));
    let sink = SmtpSink::builder().starttls(&self_signed("mx.example.net")).on(Step::StartTls, injected);
    let world = World::of(sink).await;
    world.host("example.net", "127.0.0.1");
    let message = world.ended("ann@example.net").await;
    // The handshake is not begun; an opportunist goes on in clear, on a new connection.
    assert_eq!((statuses(&message), tls_of(&message)), (vec!["delivered".to_owned()], String::new()));
    assert_eq!(world.sink.connections(), 2);
    world.end(&[]).await;
}
