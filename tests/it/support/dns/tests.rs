//! The resolver against this server: each holds the other to the RFCs.

use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::RecordType;
use postroad::dns::{Absence, LookupError, Mx, Resolver, Servers, Settings, Trust};

use super::{DnsServer, Fault, Over};

const SHORT: Duration = Duration::from_millis(600);

fn resolver(dns: &DnsServer) -> Resolver {
    trusting(dns, Trust::Loopback)
}

fn trusting(dns: &DnsServer, trust: Trust) -> Resolver {
    let settings = Settings { servers: Servers::These(vec![dns.address()]), trust, patience: SHORT };
    Resolver::new(&settings).expect("a resolver")
}

fn absence<T: std::fmt::Debug>(result: Result<T, LookupError>) -> Absence {
    match result {
        Err(LookupError::NotFound(absence)) => absence,
        other => panic!("{other:?}"),
    }
}

fn is_temporary<T>(result: &Result<T, LookupError>) -> bool {
    matches!(result, Err(LookupError::Temporary(_)))
}

#[tokio::test]
async fn every_kind_of_record_is_found() {
    let dns = DnsServer::start().await;
    let long = "v=DKIM1; p=".to_owned() + &"A".repeat(600);
    dns.mx("example.net", 20, "MX2.example.net").mx("example.net", 10, "mx1.example.net");
    dns.mx("null.example", 0, "");
    dns.address_of("mx1.example.net", "192.0.2.1").address_of("mx1.example.net", "2001:db8::1");
    dns.txt("key._domainkey.example.net", &long).ptr("192.0.2.1", "mx1.example.net");
    dns.cname("www.example.net", "mx1.example.net").tlsa("_25._tcp.mx1.example.net", [3, 1, 1], b"hash");
    let resolver = resolver(&dns);

    let mx = |preference, host: &str| Mx { preference, host: host.to_owned() };
    let found = resolver.mx("Example.NET").await.expect("found");
    assert_eq!(found.records, [mx(10, "mx1.example.net"), mx(20, "mx2.example.net")]);
    assert_eq!(found.name, "example.net");
    assert_eq!(resolver.mx("null.example").await.expect("found").records, [mx(0, "")]);
    let addresses = resolver.addresses("www.example.net").await.expect("found");
    let expected: Vec<std::net::IpAddr> =
        ["2001:db8::1", "192.0.2.1"].map(|ip| ip.parse().expect("an address")).into();
    assert_eq!((addresses.records, addresses.name.as_str()), (expected, "mx1.example.net"));
    assert_eq!(resolver.txt("key._domainkey.example.net").await.expect("found").records, [long]);
    assert_eq!(resolver.cname("www.example.net").await.expect("found").records, ["mx1.example.net"]);
    let ip = "192.0.2.1".parse().expect("an address");
    assert_eq!(resolver.ptr(ip).await.expect("found").records, ["mx1.example.net"]);
    let tlsa = resolver.tlsa("_25._tcp.mx1.example.net").await.expect("found").records.remove(0);
    assert_eq!((tlsa.usage, tlsa.selector, tlsa.matching), (3, 1, 1));
    assert_eq!(tlsa.association, b"hash");
}

#[tokio::test]
async fn no_name_and_no_record_are_told_apart() {
    let dns = DnsServer::start().await;
    dns.txt("_dmarc.example.net", "v=DMARC1; p=none").cname("gone.example", "nowhere.example");
    let resolver = resolver(&dns);

    assert_eq!(absence(resolver.mx("nowhere.example").await), Absence::Name);
    assert_eq!(absence(resolver.mx("example.net").await), Absence::Record, "something is below it");
    assert_eq!(absence(resolver.addresses("nowhere.example").await), Absence::Name);
    assert_eq!(absence(resolver.addresses("gone.example").await), Absence::Name, "an alias of nothing");
    let long = format!("{}.example", "a".repeat(64));
    assert_eq!(absence(resolver.mx(&long).await), Absence::Name);
}

#[tokio::test]
async fn trouble_is_temporary_and_soon_known() {
    let dns = DnsServer::start().await;
    for (zone, fault) in [
        ("servfail.example", Fault::ServFail),
        ("refused.example", Fault::Refused),
        ("silent.example", Fault::Drop),
        ("cut.example", Fault::Truncate),
        ("slow.example", Fault::Delay(10 * SHORT)),
    ] {
        dns.mx(zone, 10, "mx.example.net").fault(zone, fault);
        let began = Instant::now();
        let looked = resolver(&dns).mx(zone).await;
        assert!(is_temporary(&looked), "{zone}: {looked:?}");
        assert!(began.elapsed() < 5 * SHORT, "{zone}: {:?}", began.elapsed());
    }
    dns.cname("loop.example", "pool.example").cname("pool.example", "loop.example");
    assert!(is_temporary(&resolver(&dns).addresses("loop.example").await));
}

#[tokio::test]
async fn what_is_cut_off_comes_over_tcp_and_old_servers_are_asked_without_edns() {
    let dns = DnsServer::start().await;
    dns.mx("big.example", 10, "mx.example.net").fault("big.example", Fault::TruncateUdp);
    dns.mx("old.example", 10, "mx.example.net").fault("old.example", Fault::NoEdns);
    let resolver = resolver(&dns);

    assert_eq!(resolver.mx("big.example").await.expect("found").records.len(), 1);
    let over: Vec<_> = dns.asked().iter().map(|asked| asked.over).collect();
    assert_eq!(over, [Over::Udp, Over::Tcp]);
    assert_eq!(resolver.mx("old.example").await.expect("found").records.len(), 1);
}

#[tokio::test]
async fn answers_are_kept_for_their_ttl_and_asked_anew_for_those_who_want_it() {
    let dns = DnsServer::start().await;
    dns.mx("example.net", 10, "mx.example.net");
    let resolver = resolver(&dns);
    for _ in 0..3 {
        resolver.mx("example.net").await.expect("found");
    }
    assert_eq!(dns.count("example.net", RecordType::MX), 3, "TTL 0 is never kept");
    dns.ttl(60);
    for _ in 0..3 {
        resolver.mx("example.net").await.expect("found");
    }
    assert_eq!(dns.count("example.net", RecordType::MX), 4);
    dns.clear("example.net").mx("example.net", 10, "other.example.net");
    assert_eq!(resolver.mx("example.net").await.expect("found").records[0].host, "mx.example.net");
    assert_eq!(resolver.fresh().mx("example.net").await.expect("found").records[0].host, "other.example.net");
    assert_eq!(
        resolver.mx("example.net").await.expect("found").records[0].host,
        "other.example.net",
        "what was asked anew is known to all"
    );
}

#[tokio::test]
async fn signed_answers_are_believed_only_from_whom_is_trusted() {
    let dns = DnsServer::start().await;
    dns.sign("signed.example").mx("signed.example", 10, "mx.signed.example");
    dns.mx("plain.example", 10, "mx.plain.example");
    dns.address_of("mx.plain.example", "192.0.2.1").cname("alias.signed.example", "mx.plain.example");
    for (trust, believed) in [(Trust::Loopback, true), (Trust::Always, true), (Trust::Never, false)] {
        let resolver = trusting(&dns, trust);
        assert_eq!(resolver.mx("signed.example").await.expect("found").authenticated, believed, "{trust:?}");
        assert!(!resolver.mx("plain.example").await.expect("found").authenticated);
        let alias = resolver.addresses("alias.signed.example").await.expect("found");
        assert!(!alias.authenticated, "it ends in a zone without signatures");
    }
}
