//! Aggregate reports of DMARC (RFC 9990): by mail to `dmarc@`, kept once for who holds the domain, summed up, and not
//! believed when they are forged.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::support::dns::DnsServer;

/// A report about a domain: so much mail from two places, of which one is not aligned.
fn report(id: &str, domain: &str, aligned: u32, failing: u32) -> String {
    let row = |ip: &str, count: u32, disposition: &str, dkim: &str, spf: &str| {
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>{disposition}</disposition>\
             <dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row><identifiers><header_from>{domain}</header_from>\
             </identifiers><auth_results></auth_results></record>"
        )
    };
    // 2026-11-28, a whole day.
    format!(
        "<?xml version=\"1.0\"?><feedback><version>1.0</version><report_metadata><org_name>receiver.example</org_name>\
         <email>r@receiver.example</email><report_id>{id}</report_id><date_range><begin>1795824000</begin><end>1795910399</end>\
         </date_range></report_metadata><policy_published><domain>{domain}</domain><p>quarantine</p></policy_published>{}{}\
         </feedback>",
        row("192.0.2.1", aligned, "none", "pass", "pass"),
        row("198.51.100.9", failing, "quarantine", "fail", "fail"),
    )
}

fn with(from: &str, xml: &str) -> String {
    let lines: Vec<String> = BASE64_STANDARD
        .encode(xml)
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "From: {from}\nTo: you\nSubject: Report Domain: acme.example Submitter: receiver.example\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nA report.\n\n--b\n\
         Content-Type: text/xml; name=\"r.xml\"\nContent-Transfer-Encoding: base64\n\n{}\n--b--\n",
        lines.join("\n")
    )
}

const SPAN: &str = "since=2026-11-28T00:00:00Z&until=2026-11-30T00:00:00Z";

async fn summary(app: &TestApp, domain: &Value) -> Value {
    let path = format!("/v1/domains/{}/dmarc?{SPAN}", text(domain, "/id"));
    let answer = app.client.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
    answer.body
}

#[tokio::test]
async fn reports_are_kept_once_and_summed_up_for_who_holds_the_domain() {
    let dns = DnsServer::start().await;
    let app = builder().dns(&dns).start().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let empty = summary(&app, &domain).await;
    assert_eq!((&empty["reports"], &empty["sources"]), (&json!(0), &json!([])));
    assert_eq!(empty["send_reports_to"], "dmarc@bounce.acme.example");

    let from = "r@receiver.example";
    for (to, id, of, aligned, failing) in [
        (format!("dmarc@{OURS}"), "1", "acme.example", 10, 2),
        ("DMARC@bounce.acme.example".to_owned(), "2", "news.acme.example", 5, 0),
        (format!("dmarc@{OURS}"), "1", "acme.example", 10, 2),
        (format!("dmarc@{OURS}"), "3", "stranger.example", 100, 100),
    ] {
        let said = post(door(&app), from, &to, &with(from, &report(id, of, aligned, failing))).await;
        assert_eq!(said, "250 2.0.0 Ok: taken", "{to}");
    }

    let found = summary(&app, &domain).await;
    let figures = ["reports", "messages", "aligned", "failing", "quarantined", "rejected"];
    assert_eq!(figures.map(|name| found[name].as_i64()), [2, 17, 15, 2, 2, 0].map(Some), "{found:#}");
    assert_eq!(found["reporters"], json!([{ "name": "receiver.example", "reports": 2 }]));
    assert_eq!(
        found["sources"],
        json!([
            { "ip": "192.0.2.1", "messages": 15, "dkim_aligned": 15, "spf_aligned": 15, "aligned": 15, "failing": 0 },
            { "ip": "198.51.100.9", "messages": 2, "dkim_aligned": 0, "spf_aligned": 0, "aligned": 0, "failing": 2 },
        ])
    );
    let earlier = format!("/v1/domains/{}/dmarc?until=2026-11-28T00:00:00Z", text(&domain, "/id"));
    assert_eq!(app.client.get(&earlier).await.body["reports"], 0);
    assert_eq!(app.database.count("SELECT count(*) FROM inbound").await, 0, "a report is no mail to read");
    app.stop().await;
}

#[tokio::test]
async fn a_forged_report_counts_nothing_and_what_is_none_is_for_a_person_to_read() {
    let dns = DnsServer::start().await;
    dns.txt("_dmarc.receiver.example", "v=DMARC1; p=reject");
    let app = builder().dns(&dns).start().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let to = format!("dmarc@{OURS}");
    let forged = with("r@receiver.example", &report("1", "acme.example", 1000, 0));
    assert_eq!(post(door(&app), "x@elsewhere.example", &to, &forged).await, "250 2.0.0 Ok: taken");
    assert_eq!(summary(&app, &domain).await["reports"], 0);

    let letter = "From: zoe@example.net\nSubject: Hello\n\nWho reads this?\n";
    assert_eq!(post(door(&app), "zoe@example.net", &to, letter).await, "250 2.0.0 Ok: taken");
    assert_eq!(app.database.texts("SELECT subject FROM inbound").await, ["Hello"]);
    app.stop().await;
}
