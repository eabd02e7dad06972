//! What an earlier run left alive on a cluster: a postmaster whose postroad was killed, or the backends of a postmaster
//! that was killed itself.
//!
//! Postgres guards its shared memory against a second postmaster and refuses to start while any of them lives; here
//! they are ended first, in Postgres's own ways, so that a start need not fail.
//! Invariant: nothing here kills with SIGKILL, and nothing is signalled that is not surely of this cluster.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

use super::postmaster::{STOP, send};
use super::process::{self, Recorded};
use super::{EmbeddedError, pid_file};

/// Backends that wait see the postmaster's death at once; one amid a long computation may not for hours.
const LINGER: Duration = Duration::from_secs(3);
/// After SIGQUIT, which ends a backend on the spot.
const QUIT: Duration = Duration::from_secs(5);
/// How often we look whether they are gone.
const LOOK: Duration = Duration::from_millis(20);

/// Ends all that runs on the cluster, whose data directory the caller has locked.
pub(super) async fn clear(cluster: &Path, cluster_name: &str) -> Result<(), EmbeddedError> {
    if let Some(file) = pid_file::read(cluster) {
        match process::recorded(file.pid, cluster) {
            Recorded::Ours => stop_orphan(file.pid, cluster).await?,
            Recorded::Another => remove_stale(file.pid, cluster)?,
            // Postgres looks for itself, with the care it owes its own files.
            Recorded::Gone | Recorded::Unclear => {}
        }
    }
    end_backends(cluster_name).await;
    Ok(())
}

/// The postmaster of a killed postroad: the kernel has told it to stop already, unless it was started in another way.
async fn stop_orphan(pid: Pid, cluster: &Path) -> Result<(), EmbeddedError> {
    tracing::warn!(postmaster = pid.as_raw(), "a PostgreSQL of an earlier run is still there: stopping it");
    let gone = async || {
        while process::recorded(pid, cluster) == Recorded::Ours {
            sleep(LOOK).await;
        }
    };
    for (signal, patience) in STOP {
        send(pid, signal);
        if timeout(patience, gone()).await.is_ok() {
            return Ok(());
        }
    }
    Err(EmbeddedError::StillRunning { pid: pid.as_raw() })
}

/// After a power cut, the process id in the file may be that of another program of the same account, and Postgres,
/// which cannot tell, would refuse to start for ever.
fn remove_stale(pid: Pid, cluster: &Path) -> Result<(), EmbeddedError> {
    let path = cluster.join(pid_file::NAME);
    tracing::warn!(
        path = %path.display(), process = pid.as_raw(),
        "removing the file of a postmaster whose process id another program has now"
    );
    fs::remove_file(&path).map_err(EmbeddedError::io(|| format!("remove {}", path.display())))
}

/// Waits for the backends of a dead postmaster, and tells those to quit that do not go by themselves.
async fn end_backends(cluster_name: &str) {
    let gone = async || {
        while !process::children(cluster_name).is_empty() {
            sleep(LOOK).await;
        }
    };
    if timeout(LINGER, gone()).await.is_ok() {
        return;
    }
    for pid in process::children(cluster_name) {
        tracing::warn!(
            backend = pid.as_raw(),
            "a backend works on without its postmaster: telling it to quit"
        );
        send(pid, Signal::SIGQUIT);
    }
    if timeout(QUIT, gone()).await.is_err() {
        // Postgres refuses to start while they live, and the supervisor tries again.
        tracing::warn!("backends of a dead PostgreSQL do not end");
    }
}
