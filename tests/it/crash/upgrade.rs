//! K12: the release before this one and this one on one database, while one takes the other's place under load. Only
//! `make upgrade` runs it, since it needs that release's program (`scripts/previous-release.sh`).

use std::path::PathBuf;

use super::load::Load;
use super::*;
use crate::support::oracle::Terms;

/// A request waits no longer for a migration: it holds no lock on a hot table for more than a second, and a busy
/// machine takes its time as well.
const LONGEST: Duration = Duration::from_secs(3);

// K12
#[tokio::test(flavor = "multi_thread")]
async fn two_releases_run_side_by_side_while_one_takes_the_others_place() {
    let previous = std::env::var_os("POSTROAD_PREVIOUS_RELEASE").map(PathBuf::from);
    let previous = previous.expect("set by make upgrade: the program of the release before this one");
    let directory = tempfile::tempdir().expect("a directory");
    let (database, sink) = (TestDatabase::empty().await, SmtpSink::builder().start().await);
    let node = |name: &str| {
        let settings = Settings::embedded(directory.path()).database(&database.url);
        settings.node(name).relay(sink.address().port())
    };
    let mut old = tokio::task::block_in_place(|| node("a").release(&previous).start());
    let mut connection = database.connect().await;
    let applied = "SELECT count(*) FROM _sqlx_migrations WHERE success";
    let before = number(&mut connection, applied).await;
    let load = Load::start(&old.client, 8, Duration::from_millis(10));
    load.accepts(300).await;

    // The new release brings the schema up to date while the old one works.
    let new = tokio::task::block_in_place(|| node("b").start());
    let after = number(&mut connection, applied).await;
    load.accepts(500).await;
    load.moved(&new.client);
    load.accepts(500).await;

    // The old one goes, and the new one comes in its place: its data directory is the same.
    let status = tokio::task::block_in_place(|| old.terminate());
    assert_eq!(status.code(), Some(0), "{}", old.log_text());
    let second = tokio::task::block_in_place(|| node("a").start());
    load.moved(&second.client);
    load.accepts(300).await;

    let (oracle, seen) = load.stop().await;
    assert!(seen.refused.is_empty() && seen.cut_off.is_empty(), "{seen:?}");
    assert!(seen.slowest < LONGEST, "a request took {:?}", seen.slowest);
    let verdict = oracle.check(&database.url, Terms::default(), || taken_by(&sink)).await;
    assert_eq!((verdict.most_copies, verdict.ended("delivered") >= 1600), (1, true));
    println!(
        "K12: {} migrations under load, {} accepted, the slowest in {:?}, {} delivered",
        after - before,
        seen.accepted,
        seen.slowest,
        verdict.ended("delivered")
    );
}
