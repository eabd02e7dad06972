//! `/v1/domains`: what is to be published, what is found, who has a name, and that keys stay sealed (security 5.13).
//! Against a real DNS server.

use reqwest::StatusCode;
use serde_json::{Value, json};

use postroad::worker::recheck;
use time::Duration;

use crate::support::app::TestApp;
use crate::support::client::text;
use crate::support::dns::{DnsServer, Fault};
use crate::support::domains::{publish, publish_required, records, required};

async fn begin() -> (DnsServer, TestApp) {
    let dns = DnsServer::start().await;
    let app =
        TestApp::builder().dns(&dns).set("POSTROAD_BOUNCE_DOMAIN", "bounce.postroad.test").start().await;
    (dns, app)
}

/// The only record for a purpose.
fn record(domain: &Value, purpose: &str) -> Value {
    let mut found = records(domain, purpose);
    assert_eq!(found.len(), 1, "{domain:#}");
    found.remove(0)
}

fn advice(record: &Value) -> &str {
    record["advice"].as_str().unwrap_or_default()
}

/// The kinds of what happened to a domain, oldest first.
fn kinds(domain: &Value) -> Vec<String> {
    let notes = domain["history"].as_array().expect("a history").iter();
    notes.rev().map(|note| text(note, "/kind")).collect()
}

/// Looks at all domains that are due so long from now.
async fn recheck_in(app: &TestApp, wait: Duration) -> usize {
    let server = app.server();
    recheck::tick(server.domains(), server.clock().now() + wait).await.expect("looked")
}

#[tokio::test]
async fn a_domain_says_what_to_publish_and_is_verified_once_that_is_there() {
    let (dns, app) = begin().await;
    let domain = app.client.add_domain("Acme.Example").await;
    assert_eq!((domain["name"].as_str(), domain["status"].as_str()), (Some("acme.example"), Some("pending")));
    let all = domain["records"].as_array().expect("records");
    assert!(all.iter().all(|record| record["status"] == "unknown"), "{domain:#}");
    let needs: Vec<_> = required(&domain).iter().map(|record| text(record, "/purpose")).collect();
    assert_eq!(needs, ["dkim", "dkim", "return_path"]);
    let [rsa, ed25519] = [0, 1].map(|at| text(&records(&domain, "dkim")[at], "/value"));
    assert!(rsa.starts_with("v=DKIM1; k=rsa; p=MII") && rsa.len() > 400, "{rsa}");
    assert!(ed25519.starts_with("v=DKIM1; k=ed25519; p=") && ed25519.len() < 80, "{ed25519}");
    assert_eq!(record(&domain, "return_path")["value"], "bounce.postroad.test");
    assert_eq!(record(&domain, "spf")["value"], "v=spf1 include:bounce.postroad.test ~all");
    assert_eq!(record(&domain, "mx")["priority"], 10);

    let early = app.client.verify_domain(&domain).await;
    assert_eq!(early["status"], "pending");
    for missing in required(&early) {
        assert_eq!(missing["status"], "missing", "{missing:#}");
        assert!(advice(&missing).contains(&text(&missing, "/name")), "{missing:#}");
    }

    publish_required(&dns, &domain);
    let verified = app.client.verify_domain(&domain).await;
    assert_eq!(verified["status"], "verified", "{verified:#}");
    assert!(required(&verified).iter().all(|record| record["status"] == "ok"), "{verified:#}");
    assert_eq!(verified["return_path"], json!({ "name": "bounce.acme.example", "in_use": true }));
    let keys = verified["keys"].as_array().expect("keys");
    assert!(keys.iter().all(|key| key["state"] == "active" && key["published"] == true), "{verified:#}");
    let mut happened = kinds(&verified);
    happened.sort();
    assert_eq!(happened, ["created", "key_active", "key_active", "verified"]);
    for purpose in ["spf", "dmarc", "tracking", "mx"] {
        publish(&dns, &record(&domain, purpose));
    }
    let complete = app.client.verify_domain(&domain).await;
    assert!(complete["records"].as_array().expect("records").iter().all(|record| record["status"] == "ok"));
    assert_eq!(app.client.domain(&domain).await["records"], complete["records"]);
    app.stop().await;
}

#[tokio::test]
async fn each_mismatch_is_explained_with_what_was_found() {
    let (dns, app) = begin().await;
    let domain = app.client.add_domain("acme.example").await;
    publish_required(&dns, &domain);
    let dkim = records(&domain, "dkim").remove(0);
    let (name, value) = (text(&dkim, "/name"), text(&dkim, "/value"));

    let cut = &value[..255];
    dns.clear(&name).txt(&name, cut);
    dns.clear("bounce.acme.example").cname("bounce.acme.example", "bounce.other.test");
    dns.txt("acme.example", "v=spf1 mx -all").txt("acme.example", "unrelated");
    dns.txt("_dmarc.acme.example", "v=DMARC1; rua=mailto:x@acme.example");
    let checked = app.client.verify_domain(&domain).await;

    assert_eq!(checked["status"], "pending");
    let dkim = records(&checked, "dkim").remove(0);
    assert_eq!((dkim["status"].as_str(), &dkim["found"]), (Some("mismatch"), &json!([cut])));
    assert!(advice(&dkim).contains("cut off"), "{dkim:#}");
    let path = record(&checked, "return_path");
    assert_eq!((path["status"].as_str(), &path["found"]), (Some("mismatch"), &json!(["bounce.other.test"])));
    assert!(advice(&path).contains("bounce.postroad.test"), "{path:#}");
    let spf = record(&checked, "spf");
    assert_eq!((spf["status"].as_str(), &spf["found"]), (Some("mismatch"), &json!(["v=spf1 mx -all"])));
    assert!(advice(&spf).contains("include:bounce.postroad.test"), "{spf:#}");
    assert_eq!(record(&checked, "dmarc")["status"], "mismatch");
    app.stop().await;
}

// An owner may publish MX and SPF at the return path instead of an alias, and a policy above covers what is below.
#[tokio::test]
async fn other_ways_to_the_same_end_are_taken() {
    let (dns, app) = begin().await;
    let domain = app.client.add_domain("news.acme.example").await;
    records(&domain, "dkim").iter().for_each(|record| publish(&dns, record));
    dns.mx("bounce.news.acme.example", 10, "mail.postroad.test");
    let half = app.client.verify_domain(&domain).await;
    assert_eq!(record(&half, "return_path")["status"], "mismatch", "no SPF yet: {half:#}");

    dns.txt("bounce.news.acme.example", "v=spf1 include:bounce.postroad.test -all");
    dns.txt("_dmarc.acme.example", "v=DMARC1; p=reject");
    let verified = app.client.verify_domain(&domain).await;
    assert_eq!(verified["status"], "verified", "{verified:#}");
    assert_eq!(record(&verified, "dmarc")["status"], "ok");
    app.stop().await;
}

#[tokio::test]
async fn dns_that_does_not_answer_proves_nothing_and_spoils_nothing() {
    let (dns, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    dns.fault("acme.example", Fault::ServFail);
    let asked = app.client.verify_domain(&domain).await;
    assert_eq!(asked["status"], "verified", "{asked:#}");
    assert!(required(&asked).iter().all(|record| record["status"] == "unknown"), "{asked:#}");
    assert_eq!(record(&asked, "dmarc")["status"], "unknown", "{asked:#}");
    assert_eq!(recheck_in(&app, Duration::hours(7)).await, 1);
    assert_eq!(recheck_in(&app, Duration::hours(100)).await, 1);
    assert_eq!(app.client.domain(&domain).await["status"], "verified");
    dns.heal();
    let healed = app.client.verify_domain(&domain).await;
    assert!(required(&healed).iter().all(|record| record["status"] == "ok"), "{healed:#}");
    app.stop().await;
}

#[tokio::test]
async fn a_name_belongs_to_whom_proves_it_last_and_both_are_told() {
    let (dns, app) = begin().await;
    let (one, other) = (app.account("one").await, app.account("other").await);
    let first = one.client.verified_domain(&dns, "acme.example").await;
    let second = other.client.add_domain("acme.example").await;
    let selectors = |domain: &Value| -> Vec<String> {
        records(domain, "dkim").iter().map(|record| text(record, "/name")).collect()
    };
    assert!(
        selectors(&first).iter().all(|name| !selectors(&second).contains(name)),
        "records are a tenant's own"
    );

    let early = other.client.verify_domain(&second).await;
    assert_eq!(early["status"], "pending", "his records do not prove mine");
    assert_eq!(one.client.domain(&first).await["status"], "verified");

    publish_required(&dns, &second);
    assert_eq!(recheck_in(&app, Duration::minutes(3)).await, 1);
    assert_eq!(other.client.domain(&second).await["status"], "pending", "nobody asked: it stays where it is");

    let moved = other.client.verify_domain(&second).await;
    assert_eq!(moved["status"], "verified", "{moved:#}");
    assert!(kinds(&moved).contains(&"moved_here".to_owned()), "{moved:#}");
    let lost = one.client.domain(&first).await;
    assert_eq!(lost["status"], "pending");
    assert_eq!(kinds(&lost).last().map(String::as_str), Some("moved_away"), "{lost:#}");
    for (account, action) in [(&one, "domain.moved_away"), (&other, "domain.moved_here")] {
        let query = format!(
            "SELECT count(*) FROM audit_log l JOIN tenants t ON t.id = l.tenant_id
             WHERE l.action = '{action}' AND t.name = '{}'",
            if account.tenant == one.tenant { "one" } else { "other" }
        );
        assert_eq!(app.database.count(&query).await, 1, "{action}");
    }
    assert_eq!(
        one.client.verify_domain(&first).await["status"],
        "verified",
        "and back, since both are published"
    );
    assert_eq!(other.client.domain(&second).await["status"], "pending");
    app.stop().await;
}

#[tokio::test]
async fn a_lost_record_warns_and_only_the_loss_of_every_key_stops_a_domain_after_the_grace() {
    let (dns, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let untouched = app.client.verified_domain(&dns, "other.example").await;
    assert_eq!(recheck_in(&app, Duration::hours(1)).await, 0, "not due yet");

    dns.clear("bounce.acme.example");
    assert_eq!(recheck_in(&app, Duration::hours(7)).await, 2);
    let failing = app.client.domain(&domain).await;
    assert_eq!(failing["status"], "failing");
    assert_eq!(failing["return_path"]["in_use"], false, "bounces would be lost");
    assert!(
        failing["history"][0]["message"].as_str().is_some_and(|text| text.contains("bounce.acme.example"))
    );
    assert_eq!(app.client.domain(&untouched).await["status"], "verified");
    recheck_in(&app, Duration::hours(90)).await;
    assert_eq!(app.client.domain(&domain).await["status"], "failing", "a key is published: it may send");

    for record in records(&domain, "dkim") {
        dns.clear(&text(&record, "/name"));
    }
    recheck_in(&app, Duration::hours(98)).await;
    let lapsed = app.client.domain(&domain).await;
    assert_eq!(lapsed["status"], "pending", "{lapsed:#}");
    assert_eq!(kinds(&lapsed).last().map(String::as_str), Some("lapsed"));

    publish_required(&dns, &domain);
    assert_eq!(app.client.verify_domain(&domain).await["status"], "verified");
    app.stop().await;
}

#[tokio::test]
async fn a_failing_domain_recovers_by_itself() {
    let (dns, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    dns.clear("bounce.acme.example");
    recheck_in(&app, Duration::hours(7)).await;
    publish_required(&dns, &domain);
    recheck_in(&app, Duration::hours(8)).await;
    let recovered = app.client.domain(&domain).await;
    assert_eq!((recovered["status"].as_str(), &recovered["failing_since"]), (Some("verified"), &Value::Null));
    assert_eq!(kinds(&recovered).last().map(String::as_str), Some("recovered"));
    app.stop().await;
}

// Two nodes look at one time: the row says whose it is.
#[tokio::test]
async fn what_one_node_looks_at_another_does_not() {
    let (dns, app) = begin().await;
    for number in 0..12 {
        app.client.add_domain(&format!("d{number}.example")).await;
    }
    let other = TestApp::builder().dns(&dns).on(&app.database).start().await;
    let at = app.server().clock().now() + Duration::minutes(3);
    let (here, there) =
        tokio::join!(recheck::tick(app.server().domains(), at), recheck::tick(other.server().domains(), at));
    assert_eq!(here.expect("looked") + there.expect("looked"), 12);
    other.drain().await;
    app.stop().await;
}

#[tokio::test]
async fn keys_change_without_a_gap() {
    let (dns, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let path = format!("/v1/domains/{}", text(&domain, "/id"));
    let rotated = app.client.post(&format!("{path}/rotate"), json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "{:#}", rotated.body);
    let states = |domain: &Value| -> Vec<(String, String)> {
        let keys = domain["keys"].as_array().expect("keys").iter();
        keys.map(|key| (text(key, "/algorithm"), text(key, "/state"))).collect()
    };
    let pairs = |list: &[(&str, &str)]| {
        list.iter().map(|(a, s)| ((*a).to_owned(), (*s).to_owned())).collect::<Vec<_>>()
    };
    let wanted = [("rsa", "active"), ("rsa", "next"), ("ed25519", "active"), ("ed25519", "next")];
    assert_eq!(states(&rotated.body), pairs(&wanted));
    assert_eq!(records(&rotated.body, "dkim").len(), 4);
    let again = app.client.post(&format!("{path}/rotate"), json!({})).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "conflict"));

    let unpublished = app.client.verify_domain(&domain).await;
    assert_eq!((unpublished["status"].as_str(), states(&unpublished)), (Some("verified"), pairs(&wanted)));
    records(&rotated.body, "dkim").iter().for_each(|record| publish(&dns, record));
    let changed = app.client.verify_domain(&domain).await;
    let wanted = [("rsa", "retiring"), ("rsa", "active"), ("ed25519", "retiring"), ("ed25519", "active")];
    assert_eq!((changed["status"].as_str(), states(&changed)), (Some("verified"), pairs(&wanted)));
    let needed: Vec<_> = records(&changed, "dkim").iter().map(|record| record["required"] == true).collect();
    assert_eq!(needed, [false, true, false, true]);

    recheck_in(&app, Duration::days(6)).await;
    assert_eq!(app.client.domain(&domain).await["keys"].as_array().map(Vec::len), Some(4), "still needed");
    recheck_in(&app, Duration::days(8)).await;
    let after = app.client.domain(&domain).await;
    assert_eq!(states(&after), pairs(&[("rsa", "active"), ("ed25519", "active")]));
    app.stop().await;
}

/// RFC 8463 §A.1, as PKCS #8: known to all the world.
const KNOWN_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

#[tokio::test]
async fn a_key_that_is_brought_signs_once_it_is_published() {
    let (dns, app) = begin().await;
    let domain = app.client.add_domain("acme.example").await;
    let path = format!("/v1/domains/{}/keys", text(&domain, "/id"));
    let taken = app.client.post(&path, json!({ "selector": "Old1", "private_key": KNOWN_KEY })).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{:#}", taken.body);
    let keys = records(&taken.body, "dkim");
    assert_eq!(keys.len(), 2, "it replaced the one that was never used: {:#}", taken.body);
    assert_eq!(keys[1]["name"], "old1._domainkey.acme.example");
    assert_eq!(keys[1]["value"], "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");

    publish_required(&dns, &taken.body);
    let verified = app.client.verify_domain(&domain).await;
    assert_eq!(verified["status"], "verified", "{verified:#}");
    assert_eq!(verified["keys"][1]["origin"], "imported");
    let twice = app.client.post(&path, json!({ "selector": "old1", "private_key": KNOWN_KEY })).await;
    assert_eq!(twice.violations(), [("/selector".to_owned(), "selector_taken".to_owned())]);
    app.stop().await;
}

#[tokio::test]
async fn no_private_key_is_readable_anywhere() {
    let (dns, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let path = format!("/v1/domains/{}/keys", text(&domain, "/id"));
    let taken = app.client.post(&path, json!({ "selector": "old1", "private_key": KNOWN_KEY })).await;
    let shown = [
        taken.body.to_string(),
        app.client.domain(&domain).await.to_string(),
        app.client.get("/v1/domains").await.body.to_string(),
    ];
    // The octets of the key, and of the head of any PKCS #8 of RSA, as a dump would show them.
    let secrets =
        ["9d61b19deffd5a60ba844af492ec2cc4", "300d06092a864886f70d0101010500048204", "PRIVATE KEY", "nWGxne"];
    for secret in secrets {
        assert!(shown.iter().all(|text| !text.contains(secret)), "{secret}");
        for table in ["domains", "domain_keys", "domain_history", "audit_log"] {
            let query = format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%{secret}%'");
            assert_eq!(app.database.count(&query).await, 0, "{secret} in {table}");
        }
    }
    let sealed = "SELECT count(*) FROM domain_keys WHERE length(private_sealed) > 40 AND get_byte(private_sealed, 0) = 1";
    assert_eq!(app.database.count(sealed).await, 3, "they are there, sealed");
    let audited = "SELECT count(*) FROM audit_log WHERE action IN ('domain.create', 'domain.status', 'domain.import_key')";
    assert_eq!(app.database.count(audited).await, 3);
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_domain_or_a_key_is_refused_and_each_fault_named() {
    let (_dns, app) = begin().await;
    let domain = app.client.add_domain("acme.example").await;
    let twice = app.client.post("/v1/domains", json!({ "name": "ACME.example" })).await;
    assert_eq!((twice.status, twice.code().as_str()), (StatusCode::CONFLICT, "conflict"));
    let keys = format!("/v1/domains/{}/keys", text(&domain, "/id"));
    let pem = |kind: &str| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
    let cases = [
        ("/v1/domains", json!({}), "/name", "required"),
        ("/v1/domains", json!({ "name": "localhost" }), "/name", "invalid_domain"),
        ("/v1/domains", json!({ "name": "[192.0.2.1]" }), "/name", "invalid_domain"),
        ("/v1/domains", json!({ "name": "a b.example" }), "/name", "invalid_domain"),
        (
            "/v1/domains",
            json!({ "name": "b.example", "return_path": "a b" }),
            "/return_path",
            "invalid_label",
        ),
        ("/v1/domains", json!({ "name": "b.example", "nmae": 1 }), "/nmae", "unknown_field"),
        (&keys, json!({}), "/selector", "required"),
        (&keys, json!({ "selector": "a b", "private_key": KNOWN_KEY }), "/selector", "invalid_selector"),
        (&keys, json!({ "selector": "s1", "private_key": "hello" }), "/private_key", "invalid_key"),
        (&keys, json!({ "selector": "s1", "private_key": pem("PUBLIC KEY") }), "/private_key", "invalid_key"),
        (
            &keys,
            json!({ "selector": "s1", "private_key": pem("RSA PRIVATE KEY") }),
            "/private_key",
            "invalid_key",
        ),
    ];
    for (path, body, pointer, code) in cases {
        let answer = app.client.post(path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {:#}", answer.body);
        assert!(
            answer.violations().contains(&(pointer.to_owned(), code.to_owned())),
            "{body}: {:#}",
            answer.body
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_deleted_domain_is_gone_and_its_name_free() {
    let (dns, app) = begin().await;
    let domain = app.client.verified_domain(&dns, "acme.example").await;
    let path = format!("/v1/domains/{}", text(&domain, "/id"));
    assert_eq!(app.client.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.client.get(&path).await.status, StatusCode::NOT_FOUND);
    for table in ["domains", "domain_keys", "domain_history"] {
        assert_eq!(app.database.count(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    app.client.verified_domain(&dns, "acme.example").await;
    app.stop().await;
}
