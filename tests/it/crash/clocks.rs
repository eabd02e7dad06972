//! C1: clocks that jump. The machine's clock is moved for one process by libfaketime, while it runs.

use std::path::PathBuf;

use super::*;
use crate::support::oracle::{Oracle, Terms};
use crate::support::program::Program;
use crate::support::sink::{Step, at, reply};

/// What a process believes about the time; written anew, it believes something else.
pub struct Watch(PathBuf);

impl Watch {
    /// In this file; what it tells is right to begin with.
    pub fn at(path: PathBuf) -> Watch {
        if !path.exists() {
            std::fs::write(&path, "+0").expect("written");
        }
        Watch(path)
    }

    /// What a process is started with that goes by it. Time that only ever goes on is left alone.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
        ]
    }

    /// Such as `+5d`.
    pub fn set(&self, offset: &str) {
        // Whole or not at all: it is read at every call.
        let new = self.0.with_extension("new");
        std::fs::write(&new, offset).expect("written");
        std::fs::rename(new, &self.0).expect("renamed");
    }
}

fn library() -> String {
    let places = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"));
    let found = places.into_iter().find(|path| std::path::Path::new(path).exists());
    found.expect("libfaketime: scripts/install-test-tools.sh installs it")
}

/// A node whose wall clock is ours to move.
fn node_with(scene: &Scene, watch: &Watch) -> Program {
    let set = |settings: crate::support::program::Settings, (name, value): (&str, String)| {
        settings.set(name, &value)
    };
    watch.environment().into_iter().fold(scene.node("a"), set).start()
}

// C1: mail that waits for its next try, and mail that comes in, take no notice.
#[tokio::test]
async fn a_machines_clock_that_jumps_moves_no_mail() {
    let scene = Scene::set().await;
    let watch = Watch::at(scene.directory.path().join("watch"));
    let node = node_with(&scene, &watch);
    let oracle = Oracle::new();
    let mut database = scene.database().await;
    scene.sink.set(at(Step::Rcpt).of("late@"), reply("451 4.3.0 later"));
    let late = oracle.send(&node.client, mail("late@example.net")).await.expect("accepted");
    node.client.until(&late, |message| message["deliveries"][0]["attempt_count"] == 1).await;
    let due = "SELECT (extract(epoch FROM due_at) * 1000)::bigint FROM queue";
    eventually("it waits", PATIENCE, async || {
        number(&mut database, "SELECT count(*) FROM queue WHERE leased_by IS NULL").await == 1
    })
    .await;
    let before = number(&mut database, due).await;

    for offset in ["+5d", "-2h", "+40d", "+0"] {
        watch.set(offset);
        let id = oracle.send(&node.client, mail("ann@example.net")).await.expect("accepted");
        assert_eq!(node.client.ended(&id).await["deliveries"][0]["status"], "delivered", "{offset}");
        // Longer than the sign of life, so that loops have seen the jump.
        tokio::time::sleep(Duration::from_secs(rounds(1, 12) as u64)).await;
        assert_eq!(number(&mut database, due).await, before, "{offset}");
        assert_eq!(number(&mut database, "SELECT count(*) FROM nodes").await, 1, "nobody was taken for dead");
    }

    scene.sink.be_friendly();
    run(&mut database, "UPDATE queue SET due_at = clock_timestamp()").await;
    let verdict = oracle.check(&scene.database.url, Terms::default(), || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (5, 1));
    println!("C1: four jumps of the machine's clock, 5 delivered, each once");
}

// C1: the queue's mail would expire at once, or wait for days. The step is doubted, and mail goes on by the time before.
#[tokio::test]
async fn a_step_of_the_databases_clock_expires_nothing_and_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = super::cluster::Cluster::start_with_own_clock().await;
    let sink = SmtpSink::builder().start().await;
    let settings = crate::support::program::Settings::embedded(directory.path()).database(&cluster.url());
    let node = settings.node("a").relay(sink.address().port()).start();
    let oracle = Oracle::new();
    sink.set(at(Step::Rcpt).of("late@"), reply("451 4.3.0 later"));
    let late = oracle.send(&node.client, mail("late@example.net")).await.expect("accepted");
    node.client.until(&late, |message| message["deliveries"][0]["attempt_count"] == 1).await;
    let noted = async || node.client.get("/readyz").await.body["notes"].to_string().contains("not followed");

    for offset in ["+5d", "-2h"] {
        cluster.watch().set(offset);
        eventually("the step is told", PATIENCE, async || noted().await).await;
        let id = oracle.send(&node.client, mail("ann@example.net")).await.expect("accepted");
        assert_eq!(node.client.ended(&id).await["deliveries"][0]["status"], "delivered", "{offset}");
        let waiting = node.client.get(&format!("/v1/messages/{late}")).await;
        assert_eq!(waiting.body["deliveries"][0]["status"], "queued", "{offset}: {:#}", waiting.body);
    }
    cluster.watch().set("+0");
    eventually("all is well again", PATIENCE, async || !noted().await).await;

    sink.be_friendly();
    let mut database = cluster.connect().await;
    run(&mut database, "UPDATE queue SET due_at = clock_timestamp()").await;
    let verdict = oracle.check(&cluster.url(), Terms::default(), || taken_by(&sink)).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (3, 1));
    println!("C1, database: two steps of its clock doubted, 3 delivered, each once");
}
