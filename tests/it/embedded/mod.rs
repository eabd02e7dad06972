//! The private Postgres, for real: it is started, killed, orphaned, damaged and moved.
//!
//! Each test has a data directory and a cluster of its own. They hold under root and under any other user; where the
//! two differ, a test says what each sees.

mod leftovers;
mod places;
mod running;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use postroad::embedded::{DataDir, Embedded, EmbeddedError, State};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Set for the process that [`Holder`] starts: the data directory that it shall hold.
const HOLD: &str = "POSTROAD_TEST_HOLD";

/// A directory that every account can pass through, and the data directory in it.
struct Home {
    base: TempDir,
}

impl Home {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), Permissions::from_mode(0o711)).unwrap();
        Self { base }
    }

    fn data(&self) -> PathBuf {
        self.base.path().join("data")
    }

    fn cluster(&self) -> PathBuf {
        self.data().join("postgres")
    }

    async fn start(&self) -> Embedded {
        self.try_start().await.unwrap()
    }

    async fn try_start(&self) -> Result<Embedded, EmbeddedError> {
        Embedded::start(&DataDir::lock(&self.data()).unwrap()).await
    }

    /// What `pg_controldata` calls the state of the cluster.
    fn control_state(&self, bindir: &Path) -> String {
        let output = Command::new(bindir.join("pg_controldata")).arg(self.cluster()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Database cluster state:"));
        line.unwrap_or_else(|| panic!("no state in {text:?}")).trim().to_owned()
    }
}

/// Another process that runs the database of a data directory, to be killed.
struct Holder {
    stray: Stray,
}

impl Holder {
    /// Starts this test binary again, as [`running::a_database_starts_and_stops`] alone, to hold the directory.
    fn start(data: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::running::a_database_starts_and_stops", "--nocapture"])
            .env(HOLD, data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { stray: Stray(child) }
    }

    /// Starts it and waits until its database accepts connections.
    fn ready(data: &Path) -> Self {
        let mut holder = Self::start(data);
        let lines = BufReader::new(holder.stray.0.stdout.take().unwrap()).lines();
        let ready = lines.map(Result::unwrap).any(|line| line == "held");
        assert!(ready, "the holder ended before its database was ready");
        holder
    }

    fn id(&self) -> u32 {
        self.stray.0.id()
    }

    fn kill(self) {
        drop(self);
    }
}

/// A process that does not outlive its test, also if that fails.
struct Stray(Child);

impl Drop for Stray {
    fn drop(&mut self) {
        // Most have ended before.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The life of a [`Holder`]'s process: it runs the database until it is killed.
async fn hold(data: &Path) {
    let _embedded = Embedded::start(&DataDir::lock(data).unwrap()).await.unwrap();
    println!("\nheld");
    std::future::pending().await
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    options.connect().await.unwrap()
}

async fn value(connection: &mut PgConnection, sql: &'static str) -> String {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

fn postmaster(embedded: &Embedded) -> Pid {
    match *embedded.state().borrow() {
        State::Running { postmaster, .. } => Pid::from_raw(postmaster.try_into().unwrap()),
        other => panic!("PostgreSQL does not run: {other:?}"),
    }
}

/// Where the programs of a running postmaster are.
fn bindir(postmaster: Pid) -> PathBuf {
    // Not its `exe`, which root may not read in every container.
    let line = fs::read_to_string(format!("/proc/{postmaster}/cmdline")).unwrap();
    Path::new(line.split('\0').next().unwrap()).parent().unwrap().to_owned()
}

fn alive(pid: Pid) -> bool {
    // A zombie, which some containers never reap, has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Processes whose command line holds the text.
fn processes_with(text: &Path) -> Vec<Pid> {
    let text = text.to_str().unwrap();
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(Pid::from_raw)
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
        })
        .collect()
}

async fn eventually(claim: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {claim}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_restarted(embedded: &Embedded, times: u32) {
    let mut state = embedded.state();
    let restarted =
        state.wait_for(|state| matches!(state, State::Running { restarts, .. } if *restarts == times));
    tokio::time::timeout(PATIENCE, restarted).await.unwrap().unwrap();
}
