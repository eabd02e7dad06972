//! W4: the process dies between the posting of a mail and the note that it was taken.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::routes::make;
use super::*;
use crate::support::client::PATIENCE;
use crate::support::database::TestDatabase;
use crate::support::program::{self, Settings};

/// A program that kills who posts to it, the first time, before it answers.
async fn deadly() -> (String, Arc<Mutex<Option<Pid>>>, Arc<Mutex<Vec<String>>>) {
    let (victim, posted) = (Arc::new(Mutex::new(None::<Pid>)), Arc::new(Mutex::new(Vec::new())));
    let (aimed, noted) = (Arc::clone(&victim), Arc::clone(&posted));
    let take = move |headers: HeaderMap| {
        let id = headers["webhook-id"].to_str().expect("ASCII").to_owned();
        noted.lock().expect("no panic").push(id);
        if let Some(pid) = aimed.lock().expect("no panic").take() {
            kill(pid, Signal::SIGKILL).expect("it ran");
        }
        async move { "taken" }
    };
    let router = axum::Router::new().route("/hook", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, victim, posted)
}

// W4
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_posting_was_cut_off_is_posted_again_with_the_same_id() {
    let (url, victim, posted) = deadly().await;
    let database = TestDatabase::fresh().await;
    let directory = program::directory();
    let settings = Settings::embedded(directory.path())
        .database(&database.url)
        .set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8");
    let mut program = settings.start();
    make(&program.client, json!({ "match": "in.acme.example", "action": "webhook", "url": url })).await;
    let began = Instant::now();
    let mut peer = Peer::of(program.door("mx")).await;
    *victim.lock().expect("no panic") = Some(program.pid());
    while peer.send("zoe@example.net", &["help@in.acme.example"], "Subject: x\n\nx").await
        != "250 2.0.0 Ok: taken"
    {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    while tokio::task::block_in_place(|| program.runs()) {
        assert!(began.elapsed() < PATIENCE, "it was not posted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let calls = "SELECT state || ' ' || attempts FROM inbound_calls";
    assert_eq!(database.texts(calls).await, ["pending 1"], "counted before it was made");

    // The lease of the dead runs out.
    database.change("UPDATE inbound_calls SET due_at = now()").await;
    let program = settings.start();
    let began = Instant::now();
    while database.texts(calls).await != ["delivered 2"] {
        assert!(began.elapsed() < PATIENCE, "{:?}", database.texts(calls).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let posted = posted.lock().expect("no panic").clone();
    assert_eq!(posted.len(), 2);
    assert_eq!(posted[0], posted[1]);
    assert_eq!(program.client.get("/v1/inbound").await.list("/data").len(), 1);
}
