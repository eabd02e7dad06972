//! MTA-STS (RFC 8461): what a domain's policy demands is kept, and the policy is kept as long as it says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::World;
use super::tls::tls_of;
use crate::faults::{attempts, last_told, words};
use crate::support::app::{Builder, TestApp};
use crate::support::client::{PATIENCE, mail, statuses};
use crate::support::dns::DnsServer;
use crate::support::sink::{Identity, SinkBuilder, SmtpSink, self_signed};

pub(super) const DOMAIN: &str = "example.net";

/// A web server that has a policy.
pub(super) struct Web {
    port: u16,
    answer: Arc<Mutex<(String, usize)>>,
    server: JoinHandle<()>,
}

fn page(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

pub(super) fn policy(mode: &str, mx: &str) -> String {
    let text = format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n");
    page("200 OK", "text/plain; charset=utf-8", &text)
}

impl Web {
    async fn start(identity: &Identity, answer: String) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let answer = Arc::new(Mutex::new((answer, 0)));
        let (acceptor, shared) = (TlsAcceptor::from(identity.server.clone()), Arc::clone(&answer));
        let server = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                // Who does not trust the certificate goes away.
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(octet) => request.push(octet),
                        Err(_) => break,
                    }
                }
                let text = {
                    let mut answer = shared.lock().expect("nobody panics with it");
                    answer.1 += 1;
                    answer.0.clone()
                };
                assert!(request.starts_with(b"GET /.well-known/mta-sts.txt "), "{request:?}");
                // What becomes of the answer is the client's matter.
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Web { port, answer, server }
    }

    pub(super) fn set(&self, answer: String) {
        self.answer.lock().expect("nobody panics with it").0 = answer;
    }

    fn requests(&self) -> usize {
        self.answer.lock().expect("nobody panics with it").1
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A domain with a policy, its one server, and a postroad that trusts those it is to trust.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) web: Web,
    roots: tempfile::NamedTempFile,
}

fn setting(app: Builder, web: &Web, roots: &tempfile::NamedTempFile) -> Builder {
    app.set("POSTROAD_MTA_STS_PORT", &web.port.to_string())
        .set("POSTROAD_TLS_ROOTS", &roots.path().display().to_string())
}

impl Stage {
    pub(super) async fn of(sink: SinkBuilder, mx: &Identity, answer: String) -> Stage {
        let identity = self_signed(&format!("mta-sts.{DOMAIN}"));
        let web = Web::start(&identity, answer).await;
        let roots = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(roots.path(), [identity.pem.as_str(), mx.pem.as_str()].concat()).expect("written");
        let world = World::with(sink, |app| setting(app, &web, &roots)).await;
        world.host(DOMAIN, "127.0.0.1");
        publish(&world.dns, "20261125");
        Stage { world, web, roots }
    }
}

pub(super) fn publish(dns: &DnsServer, id: &str) {
    let record = format!("_mta-sts.{DOMAIN}");
    dns.clear(&record).txt(&record, &format!("v=STSv1; id={id};"));
    let host = format!("mta-sts.{DOMAIN}");
    dns.clear(&host).address_of(&host, "127.0.0.1");
}

#[tokio::test]
async fn an_enforced_policy_is_fetched_once_kept_and_held_after_its_record_and_server_are_gone() {
    let mx = self_signed("mx.example.net");
    let stage = Stage::of(SmtpSink::builder().starttls(&mx), &mx, policy("enforce", "mx.example.net")).await;
    let Stage { world, web, roots } = stage;
    for _ in 0..2 {
        let message = world.ended("ann@example.net").await;
        assert_eq!(statuses(&message), ["delivered"], "{message:#}");
        assert!(tls_of(&message).ends_with(" mta-sts"), "{}", tls_of(&message));
    }
    assert_eq!(web.requests(), 1, "a policy is fetched when its id is new");

    // Somebody cuts us off from the domain, and puts himself in its place; and we start anew meanwhile.
    let World { app, dns, sink, .. } = world;
    let database = app.drain().await;
    dns.clear(&format!("_mta-sts.{DOMAIN}")).clear(&format!("mta-sts.{DOMAIN}"));
    dns.clear("mx.example.net").address_of("mx.example.net", "127.0.0.2");
    let thief = SmtpSink::builder().start_at(super::beside(&sink, 2)).await;
    let app = TestApp::builder()
        .on(&database)
        .dns(&dns)
        .set("POSTROAD_ROUTE", "direct")
        .set("POSTROAD_DIRECT_PORT", &sink.address().port().to_string())
        .set("POSTROAD_ALLOW_PRIVATE", "true");
    let app = setting(app, &web, &roots).start().await;
    let id = app.client.send_mail(mail("ann@example.net")).await;
    let message = app.client.until(&id, |message| !attempts(message).is_empty()).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5");
    assert!(words(&attempts(&message)[0]).contains("MTA-STS"), "{message:#}");
    assert!(!thief.story().contains("MAIL FROM"), "{}", thief.story());
    app.stop().await;
}

#[tokio::test]
async fn a_new_id_brings_a_new_policy() {
    let stranger = self_signed("mx.example.net");
    let trusted = self_signed("other.example");
    let sink = SmtpSink::builder().starttls(&stranger);
    let stage = Stage::of(sink, &trusted, policy("testing", "mx.example.net")).await;
    let (world, web) = (&stage.world, &stage.web);
    // Who only tests gets the mail.
    let message = world.ended("ann@example.net").await;
    assert!(tls_of(&message).contains("unverified ("), "{message:#}");

    web.set(policy("enforce", "mx.example.net"));
    let message = world.ended("ann@example.net").await;
    assert_eq!((statuses(&message), web.requests()), (vec!["delivered".to_owned()], 1), "the same id");
    publish(&world.dns, "20261126");
    let message = world.tried("ann@example.net", 1).await;
    assert_eq!(last_told(&message), "deferred network starttls - 4.7.5");
    assert!(words(&attempts(&message)[0]).contains("MTA-STS"), "{message:#}");
    assert_eq!(web.requests(), 2);

    web.set(policy("none", "mx.example.net"));
    publish(&world.dns, "20261127");
    let began = std::time::Instant::now();
    while world.sink.received().len() < 3 {
        assert!(began.elapsed() < PATIENCE, "{}", world.sink.story());
        world.app.database.make_due().await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    stage.world.end(&[]).await;
}

#[tokio::test]
async fn servers_that_the_policy_does_not_name_get_no_mail() {
    let mx = self_signed("second.example.net");
    let stage =
        Stage::of(SmtpSink::builder().starttls(&mx), &mx, policy("enforce", "mail.example.net")).await;
    let world = &stage.world;
    let message = world.tried("ann@example.net", 1).await;
    assert_eq!(last_told(&message), "deferred network route - 4.7.5");
    assert!(words(&attempts(&message)[0]).contains("MTA-STS"), "{message:#}");
    assert_eq!(world.sink.connections(), 0);

    // One of two is named, although it is the second best.
    stage.web.set(policy("enforce", "second.example.net"));
    publish(&world.dns, "20261126");
    world.dns.mx(DOMAIN, 20, "second.example.net").address_of("second.example.net", "127.0.0.1");
    let began = std::time::Instant::now();
    while world.sink.received().is_empty() {
        assert!(began.elapsed() < PATIENCE, "{}", world.sink.story());
        world.app.database.make_due().await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    stage.world.end(&[]).await;
}

#[tokio::test]
async fn what_is_no_policy_demands_nothing() {
    let mx = self_signed("mx.example.net");
    for answer in [
        page(
            "404 Not Found",
            "text/plain",
            "version: STSv1\r\nmode: enforce\r\nmx: nobody.example\r\nmax_age: 86400\r\n",
        ),
        page(
            "200 OK",
            "text/html",
            "version: STSv1\r\nmode: enforce\r\nmx: nobody.example\r\nmax_age: 86400\r\n",
        ),
        page("200 OK", "text/plain", "mode: enforce"),
        "HTTP/1.1 302 Found\r\nLocation: /.well-known/mta-sts.txt\r\nContent-Length: 0\r\n\r\n".to_owned(),
        page("200 OK", "text/plain", &"mx: nobody.example\r\n".repeat(8000)),
    ] {
        let stage =
            Stage::of(SmtpSink::builder().starttls(&mx), &self_signed("x.example"), answer.clone()).await;
        let message = stage.world.ended("ann@example.net").await;
        assert_eq!(statuses(&message), ["delivered"], "{answer:.80}");
        assert_eq!(stage.web.requests(), 1, "redirects are not followed: {answer:.80}");
        stage.world.end(&[]).await;
    }
}

#[tokio::test]
async fn a_policy_from_a_server_that_does_not_prove_itself_is_none() {
    let mx = self_signed("mx.example.net");
    let web = Web::start(&self_signed("mta-sts.example.net"), policy("enforce", "nobody.example")).await;
    let roots = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(roots.path(), &mx.pem).expect("written");
    let world = World::with(SmtpSink::builder().starttls(&mx), |app| setting(app, &web, &roots)).await;
    world.host(DOMAIN, "127.0.0.1");
    publish(&world.dns, "1");
    let message = world.ended("ann@example.net").await;
    assert_eq!((statuses(&message), web.requests()), (vec!["delivered".to_owned()], 0));
    world.end(&[]).await;
}
