//! K1, K2, K3: postroad is killed without warning, at points that are chosen, and starts again on what it left.

use super::load::Load;
use super::strace::Strace;
use super::*;
use crate::support::oracle::{Oracle, Terms};
use crate::support::program::Program;
use crate::support::sink::{Step, at, hold, reply, reset, take};

/// One crash, and all that a test waits for afterwards.
fn after(crashes: usize) -> Terms {
    Terms { budget: Duration::from_secs(120), crashes }
}

/// A node whose work is done by one thread, since strace counts the calls of each; it has sent a mail already, and
/// whatever an earlier life left, so that what follows is one mail's work and nothing else.
async fn warm_node(scene: &Scene, oracle: &Oracle) -> Program {
    let node = scene.node("a").set("TOKIO_WORKER_THREADS", "1").start();
    let id = oracle.send(&node.client, mail("warm@example.net")).await.expect("accepted");
    node.client.ended(&id).await;
    let mut database = scene.database().await;
    eventually("nothing waits any more", PATIENCE, async || {
        number(&mut database, "SELECT count(*) FROM queue").await == 0
    })
    .await;
    node
}

/// Calls that one mail makes from its request to its recorded end, more or less.
async fn calls_of_one_mail(scene: &Scene, oracle: &Oracle) -> usize {
    let node = warm_node(scene, oracle).await;
    let strace = Strace::count(node.pid(), scene.directory.path());
    let id = oracle.send_keyed(&node.client, mail("ann@example.net")).await.expect("accepted");
    node.client.ended(&id).await;
    strace.calls()
}

// K1, K2, K3: one mail, killed at one system call after the other, on its way in and on its way out.
#[tokio::test]
async fn a_kill_at_any_system_call_of_a_mail_loses_nothing() {
    let scene = Scene::set().await;
    let oracle = Oracle::new();
    let calls = calls_of_one_mail(&scene, &oracle).await;
    assert!(calls > 20, "{calls} calls: that is not the thread that works");
    let points = rounds(8, 120).min(calls);
    let (mut killed, mut unanswered) = (0, 0);
    let mut at = std::collections::BTreeMap::new();

    for point in 0..points {
        let number = 1 + point * calls / points;
        let mut node = warm_node(&scene, &oracle).await;
        let strace = Strace::kill_at(node.pid(), scene.directory.path(), number);
        let accepted = oracle.send_keyed(&node.client, mail("ann@example.net")).await;
        unanswered += usize::from(accepted.is_none());
        // It dies at that call, unless this mail needed fewer.
        let patience = Instant::now() + Duration::from_secs(3);
        while node.runs() && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if !node.runs() {
            killed += 1;
            *at.entry(strace.last_call().unwrap_or_default()).or_insert(0usize) += 1;
        }
        drop(strace);
        node.kill();
    }

    let node = scene.node("a").start();
    assert_eq!(oracle.retry_unknown(&node.client).await, 0, "the same key is answered");
    let verdict = oracle.check(&scene.database.url, after(1), || scene.taken()).await;
    println!(
        "K1-K3: {calls} calls, {points} points, {killed} kills {at:?}, {unanswered} unanswered, {} delivered, most copies {}",
        verdict.ended("delivered"),
        verdict.most_copies
    );
    assert!(killed * 2 > points, "{killed} of {points}: strace does not kill here");
}

// K2
#[tokio::test]
async fn a_kill_amid_the_text_of_a_mail_costs_no_copy() {
    let scene = Scene::set().await;
    let oracle = Oracle::new();
    // The connection breaks with the process: what the kernel has taken from it already must not arrive, or a whole
    // mail might.
    let (act, mut half) = hold();
    scene.sink.set(at(Step::Text).octets(4096), act.then(reset()));
    let mut node = scene.node("a").start();
    let id = oracle.send(&node.client, long_mail(2 << 20)).await.expect("accepted");

    half.reached().await;
    node.kill();
    half.release();
    scene.sink.be_friendly();
    let began = Instant::now();
    let node = scene.node("a").start();

    node.client.ended(&id).await;
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let verdict = oracle.check(&scene.database.url, after(1), || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 1));
    // The one that was cut off was counted before it was begun: who kills its process is not tried for ever.
    let mut database = scene.database().await;
    assert_eq!(number(&mut database, "SELECT max(attempt)::bigint FROM attempts").await, 2);
}

// K3: the widest gap there is, held open: the peer has said 250, and nothing can be written.
#[tokio::test]
async fn a_kill_between_the_peers_yes_and_our_commit_costs_one_equal_copy() {
    let scene = Scene::set().await;
    let oracle = Oracle::new();
    let (act, mut held) = hold();
    scene.sink.set(at(Step::Dot), take().then(act).then(reply("250 2.0.0 taken")));
    let mut node = scene.node("a").start();
    let id = oracle.send(&node.client, mail("ann@example.net")).await.expect("accepted");
    held.reached().await;

    let mut database = scene.database().await;
    let mut lock = database.begin().await.expect("begun");
    sqlx::raw_sql("LOCK TABLE outcomes IN EXCLUSIVE MODE").execute(&mut *lock).await.expect("locked");
    held.release();
    let mut other = scene.database().await;
    eventually("the result waits for the lock", PATIENCE, async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        number(&mut other, waiting).await > 0
    })
    .await;
    node.kill();
    lock.rollback().await.expect("rolled back");
    scene.sink.be_friendly();
    let node = scene.node("a").start();

    node.client.ended(&id).await;
    // The oracle also compares the copies: the same octets, and so the same Message-ID.
    let verdict = oracle.check(&scene.database.url, after(1), || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 2));
}

// K1, K3: whatever is under way, again and again.
#[tokio::test]
async fn kills_under_load_lose_nothing() {
    let scene = Scene::set().await;
    let kills = rounds(3, 25);
    let mut node = scene.node("a").start();
    let load = Load::start(&node.client, 16, Duration::from_millis(5));
    for _ in 0..kills {
        load.accepts(100).await;
        node.kill();
        node = scene.node("a").start();
        load.moved(&node.client);
    }
    load.accepts(50).await;

    let (oracle, seen) = load.stop().await;
    let verdict = oracle.check(&scene.database.url, after(kills), || scene.taken()).await;
    println!(
        "K1, K3: {kills} kills, {} accepted, {} unanswered, {} stored unseen, {} delivered, most copies {}",
        seen.accepted,
        seen.unanswered,
        verdict.stored_unseen,
        verdict.ended("delivered"),
        verdict.most_copies
    );
}

// K1: the private database is orphaned by the kill, and taken over by the next start.
#[tokio::test]
async fn a_kill_with_the_private_database_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let sink = SmtpSink::builder().start().await;
    let settings = Settings::embedded(directory.path()).relay(sink.address().port());
    let mut node = settings.start();
    let load = Load::start(&node.client, 8, Duration::from_millis(10));
    let kills = rounds(2, 10);
    for _ in 0..kills {
        load.accepts(50).await;
        node.kill();
        node = settings.start();
        load.moved(&node.client);
    }
    load.accepts(20).await;

    let (oracle, seen) = load.stop().await;
    let running = postroad::embedded::attach(&directory.path().join("data")).await.expect("it runs");
    let url = running.url().expect("a plain path");
    let verdict = oracle.check(&url, after(kills), || taken_by(&sink)).await;
    println!(
        "K1, private database: {kills} kills, {} accepted, {} delivered, most copies {}",
        seen.accepted,
        verdict.ended("delivered"),
        verdict.most_copies
    );
}
