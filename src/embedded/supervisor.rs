//! Keeps the postmaster running: one thread that starts it, waits for it, starts it again, and stops it when asked.
//!
//! A thread of its own, since a postmaster ends with the thread that started it (see `postmaster`), and the threads of
//! an async runtime come and go. Invariant: the thread holds the data directory's lock until the postmaster has ended.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::place::Place;
use super::postmaster::{Launch, Postmaster};
use super::server_log::ServerLog;
use super::{DataDir, EmbeddedError, State};

/// The first pause before a restart; it doubles with every start that fails.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// A full disk is looked at this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the log's size is looked at.
const LOG_CHECK: Duration = Duration::from_secs(10);

/// The caller's end of the thread; dropping it asks for a stop.
#[derive(Debug)]
pub(super) struct Handle {
    state: watch::Receiver<State>,
    stop: DropGuard,
    stopped: oneshot::Receiver<Result<(), EmbeddedError>>,
}

/// What is known once the database runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) cluster: PathBuf,
    pub(super) socket_dir: PathBuf,
}

impl Handle {
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Asks for a stop and waits for its end.
    pub(super) async fn stop(self) -> Result<(), EmbeddedError> {
        drop(self.stop);
        self.stopped.await.map_err(|_| EmbeddedError::Lost)?
    }
}

/// Starts the thread and waits until the database accepts connections.
pub(super) async fn start(dir: DataDir) -> Result<(Handle, Started), EmbeddedError> {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let (started, is_started) = oneshot::channel();
    let (stopped, is_stopped) = oneshot::channel();
    let body = move || {
        let ended = supervise(&dir, &stop, started);
        drop(dir);
        // If nobody waits for it, the stop was a drop.
        if let Err(Err(error)) = stopped.send(ended) {
            tracing::error!(%error, "PostgreSQL did not stop cleanly");
        }
    };
    thread::Builder::new()
        .name("postgres".to_owned())
        .spawn(body)
        .map_err(EmbeddedError::io(|| "start a thread".to_owned()))?;
    let (state, started) = is_started.await.map_err(|_| EmbeddedError::Lost)??;
    Ok((Handle { state, stop: guard, stopped: is_stopped }, started))
}

type Answer = Result<(watch::Receiver<State>, Started), EmbeddedError>;

/// The thread's life.
fn supervise(
    dir: &DataDir,
    stop: &CancellationToken,
    started: oneshot::Sender<Answer>,
) -> Result<(), EmbeddedError> {
    let (launch, first, runtime) = match first_start(dir, stop) {
        Ok(begun) => begun,
        Err(error) => {
            // If nobody waits for it, the caller gave up.
            if let Err(Err(error)) = started.send(Err(error)) {
                tracing::warn!(%error, "PostgreSQL was not started");
            }
            return Ok(());
        }
    };
    let state = watch::Sender::new(State::Running { postmaster: first.pid(), restarts: 0 });
    let answer = Started { cluster: launch.cluster().to_owned(), socket_dir: launch.socket_dir() };
    tracing::info!(
        cluster = %answer.cluster.display(), socket = %answer.socket_dir.display(), postmaster = first.pid(),
        "PostgreSQL accepts connections"
    );
    // A caller that gave up has cancelled `stop`, which `keep` hears.
    started.send(Ok((state.subscribe(), answer))).ok();
    let ended = runtime.block_on(keep(&launch, first, stop, &state));
    state.send_replace(State::Stopped);
    ended
}

type Begun = (Launch, Postmaster, tokio::runtime::Runtime);

/// All that happens before the first connection, on this thread.
fn first_start(dir: &DataDir, stop: &CancellationToken) -> Result<Begun, EmbeddedError> {
    let launch = Launch::new(Place::settle(dir)?, ServerLog::new(dir.path()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(EmbeddedError::io(|| "start an event loop".to_owned()))?;
    let first = runtime.block_on(launch.start(stop))?;
    Ok((launch, first, runtime))
}

/// Until a stop is asked for, there is a postmaster, or there will be one again.
async fn keep(
    launch: &Launch,
    mut postmaster: Postmaster,
    stop: &CancellationToken,
    state: &watch::Sender<State>,
) -> Result<(), EmbeddedError> {
    let mut log_check = interval(LOG_CHECK);
    log_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut restarts = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return postmaster.stop().await,
            ended = postmaster.ended() => {
                let (status, log) = (ended?, launch.log.path().display());
                tracing::error!(%status, %log, "PostgreSQL died: starting it again");
                state.send_replace(State::Restarting);
                let Some(next) = restart(launch, stop).await else { return Ok(()) };
                postmaster = next;
                restarts += 1;
                tracing::info!(postmaster = postmaster.pid(), restarts, "PostgreSQL accepts connections again");
                state.send_replace(State::Running { postmaster: postmaster.pid(), restarts });
            }
            _ = log_check.tick() => trim(&launch.log),
        }
    }
}

/// Tries until it succeeds, with growing pauses; `None` if a stop came first.
async fn restart(launch: &Launch, stop: &CancellationToken) -> Option<Postmaster> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(pause) => {}
        }
        match launch.start(stop).await {
            Ok(postmaster) => return Some(postmaster),
            Err(EmbeddedError::Interrupted) => return None,
            Err(error) => tracing::error!(%error, "PostgreSQL does not start"),
        }
        trim(&launch.log);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn trim(log: &ServerLog) {
    if let Err(error) = log.trim() {
        tracing::warn!(%error, log = %log.path().display(), "cannot put the log of PostgreSQL aside");
    }
}
