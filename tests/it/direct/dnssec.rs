//! DANE (RFC 7672) with DNS servers that nobody here wrote: Knot signs, unbound checks, and we believe unbound.

use aws_lc_rs::digest::{SHA256, digest};

use super::tls::tls_of;
use crate::faults::{attempts, last_told, words};
use crate::support::app::TestApp;
use crate::support::client::{mail, statuses};
use crate::support::dnssec::{SignedDns, Trust, Zone};
use crate::support::sink::{SmtpSink, self_signed};

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[tokio::test]
async fn what_others_sign_and_check_is_demanded_and_what_nobody_signs_is_not() {
    let identity = self_signed("quite.another.example");
    let sink = SmtpSink::builder().starttls(&identity).start().await;
    let port = sink.address().port();
    let right = hex(digest(&SHA256, &identity.key).as_ref());
    let wrong = hex(digest(&SHA256, b"another key").as_ref());
    let host = |name: &str, tlsa: &str| {
        let (at, mx) = if name == "@" {
            ("@".to_owned(), "mx".to_owned())
        } else {
            (name.to_owned(), format!("mx.{name}"))
        };
        format!("{at} 60 MX 10 {mx}\n{mx} 60 A 127.0.0.1\n_{port}._tcp.{mx} 60 TLSA 3 1 1 {tlsa}\n")
    };
    let zones = [
        Zone {
            name: "example.net",
            trust: Trust::Signed,
            records: [
                host("@", &right),
                host("wrong", &wrong),
                "plain 60 MX 10 mx.plain\nmx.plain 60 A 127.0.0.1\n".to_owned(),
            ]
            .concat(),
        },
        Zone { name: "example.org", trust: Trust::Unsigned, records: host("@", &wrong) },
        Zone { name: "example.com", trust: Trust::Forged, records: host("@", &right) },
    ];
    let dns = SignedDns::start(&zones).await;
    let app = TestApp::builder()
        .set("POSTROAD_DNS_SERVER", &dns.address().to_string())
        .set("POSTROAD_ROUTE", "direct")
        .set("POSTROAD_DIRECT_PORT", &port.to_string())
        .set("POSTROAD_ALLOW_PRIVATE", "true")
        .start()
        .await;
    let sent = async |to: &str| {
        let id = app.client.send_mail(mail(to)).await;
        app.client.until(&id, |message| !attempts(message).is_empty()).await
    };

    let message = sent("ann@example.net").await;
    assert_eq!(statuses(&message), ["delivered"], "{message:#}");
    assert!(tls_of(&message).ends_with(" dane"), "{message:#}");

    let message = sent("ann@wrong.example.net").await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5", "{message:#}");
    assert!(words(&attempts(&message)[0]).contains("DANE"), "{message:#}");

    let message = sent("ann@plain.example.net").await;
    assert_eq!(statuses(&message), ["delivered"], "signed, and without a word about its certificate");
    assert!(tls_of(&message).contains("unverified ("), "{message:#}");

    let message = sent("ann@example.org").await;
    assert_eq!(statuses(&message), ["delivered"], "what is not signed is not believed: {message:#}");
    assert!(tls_of(&message).contains("unverified ("), "{message:#}");

    let message = sent("ann@example.com").await;
    assert_eq!(
        last_told(&message),
        "deferred network route - -",
        "what is forged is no reason to bounce: {message:#}"
    );
    app.stop().await;
}
