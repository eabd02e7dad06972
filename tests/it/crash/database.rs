//! K5 to K9, N2, N3: what the database suffers, with mail coming in all the time. postroad is never restarted: it
//! has to find its way back by itself.

use nix::sys::signal::Signal;
use reqwest::Method;

use super::cluster::Cluster;
use super::disks::Disk;
use super::load::Load;
use super::*;
use crate::support::oracle::{Oracle, Terms};
use crate::support::program::Program;
use crate::support::sink::{Step, at, hold, reply, take};

/// A program on a Postgres of its own, delivering to a sink, with clients that send all the time.
struct Suffering {
    directory: tempfile::TempDir,
    cluster: Cluster,
    sink: SmtpSink,
    node: Program,
    load: Load,
}

impl Suffering {
    async fn begin() -> Suffering {
        Suffering::on(Cluster::start(&[]).await).await
    }

    async fn on(cluster: Cluster) -> Suffering {
        let directory = tempfile::tempdir().expect("a directory");
        let sink = SmtpSink::builder().start().await;
        let settings = Settings::embedded(directory.path()).database(&cluster.url()).node("a");
        let node = settings.relay(sink.address().port()).start();
        let load = Load::start(&node.client, 8, Duration::from_millis(40));
        load.accepts(20).await;
        Suffering { directory, cluster, sink, node, load }
    }

    /// The clients get their last mail accepted; then everything must have ended well. Every interruption of the
    /// database may cost a copy of what was in flight.
    async fn end(mut self, what: &str, interruptions: usize) {
        let (oracle, seen) = self.load.stop().await;
        seen.refusals_are_polite();
        let terms = Terms { budget: Duration::from_secs(120), crashes: interruptions };
        let verdict = oracle.check(&self.cluster.url(), terms, || taken_by(&self.sink)).await;
        println!(
            "{what}: {} accepted, {} refused, {} unanswered, slowest answer {:?}, {} delivered, most copies {}",
            seen.accepted,
            seen.refused.len(),
            seen.unanswered,
            seen.slowest,
            verdict.ended("delivered"),
            verdict.most_copies
        );
        assert!(self.node.runs(), "it lived through all of it");
        drop(self.directory);
    }
}

/// No loop runs wild while there is no database: the log is the witness.
fn log_lines(node: &Program) -> usize {
    node.log_text().lines().count()
}

// K5
#[tokio::test]
async fn a_killed_backend_costs_a_moment_and_no_mail() {
    let scene = Suffering::begin().await;
    let kills = rounds(3, 20);
    for _ in 0..kills {
        let mut database = scene.cluster.connect().await;
        terminate(&mut database, "state <> 'idle' OR query LIKE '%queue%'").await;
        scene.load.accepts(10).await;
    }
    scene.end("K5, backends", kills).await;
}

// K5: the postmaster and all with it. Who supervises Postgres starts it again; here, the test.
#[tokio::test]
async fn a_killed_postgres_is_waited_for_and_no_mail_is_lost() {
    let mut scene = Suffering::begin().await;
    let kills = rounds(2, 20);
    for _ in 0..kills {
        let before = scene.load.seen();
        scene.cluster.stop(Signal::SIGKILL);
        scene.load.notices(&before).await;
        scene.cluster.start_again().await;
        scene.load.accepts(10).await;
    }
    scene.end("K5, postmaster", kills).await;
}

// K6
#[tokio::test]
async fn a_restarted_or_absent_postgres_is_waited_for_without_a_busy_loop() {
    let mut scene = Suffering::begin().await;
    let absence = Duration::from_secs(rounds(4, 60) as u64);
    for how in [Signal::SIGINT, Signal::SIGQUIT] {
        let (before, lines) = (scene.load.seen(), log_lines(&scene.node));
        scene.cluster.stop(how);
        scene.load.notices(&before).await;
        assert!(!is_ready(&scene.node.client).await, "a balancer must see it");
        tokio::time::sleep(absence).await;
        let (refused, written) =
            (scene.load.seen().refused.len() - before.refused.len(), log_lines(&scene.node) - lines);
        // Each loop and each refused request may say so; none may do it hundreds of times a second.
        let bearable = 40 * (absence.as_secs() as usize + 2) + 2 * refused;
        assert!(written < bearable, "{written} lines in {absence:?} with {refused} refusals");
        scene.cluster.start_again().await;
        scene.load.accepts(10).await;
        eventually("it is ready again", PATIENCE, async || is_ready(&scene.node.client).await).await;
    }
    scene.end("K6", 2).await;
}

/// The share of one processor that a process used meanwhile.
async fn processor_share(node: &Program, time: Duration) -> f64 {
    let (before, began) = (processor_time(node), Instant::now());
    tokio::time::sleep(time).await;
    (processor_time(node) - before).as_secs_f64() / began.elapsed().as_secs_f64()
}

/// From `/proc/PID/stat`: user and system time, in hundredths of a second.
fn processor_time(node: &Program) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid())).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("its name is in parentheses");
    let ticks = |field: usize| rest.split(' ').nth(field).and_then(|text| text.parse::<u64>().ok());
    Duration::from_millis(10 * (ticks(11).expect("user time") + ticks(12).expect("system time")))
}

// K6: nobody calls, and the database is away: a process waits, and does not spin. It is measured before and after its
// fence has closed (45 s), if there is time.
#[tokio::test]
async fn a_process_whose_database_is_away_uses_next_to_no_processor() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(&[]).await;
    let sink = SmtpSink::builder().start().await;
    let settings = Settings::embedded(directory.path()).database(&cluster.url()).node("a");
    let node = settings.relay(sink.address().port()).start();
    let oracle = Oracle::new();
    let (act, mut held) = hold();
    sink.set(at(Step::Dot), take().then(act).then(reply("250 2.0.0 taken")));
    oracle.send(&node.client, mail("ann@example.net")).await.expect("accepted");
    held.reached().await;

    cluster.stop(Signal::SIGQUIT);
    // It has a result that it cannot write.
    held.release();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let early = processor_share(&node, Duration::from_secs(4)).await;
    tokio::time::sleep(Duration::from_secs(rounds(0, 45) as u64)).await;
    let late = processor_share(&node, Duration::from_secs(4)).await;
    println!("K6, idle: {:.1} % of a processor, {:.1} % later", 100.0 * early, 100.0 * late);
    // A debug build that reconnects now and then.
    assert!(early < 0.08 && late < 0.08, "{early:.3}, {late:.3}");

    cluster.start_again().await;
    let terms = Terms { budget: Duration::from_secs(120), crashes: 1 };
    let verdict = oracle.check(&cluster.url(), terms, || taken_by(&sink)).await;
    assert_eq!(verdict.ended("delivered"), 1);
}

// K8: what cannot be written is refused, politely, and what was acknowledged is there when there is room again.
#[tokio::test]
async fn a_full_disk_refuses_mail_and_loses_none() {
    let small = ["min_wal_size=32MB", "max_wal_size=48MB"];
    let mut scene = Suffering::on(Cluster::start_on_small_disks(&small).await).await;
    let fills = rounds(1, 5);
    for disk in [Disk::Data, Disk::Wal].repeat(fills) {
        let before = scene.load.seen();
        scene.cluster.disks().fill(disk);
        // What is there already is used up first: our mail alone would take its time.
        let url = scene.cluster.url();
        let hungry = tokio::spawn(async move { while use_up(&url).await.is_ok() {} });
        scene.load.notices(&before).await;
        hungry.await.expect("no panic");
        let accepted = scene.load.seen().accepted;
        tokio::time::sleep(Duration::from_secs(2)).await;

        scene.cluster.disks().make_room(disk);
        if !scene.cluster.runs() {
            scene.cluster.start_again().await;
        }
        scene.load.accepts(10).await;
        println!("K8: {disk:?} full, {} accepted before", accepted);
        let mut database = scene.cluster.connect().await;
        run(&mut database, "DROP TABLE IF EXISTS hungry; CHECKPOINT").await;
    }
    scene.end("K8", 2 * fills).await;
}

/// Fills tables and the log with what nobody needs.
async fn use_up(url: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let fill = "CREATE TABLE IF NOT EXISTS hungry (what text);
        INSERT INTO hungry SELECT repeat(md5(n::text), 50) FROM generate_series(1, 5000) AS n";
    sqlx::raw_sql(fill).execute(&mut connection).await?;
    Ok(())
}

// K9: it works, and says at the start and to every balancer that it is not safe.
#[tokio::test]
async fn a_database_that_is_not_durable_is_told_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = ["fsync=off", "full_page_writes=off", "synchronous_commit=off"];
    let cluster = Cluster::start(&settings).await;
    let node = Settings::embedded(directory.path()).database(&cluster.url()).node("a").start();
    let ready = node.client.get("/readyz").await;

    assert_eq!(ready.status, 200, "{:#}", ready.body);
    for wanted in ["fsync is off", "full_page_writes is off"] {
        assert!(node.log_text().contains(wanted), "{wanted:?} is not in the log");
        assert!(ready.body.to_string().contains(wanted), "{wanted:?} is not in {:#}", ready.body);
    }
    // Every connection of ours asks for it, whatever the server is set to.
    assert!(!ready.body.to_string().contains("synchronous_commit"), "{:#}", ready.body);
}

// N2: whoever has all connections, postroad has none, until there is one.
#[tokio::test]
async fn a_database_without_a_free_connection_is_waited_for() {
    let scene = Suffering::begin().await;
    let mut database = scene.cluster.connect().await;
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postroad'";
    let before = scene.load.seen();
    let (full, is_full) = tokio::sync::watch::channel(());
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..80 {
        let (url, mut until) = (scene.cluster.url(), is_full.clone());
        others.spawn(async move {
            // More than there is room for: as soon as anybody leaves, one of these is in his place.
            let mut had = None;
            while until.has_changed().is_ok() {
                if had.is_none() {
                    had = PgConnection::connect(&url).await.ok();
                }
                let pause = Duration::from_millis(if had.is_some() { 500 } else { 1 });
                let _ = tokio::time::timeout(pause, until.changed()).await;
            }
        });
    }
    eventually("postroad has no connection any more", PATIENCE, async || {
        terminate(&mut database, "true").await;
        number(&mut database, ours).await == 0
    })
    .await;
    scene.load.notices(&before).await;
    assert!(!is_ready(&scene.node.client).await, "a balancer must see it");

    drop((full, is_full));
    while others.join_next().await.is_some() {}
    scene.load.accepts(10).await;
    eventually("it is ready again", PATIENCE, async || is_ready(&scene.node.client).await).await;
    assert!(scene.load.seen().there_was_room());
    scene.end("N2", 1).await;
}

// K7
#[tokio::test]
async fn a_postgres_that_answers_nothing_is_told_of_within_five_seconds() {
    let scene = Suffering::begin().await;
    let before = scene.load.seen();

    scene.cluster.pause();
    scene.load.notices(&before).await;
    let client = &scene.node.client;
    let asked = Instant::now();
    let answer = client.try_send(client.request(Method::GET, "/healthz")).await.expect("answered");
    assert!(answer.status.is_success() && asked.elapsed() < Duration::from_secs(3), "it lives");
    let asked = Instant::now();
    assert!(!is_ready(client).await, "and is not ready");
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    scene.cluster.resume();

    scene.load.accepts(10).await;
    let seen = scene.load.seen();
    // Five seconds, and a little for a machine that does other things; and nobody gave up waiting.
    assert!(seen.slowest < Duration::from_millis(6500), "{:?}", seen.slowest);
    assert_eq!(seen.unanswered, before.unanswered, "{:?}", seen.cut_off);
    scene.end("K7", 1).await;
}

// K6: what a peer has said while the database was away is written when it is back, and not asked again.
#[tokio::test]
async fn a_result_waits_in_memory_for_a_postgres_that_is_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(&[]).await;
    let sink = SmtpSink::builder().start().await;
    let (act, mut held) = hold();
    sink.set(at(Step::Dot), take().then(act).then(reply("250 2.0.0 taken")));
    let settings = Settings::embedded(directory.path()).database(&cluster.url()).node("a");
    let node = settings.relay(sink.address().port()).start();
    let oracle = Oracle::new();
    let id = oracle.send(&node.client, mail("ann@example.net")).await.expect("accepted");
    held.reached().await;

    cluster.stop(Signal::SIGINT);
    held.release();
    eventually("its result waits", PATIENCE, async || node.log_text().contains("results wait")).await;
    cluster.start_again().await;

    eventually("it is ready again", PATIENCE, async || is_ready(&node.client).await).await;
    node.client.ended(&id).await;
    let verdict = oracle.check(&cluster.url(), Terms::default(), || taken_by(&sink)).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 1));
}

// K5: the answer to a commit or a claim was lost while it took effect: nobody has the mail in his hands.
#[tokio::test]
async fn mail_that_is_leased_to_a_process_that_knows_nothing_of_it_is_found() {
    let scene = Scene::set().await;
    let node = scene.node("a").start();
    let oracle = Oracle::new();
    let mut database = scene.database().await;
    let mut scheduled = mail("ann@example.net");
    scheduled["send_at"] = tomorrow(&mut database).await.into();
    let id = oracle.send(&node.client, scheduled).await.expect("accepted");
    // As a claim leaves it.
    let claim =
        "UPDATE queue SET leased_by = (SELECT max(incarnation) FROM nodes), claim_no = 1, attempts = 1,
                                  unresolved = 1, due_at = clock_timestamp() + interval '1 hour'";
    run(&mut database, claim).await;
    let began = Instant::now();

    node.client.ended(&id).await;

    println!("K5: a lost claim was found after {:?}", began.elapsed());
    let verdict = oracle.check(&scene.database.url, Terms::default(), || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (1, 1));
}

/// A moment that is not yet, as the API takes it.
async fn tomorrow(database: &mut PgConnection) -> String {
    let moment =
        "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    sqlx::query_scalar(moment).fetch_one(database).await.expect("a moment")
}

// N3
#[tokio::test]
async fn mail_is_delivered_although_notifications_are_lost() {
    let scene = Scene::set().await;
    let api = scene.node("api").arguments(&["--roles", "api"]).start();
    let _worker = scene.node("worker").arguments(&["--roles", "worker"]).start();
    let mut database = scene.database().await;
    let oracle = Oracle::new();

    eventually("the worker listens", PATIENCE, async || {
        let listeners = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND query ILIKE 'LISTEN%'";
        number(&mut database, listeners).await > 0
    })
    .await;

    for _ in 0..rounds(5, 50) {
        let ended = terminate(&mut database, "query ILIKE 'LISTEN%'").await;
        let id = oracle.send(&api.client, mail("ann@example.net")).await.expect("accepted");
        let began = Instant::now();
        api.client.ended(&id).await;
        // The floor is a poll of some hundred milliseconds; the claim of the fault matrix is five seconds.
        assert!(began.elapsed() < Duration::from_secs(8), "{:?} ({ended} listeners ended)", began.elapsed());
    }

    // Of this one nobody is told anything: it becomes due where it lies. Looking is all that finds it.
    let mut scheduled = mail("bob@example.net");
    scheduled["send_at"] = tomorrow(&mut database).await.into();
    let id = oracle.send(&api.client, scheduled).await.expect("accepted");
    // Whatever was announced so far has been heard.
    tokio::time::sleep(Duration::from_secs(2)).await;
    run(&mut database, "UPDATE queue SET due_at = clock_timestamp()").await;
    let began = Instant::now();
    api.client.ended(&id).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());

    let verdict = oracle.check(&scene.database.url, Terms::default(), || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (rounds(5, 50) + 1, 1));
}
