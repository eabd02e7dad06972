//! What the DNS says about a domain, and what it does not say.

use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use serde_json::Value;

use super::{World, beside};
use crate::faults::{assert_about, attempts, last_told, wait_after_last, words};
use crate::support::client::{PATIENCE, statuses, text};
use crate::support::dns::Fault;
use crate::support::sink::{SmtpSink, reply};

fn host_of(message: &Value) -> String {
    text(attempts(message).last().expect("an attempt"), "/smtp/host")
}

#[tokio::test]
async fn mail_goes_to_the_best_server_that_answers() {
    let world = World::new().await;
    let second = SmtpSink::builder().start_at(beside(&world.sink, 2)).await;
    let dns = &world.dns;
    dns.mx("example.net", 10, "mx1.example.net").mx("example.net", 20, "mx2.example.net");
    dns.address_of("mx1.example.net", "127.0.0.1").address_of("mx2.example.net", "127.0.0.2");
    // Nobody listens at the best one of these; and the next turns us away at once (S2).
    dns.mx("down.example", 10, "mx.down.example").mx("down.example", 20, "mx2.example.net");
    dns.address_of("mx.down.example", "127.0.0.3");
    let busy = SmtpSink::builder().greet(reply("421 4.3.2 too busy")).start_at(beside(&world.sink, 4)).await;
    dns.mx("busy.example", 10, "mx.busy.example").mx("busy.example", 20, "mx2.example.net");
    dns.address_of("mx.busy.example", "127.0.0.4");

    let message = world.ended("ann@example.net").await;
    assert_eq!((statuses(&message), host_of(&message)), (vec!["delivered".into()], "mx1.example.net".into()));
    assert_eq!(world.sink.received()[0].to(), ["ann@example.net"]);
    for to in ["bob@down.example", "carl@busy.example"] {
        let message = world.ended(to).await;
        assert_eq!(statuses(&message), ["delivered"], "{to}");
        assert_eq!(host_of(&message), "mx2.example.net", "{to}");
    }
    assert_eq!((second.received().len(), busy.connections()), (2, 1));
    world.end(&[&second, &busy]).await;
}

// D1
#[tokio::test]
async fn trouble_with_the_dns_never_bounces_a_mail() {
    let world = World::new().await;
    let faults = [
        ("servfail.example", Fault::ServFail),
        ("refused.example", Fault::Refused),
        ("silent.example", Fault::Drop),
        ("cut.example", Fault::Truncate),
    ];
    for (domain, fault) in faults {
        world.host(domain, "127.0.0.1");
        world.dns.fault(domain, fault);
    }
    // The MX is known, its address is not.
    world.host("half.example", "127.0.0.1");
    world.dns.fault("mx.half.example", Fault::ServFail);

    let mut sent = Vec::new();
    for domain in faults.map(|(domain, _)| domain).into_iter().chain(["half.example"]) {
        sent.push(world.send(&format!("ann@{domain}")).await);
    }
    for id in &sent {
        let message = world.tried_again(id, 1).await;
        assert_eq!(last_told(&message), "deferred network route - -", "{message:#}");
        assert_about(wait_after_last(&message), 5);
    }
    world.dns.heal();
    tokio::time::timeout(PATIENCE, async {
        while world.sink.received().len() < sent.len() {
            // The domains' own pauses end meanwhile.
            world.app.database.make_due().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
    .expect("all delivered once the DNS answers");
    assert_eq!(world.end(&[]).await.ended("delivered"), sent.len());
}

// D1, S12: what waits for a dead domain costs one attempt, and no other mail waits with it.
#[tokio::test]
async fn a_domain_nobody_knows_about_holds_up_neither_its_own_mails_attempts_nor_other_mail() {
    let world = World::new().await;
    world.host("example.net", "127.0.0.1");
    for n in 0..10 {
        world.host(&format!("silent{n}.example"), "127.0.0.1");
        world.dns.fault(&format!("silent{n}.example"), Fault::Drop);
    }
    let dead: Vec<String> = (0..20).map(|n| format!("user{n}@silent{}.example", n % 10)).collect();
    let mut batch = crate::support::client::mail("x@x.example");
    batch["to"] = dead.clone().into();
    world.app.client.send_mail(batch).await;

    let began = std::time::Instant::now();
    let message = world.ended("ann@example.net").await;
    assert_eq!(statuses(&message), ["delivered"]);
    // A dead domain's lookup takes two seconds in these tests: one after another they would take twenty.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let attempts = "SELECT count(*) FROM attempts";
    while world.app.database.count(attempts).await < 11 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What comes then waits for the end of the domain's pause, uncounted.
    for n in 0..10 {
        world.app.client.send_mail(crate::support::client::mail(&format!("late{n}@silent0.example"))).await;
    }
    let late = "FROM queue q JOIN deliveries d ON d.lane = q.lane AND d.id = q.delivery_id WHERE d.recipient LIKE 'late%'";
    while world.app.database.count(&format!("SELECT count(*) {late} AND q.leased_by IS NULL")).await < 10 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let counted = world.app.database.count(&format!("SELECT count(*) {late} AND q.attempts > 0")).await;
    assert!(counted <= 2, "{counted} attempts on a domain that is paused");
    let twice = "SELECT count(*) FROM (SELECT d.recipient FROM queue q JOIN deliveries d ON d.lane = q.lane AND d.id = q.delivery_id
        WHERE q.attempts > 0 AND d.recipient LIKE 'user%') x";
    assert_eq!(world.app.database.count(twice).await, 10, "one for all mail of each dead domain");
    world.app.stop().await;
}

// D2
#[tokio::test]
async fn a_domain_that_does_not_exist_is_looked_for_again_an_hour_later_and_only_then_refused() {
    let world = World::new().await;
    let id = world.send("ann@nowhere.example").await;
    let message = world.tried_again(&id, 1).await;
    assert_eq!(last_told(&message), "deferred domain_not_found route - 4.1.2");
    assert!(wait_after_last(&message) >= Duration::from_secs(3590), "{:?}", wait_after_last(&message));
    // Too soon: a second look within the hour settles nothing.
    world.app.database.make_due().await;
    let message = world.tried_again(&id, 2).await;
    assert_eq!(last_told(&message), "deferred domain_not_found route - 4.1.2");

    world.app.server().clock().advance(time::Duration::minutes(61));
    world.app.database.make_due().await;

    let message = world.app.client.ended(&id).await;
    assert_eq!(statuses(&message), ["bounced"]);
    assert_eq!(last_told(&message), "bounced domain_not_found route - 5.1.2");
    assert_eq!(world.app.database.count("SELECT count(*) FROM suppressions").await, 0, "once is no habit");
    assert_eq!(world.sink.connections(), 0);
    world.end(&[]).await;
}

// D3, RFC 7505
#[tokio::test]
async fn a_null_mx_refuses_at_once_and_its_address_is_not_asked() {
    let world = World::new().await;
    world.dns.mx("nomail.example", 0, "").address_of("nomail.example", "127.0.0.1");

    let message = world.ended("ann@nomail.example").await;

    assert_eq!(last_told(&message), "bounced domain_not_found route - 5.1.10");
    assert!(words(&attempts(&message)[0]).contains("null MX"), "{message:#}");
    assert_eq!(world.app.database.count("SELECT count(*) FROM suppressions").await, 1);
    assert_eq!((world.sink.connections(), world.dns.count("nomail.example", RecordType::A)), (0, 0));
    world.end(&[]).await;
}

// D4
#[tokio::test]
async fn the_domains_own_address_serves_only_where_there_is_no_mx() {
    let world = World::new().await;
    world.dns.address_of("plain.example", "127.0.0.1");
    // An MX that is down does not lead to the domain's address.
    world.dns.mx("down.example", 10, "mx.down.example").address_of("mx.down.example", "127.0.0.3");
    world.dns.address_of("down.example", "127.0.0.1");
    // Neither does one without any address: it may come back, so it is looked for again.
    world.dns.mx("lost.example", 10, "mx.lost.example").address_of("lost.example", "127.0.0.1");

    let message = world.ended("ann@plain.example").await;
    assert_eq!((statuses(&message), host_of(&message)), (vec!["delivered".into()], "plain.example".into()));
    let message = world.tried("ann@down.example", 1).await;
    assert_eq!(last_told(&message), "deferred network connect - -");
    let message = world.tried("ann@lost.example", 1).await;
    assert_eq!(last_told(&message), "deferred domain_not_found route - 4.4.4");
    assert_eq!(world.sink.received().len(), 1);
    world.app.stop().await;
}

// D4
#[tokio::test]
async fn an_mx_that_is_an_alias_an_address_or_one_of_fifty_is_understood() {
    let world = World::new().await;
    let dns = &world.dns;
    dns.mx("alias.example", 10, "mx.alias.example").cname("mx.alias.example", "real.example");
    dns.address_of("real.example", "127.0.0.1");
    dns.mx("literal.example", 10, "127.0.0.1");
    // One of very many, and the only one with an address.
    for n in 0..200u16 {
        dns.mx("many.example", n, &format!("mx{n}.many.example"));
    }
    dns.address_of("mx30.many.example", "127.0.0.1").address_of("mx120.many.example", "127.0.0.1");

    for to in ["ann@alias.example", "ann@literal.example", "ann@many.example", "ann@[127.0.0.1]"] {
        let message = world.ended(to).await;
        assert_eq!(statuses(&message), ["delivered"], "{to}: {message:#}");
    }
    let asked: Vec<String> = dns.asked().into_iter().map(|asked| asked.name).collect();
    assert!(asked.contains(&"mx30.many.example".to_owned()));
    assert!(!asked.contains(&"mx50.many.example".to_owned()), "no more than fifty are looked at");
    world.end(&[]).await;
}

// D4: five addresses at most are dialled in an attempt, and two servers spoken to.
#[tokio::test]
async fn an_attempt_tries_five_addresses_and_begins_two_sessions() {
    let world = World::of(SmtpSink::builder().greet(reply("451 4.3.0 not now"))).await;
    let mut sinks = Vec::new();
    for last in 2..=4 {
        let sink = SmtpSink::builder().greet(reply("451 4.3.0 not now"));
        sinks.push(sink.start_at(beside(&world.sink, last)).await);
    }
    for last in 1..=4 {
        let mx = format!("mx{last}.example.net");
        world.dns.mx("example.net", last, &mx).address_of(&mx, &format!("127.0.0.{last}"));
        // Nobody listens there.
        world.dns.mx("dead.example", last, &format!("dead{last}.example"));
        for n in 1..=5 {
            world.dns.address_of(&format!("dead{last}.example"), &format!("127.0.1.{last}{n}"));
        }
    }
    let message = world.tried("ann@example.net", 1).await;
    assert!(last_told(&message).ends_with("greeting 451 4.3.0"), "{}", last_told(&message));
    let connections: Vec<usize> =
        [&world.sink].into_iter().chain(&sinks).map(SmtpSink::connections).collect();
    assert_eq!(connections, [1, 1, 0, 0]);

    let message = world.tried("ann@dead.example", 1).await;
    assert_eq!(last_told(&message), "deferred network connect - -");
    // Three of the best host, and two of the next.
    let last = text(&attempts(&message)[0], "/smtp/ip");
    assert!(last.starts_with("127.0.1.2"), "{last}");
    world.app.stop().await;
}

// D4
#[tokio::test]
async fn mail_that_would_come_back_to_ourselves_is_refused() {
    let world = World::of(SmtpSink::builder().greet(reply("220 mail.postroad.test ESMTP"))).await;
    let dns = &world.dns;
    // By our name, which these tests give us: nobody need be asked, and nobody is there.
    dns.mx("named.example", 10, "MAIL.postroad.test").mx("named.example", 20, "mx.other.example");
    dns.address_of("mail.postroad.test", "127.0.0.3").address_of("mx.other.example", "127.0.0.1");
    // Under another name: the greeting tells.
    world.host("disguised.example", "127.0.0.1");
    // Nor to servers after us, who would send it here.
    let lower = SmtpSink::builder().start_at(beside(&world.sink, 2)).await;
    dns.mx("best.example", 10, "mx.disguised.example").mx("best.example", 20, "mx.lower.example");
    dns.address_of("mx.lower.example", "127.0.0.2");
    // We are the second best, and the best is down: the mail waits for it.
    dns.mx("backup.example", 10, "mx.down.example").mx("backup.example", 20, "mail.postroad.test");
    dns.address_of("mx.down.example", "127.0.0.3");
    dns.mx("second.example", 10, "mx.down.example").mx("second.example", 20, "mx.disguised.example");

    for to in ["ann@named.example", "ann@disguised.example", "ann@best.example"] {
        let message = world.ended(to).await;
        assert!(last_told(&message).starts_with("bounced relay_denied "), "{to}: {}", last_told(&message));
        assert!(last_told(&message).ends_with(" 5.4.6"), "{to}: {}", last_told(&message));
    }
    for to in ["ann@backup.example", "ann@second.example"] {
        let message = world.tried(to, 1).await;
        assert!(last_told(&message).starts_with("deferred network "), "{to}: {}", last_told(&message));
    }
    assert!(!world.sink.story().contains("MAIL FROM"), "{}", world.sink.story());
    assert_eq!(lower.connections(), 0);
    world.app.stop().await;
}

// D5
#[tokio::test]
async fn every_attempt_goes_where_the_dns_then_says() {
    let world = World::of(SmtpSink::builder().on_rcpt("ann", reply("451 4.2.0 not now"))).await;
    let second = SmtpSink::builder().start_at(beside(&world.sink, 2)).await;
    world.host("example.net", "127.0.0.1");
    let id = world.send("ann@example.net").await;
    world.tried_again(&id, 1).await;

    world.dns.clear("example.net").mx("example.net", 10, "mx.moved.example");
    world.dns.address_of("mx.moved.example", "127.0.0.2");
    world.app.database.make_due().await;

    assert_eq!(statuses(&world.app.client.ended(&id).await), ["delivered"]);
    assert_eq!(second.received().len(), 1);
    world.end(&[&second]).await;
}

// D5: an old server that knows no EDNS, and an answer that fits into no datagram.
#[tokio::test]
async fn answers_come_without_edns_and_over_tcp_where_they_must() {
    let world = World::new().await;
    world.host("old.example", "127.0.0.1");
    world.dns.fault("old.example", Fault::NoEdns);
    world.host("big.example", "127.0.0.1");
    world.dns.fault("big.example", Fault::TruncateUdp);
    for to in ["ann@old.example", "ann@big.example"] {
        assert_eq!(statuses(&world.ended(to).await), ["delivered"], "{to}");
    }
    world.end(&[]).await;
}

#[tokio::test]
async fn domains_hosted_at_the_same_servers_share_their_connections() {
    let world = World::new().await;
    world.dns.address_of("mx.hoster.example", "127.0.0.1");
    let mut batch = crate::support::client::mail("x@x.example");
    let domains: Vec<String> = (0..40).map(|n| format!("customer{n}.example")).collect();
    for domain in &domains {
        world.dns.mx(domain, 10, "mx.hoster.example");
    }
    batch["to"] = domains.iter().map(|domain| format!("ann@{domain}")).collect::<Vec<_>>().into();
    let id = world.app.client.send_mail(batch).await;
    world.app.client.ended(&id).await;
    assert_eq!(world.sink.received().len(), domains.len());
    // Were each domain a site of its own, there would be one for each at least.
    // As the table of paces has it for hosts it does not name.
    assert!(world.sink.connections() <= 10, "{} connections", world.sink.connections());
    world.app.stop().await;
}
