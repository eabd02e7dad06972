//! Reports about TLS (RFC 8460): domains that ask for them are told how sessions with their servers fared.

use std::sync::Arc;
use std::time::Instant;

use mail_auth::report::tlsrpt::{PolicyType, ResultType, TlsReport};
use postroad::worker::tls_reports::{Keeper, keep_once};

use super::World;
use super::sts::{DOMAIN, Stage, policy, publish};
use super::tls::tls_of;
use crate::faults::last_told;
use crate::support::client::{PATIENCE, statuses};
use crate::support::sink::{Mail, SmtpSink, self_signed};

/// Writes down what was counted; gives how many kinds of sessions were kept.
async fn kept(world: &World) -> usize {
    let server = world.app.server();
    let keeper = Keeper {
        delivery: Arc::clone(server.delivery().expect("it delivers")),
        database: server.database().clone(),
        resolver: server.domains().dns.clone(),
    };
    keep_once(&keeper, server.clock().now()).await.expect("the database answers")
}

/// The report, once it has come.
async fn reported(world: &World, to: &str) -> Mail {
    world.app.database.change("UPDATE tls_reports SET due_at = now() - interval '1 minute'").await;
    let began = Instant::now();
    loop {
        let found = world.sink.received().into_iter().find(|mail| mail.to().contains(&to));
        match found {
            Some(mail) => return mail,
            None => assert!(began.elapsed() < PATIENCE, "{}", world.sink.story()),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_domain_is_told_how_sessions_fared_and_a_policy_that_is_tried_out_is_counted_and_not_enforced() {
    let (stranger, trusted) = (self_signed("mx.example.net"), self_signed("other.example"));
    let sink = SmtpSink::builder().starttls(&stranger);
    let stage = Stage::of(sink, &trusted, policy("testing", "mx.example.net")).await;
    let (world, web) = (&stage.world, &stage.web);
    world.dns.txt(&format!("_smtp._tls.{DOMAIN}"), "v=TLSRPTv1; rua=mailto:reports@example.org");
    for domain in ["example.org", "example.com"] {
        world.host(domain, "127.0.0.1");
    }

    let message = world.ended("ann@example.net").await;
    assert_eq!(statuses(&message), ["delivered"], "who only tests gets the mail");
    assert!(tls_of(&message).contains("unverified ("), "{message:#}");
    world.ended("bob@example.com").await;
    assert_eq!(kept(world).await, 1, "nobody at example.com asks");

    web.set(policy("enforce", "mx.example.net"));
    publish(&world.dns, "20261126");
    let message = world.tried("ann@example.net", 1).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5");
    assert_eq!(kept(world).await, 1);
    assert_eq!(kept(world).await, 0, "it is counted once");

    let mail = reported(world, "reports@example.org").await;
    let report = TlsReport::parse_rfc5322(&mail.text, 1 << 20).expect("a report that others can read");
    assert_eq!(report.organization_name.as_deref(), Some("mail.postroad.test"));
    let [of_policy] = report.policies.as_slice() else { panic!("{report:#?}") };
    assert_eq!(of_policy.policy.policy_type, PolicyType::Sts);
    assert_eq!(of_policy.policy.policy_domain, DOMAIN);
    assert!(of_policy.policy.policy_string.contains(&"mx: mx.example.net".to_owned()), "{report:#?}");
    assert_eq!((of_policy.summary.total_success, of_policy.summary.total_failure), (0, 2));
    let kinds: Vec<ResultType> = of_policy.failure_details.iter().map(|detail| detail.result_type).collect();
    assert!(kinds.iter().all(|kind| *kind == ResultType::CertificateNotTrusted), "{report:#?}");
    assert_eq!(of_policy.failure_details[0].receiving_mx_hostname.as_deref(), Some("mx.example.net"));
    let text = mail.text();
    for field in ["TLS-Report-Domain: example.net", "TLS-Report-Submitter: mail.postroad.test"] {
        assert!(text.contains(field), "{text}");
    }
    assert_eq!(mail.from, "", "nobody answers it");

    let began = Instant::now();
    while world.app.database.count("SELECT count(*) FROM tls_results").await > 0 {
        assert!(began.elapsed() < PATIENCE, "what was told is forgotten");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    stage.world.app.stop().await;
}

#[tokio::test]
async fn sessions_without_a_policy_are_told_too_as_they_went() {
    let identity = self_signed("mx.example.net");
    let (world, _directory) = super::tls::trusting(SmtpSink::builder().starttls(&identity), &identity).await;
    world.host("example.net", "127.0.0.1");
    world.host("example.org", "127.0.0.1");
    world.dns.txt("_smtp._tls.example.net", "v=TLSRPTv1; rua=mailto:reports@example.org");
    world.ended("ann@example.net").await;
    assert_eq!(kept(&world).await, 1);
    let mail = reported(&world, "reports@example.org").await;
    let report = TlsReport::parse_rfc5322(&mail.text, 1 << 20).expect("a report");
    let [of_policy] = report.policies.as_slice() else { panic!("{report:#?}") };
    assert_eq!(of_policy.policy.policy_type, PolicyType::NoPolicyFound);
    assert_eq!((of_policy.summary.total_success, of_policy.summary.total_failure), (1, 0));
    world.app.stop().await;
}
