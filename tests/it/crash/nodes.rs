//! K4, K10, K13 and H5: several nodes on one database, of which some stop, stall, or start at the same moment.

use nix::sys::signal::Signal;
use sqlx::postgres::PgListener;

use super::*;
use crate::support::oracle::{Oracle, Terms};
use crate::support::program::Program;
use crate::support::sink::{Step, at, hold, reply, take};

/// As if a node had said for the last time long ago that it lives: its leases may be taken over.
const SILENCE: &str =
    "UPDATE nodes SET alive_until = clock_timestamp() - interval '1 hour' WHERE rescued_at IS NULL";

/// How many incarnations have tried mail.
const AT_WORK: &str = "SELECT count(DISTINCT incarnation) FROM attempts";

// K10
#[tokio::test]
async fn two_nodes_share_the_work_and_deliver_each_mail_once() {
    let mails = rounds(600, 10_000);
    let scene = Scene::set().await;
    let nodes = [scene.node("a").start(), scene.node("b").start()];
    let oracle = Oracle::new();

    // From one node alone, and more than it has room for: the rest is left to the table, and to both.
    let mut sent = 0;
    while sent < mails {
        let batch: Vec<_> = (0..200).map(|n| mail(&format!("u{n}@example.net"))).collect();
        sent += oracle.send_batch(&nodes[sent / 200 % 2].client, batch).await;
    }

    let terms = Terms { budget: Duration::from_secs(300), crashes: 0 };
    let verdict = oracle.check(&scene.database.url, terms, || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (sent, 1));
    let mut database = scene.database().await;
    assert_eq!(number(&mut database, AT_WORK).await, 2, "both deliver");
    println!("K10: {sent} mails through two nodes, each once");
}

// K10: a node without the worker role leaves its mail to others, and wakes them.
#[tokio::test]
async fn what_one_node_accepts_another_delivers_at_once() {
    let scene = Scene::set().await;
    let api = scene.node("api").arguments(&["--roles", "api"]).start();
    let _worker = scene.node("worker").arguments(&["--roles", "worker"]).start();
    let oracle = Oracle::new();
    let mut listener = PgListener::connect(&scene.database.url).await.expect("connected");
    listener.listen("postroad_due").await.expect("listens");

    let id = oracle.send(&api.client, mail("ann@example.net")).await.expect("accepted");

    // It would be found without this, a little later.
    tokio::time::timeout(PATIENCE, listener.recv()).await.expect("they are woken").expect("connected");
    api.client.ended(&id).await;
    let verdict = oracle.check(&scene.database.url, Terms::default(), || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 1));
}

/// A node that holds a mail after its final dot, taken by the sink but not yet answered.
async fn node_with_a_mail_in_doubt(scene: &Scene, oracle: &Oracle) -> (Program, crate::support::sink::Hold) {
    let (act, mut held) = hold();
    scene.sink.set(at(Step::Dot), take().then(act).then(reply("250 2.0.0 taken")));
    let node = scene.node("a").start();
    oracle.send(&node.client, mail("ann@example.net")).await.expect("accepted");
    held.reached().await;
    (node, held)
}

// K4
#[tokio::test]
async fn a_node_that_was_taken_for_dead_changes_nothing_when_it_comes_back() {
    let scene = Scene::set().await;
    let oracle = Oracle::new();
    let (stalled, held) = node_with_a_mail_in_doubt(&scene, &oracle).await;
    let mut database = scene.database().await;

    // It stops in its tracks; the others find it dead, and one of them delivers its mail.
    stalled.signal(Signal::SIGSTOP);
    scene.sink.be_friendly();
    run(&mut database, SILENCE).await;
    let other = scene.node("b").start();
    eventually("the other node delivers it", Duration::from_secs(120), async || {
        number(&mut database, "SELECT count(*) FROM outcomes").await == 1
    })
    .await;

    // It goes on, and its peer answers: the result is of a claim that is over.
    stalled.signal(Signal::SIGCONT);
    held.release();
    eventually("the stale result is noted", PATIENCE, async || {
        number(&mut database, "SELECT count(*) FROM attempts WHERE result = 'stale'").await == 1
    })
    .await;

    let terms = Terms { crashes: 1, ..Terms::default() };
    let verdict = oracle.check(&scene.database.url, terms, || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 2));
    assert_eq!(number(&mut database, "SELECT count(*) FROM events WHERE type = 'delivered'").await, 1);

    eventually("the one that was taken for dead enters anew", PATIENCE, async || {
        number(&mut database, "SELECT count(*) FROM nodes").await == 3
    })
    .await;
    for node in [&stalled, &other] {
        let id = oracle.send(&node.client, mail("bob@example.net")).await.expect("accepted");
        node.client.ended(&id).await;
    }
}

// K4: what a dead node had in hand is due again as soon as somebody looks, and so is what its successor finds.
#[tokio::test]
async fn what_a_dead_node_had_in_hand_is_taken_over_by_its_successor_at_once() {
    let scene = Scene::set().await;
    let oracle = Oracle::new();
    let (mut killed, held) = node_with_a_mail_in_doubt(&scene, &oracle).await;

    killed.kill();
    drop(held);
    scene.sink.be_friendly();
    let _successor = scene.node("a").start();
    let began = Instant::now();

    let mut database = scene.database().await;
    drained(&mut database, PATIENCE).await;
    let took = began.elapsed();
    let terms = Terms { crashes: 1, ..Terms::default() };
    let verdict = oracle.check(&scene.database.url, terms, || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 2));
    // Others would have to wait until it has been silent for 45 seconds.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

// K13
#[tokio::test]
async fn nodes_that_start_at_once_on_an_empty_database_migrate_it_once() {
    for round in 0..rounds(3, 50) {
        let database = TestDatabase::empty().await;
        let directory = tempfile::tempdir().expect("a directory");
        let node = |name: &str| {
            let settings = Settings::embedded(directory.path()).database(&database.url).node(name);
            tokio::task::spawn_blocking(move || settings.start())
        };
        let (a, b) = tokio::join!(node("a"), node("b"));
        let nodes = [a.expect("started"), b.expect("started")];
        for node in &nodes {
            let id = node.client.send_mail(mail("ann@example.net")).await;
            node.client.ended(&id).await;
        }
        let mut connection = database.connect().await;
        let tenants = number(&mut connection, "SELECT count(*) FROM tenants").await;
        let keys = number(&mut connection, "SELECT count(*) FROM api_keys").await;
        assert_eq!((tenants, keys), (1, 1), "round {round}: one of them makes the first tenant and the key");
        drop(nodes);
        database.drop_now().await;
    }
}

// K13
#[tokio::test]
async fn a_start_that_is_killed_amid_migrations_leaves_a_database_that_the_next_can_use() {
    let tries = rounds(4, 40);
    let mut unfinished = 0;
    for round in 0..tries {
        let database = TestDatabase::empty().await;
        let directory = tempfile::tempdir().expect("a directory");
        let settings = Settings::embedded(directory.path()).database(&database.url);
        let mut migrating = settings.command();
        let mut child = migrating
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the program");
        // A little later each time, over the second or so that a start takes.
        tokio::time::sleep(Duration::from_millis(20 + 900 * round as u64 / tries as u64)).await;
        child.kill().expect("it runs, or has been told to");
        child.wait().expect("our child");

        let mut connection = database.connect().await;
        let whole = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename IN ('tenants', 'queue', 'relays')";
        unfinished += usize::from(number(&mut connection, whole).await < 3);
        let node = settings.start();
        let id = node.client.send_mail(mail("ann@example.net")).await;
        node.client.ended(&id).await;
        drop(node);
        database.drop_now().await;
    }
    println!("K13: {tries} starts killed, {unfinished} of them before the schema was whole");
}

// H5, K1: the answer was lost with the process; the same request gives it again.
#[tokio::test]
async fn an_idempotency_key_holds_over_a_crash() {
    let scene = Scene::set().await;
    let oracle = Oracle::new();
    let mut node = scene.node("a").start();
    let key = "after-the-crash";
    let mut body = mail("ann@example.net");
    body["headers"] = serde_json::json!({ "X-Test-Id": oracle.new_id() });
    let ask = |client: &Client| {
        let request = client.request(reqwest::Method::POST, "/v1/messages").header("idempotency-key", key);
        let request = request.json(&body);
        let client = client.clone();
        async move { client.send(request).await }
    };
    let first = ask(&node.client).await;

    node.kill();
    let node = scene.node("a").start();
    let second = ask(&node.client).await;

    assert_eq!(second.status, 202);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.body, first.body);
    node.client.ended(&second.text("/id")).await;
    let mut database = scene.database().await;
    assert_eq!(number(&mut database, "SELECT count(*) FROM messages").await, 1);
}
