//! K5, K6, K7, N3: what the database suffers, with mail coming in all the time. postroad is never restarted: it
//! has to find its way back by itself.

use nix::sys::signal::Signal;
use reqwest::Method;

use super::cluster::Cluster;
use super::load::Load;
use super::*;
use crate::support::oracle::Terms;
use crate::support::program::Program;

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
        let directory = tempfile::tempdir().expect("a directory");
        let cluster = Cluster::start(&[]).await;
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
    assert!(answer.status.is_success() && asked.elapsed() < Duration::from_secs(1), "it lives");
    let asked = Instant::now();
    assert!(!is_ready(client).await, "and is not ready");
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    scene.cluster.resume();

    scene.load.accepts(10).await;
    let slowest = scene.load.seen().slowest;
    // Five seconds, and a little for a machine that does other things.
    assert!(slowest < Duration::from_millis(6500), "{slowest:?}");
    scene.end("K7", 1).await;
}

// N3
#[tokio::test]
async fn mail_is_delivered_although_notifications_are_lost() {
    let scene = Scene::set().await;
    let api = scene.node("api").arguments(&["--roles", "api"]).start();
    let _worker = scene.node("worker").arguments(&["--roles", "worker"]).start();
    let mut database = scene.database().await;
    let oracle = crate::support::oracle::Oracle::new();

    for _ in 0..rounds(5, 50) {
        let ended = terminate(&mut database, "query ILIKE 'LISTEN%'").await;
        let id = oracle.send(&api.client, mail("ann@example.net")).await.expect("accepted");
        let began = Instant::now();
        api.client.ended(&id).await;
        // The floor is a poll of some hundred milliseconds; the claim of the fault matrix is five seconds.
        assert!(began.elapsed() < Duration::from_secs(8), "{:?} ({ended} listeners ended)", began.elapsed());
    }

    let verdict = oracle.check(&scene.database.url, Terms::default(), || scene.taken()).await;
    assert_eq!(verdict.most_copies, 1);
}
