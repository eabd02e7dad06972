//! One run of the postmaster, from its birth to its end.
//!
//! Not its supervision: who is to start it again is `supervisor`'s question.
//! Invariant: the thread that calls [`Launch::start`] must outlive the postmaster, since the kernel ends the child
//! with its parent *thread* (prctl(2), `PR_SET_PDEATHSIG`).

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid, setsid};
use tokio::process::Child;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::server_log::ServerLog;
use super::{EmbeddedError, leftovers, pid_file, place::Place, process, settings};

/// Fast shutdown (clients are cut off, a checkpoint is written), then immediate shutdown (to be recovered at the next
/// start). 30 s are enough for a checkpoint of 1 GiB on a slow disk; at 5 s into an immediate shutdown the postmaster
/// itself kills what has not ended.
pub(super) const STOP: [(Signal, Duration); 2] =
    [(Signal::SIGINT, Duration::from_secs(30)), (Signal::SIGQUIT, Duration::from_secs(10))];
/// How often `postmaster.pid` is read while it starts.
const LOOK: Duration = Duration::from_millis(20);

/// All that a start needs; the same at every restart.
#[derive(Debug)]
pub(super) struct Launch {
    place: Place,
    arguments: Vec<OsString>,
    cluster_name: String,
    pub(super) log: ServerLog,
}

/// A postmaster that has been ready.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    pid: Pid,
}

impl Launch {
    pub(super) fn new(place: Place, log: ServerLog) -> Result<Self, EmbeddedError> {
        let cluster_name = process::cluster_name(&place.cluster)
            .map_err(EmbeddedError::io(|| format!("look at {}", place.cluster.display())))?;
        let arguments = settings::arguments(&place.socket_dir, &cluster_name, |setting| {
            super::cluster::supports(&place.server, &place.account, &place.cluster, setting)
        });
        Ok(Self { place, arguments, cluster_name, log })
    }

    pub(super) fn cluster(&self) -> &Path {
        &self.place.cluster
    }

    pub(super) fn socket_dir(&self) -> PathBuf {
        self.place.socket_dir.clone()
    }

    /// Ends what still runs on the cluster, starts a postmaster, and waits until it accepts connections.
    pub(super) async fn start(&self, stop: &CancellationToken) -> Result<Postmaster, EmbeddedError> {
        leftovers::clear(&self.place.cluster, &self.cluster_name).await?;
        let start_of_log = self.log.end();
        let mut postmaster = self.spawn()?;
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => {
                postmaster.stop().await?;
                return Err(EmbeddedError::Interrupted);
            }
            ended = postmaster.ready_or_ended(&self.place.cluster) => ended?,
        };
        match ended {
            None => Ok(postmaster),
            Some(status) => Err(EmbeddedError::NotStarted {
                status,
                log: self.log.path().to_owned(),
                tail: self.log.since(start_of_log).unwrap_or_else(|error| format!("(unreadable: {error})")),
            }),
        }
    }

    fn spawn(&self) -> Result<Postmaster, EmbeddedError> {
        let program = self.place.server.postgres();
        let refused = |error| EmbeddedError::io(|| format!("run {}", program.display()))(error);
        let (stdout, stderr) = self.log.outputs().map_err(refused)?;
        let mut command = self.place.account.command(&program, &self.place.cluster);
        command.arg("-D").arg(&self.place.cluster).args(&self.arguments).stdout(stdout).stderr(stderr);
        end_with_this_thread(&mut command);

        let child = tokio::process::Command::from(command).spawn().map_err(refused)?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| refused(io::Error::other("it has no process id")))?;
        Ok(Postmaster { child, pid })
    }
}

impl Postmaster {
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Waits for its death, of whatever cause.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, EmbeddedError> {
        self.child.wait().await.map_err(EmbeddedError::io(|| "wait for PostgreSQL".to_owned()))
    }

    /// Shuts it down by the steps of [`STOP`].
    pub(super) async fn stop(mut self) -> Result<(), EmbeddedError> {
        for (signal, patience) in STOP {
            send(self.pid, signal);
            if let Ok(ended) = timeout(patience, self.ended()).await {
                let status = ended?;
                tracing::info!(%status, "PostgreSQL has stopped");
                return Ok(());
            }
            tracing::warn!(%signal, seconds = patience.as_secs(), "PostgreSQL has not stopped");
        }
        Err(EmbeddedError::StillRunning { pid: self.pid.as_raw() })
    }

    /// `None` when it accepts connections, which may take as long as a recovery does; its status if it ended.
    async fn ready_or_ended(&mut self, cluster: &Path) -> Result<Option<ExitStatus>, EmbeddedError> {
        let pid = self.pid;
        let ready = async {
            // The file may still be a dead one's.
            while !pid_file::read(cluster).is_some_and(|file| file.ready && file.pid == pid) {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            ended = self.ended() => ended.map(Some),
            () = ready => Ok(None),
        }
    }
}

/// Sends a signal, and one to go on: a process that was halted (SIGSTOP) would not hear the first.
pub(super) fn send(pid: Pid, signal: Signal) {
    // It may have ended by itself meanwhile, which is what the signal is for.
    kill(pid, signal).ok();
    kill(pid, Signal::SIGCONT).ok();
}

/// Gives the child a session of its own, and has the kernel shut it down when this thread ends, however it ends.
fn end_with_this_thread(command: &mut Command) {
    let parent = Pid::this();
    let before_exec = move || {
        setsid()?;
        // After the change of account, which clears it (the standard library runs this last).
        set_pdeathsig(Signal::SIGINT)?;
        // The parent may have died before the line above.
        if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: between fork and exec only async-signal-safe functions may run; these are three bare system calls
    // and no allocation (an `io::Error` of an errno is a number).
    unsafe { command.pre_exec(before_exec) };
}
