//! The addresses that mail leaves from: which mail uses which, that it comes again from the same one, and how new ones
//! are warmed up.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::World;
use crate::faults::{attempts, last_told};
use crate::support::client::{PATIENCE, mail, statuses, text};
use crate::support::sink::{SmtpSink, reply, tries, usual};

/// Adds an address; gives its id.
async fn add(world: &World, last: u8, more: Value) -> String {
    let mut body = json!({ "address": format!("127.0.0.{last}"), "ehlo": format!("out{last}.acme.example") });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = world.app.client.post("/v1/ips", body).await;
    assert_eq!(made.status, 201, "{:#}", made.body);
    made.text("/id")
}

/// The process knows so many addresses: what it learns it learns within a second.
async fn settle() {
    // No API tells what a process has in memory: two turns of the revisions, and some.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
}

fn sources(message: &Value) -> Vec<String> {
    attempts(message).iter().map(|attempt| text(attempt, "/smtp/source")).collect()
}

/// A world with a site of which a first day allows so many mails, and `others` as much as they like.
async fn warming(curve: &str) -> (World, tempfile::NamedTempFile) {
    let table = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(table.path(), format!("[default]\nwarmup = {curve}\n")).expect("written");
    let path = table.path().display().to_string();
    let world = World::with(SmtpSink::builder(), |app| app.set("POSTROAD_PACING", &path)).await;
    world.host("example.net", "127.0.0.1");
    (world, table)
}

#[tokio::test]
async fn mail_leaves_from_the_addresses_of_its_pool_and_says_their_names() {
    let world = World::new().await;
    world.host("example.net", "127.0.0.1");
    let id = add(&world, 11, json!({})).await;
    add(&world, 12, json!({ "pool": "bulk" })).await;
    let rule = json!({ "stream": "broadcast", "pool": "bulk" });
    assert_eq!(world.app.client.post("/v1/ip-rules", rule).await.status, 201);
    settle().await;

    let mut sent = HashMap::new();
    for stream in ["transactional", "broadcast"] {
        let mut body = mail(&format!("{stream}@example.net"));
        body["stream"] = json!(stream);
        let id = world.oracle.send(&world.app.client, body).await.expect("accepted");
        sent.insert(stream, sources(&world.app.client.ended(&id).await));
    }
    assert_eq!(sent["transactional"], ["127.0.0.11"]);
    assert_eq!(sent["broadcast"], ["127.0.0.12"]);
    let came_from: Vec<String> = world.sink.client_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(came_from, ["127.0.0.11", "127.0.0.12"]);
    let names: Vec<String> =
        world.sink.commands().into_iter().filter(|line| line.starts_with("EHLO ")).collect();
    assert_eq!(names, ["EHLO out11.acme.example", "EHLO out12.acme.example"]);
    let sites = world.app.client.get("/v1/sites").await.list("/data");
    let mut of: Vec<String> = sites.iter().map(|site| text(site, "/source")).collect();
    of.sort();
    assert_eq!(of, ["127.0.0.11", "127.0.0.12"], "limits hold for each of our addresses");

    // From a paused one nothing leaves, and its pool has no other: mail waits.
    assert_eq!(
        world.app.client.patch(&format!("/v1/ips/{id}"), json!({ "state": "paused" })).await.status,
        200
    );
    settle().await;
    let waiting = world.send("later@example.net").await;
    settle().await;
    let message = world.app.client.get(&format!("/v1/messages/{waiting}")).await.body;
    assert_eq!((statuses(&message), attempts(&message).len()), (vec!["queued".to_owned()], 0));
    assert_eq!(world.app.client.delete(&format!("/v1/ips/{id}")).await.status, 204);
    add(&world, 13, json!({})).await;
    settle().await;
    world.app.database.make_due().await;
    assert_eq!(sources(&world.app.client.ended(&waiting).await), ["127.0.0.13"]);
    world.end(&[]).await;
}

// S8
#[tokio::test]
async fn a_greylisted_mail_comes_again_from_the_same_address_although_there_are_others() {
    let later = reply("451 4.7.1 Greylisting in action, please come back later");
    let world = World::of(SmtpSink::builder().on_rcpt("ann", tries([later, usual()]))).await;
    world.host("example.net", "127.0.0.1");
    for last in [11, 12] {
        add(&world, last, json!({})).await;
    }
    settle().await;
    let mut tried = Vec::new();
    for n in 0..8 {
        let id = world.send(&format!("ann{n}@example.net")).await;
        let message = world.tried_again(&id, 1).await;
        assert_eq!(last_told(&message), "deferred greylisted rcpt 451 4.7.1");
        tried.push((id, sources(&message).remove(0)));
    }
    let both: std::collections::BTreeSet<&String> = tried.iter().map(|(_, source)| source).collect();
    assert_eq!(both.len(), 2, "they share the mail: {tried:?}");

    // Newcomers would have most of it, had it not been seen from elsewhere already.
    for last in [13, 14, 15, 16] {
        add(&world, last, json!({})).await;
    }
    settle().await;
    world.app.database.make_due().await;
    for (id, first) in &tried {
        let message = world.app.client.ended(id).await;
        assert_eq!(statuses(&message), ["delivered"]);
        assert_eq!(sources(&message), [first.clone(), first.clone()]);
    }
    world.end(&[]).await;
}

#[tokio::test]
async fn an_address_that_is_warmed_up_sends_what_its_day_allows_and_the_rest_goes_from_a_warm_one() {
    let (world, _table) = warming("[3, 1000]").await;
    let cold = add(&world, 11, json!({ "state": "warming" })).await;
    add(&world, 12, json!({})).await;
    settle().await;
    let mut from: HashMap<String, usize> = HashMap::new();
    for n in 0..24 {
        let message = world.ended(&format!("r{n}@example.net")).await;
        assert_eq!(statuses(&message), ["delivered"]);
        *from.entry(sources(&message).remove(0)).or_default() += 1;
    }
    assert_eq!(from.get("127.0.0.11"), Some(&3), "{from:?}");
    assert_eq!(from.get("127.0.0.12"), Some(&21), "{from:?}");
    let shown = world.app.client.get(&format!("/v1/ips/{cold}")).await;
    assert_eq!(shown.body["warmup"]["day"], 1);
    assert_eq!(
        shown.body["warmup"]["today"],
        json!([{ "provider": "default", "allowed": 3, "taken": 3 }]),
        "{:#}",
        shown.body
    );
    world.end(&[]).await;
}

#[tokio::test]
async fn without_a_warm_address_mail_beyond_the_day_waits_and_the_next_day_allows_more() {
    let (world, _table) = warming("[2, 4]").await;
    let cold = add(&world, 11, json!({ "state": "warming" })).await;
    settle().await;
    for n in 0..6 {
        world.send(&format!("r{n}@example.net")).await;
    }
    world.sink.wait_for(2, PATIENCE).await;
    settle().await;
    assert_eq!(world.sink.received().len(), 2, "{}", world.sink.story());
    // One by one, as portions are asked for in vain.
    let late = "SELECT count(*) FROM queue WHERE attempts = 0 AND due_at > now() + interval '5 seconds'";
    let began = std::time::Instant::now();
    while world.app.database.count(late).await < 4 {
        assert!(began.elapsed() < PATIENCE, "they wait, uncounted");
        settle().await;
    }
    assert_eq!(world.sink.received().len(), 2, "{}", world.sink.story());

    // Its warm-up began two days ago: the curve is over, and it sends as it likes.
    world.app.database.change("UPDATE ips SET warming_since = warming_since - interval '2 days'").await;
    world.app.database.change("UPDATE revisions SET value = value + 1 WHERE name = 'ips'").await;
    settle().await;
    world.app.database.make_due().await;
    world.sink.wait_for(6, PATIENCE).await;
    assert_eq!(world.app.client.get(&format!("/v1/ips/{cold}")).await.body["warmup"]["day"], 3);
    world.end(&[]).await;
}
