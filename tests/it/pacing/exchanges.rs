//! Recipients' own servers: their limits hold for a site, whatever domains are hosted there, over all processes.

use super::*;
use crate::support::database::TestDatabase;
use crate::support::dns::DnsServer;
use crate::support::sink::{Step, at, usual, wait};

const LIMIT: usize = 4;

async fn node(database: &TestDatabase, dns: &DnsServer, sink: &SmtpSink, table: &Table) -> TestApp {
    let app = TestApp::builder()
        .on(database)
        .dns(dns)
        .set("POSTROAD_ROUTE", "direct")
        .set("POSTROAD_DIRECT_PORT", &sink.address().port().to_string())
        .set("POSTROAD_ALLOW_PRIVATE", "true");
    table.laid_over(app).start().await
}

#[tokio::test]
async fn two_nodes_together_keep_the_limit_of_a_site_at_which_several_domains_are_hosted() {
    let (dns, sink) = (DnsServer::start().await, SmtpSink::builder().start().await);
    sink.set(at(Step::Dot), wait(Duration::from_millis(20)).then(usual()));
    // Two servers of one host, as their owner counts them together.
    dns.address_of("mx1.host.example", "127.0.0.1").address_of("mx2.host.example", "127.0.0.1");
    let domains = ["one.example", "two.example", "three.example"];
    for domain in domains {
        dns.mx(domain, 10, "mx1.host.example").mx(domain, 20, "mx2.host.example");
    }
    let table = Table::of(&format!(
        "[provider.host]\nmx = ['host.example']\nconnections = {LIMIT}\nstart = {LIMIT}\n"
    ));
    let database = TestDatabase::fresh().await;
    let (first, second) =
        tokio::join!(node(&database, &dns, &sink, &table), node(&database, &dns, &sink, &table));
    for domain in domains {
        send_batch(&first, 100, domain).await;
        send_batch(&second, 100, domain).await;
    }
    sink.wait_for(300, 2 * PATIENCE).await;
    let sites = "SELECT count(DISTINCT site) FROM site_shares";
    assert_eq!(database.count(sites).await, 1, "one site, whatever is hosted there");

    // One leaves amid the work: the other has them all.
    first.drain().await;
    sink.wait_for(600, 2 * PATIENCE).await;
    assert_eq!(database.count("SELECT count(DISTINCT incarnation) FROM attempts").await, 2, "both deliver");
    assert_eq!(most_at_once(&sink), LIMIT, "never more, whoever has them");
    second.stop().await;
}
