//! `/v1/addresses/validate`: each verdict, by a real DNS server and the tenant's own mail.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::mail;
use crate::support::dns::{DnsServer, Fault};
use crate::support::sink::{SmtpSink, reply};

async fn begin() -> (DnsServer, SmtpSink, TestApp) {
    let dns = DnsServer::start().await;
    dns.mx("example.net", 10, "mx.example.net").address_of("mx.example.net", "192.0.2.1");
    dns.address_of("plain.example", "192.0.2.2");
    dns.mx("nomail.example", 0, "");
    dns.mx("hostless.example", 10, "nowhere.hostless.example");
    dns.txt("texts.example", "no addresses here");
    dns.fault("broken.example", Fault::ServFail);
    for domain in ["gmaill.com", "mailinator.com", "xn--bcher-kva.example"] {
        dns.mx(domain, 10, "mx.example.net");
    }
    let sink = SmtpSink::builder().on_rcpt("gone", reply("550 5.1.1 no such user")).start().await;
    let app = TestApp::builder().dns(&dns).relay(sink.address().port()).start().await;
    (dns, sink, app)
}

#[tokio::test]
async fn an_address_is_judged_by_form_records_lists_and_slips() {
    let (_dns, _sink, app) = begin().await;
    let cases = [
        ("ann@example.net", "deliverable", json!([])),
        ("ann@plain.example", "deliverable", json!([])),
        ("Ann@Bücher.example", "deliverable", json!([])),
        ("ann@[192.0.2.7]", "deliverable", json!([])),
        ("ann", "undeliverable", json!(["invalid_syntax"])),
        ("a..b@example.net", "undeliverable", json!(["invalid_syntax"])),
        ("ann@nowhere.example", "undeliverable", json!(["no_such_domain"])),
        ("ann@nomail.example", "undeliverable", json!(["null_mx"])),
        ("ann@hostless.example", "undeliverable", json!(["no_mail_server"])),
        ("ann@texts.example", "undeliverable", json!(["no_mail_server"])),
        ("ann@broken.example", "unknown", json!(["dns_unavailable"])),
        ("Sales+x@example.net", "risky", json!(["role"])),
        ("ann@mailinator.com", "risky", json!(["disposable"])),
        ("ann@gmaill.com", "risky", json!(["typo"])),
    ];
    let emails: Vec<&str> = cases.iter().map(|(email, _, _)| *email).collect();
    let all = app.client.post("/v1/addresses/validate", json!({ "emails": emails })).await;
    assert_eq!(all.status, StatusCode::OK, "{:#}", all.body);
    let all = all.list("/data");
    assert_eq!(all.len(), cases.len());
    for ((email, verdict, reasons), found) in cases.iter().zip(&all) {
        assert_eq!(found["given"], json!(email));
        assert_eq!((&found["verdict"], &found["reasons"]), (&json!(verdict), reasons), "{found:#}");
        let alone = app.client.post("/v1/addresses/validate", json!({ "email": email })).await;
        assert_eq!(&alone.body, found, "alone as among others");
    }
    assert_eq!(all[0]["mail_servers"], json!(["mx.example.net"]));
    assert_eq!(all[2]["email"], "Ann@xn--bcher-kva.example");
    assert!(all[4]["fault"].as_str().is_some_and(|fault| fault.contains('@')), "{:#}", all[4]);
    assert_eq!(all[13]["suggestion"], "ann@gmail.com");
    app.stop().await;
}

#[tokio::test]
async fn what_a_tenant_has_seen_of_an_address_counts_for_it_alone() {
    let (_dns, _sink, app) = begin().await;
    let acme = app.account("acme").await.client;
    for to in ["good@example.net", "gone@example.net"] {
        let id = acme.send_mail(mail(to)).await;
        acme.ended(&id).await;
    }
    for (email, stream, reason) in [
        ("left@example.net", json!("news"), "unsubscribe"),
        ("angry@example.net", Value::Null, "complaint"),
        ("off@example.net", Value::Null, "manual"),
    ] {
        let body = json!({ "email": email, "stream": stream, "reason": reason });
        assert_eq!(acme.post("/v1/suppressions", body).await.status, StatusCode::CREATED);
    }
    let emails = json!({ "emails": ["Good@example.net", "gone@example.net", "left@example.net", "angry@example.net", "off@example.net"] });
    let seen = acme.post("/v1/addresses/validate", emails.clone()).await.list("/data");
    let short = |list: &[Value]| -> Vec<(Value, Value)> {
        list.iter().map(|one| (one["verdict"].clone(), one["reasons"].clone())).collect()
    };
    let wanted = [
        ("deliverable", json!([])),
        ("undeliverable", json!(["bounced"])),
        ("risky", json!(["unsubscribed"])),
        ("risky", json!(["complained"])),
        ("risky", json!(["suppressed"])),
    ];
    assert_eq!(short(&seen), wanted.map(|(verdict, reasons)| (json!(verdict), reasons)));
    assert!(seen[0]["history"]["delivered_at"].is_string() && seen[0]["history"]["bounced_at"].is_null());
    assert!(seen[1]["history"]["bounced_at"].is_string());
    assert_eq!(seen[2]["history"]["suppressed"], json!([{ "stream": "news", "reason": "unsubscribe" }]));

    let other = app.account("other").await.client;
    let theirs = other.post("/v1/addresses/validate", emails).await.list("/data");
    assert!(theirs.iter().all(|one| one["verdict"] == "deliverable"), "{theirs:#?}");
    app.stop().await;
}

#[tokio::test]
async fn a_silent_dns_server_costs_four_seconds_at_most_and_makes_nothing_undeliverable() {
    let dns = DnsServer::start().await;
    dns.fault("silent.example", Fault::Drop);
    let app = TestApp::builder().dns(&dns).start().await;
    let emails: Vec<String> = (0..100).map(|n| format!("ann@d{n}.silent.example")).collect();
    let began = Instant::now();
    let found = app.client.post("/v1/addresses/validate", json!({ "emails": emails })).await;
    // What this machine takes beside is not the servers' silence.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let found = found.list("/data");
    assert!(found.len() == 100 && found.iter().all(|one| one["verdict"] == "unknown"));
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_list_of_addresses_is_refused() {
    let app = TestApp::start().await;
    let many: Vec<String> = (0..101).map(|n| format!("a{n}@example.net")).collect();
    for (body, pointer, code) in [
        (json!({}), "/email", "required"),
        (json!({ "email": 7 }), "/email", "wrong_type"),
        (json!({ "emails": many }), "/emails", "too_many"),
        (json!({ "emails": [7] }), "/emails/0", "wrong_type"),
        (json!({ "email": "a@b.example", "emails": [] }), "/emails", "conflict"),
        (json!({ "email": "a".repeat(1001) }), "/email", "too_long"),
    ] {
        let answer = app.client.post("/v1/addresses/validate", body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    app.stop().await;
}
