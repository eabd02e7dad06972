//! Certificates by ACME: got by one node, answered for by any, shown by all. The authority is a test's own, at the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postroad::server::Role;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::acme::Authority;
use crate::support::app::{Builder, TestApp};
use crate::support::client::PATIENCE;
use crate::support::dns::DnsServer;
use crate::support::domains::{publish, records};

const HOST: &str = "mail.postroad.test";

fn builder(authority: &Authority) -> Builder {
    TestApp::builder()
        .set("POSTROAD_ACME", "ops@acme.example")
        .set("POSTROAD_ACME_DIRECTORY", &authority.directory())
        .set("POSTROAD_HTTPS_ADDR", "127.0.0.1:0")
        .set("POSTROAD_SUBMISSIONS_ADDR", "127.0.0.1:0")
}

/// The certificate that a client is shown which trusts the authority alone and asks for this name; `None`: none that it
/// trusts.
async fn shown(authority: &Authority, door: SocketAddr, name: &str) -> Option<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root.clone()).expect("a certificate");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = TcpStream::connect(door).await.expect("somebody listens");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    stream.get_ref().1.peer_certificates()?.first().cloned()
}

async fn until_shown(authority: &Authority, door: SocketAddr, name: &str) -> CertificateDer<'static> {
    let began = Instant::now();
    loop {
        if let Some(certificate) = shown(authority, door, name).await {
            return certificate;
        }
        assert!(began.elapsed() < PATIENCE, "{name} is not shown; orders: {:?}", authority.orders());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn doors(app: &TestApp) -> [SocketAddr; 2] {
    let ports = app.server().ports();
    [ports.https.expect("open"), ports.submissions.expect("open")]
}

#[tokio::test]
async fn a_certificate_is_got_once_answered_for_by_any_node_and_shown_by_all_of_their_doors() {
    let authority = Authority::start().await;
    // The name leads to a node that gets none itself.
    let front = TestApp::builder()
        .set("POSTROAD_HTTPS_ADDR", "127.0.0.1:0")
        .set("POSTROAD_SUBMISSIONS_ADDR", "127.0.0.1:0");
    let front = front.roles(&[Role::Api, Role::Smtp]).start().await;
    authority.leads(HOST, front.server().http_addr().expect("open"));
    let (one, other) = tokio::join!(
        builder(&authority).on(&front.database).start(),
        builder(&authority).on(&front.database).start()
    );
    for app in [&front, &one, &other] {
        for door in doors(app) {
            until_shown(&authority, door, HOST).await;
        }
    }
    assert_eq!(authority.orders(), [(HOST.to_owned(), "valid")], "under a lease, once");
    let stored = "SELECT count(*) FROM certificates c, acme_accounts a WHERE c::text LIKE '%PRIVATE%' OR a::text LIKE '%key%pkcs8%'";
    assert_eq!(front.database.count(stored).await, 0, "keys are sealed");

    // Its time has come: the next one is shown, by the same account.
    let before = until_shown(&authority, doors(&front)[0], HOST).await;
    other.drain().await;
    let database = one.drain().await;
    database.change("UPDATE certificates SET due_at = now()").await;
    let one = builder(&authority).on(&database).start().await;
    let began = Instant::now();
    while shown(&authority, doors(&front)[0], HOST).await.as_ref() == Some(&before) {
        assert!(began.elapsed() < PATIENCE, "{:?}", authority.orders());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(authority.orders().len(), 2);
    assert_eq!(authority.accounts(), 1);
    one.drain().await;
    front.stop().await;
}

#[tokio::test]
async fn tracking_hosts_of_proved_domains_get_one_and_no_other_name_does() {
    let authority = Authority::start().await;
    let dns = DnsServer::start().await;
    let app = TestApp::builder().dns(&dns).start().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    records(&domain, "tracking").iter().for_each(|record| publish(&dns, record));
    app.client.verify_domain(&domain).await;
    app.client.add_domain("unproved.example").await;
    let database = app.drain().await;

    let app = builder(&authority).dns(&dns).on(&database).start().await;
    let http = app.server().http_addr().expect("open");
    authority.leads(HOST, http);
    authority.leads("track.acme.example", http);
    let [https, submissions] = doors(&app);
    let own = until_shown(&authority, https, "track.acme.example").await;
    let host = until_shown(&authority, https, HOST).await;
    assert_ne!(own, host);
    assert_eq!(shown(&authority, submissions, HOST).await, Some(host));
    assert_eq!(shown(&authority, https, "track.unproved.example").await, None);
    let mut names: Vec<String> = authority.orders().into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, [HOST, "track.acme.example"]);
    app.stop().await;
}

#[tokio::test]
async fn a_refusal_is_noted_and_tried_again_later_and_the_doors_stay_open() {
    let authority = Authority::start().await;
    let app = builder(&authority).start().await;
    let began = Instant::now();
    let noted =
        "SELECT last_error FROM certificates WHERE failures = 1 AND due_at > now() + interval '50 minutes'";
    while app.database.texts(noted).await.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:?}", authority.orders());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let error = app.database.texts(noted).await.remove(0);
    assert!(error.contains("mail.postroad.test leads nowhere"), "{error}");
    assert_eq!(shown(&authority, doors(&app)[0], HOST).await, None, "the one made for development is shown");
    assert!(TcpStream::connect(doors(&app)[1]).await.is_ok());
    for token in ["nothing", "a%2Fx", "a%00b"] {
        let url = format!("{}/.well-known/acme-challenge/{token}", app.client.url());
        let answer = reqwest::get(url).await.expect("answered");
        assert_eq!(answer.status(), reqwest::StatusCode::NOT_FOUND, "{token}");
    }
    app.stop().await;
}
