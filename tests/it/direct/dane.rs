//! DANE (RFC 7672): signed TLSA records say which certificate a server has, and nothing else will do.

use aws_lc_rs::digest::{SHA256, SHA512, digest};

use super::World;
use super::tls::tls_of;
use crate::faults::{attempts, last_told, words};
use crate::support::client::statuses;
use crate::support::dns::Fault;
use crate::support::sink::{Identity, SmtpSink, expired, issued, self_signed};

const TLSA: &str = "mx.example.net";

/// The name of the records, at the port of the sink.
fn records(world: &World) -> String {
    format!("_{}._tcp.{TLSA}", world.sink.address().port())
}

/// A signed domain, and its server with this certificate.
async fn signed(identity: &Identity) -> World {
    let world = World::of(SmtpSink::builder().starttls(identity)).await;
    world.host("example.net", "127.0.0.1");
    world.dns.sign("example.net");
    world
}

fn sha256(octets: &[u8]) -> Vec<u8> {
    digest(&SHA256, octets).as_ref().to_vec()
}

async fn assert_unsafe(world: &World, why: &str) {
    let message = world.tried("ann@example.net", 1).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5", "{why}: {message:#}");
    assert!(words(&attempts(&message)[0]).contains("DANE"), "{why}: {}", words(&attempts(&message)[0]));
    assert!(!world.sink.story().contains("MAIL FROM"), "{why}: {}", world.sink.story());
}

#[tokio::test]
async fn the_certificate_that_the_records_describe_will_do_whatever_its_name_and_date() {
    let identity = expired("quite.another.example");
    let world = signed(&identity).await;
    world.dns.tlsa(&records(&world), [3, 1, 1], &sha256(b"the key before this one"));
    world.dns.tlsa(&records(&world), [3, 1, 1], &sha256(&identity.key));
    let message = world.ended("ann@example.net").await;
    assert_eq!(statuses(&message), ["delivered"], "{message:#}");
    assert!(tls_of(&message).ends_with(" dane"), "{}", tls_of(&message));
    world.end(&[]).await;

    for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)] {
        let selected: &[u8] = if selector == 0 { &identity.certificate } else { &identity.key };
        let association = match matching {
            0 => selected.to_vec(),
            1 => sha256(selected),
            _ => digest(&SHA512, selected).as_ref().to_vec(),
        };
        let world = signed(&identity).await;
        world.dns.tlsa(&records(&world), [3, selector, matching], &association);
        let message = world.ended("ann@example.net").await;
        assert!(tls_of(&message).ends_with(" dane"), "3 {selector} {matching}: {message:#}");
        world.end(&[]).await;
    }
}

#[tokio::test]
async fn another_certificate_none_or_an_unknown_record_keeps_the_mail_here() {
    let world = signed(&self_signed(TLSA)).await;
    world.dns.tlsa(&records(&world), [3, 1, 1], &sha256(b"another key"));
    assert_unsafe(&world, "another certificate").await;
    world.app.stop().await;

    let world = World::new().await;
    world.host("example.net", "127.0.0.1");
    world.dns.sign("example.net").tlsa(&records(&world), [3, 1, 1], &sha256(b"a key"));
    assert_unsafe(&world, "STARTTLS was stripped").await;
    world.app.stop().await;

    let world = signed(&self_signed(TLSA)).await;
    world.dns.fault(&format!("_tcp.{TLSA}"), Fault::ServFail);
    assert_unsafe(&world, "the records cannot be had").await;
    world.app.stop().await;
}

#[tokio::test]
async fn an_authority_vouches_for_certificates_with_the_right_name() {
    let (identity, authority) = issued(TLSA);
    let (stranger, other_authority) = issued("quite.another.example");
    for (association, parameters) in [
        (sha256(&authority.certificate), [2, 0, 1]),
        (sha256(&authority.key), [2, 1, 1]),
        (authority.certificate.to_vec(), [2, 0, 0]),
    ] {
        let world = signed(&identity).await;
        world.dns.tlsa(&records(&world), parameters, &association);
        let message = world.ended("ann@example.net").await;
        assert!(tls_of(&message).ends_with(" dane"), "{parameters:?}: {message:#}");
        world.end(&[]).await;
    }
    let world = signed(&stranger).await;
    world.dns.tlsa(&records(&world), [2, 0, 1], &sha256(&other_authority.certificate));
    assert_unsafe(&world, "the wrong name").await;
    world.app.stop().await;
    let world = signed(&identity).await;
    world.dns.tlsa(&records(&world), [2, 0, 1], &sha256(&other_authority.certificate));
    assert_unsafe(&world, "another authority").await;
    world.app.stop().await;
}

#[tokio::test]
async fn records_that_nobody_signed_count_for_nothing_and_unusable_ones_for_encryption() {
    let identity = self_signed(TLSA);
    // Not signed.
    let world = World::of(SmtpSink::builder().starttls(&identity)).await;
    world.host("example.net", "127.0.0.1");
    world.dns.tlsa(&records(&world), [3, 1, 1], &sha256(b"another key"));
    let message = world.ended("ann@example.net").await;
    assert!(tls_of(&message).contains("unverified ("), "{message:#}");
    world.end(&[]).await;
    // Signed, by the word of a resolver that is not to be believed.
    let sink = SmtpSink::builder().starttls(&identity);
    let world = World::with(sink, |app| app.set("POSTROAD_DNS_TRUST", "never")).await;
    world.host("example.net", "127.0.0.1");
    world.dns.sign("example.net").tlsa(&records(&world), [3, 1, 1], &sha256(b"another key"));
    let message = world.ended("ann@example.net").await;
    assert!(tls_of(&message).contains("unverified ("), "{message:#}");
    world.end(&[]).await;
    // Signed, and of a kind that means nothing to mail (RFC 7672 §3.1.3): encrypted all the same.
    let world = signed(&identity).await;
    world.dns.tlsa(&records(&world), [1, 1, 1], &sha256(b"another key"));
    let message = world.ended("ann@example.net").await;
    assert!(tls_of(&message).contains("unverified ("), "{message:#}");
    world.end(&[]).await;
    let world = World::new().await;
    world.host("example.net", "127.0.0.1");
    world.dns.sign("example.net").tlsa(&records(&world), [1, 1, 1], &sha256(b"another key"));
    assert_unsafe(&world, "unusable records, and no TLS").await;
    world.app.stop().await;
}
