//! What a postroad that was killed left behind: postmasters, process ids, half a database.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postroad::embedded::{DataDir, Embedded, running};
use sqlx::Connection;

use super::{
    Holder, Home, Stray, alive, bindir, connect, eventually, postmaster, processes_with, run, value,
};

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_behind() {
    let home = Home::new();
    let dir = DataDir::lock(&home.data()).unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(100), Embedded::start(&dir)).await;
    assert!(given_up.is_err(), "an initdb takes longer");
    drop(dir);

    // The thread keeps the lock until all has ended.
    eventually("the lock is free", || DataDir::lock(&home.data()).is_ok()).await;
    assert_eq!(processes_with(&home.data()), []);
    home.start().await.stop().await.unwrap();
}

#[tokio::test]
async fn killing_postroad_shuts_the_postmaster_down() {
    let home = Home::new();
    let holder = Holder::ready(&home.data());
    let pid = first_line(&home.cluster().join("postmaster.pid"));
    let programs = bindir(pid);

    holder.kill();

    eventually("the postmaster has ended", || !alive(pid)).await;
    assert_eq!(home.control_state(&programs), "shut down");
}

#[tokio::test]
async fn a_second_postroad_is_refused_and_takes_over_when_the_first_is_killed() {
    let home = Home::new();
    let holder = Holder::ready(&home.data());
    let first = first_line(&home.cluster().join("postmaster.pid"));
    let refused = DataDir::lock(&home.data()).unwrap_err().to_string();
    assert!(refused.contains(&format!("another postroad (process {})", holder.id())), "{refused}");
    let mut connection = connect(&running(&home.data()).unwrap()).await;
    run(&mut connection, "CREATE TABLE kept AS SELECT 'here' AS word").await;

    holder.kill();
    let embedded = home.start().await;

    assert!(!alive(first), "never two postmasters");
    let word = value(&mut connect(&embedded.connect_options()).await, "SELECT word FROM kept").await;
    assert_eq!(word, "here");
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn an_orphan_that_the_kernel_did_not_stop_is_stopped_first() {
    let home = Home::new();
    let embedded = home.start().await;
    let postgres = bindir(postmaster(&embedded)).join("postgres");
    embedded.stop().await.unwrap();
    let owner = fs::metadata(home.cluster()).unwrap();
    let mut orphan = Command::new(postgres)
        .arg("-D")
        .arg(home.cluster())
        .args(["-c", "listen_addresses="])
        .arg("-k")
        .arg(home.data().join("socket"))
        .current_dir("/")
        .uid(owner.uid())
        .gid(owner.gid())
        .stderr(Stdio::null())
        .spawn()
        .map(Stray)
        .unwrap();
    let pid_file = home.cluster().join("postmaster.pid");
    eventually("the orphan is ready", || {
        fs::read_to_string(&pid_file)
            .is_ok_and(|text| text.lines().nth(7).is_some_and(|line| line.trim() == "ready"))
    })
    .await;
    // Even one that was halted.
    let orphan_pid = Pid::from_raw(orphan.0.id().try_into().unwrap());
    kill(orphan_pid, Signal::SIGSTOP).unwrap();

    let embedded = home.start().await;

    assert!(!alive(orphan_pid));
    assert!(orphan.0.wait().unwrap().success(), "it was shut down, not killed");
    assert_ne!(postmaster(&embedded), orphan_pid);
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_process_id_that_another_program_has_now_does_not_keep_it_from_starting() {
    let home = Home::new();
    let embedded = home.start().await;
    let pid_file = home.cluster().join("postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    embedded.stop().await.unwrap();

    let owner = fs::metadata(home.cluster()).unwrap();
    let sleep = Command::new("sleep").arg("600").uid(owner.uid()).gid(owner.gid()).spawn();
    let mut stranger = Stray(sleep.unwrap());
    let rest = text.split_once('\n').unwrap().1;
    fs::write(&pid_file, format!("{}\n{rest}", stranger.0.id())).unwrap();
    chown(&pid_file, Some(owner.uid()), Some(owner.gid())).unwrap();

    let embedded = home.start().await;

    assert!(stranger.0.try_wait().unwrap().is_none(), "the stranger was left alone");
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_whose_making_was_cut_short_is_made_anew() {
    let home = Home::new();
    let unfinished = || {
        let entries = fs::read_dir(home.data()).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .find(|name| name.starts_with("postgres.new-"))
    };
    let holder = Holder::start(&home.data());
    eventually("initdb is at work", || {
        unfinished().is_some_and(|name| home.data().join(name).join("global").exists())
    })
    .await;
    holder.kill();
    assert!(!home.cluster().exists());
    let first = unfinished().unwrap();

    let embedded = home.start().await;

    assert!(connect(&embedded.connect_options()).await.ping().await.is_ok());
    embedded.stop().await.unwrap();
    eventually("the initdb of the killed process has ended", || processes_with(Path::new(&first)).is_empty())
        .await;
    home.start().await.stop().await.unwrap();
    assert!(!home.data().join(first).exists());
}

/// The process id in a `postmaster.pid`.
fn first_line(path: &Path) -> Pid {
    Pid::from_raw(fs::read_to_string(path).unwrap().lines().next().unwrap().parse().unwrap())
}
