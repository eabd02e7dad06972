//! Mail that is passed on: rewritten, sealed, retried, told about, and never going round.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode as Status;
use serde_json::json;

use super::routes::{make, until_taken};
use super::*;
use crate::support::client::PATIENCE;
use crate::support::dns::DnsServer;
use crate::support::domains::records;
use crate::support::sink::{Mail, SmtpSink, reply};

const ADDRESS: &str = "help@in.acme.example";
const LETTER: &str = "From: Joe <joe@football.example.com>\nTo: help@in.acme.example\nSubject: Is dinner ready?\n\
    Date: Fri, 11 Jul 2003 21:00:37 -0700\nMessage-ID: <1@football.example.com>\n\nHi.\n\nWe lost the game.\n";

/// A postroad whose tenant has proved acme.example, in front of a sink; and a route there that passes mail on.
struct World {
    dns: DnsServer,
    sink: SmtpSink,
    app: TestApp,
    domain: Value,
}

impl World {
    async fn forwarding_to(to: &str) -> World {
        let dns = DnsServer::start().await;
        dns.txt("football.example.com", "v=spf1 ip4:127.0.0.1 -all");
        dns.txt("strict.example", "v=spf1 ip4:192.0.2.1 -all");
        let sink = SmtpSink::builder().on_rcpt("dead@", reply("550 5.7.1 not wanted here")).start().await;
        let builder = builder().dns(&dns).relay(sink.address().port());
        let app = builder.set("POSTROAD_SENDER_POLICY", "verified").start().await;
        let domain = app.client.verified_domain(&dns, "acme.example").await;
        make(&app.client, json!({ "match": ADDRESS, "action": "forward", "to": to })).await;
        until_taken(&app, ADDRESS).await;
        World { dns, sink, app, domain }
    }

    async fn post(&self, from: &str, content: &str) -> String {
        post(door(&self.app), from, ADDRESS, content.trim_end_matches('\n')).await
    }

    /// The mails that the world got, once there are so many.
    async fn got(&self, count: usize) -> Vec<Mail> {
        self.sink.wait_for(count, PATIENCE).await
    }

    /// The newest mail that came in, once it is passed on, or not.
    async fn settled(&self) -> Value {
        let began = Instant::now();
        loop {
            let newest = self.app.client.get("/v1/inbound?limit=1").await.list("/data").remove(0);
            if newest["forward"]["state"] != "pending" {
                return newest;
            }
            assert!(began.elapsed() < PATIENCE, "{newest:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(self) {
        self.app.stop().await;
        drop((self.dns, self.sink));
    }
}

/// What dkimpy makes of the ARC chain of a mail.
fn chain(mail: &[u8], domain: &Value) -> String {
    let keys = records(domain, "dkim").into_iter();
    let zone: serde_json::Map<_, _> =
        keys.map(|record| (text(&record, "/name"), record["value"].clone())).collect();
    let python =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/verifiers/dkim-python/bin/python3");
    assert!(python.exists(), "{} is missing: run scripts/install-test-tools.sh", python.display());
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verifiers/dkim/arc.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let input = json!({ "dns": zone, "mails": [STANDARD.encode(mail)] }).to_string();
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let results: Vec<String> = serde_json::from_slice(&output.stdout).expect("JSON");
    results.into_iter().next().expect("one")
}

#[tokio::test]
async fn a_mail_is_passed_on_as_it_was_with_its_sender_rewritten_and_sealed() {
    let world = World::forwarding_to("ann@example.net").await;
    assert_eq!(world.post("joe@football.example.com", LETTER).await, "250 2.0.0 Ok: taken");
    let mail = world.got(1).await.remove(0);
    let (local, domain) = mail.from.rsplit_once('@').expect("an address");
    assert!(local.starts_with("SRS0=") && local.ends_with("=football.example.com=joe"), "{}", mail.from);
    assert_eq!(domain, "bounce.acme.example", "the return-path domain of who passes it on");
    assert_eq!(mail.to(), ["ann@example.net"]);
    let shown = mail.text();
    let letter = format!("{}\r\n", LETTER.trim_end().replace('\n', "\r\n"));
    assert!(shown.ends_with(&letter), "{shown}");
    assert!(shown.contains("X-Loop: help@in.acme.example\r\n"), "{shown}");
    assert!(shown.contains("ARC-Authentication-Results: i=1;") && shown.contains("spf=pass"), "{shown}");
    assert!(!shown.contains("Return-Path:"), "{shown}");
    assert_eq!(chain(&mail.text, &world.domain), "pass", "{shown}");
    let spoilt = shown.replace("We lost", "We won");
    assert_eq!(chain(spoilt.as_bytes(), &world.domain), "fail");

    let kept = world.settled().await;
    assert_eq!((&kept["kind"], &kept["forward"]["state"]), (&json!("mail"), &json!("delivered")));
    let message = world.app.client.ended(&text(&kept, "/forward/message_id")).await;
    assert_eq!(message["metadata"]["inbound_id"], kept["id"]);
    assert_eq!(message["deliveries"][0]["status"], "delivered");

    // It was accepted, and the process died before it noted that.
    let again = "UPDATE inbound_calls SET state = 'pending', due_at = now() RETURNING state";
    assert_eq!(world.app.database.texts(again).await, ["pending"]);
    let kept = world.settled().await;
    assert_eq!((&kept["forward"]["attempts"], &kept["forward"]["message_id"]), (&json!(2), &message["id"]));
    assert_eq!(world.app.database.count("SELECT count(*) FROM messages").await, 1);
    world.stop().await;
}

// D7.
#[tokio::test]
async fn what_has_been_passed_on_does_not_come_in_again() {
    let world = World::forwarding_to("ann@example.net").await;
    world.post("joe@football.example.com", LETTER).await;
    let passed_on = world.got(1).await.remove(0);
    let again = passed_on.text().replace("\r\n", "\n");
    assert_eq!(world.post(&passed_on.from, &again).await, "554 5.4.6 Too many hops: the mail is in a loop");
    world.stop().await;
}

#[tokio::test]
async fn who_wrote_a_mail_that_is_refused_further_on_is_told() {
    let world = World::forwarding_to("dead@example.net").await;
    world.post("joe@football.example.com", LETTER).await;
    let notice = world.got(1).await.remove(0);
    assert_eq!((notice.from.as_str(), notice.to()), ("", vec!["joe@football.example.com"]));
    let shown = notice.text();
    assert!(shown.contains("Original-Recipient: rfc822; help@in.acme.example"), "{shown}");
    assert!(shown.contains("Action: failed") && shown.contains("not wanted here"), "{shown}");

    // Not who may be somebody else, nor who is no person.
    world.post("joe@strict.example", LETTER).await;
    let automatic = format!("Auto-Submitted: auto-generated\n{LETTER}");
    world.post("joe@football.example.com", &automatic).await;
    world.post("", LETTER).await;
    let began = Instant::now();
    // A refusal may have suppressed the address: then the next is not even tried.
    let bounced = "SELECT count(*) FROM events WHERE type IN ('bounced', 'suppressed')";
    while world.app.database.count(bounced).await < 4 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.app.database.count("SELECT count(*) FROM notices").await, 0);
    assert_eq!(world.sink.received().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn who_wrote_a_mail_to_a_suppressed_address_is_told_and_the_route_says_why() {
    let world = World::forwarding_to("ann@example.net").await;
    let listed = world.app.client.post("/v1/suppressions", json!({ "email": "ann@example.net" })).await;
    assert_eq!(listed.status, Status::CREATED, "{:#}", listed.body);
    world.post("joe@football.example.com", LETTER).await;

    let kept = world.settled().await;
    assert_eq!(kept["forward"]["state"], "failed");
    assert_eq!(kept["forward"]["last_error"], "the address it goes to is suppressed");
    let id = text(&kept, "/forward/message_id");
    assert_eq!(world.app.client.event_types(&id).await, ["accepted", "suppressed"]);
    let notice = world.got(1).await.remove(0);
    assert_eq!((notice.from.as_str(), notice.to()), ("", vec!["joe@football.example.com"]));
    let shown = notice.text();
    assert!(shown.contains("Original-Recipient: rfc822; help@in.acme.example"), "{shown}");
    assert!(shown.contains("Action: failed"), "{shown}");

    // The process died before it noted that: nobody is told again.
    world.app.database.change("UPDATE inbound_calls SET state = 'pending', due_at = now()").await;
    assert_eq!(world.settled().await["forward"]["attempts"], 2);
    let began = Instant::now();
    while world.app.database.count("SELECT count(*) FROM notices").await > 0 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.app.database.count("SELECT count(*) FROM messages").await, 2);
    world.stop().await;
}

#[tokio::test]
async fn a_late_notice_comes_back_to_who_wrote_the_mail_and_nothing_else_does() {
    let world = World::forwarding_to("ann@example.net").await;
    world.post("joe@football.example.com", LETTER).await;
    let rewritten = world.got(1).await.remove(0).from;
    let text = notice("ann@example.net", "5.1.1", "550 5.1.1 User unknown");
    let mut peer = Peer::of(door(&world.app)).await;
    let said = peer.send("ann@example.net", &[&rewritten], &text).await;
    assert!(said.starts_with("550 5.7.1 This address takes notices alone"), "{said}");
    let forged = rewritten.replace("=joe@", "=jim@");
    assert!(peer.send("", &[&forged], &text).await.starts_with("550 5.1.1"), "{forged}");

    assert_eq!(peer.send("", &[&rewritten.to_ascii_lowercase()], &text).await, "250 2.0.0 Ok: taken");
    let back = world.got(2).await.remove(1);
    assert_eq!((back.from.as_str(), back.to()), ("", vec!["joe@football.example.com"]));
    assert!(back.text().contains("550 5.1.1 User unknown"), "{}", back.text());
    let kept = world.settled().await;
    assert_eq!((&kept["kind"], &kept["route_id"]), (&json!("bounce"), &Value::Null));
    let told = world.app.client.get("/v1/events?type=received").await.list("/data");
    assert!(told.iter().any(|event| event["data"]["action"] == "return"), "{told:#?}");
    world.stop().await;
}

#[tokio::test]
async fn what_is_no_message_is_kept_and_says_why_it_was_not_passed_on() {
    let world = World::forwarding_to("ann@example.net").await;
    assert_eq!(
        world.post("joe@football.example.com", "Subject: no author\n\nx").await,
        "250 2.0.0 Ok: taken"
    );
    let kept = world.settled().await;
    assert_eq!(kept["forward"]["state"], "failed");
    assert_eq!(kept["forward"]["last_error"], "the message has no From");
    world.stop().await;
}

#[tokio::test]
async fn a_route_is_changed_and_what_is_wrong_is_named() {
    let world = World::forwarding_to("ann@example.net").await;
    let client = &world.app.client;
    let route = client.get("/v1/inbound-routes").await.list("/data").remove(0);
    let path = format!("/v1/inbound-routes/{}", text(&route, "/id"));
    let changed =
        client.patch(&path, json!({ "priority": 7, "to": "bob@example.net", "action": "forward" })).await;
    assert_eq!(changed.status, Status::OK, "{:#}", changed.body);
    let expected =
        json!({ "match": ADDRESS, "priority": 7, "action": "forward", "to": "bob@example.net", "url": null });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(changed.body[name], *value, "{name}");
    }
    let rejecting = client.patch(&path, json!({ "action": "reject" })).await;
    assert_eq!((&rejecting.body["to"], &rejecting.body["priority"]), (&Value::Null, &json!(7)));
    let began = Instant::now();
    while world.post("joe@football.example.com", LETTER).await != "550 5.7.1 This mailbox takes no mail" {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (body, pointer, code) in [
        (json!({ "to": "ann@example.net" }), "/to", "needs_action"),
        (json!({ "action": "forward" }), "/to", "required"),
        (json!({ "action": "store", "to": "ann@example.net" }), "/to", "wrong_action"),
        (json!({ "action": "forward", "to": "nobody" }), "/to", "invalid_address"),
        (json!({ "match": "x@other.example" }), "/match", "domain_not_verified"),
        (json!({ "action": "burn" }), "/action", "invalid_action"),
        (json!({ "priority": -1 }), "/priority", "out_of_range"),
    ] {
        let answer = client.patch(&path, body.clone()).await;
        assert_eq!(answer.violations(), [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    make(client, json!({ "match": "other@in.acme.example", "action": "store" })).await;
    let twice = client.patch(&path, json!({ "match": "other@in.acme.example" })).await;
    assert_eq!(twice.status, Status::CONFLICT);
    let audited = "SELECT action FROM audit_log WHERE action LIKE 'inbound_route.%' ORDER BY id";
    assert_eq!(
        world.app.database.texts(audited).await,
        ["inbound_route.create", "inbound_route.update", "inbound_route.update", "inbound_route.create"]
    );
    world.stop().await;
}
