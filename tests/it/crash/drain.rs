//! K11: postroad is asked to end, under load.

use super::load::Load;
use super::*;
use crate::support::oracle::{Oracle, Terms};
use crate::support::sink::{Step, at, wait};

// K11
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_answers_everybody_and_doubles_nothing() {
    let scene = Scene::set().await;
    let mut node = scene.node("a").start();
    let load = Load::start(&node.client, 16, Duration::from_millis(5));
    let mut slowest = Duration::ZERO;
    let drains = rounds(3, 20);
    for _ in 0..drains {
        load.accepts(200).await;
        let began = Instant::now();
        let status = tokio::task::block_in_place(|| node.terminate());
        slowest = slowest.max(began.elapsed());
        assert_eq!(status.code(), Some(0), "{}", node.log_text());
        node = scene.node("a").start();
        load.moved(&node.client);
    }
    load.accepts(50).await;

    let (oracle, seen) = load.stop().await;
    // Connections are refused while it is away; what was begun has been answered.
    assert!(seen.cut_off.is_empty(), "requests that were sent and never answered: {:#?}", seen.cut_off);
    seen.refusals_are_polite();
    let verdict = oracle.check(&scene.database.url, Terms::default(), || scene.taken()).await;
    assert_eq!(verdict.most_copies, 1, "an orderly end costs no copy");
    println!(
        "K11: {drains} drains, {} accepted, {} refused, {} not connected, slowest drain {slowest:?}, {} delivered",
        seen.accepted,
        seen.refused.len(),
        seen.unanswered,
        verdict.ended("delivered")
    );
}

// K11: a mail that cannot be finished in time is given back, uncounted, and the process ends all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_gives_back_what_it_cannot_finish() {
    let scene = Scene::set().await;
    let oracle = Oracle::new();
    scene.sink.set(at(Step::Mail), wait(Duration::from_secs(3600)));
    let mut node = scene.node("a").set("POSTROAD_DRAIN_SECS", "3").start();
    for _ in 0..50 {
        oracle.send(&node.client, mail("ann@example.net")).await.expect("accepted");
    }
    scene.sink.wait_until(PATIENCE, |sink| !sink.commands().is_empty()).await;

    let began = Instant::now();
    let status = tokio::task::block_in_place(|| node.terminate());
    assert_eq!(status.code(), Some(0), "{}", node.log_text());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let mut database = scene.database().await;
    assert_eq!(number(&mut database, "SELECT count(*) FROM queue").await, 50);
    let untried =
        number(&mut database, "SELECT count(*) FROM queue WHERE attempts = 0 AND leased_by IS NULL").await;
    assert!(untried > 0, "{}", queue_text(&mut database).await);

    scene.sink.be_friendly();
    let _node = scene.node("a").start();
    let verdict = oracle.check(&scene.database.url, Terms::default(), || scene.taken()).await;
    assert_eq!((verdict.ended("delivered"), verdict.most_copies), (50, 1));
}
