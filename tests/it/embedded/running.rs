//! One data directory and one postroad: it starts, is tuned, survives the death of its processes, and stops.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};
use postroad::embedded::{Attached, EmbeddedError, State, attach, running};
use sqlx::{ConnectOptions, Connection};

use super::{
    HOLD, Holder, Home, PATIENCE, alive, bindir, connect, eventually, hold, postmaster, run, until_restarted,
    value,
};

/// Also the way into the process of a [`Holder`].
#[tokio::test]
async fn a_database_starts_and_stops() {
    if let Some(data) = std::env::var_os(HOLD) {
        hold(Path::new(&data)).await;
    }
    let home = Home::new();

    let embedded = home.start().await;
    let mut connection = connect(&embedded.connect_options()).await;
    assert_eq!(
        value(&mut connection, "SELECT current_user || ' ' || current_database()").await,
        "postroad postroad"
    );
    let (state, pid) = (embedded.state(), postmaster(&embedded));
    let programs = bindir(pid);
    embedded.stop().await.unwrap();

    assert_eq!(*state.borrow(), State::Stopped);
    assert!(!alive(pid));
    assert_eq!(home.control_state(&programs), "shut down");
    assert!(running(&home.data()).is_none());
}

#[tokio::test]
async fn it_is_durable_tuned_and_reached_by_its_socket_alone() {
    let home = Home::new();
    let embedded = home.start().await;
    let mut connection = connect(&embedded.connect_options()).await;

    let major: i32 = value(&mut connection, "SHOW server_version_num").await.parse::<i32>().unwrap() / 10_000;
    let lz4 = value(
        &mut connection,
        "SELECT ('lz4' = ANY (enumvals))::text FROM pg_settings WHERE name = 'default_toast_compression'",
    )
    .await
        == "true";
    for (name, expected) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("max_connections", "100"),
        ("max_wal_size", "4GB"),
        ("checkpoint_timeout", "15min"),
        ("jit", "off"),
        ("huge_pages", "try"),
        ("autovacuum_naptime", "5s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("default_toast_compression", if lz4 { "lz4" } else { "pglz" }),
        ("wal_compression", if lz4 && major >= 15 { "lz4" } else { "off" }),
        ("server_encoding", "UTF8"),
    ] {
        let found: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(found, expected, "{name}");
    }
    let locale = value(
        &mut connection,
        "SELECT datcollate || ' ' || datctype FROM pg_database WHERE datname = current_database()",
    )
    .await;
    assert_eq!(locale, "C C.UTF-8");
    assert_eq!(value(&mut connection, "SELECT lower('GRÖSSE')").await, "grösse");
    let buffers: i64 =
        value(&mut connection, "SELECT setting FROM pg_settings WHERE name = 'shared_buffers'")
            .await
            .parse::<i64>()
            .unwrap()
            * 8
            / 1024;
    assert!((64..=1024).contains(&buffers), "{buffers} MiB");

    let socket = home.data().join("socket");
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o700);
    assert_eq!(embedded.connect_options().get_socket().unwrap(), &socket.canonicalize().unwrap());
    assert_eq!(fs::metadata(home.data().join("postgres.log")).unwrap().mode() & 0o777, 0o600);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn ctrl_c_in_the_terminal_does_not_reach_it() {
    let home = Home::new();
    let embedded = home.start().await;
    let pid = postmaster(&embedded);
    assert_eq!(getsid(Some(pid)).unwrap(), pid, "its session is its own");
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let home = Home::new();
    let embedded = home.start().await;
    run(&mut connect(&embedded.connect_options()).await, "CREATE TABLE kept AS SELECT 'here' AS word").await;
    embedded.stop().await.unwrap();

    let embedded = home.start().await;
    let word = value(&mut connect(&embedded.connect_options()).await, "SELECT word FROM kept").await;
    assert_eq!(word, "here");
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_postmaster_is_replaced_although_a_backend_works_on() {
    let home = Home::new();
    let embedded = home.start().await;
    let options = embedded.connect_options();
    run(&mut connect(&options).await, "CREATE TABLE kept AS SELECT 'here' AS word").await;
    let mut busy = connect(&options).await;
    let backend = value(&mut busy, "SELECT pg_backend_pid()::text").await;
    let backend = Pid::from_raw(backend.parse().unwrap());
    // A computation that never looks whether its postmaster lives.
    let work = tokio::spawn(async move {
        sqlx::query("SELECT count(*) FROM generate_series(1, 100000000000) a").execute(&mut busy).await
    });
    eventually("the backend is at work", || {
        let stat = fs::read_to_string(format!("/proc/{backend}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('R')
    })
    .await;

    let first = postmaster(&embedded);
    kill(first, Signal::SIGKILL).unwrap();
    until_restarted(&embedded, 1).await;

    assert_ne!(postmaster(&embedded), first);
    assert!(!alive(backend), "it would have kept the new postmaster from starting");
    assert!(work.await.unwrap().is_err());
    assert_eq!(value(&mut connect(&options).await, "SELECT word FROM kept").await, "here");
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_postmaster_may_be_killed_again_and_again() {
    let home = Home::new();
    let embedded = home.start().await;
    let options = embedded.connect_options();
    run(&mut connect(&options).await, "CREATE TABLE kept (round int)").await;
    let rounds = if std::env::var_os("POSTROAD_TORTURE").is_some() { 20 } else { 5 };
    for round in 1..=rounds {
        let insert = "INSERT INTO kept VALUES ($1)";
        sqlx::query(insert).bind(round).execute(&mut connect(&options).await).await.unwrap();
        kill(postmaster(&embedded), Signal::SIGKILL).unwrap();
        until_restarted(&embedded, round.try_into().unwrap()).await;
    }
    let kept =
        value(&mut connect(&options).await, "SELECT string_agg(round::text, ' ' ORDER BY round) FROM kept")
            .await;
    let all: Vec<_> = (1..=rounds).map(|round| round.to_string()).collect();
    assert_eq!(kept, all.join(" "));
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_backend_costs_the_other_connections_but_not_the_postmaster() {
    let home = Home::new();
    let embedded = home.start().await;
    let mut connection = connect(&embedded.connect_options()).await;
    let backend = value(&mut connection, "SELECT pg_backend_pid()::text").await;
    let first = postmaster(&embedded);

    kill(Pid::from_raw(backend.parse().unwrap()), Signal::SIGKILL).unwrap();

    assert!(connection.ping().await.is_err());
    let start = Instant::now();
    while embedded.connect_options().connect().await.is_err() {
        assert!(start.elapsed() < PATIENCE, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(postmaster(&embedded), first);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_quotes_the_log_and_a_restart_goes_on_trying() {
    let home = Home::new();
    let embedded = home.start().await;
    let options = embedded.connect_options();
    let conf = home.cluster().join("postgresql.auto.conf");
    let sound = fs::read(&conf).unwrap();
    fs::write(&conf, "nonsense = 1\n").unwrap();

    kill(postmaster(&embedded), Signal::SIGKILL).unwrap();
    let log = home.data().join("postgres.log");
    eventually("two starts have failed", || {
        fs::read_to_string(&log).unwrap().matches("nonsense").count() >= 2
    })
    .await;
    assert_eq!(*embedded.state().borrow(), State::Restarting);
    fs::write(&conf, &sound).unwrap();
    until_restarted(&embedded, 1).await;
    connect(&options).await.ping().await.unwrap();
    embedded.stop().await.unwrap();

    fs::write(&conf, "nonsense = 1\n").unwrap();
    let error = home.try_start().await.unwrap_err();
    assert!(matches!(&error, EmbeddedError::NotStarted { .. }), "{error}");
    assert!(error.to_string().contains("unrecognized configuration parameter \"nonsense\""), "{error}");
}

#[tokio::test]
async fn dropping_it_stops_it_cleanly() {
    let home = Home::new();
    let embedded = home.start().await;
    let (pid, programs) = (postmaster(&embedded), bindir(postmaster(&embedded)));
    drop(embedded);
    eventually("the postmaster has ended", || !alive(pid)).await;
    assert_eq!(home.control_state(&programs), "shut down");
}

#[tokio::test]
async fn a_tool_uses_the_servers_database_or_starts_its_own() {
    let home = Home::new();
    let own = attach(&home.data()).await.unwrap();
    assert!(matches!(own, Attached::Own(_)));
    run(&mut connect(&own.connect_options()).await, "CREATE TABLE kept AS SELECT 'here' AS word").await;
    own.close().await.unwrap();

    let holder = Holder::start(&home.data());
    // It has the lock, and not yet a database.
    eventually("the holder has taken the directory", || {
        fs::read_to_string(home.data().join("lock")).is_ok_and(|text| text.trim() == holder.id().to_string())
    })
    .await;
    let attached = attach(&home.data()).await.unwrap();
    assert!(matches!(attached, Attached::Server(_)), "it waits for a server that is starting");
    let word = value(&mut connect(&attached.connect_options()).await, "SELECT word FROM kept").await;
    assert_eq!(word, "here");
    attached.close().await.unwrap();
    connect(&running(&home.data()).unwrap()).await.ping().await.unwrap();
    holder.kill();

    let own = attach(&home.data()).await.unwrap();
    assert!(matches!(own, Attached::Own(_)), "an orphan is taken over, not used");
    own.close().await.unwrap();
}
