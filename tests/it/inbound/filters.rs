//! Filters: what mail is looked at for before a route takes it. Lists are asked over a DNS server of our own; rspamd is
//! imitated at the wire.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::StatusCode as Status;
use serde_json::json;

use super::routes::{make, until_taken};
use super::*;
use crate::support::client::PATIENCE;
use crate::support::dns::{DnsServer, Fault};

const LETTER: &str = "From: Joe <joe@football.example.com>\nSubject: Cheap watches\n\nx";
const FILTERED: &str = "550 5.7.1 A filter of the recipient refuses this mail";
const TAKEN: &str = "250 2.0.0 Ok: taken";

/// Mail for each of these local parts is looked at with one filter.
async fn routes(app: &TestApp, filters: &[(&str, Value)]) {
    for (local, filter) in filters {
        let body =
            json!({ "match": format!("{local}@in.acme.example"), "action": "store", "filters": [filter] });
        make(&app.client, body).await;
    }
    for (local, _) in filters {
        until_taken(app, &format!("{local}@in.acme.example")).await;
    }
}

/// The newest mail that was kept.
async fn newest(app: &TestApp) -> Value {
    app.client.get("/v1/inbound?limit=1").await.list("/data").remove(0)
}

#[tokio::test]
async fn each_filter_finds_what_it_names() {
    let dns = DnsServer::start().await;
    dns.address_of("1.0.0.127.bl.example", "127.0.0.2").txt("strict.example", "v=spf1 ip4:192.0.2.1 -all");
    let app = builder().dns(&dns).start().await;
    let then = |mut filter: Value, measure: &str| {
        filter["then"] = measure.into();
        filter
    };
    let network = json!({ "if": "network", "networks": ["127.0.0.0/8", "::1"] });
    let list = json!({ "if": "blocklist", "zone": "bl.example" });
    let elsewhere = json!({ "if": "network", "networks": ["192.0.2.0/24"] });
    let spf = json!({ "if": "authentication", "check": "spf", "results": ["fail", "softfail"] });
    routes(
        &app,
        &[
            ("network", then(network, "reject")),
            ("list", then(list.clone(), "reject")),
            ("size", then(json!({ "if": "size", "over_bytes": 10 }), "drop")),
            ("header", then(json!({ "if": "header", "name": "Subject", "pattern": "*cheap*" }), "tag")),
            ("spf", then(spf, "reject")),
            ("elsewhere", then(elsewhere, "reject")),
            ("clean", then(json!({ "if": "blocklist", "zone": "clean.example" }), "reject")),
        ],
    )
    .await;
    let said = |from: &'static str, local: &'static str| {
        let address = door(&app);
        async move { post(address, from, &format!("{local}@in.acme.example"), LETTER).await }
    };
    assert_eq!(said("joe@football.example.com", "network").await, FILTERED);
    assert_eq!(said("joe@football.example.com", "list").await, FILTERED);
    assert_eq!(said("joe@strict.example", "spf").await, FILTERED);
    assert_eq!(app.client.get("/v1/inbound").await.list("/data"), [Value::Null; 0]);

    assert_eq!(said("joe@football.example.com", "size").await, TAKEN);
    assert_eq!(app.client.get("/v1/inbound").await.list("/data"), [Value::Null; 0], "thrown away");
    let told = app.client.get("/v1/events?type=received").await.list("/data");
    assert_eq!((told.len(), &told[0]["data"]["action"]), (1, &json!("drop")));
    assert_eq!(told[0]["data"]["filters"], json!([{ "filter": "size", "then": "drop", "note": null }]));

    assert_eq!(said("joe@football.example.com", "header").await, TAKEN);
    let tagged = newest(&app).await;
    assert_eq!(tagged["filters"], json!([{ "filter": "header Subject", "then": "tag", "note": null }]));
    let raw = app.client.download(&format!("/v1/inbound/{}/raw", text(&tagged, "/id"))).await;
    assert!(String::from_utf8_lossy(&raw).contains("\r\nX-Filter-Tag: header Subject\r\n"));

    for local in ["spf", "elsewhere", "clean"] {
        assert_eq!(said("joe@football.example.com", local).await, TAKEN, "{local}");
        assert_eq!(newest(&app).await["filters"], json!([]), "{local}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_filter_that_cannot_be_asked_lets_mail_through_with_a_note() {
    let dns = DnsServer::start().await;
    dns.fault("broken.example", Fault::ServFail).address_of("1.0.0.127.busy.example", "127.255.255.254");
    let app = builder().dns(&dns).start().await;
    routes(
        &app,
        &[
            ("broken", json!({ "if": "blocklist", "zone": "broken.example", "then": "reject" })),
            ("busy", json!({ "if": "blocklist", "zone": "busy.example", "then": "reject" })),
            ("scan", json!({ "if": "rspamd", "then": "reject" })),
        ],
    )
    .await;
    for (local, note) in [("broken", ""), ("busy", "refuses to answer"), ("scan", "has no rspamd")] {
        let to = format!("{local}@in.acme.example");
        assert_eq!(post(door(&app), "joe@football.example.com", &to, LETTER).await, TAKEN);
        let found = newest(&app).await["filters"][0].clone();
        assert_eq!(found["then"], Value::Null, "{found}");
        assert!(text(&found, "/note").contains(note), "{found}");
    }
    app.stop().await;
}

#[tokio::test]
async fn the_tenants_own_filters_come_first_and_others_recipients_get_their_mail() {
    let app = builder().start().await;
    let tag = json!({ "if": "size", "over_bytes": 0, "then": "tag" });
    let reject = json!({ "if": "header", "name": "Subject", "pattern": "cheap*", "then": "reject" });
    routes(&app, &[("a", tag), ("b", reject.clone())]).await;
    let mut peer = Peer::of(door(&app)).await;
    let (a, b) = ("a@in.acme.example", "b@in.acme.example");
    assert_eq!(peer.send("joe@football.example.com", &[b], LETTER).await, FILTERED);
    assert_eq!(peer.send("joe@football.example.com", &[a, b], LETTER).await, TAKEN);
    let kept = app.client.get("/v1/inbound").await.list("/data");
    assert_eq!((kept.len(), &kept[0]["recipient"]), (1, &json!(a)), "who refuses it does not get it");

    assert_eq!(
        app.client.get("/v1/inbound-filters").await.body,
        json!({ "filters": [], "changed_at": null })
    );
    let set = app.client.patch("/v1/inbound-filters", json!({ "filters": [reject] })).await;
    assert_eq!((set.status, &set.body["filters"]), (Status::OK, &json!([reject])));
    assert_eq!(app.client.get("/v1/inbound-filters").await.body, set.body);
    let began = Instant::now();
    while peer.send("joe@football.example.com", &[a], LETTER).await != FILTERED {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let audited = "SELECT action FROM audit_log WHERE action = 'inbound_filters.set'";
    assert_eq!(app.database.texts(audited).await.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn filters_that_are_wrong_are_named_each_by_its_pointer() {
    let app = builder().start().await;
    let cases = [
        (json!({ "if": "moon", "then": "tag" }), "/if", "invalid_filter"),
        (json!({ "then": "tag" }), "/if", "required"),
        (json!({ "if": "size", "over_bytes": 1, "then": "burn" }), "/then", "invalid_measure"),
        (json!({ "if": "size", "then": "tag" }), "/over_bytes", "required"),
        (json!({ "if": "network", "networks": ["x"], "then": "tag" }), "/networks/0", "invalid_network"),
        (json!({ "if": "network", "networks": [], "then": "tag" }), "/networks", "required"),
        (json!({ "if": "blocklist", "zone": "-", "then": "tag" }), "/zone", "invalid_domain"),
        (json!({ "if": "header", "name": "a b", "pattern": "x", "then": "tag" }), "/name", "invalid_header"),
        (
            json!({ "if": "authentication", "check": "spf", "results": ["good"], "then": "tag" }),
            "/results/0",
            "invalid_result",
        ),
        (
            json!({ "if": "authentication", "check": "x", "results": ["pass"], "then": "tag" }),
            "/check",
            "invalid_check",
        ),
        (json!({ "if": "rspamd", "score": "x", "then": "tag" }), "/score", "out_of_range"),
        (json!({ "if": "rspamd", "zone": "x.example", "then": "tag" }), "/zone", "unknown_field"),
    ];
    for (filter, pointer, code) in cases {
        let answer = app.client.patch("/v1/inbound-filters", json!({ "filters": [filter] })).await;
        assert_eq!(answer.violations(), [(format!("/filters/0{pointer}"), code.to_owned())], "{filter}");
    }
    app.stop().await;
}

/// What was asked of rspamd: its header fields of interest, and the mail.
type Asked = Arc<Mutex<Vec<(Vec<String>, String)>>>;

/// An rspamd that gives every mail the same points.
async fn rspamd(score: f64, action: &'static str) -> (String, Asked) {
    let asked: Asked = Arc::default();
    let noted = Arc::clone(&asked);
    let check = move |headers: axum::http::HeaderMap, body: bytes::Bytes| {
        let of = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let fields = ["ip", "helo", "from", "rcpt"].map(of).to_vec();
        noted.lock().expect("no panic").push((fields, String::from_utf8_lossy(&body).into_owned()));
        let answer = json!({ "score": score, "required_score": 15.0, "action": action, "symbols": {} });
        async move { axum::Json(answer) }
    };
    let router = axum::Router::new().route("/checkv2", axum::routing::post(check));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test]
async fn rspamd_is_asked_once_for_a_mail_and_its_points_count() {
    let (url, asked) = rspamd(7.5, "add header").await;
    let app = builder().set("POSTROAD_RSPAMD_URL", &url).start().await;
    routes(
        &app,
        &[
            ("high", json!({ "if": "rspamd", "score": 8, "then": "reject" })),
            ("low", json!({ "if": "rspamd", "score": 7.5, "then": "reject" })),
            ("own", json!({ "if": "rspamd", "then": "tag" })),
        ],
    )
    .await;
    let to = ["high@in.acme.example", "own@in.acme.example"];
    let mut peer = Peer::of(door(&app)).await;
    assert_eq!(peer.send("joe@football.example.com", &to, LETTER).await, TAKEN);
    let (fields, mail) = {
        let asked = asked.lock().expect("no panic");
        assert_eq!(asked.len(), 1, "once for both");
        asked[0].clone()
    };
    assert_eq!(fields[..3], ["127.0.0.1", "mx.example.net", "joe@football.example.com"]);
    assert!(mail.starts_with("From: Joe "), "{mail}");
    let kept = app.client.get("/v1/inbound").await.list("/data");
    let found = |to: &str| {
        let mail = kept.iter().find(|mail| mail["recipient"] == to).expect("it was kept");
        mail["filters"].as_array().map(Vec::len)
    };
    assert_eq!(to.map(found), [Some(0), Some(1)]);
    assert_eq!(peer.send("joe@football.example.com", &["low@in.acme.example"], LETTER).await, FILTERED);
    app.stop().await;
}
