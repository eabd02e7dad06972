//! Which networks mail may go to, and by which of two.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::{World, beside};
use crate::faults::{attempts, last_told};
use crate::support::app::{Builder, TestApp};
use crate::support::client::{mail, statuses, text};
use crate::support::dns::DnsServer;
use crate::support::sink::SmtpSink;

// D4
#[tokio::test]
async fn servers_at_private_addresses_are_refused_unless_allowed() {
    let world = World::with(SmtpSink::builder(), |app| app.set("POSTROAD_ALLOW_PRIVATE", "false")).await;
    for (domain, ip) in [
        ("loopback.example", "127.0.0.1"),
        ("loopback6.example", "::1"),
        ("private.example", "10.0.0.1"),
        ("metadata.example", "169.254.169.254"),
        ("mapped.example", "::ffff:127.0.0.1"),
    ] {
        world.host(domain, ip);
        let message = world.ended(&format!("ann@{domain}")).await;
        assert_eq!(last_told(&message), "bounced domain_not_found route - 5.4.4", "{domain}");
    }
    world.dns.mx("literal.example", 10, "127.0.0.1");
    assert_eq!(
        last_told(&world.ended("ann@literal.example").await),
        "bounced domain_not_found route - 5.4.4"
    );
    assert_eq!(world.app.database.count("SELECT count(*) FROM suppressions").await, 0);
    assert_eq!(world.sink.connections(), 0);
    world.end(&[]).await;
}

/// An IPv6 address where connections are neither accepted nor refused: a listener whose queue is full.
struct Blackhole {
    _listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl Blackhole {
    fn at(address: SocketAddr) -> Blackhole {
        let domain = socket2::Domain::for_address(address);
        let socket = || socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
        let listener = socket();
        listener.set_reuse_address(true).expect("set");
        listener.bind(&address.into()).expect("a free port");
        listener.listen(0).expect("listens");
        let mut queued = Vec::new();
        loop {
            let client = socket();
            let timed = client.connect_timeout(&address.into(), Duration::from_millis(200));
            let full = timed.is_err();
            queued.push(client);
            if full {
                return Blackhole { _listener: listener, _queued: queued };
            }
            assert!(queued.len() < 64, "the queue of a listener is not that long");
        }
    }
}

// D6
#[tokio::test]
async fn ipv4_takes_over_soon_where_ipv6_leads_nowhere() {
    let (dns, sink) = (DnsServer::start().await, SmtpSink::builder().start().await);
    let hole = Blackhole::at((Ipv6Addr::LOCALHOST, sink.address().port()).into());
    let app = TestApp::builder()
        .dns(&dns)
        .set("POSTROAD_ROUTE", "direct")
        .set("POSTROAD_DIRECT_PORT", &sink.address().port().to_string())
        .set("POSTROAD_ALLOW_PRIVATE", "true")
        .start()
        .await;
    dns.mx("example.net", 10, "mx.example.net");
    dns.address_of("mx.example.net", "::1").address_of("mx.example.net", "127.0.0.1");

    let began = Instant::now();
    let id = app.client.send_mail(mail("ann@example.net")).await;
    let message = app.client.ended(&id).await;

    assert_eq!(statuses(&message), ["delivered"]);
    assert_eq!(attempts(&message).len(), 1);
    assert_eq!(text(&attempts(&message)[0], "/smtp/ip"), "127.0.0.1");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(hole);
    app.stop().await;
}

#[tokio::test]
async fn ipv6_goes_first_where_it_works() {
    let world = World::new().await;
    let sixth = SmtpSink::builder().start_at((Ipv6Addr::LOCALHOST, world.sink.address().port()).into()).await;
    world.host("example.net", "127.0.0.1");
    world.dns.address_of("mx.example.net", "::1");
    let message = world.ended("ann@example.net").await;
    assert_eq!(text(&attempts(&message)[0], "/smtp/ip"), "::1");
    assert_eq!((sixth.received().len(), world.sink.connections()), (1, 0));
    world.end(&[&sixth]).await;
}

#[tokio::test]
async fn equal_servers_share_the_load() {
    // Each mail goes by a connection of its own.
    let table = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(table.path(), "[default]\nmails_per_connection = 1\nnew_connections = '1000/s'")
        .expect("written");
    let path = table.path().display().to_string();
    let world = World::with(SmtpSink::builder(), |app: Builder| app.set("POSTROAD_PACING", &path)).await;
    let second = SmtpSink::builder().start_at(beside(&world.sink, 2)).await;
    for (host, ip) in [("a.example", "127.0.0.1"), ("b.example", "127.0.0.2")] {
        world.dns.mx("example.net", 10, host).address_of(host, ip);
    }
    let mut sent = 0;
    while world.sink.connections() == 0 || second.connections() == 0 {
        assert!(sent < 40, "never both of two equal servers");
        let message = world.ended("ann@example.net").await;
        assert_eq!(statuses(&message), ["delivered"]);
        sent += 1;
    }
    world.end(&[&second]).await;
}
