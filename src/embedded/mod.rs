//! The embedded default: a private Postgres under the data directory, run from the server programs on this machine.
//!
//! It is *not* a bundled Postgres: nothing is downloaded, and with `DATABASE_URL` nothing here runs but [`DataDir`].
//! Its one invariant: never two postmasters on one cluster, and never one without a lock on its data directory.
//!
//! The crate `postgresql_embedded` does none of this well enough: it starts the server with `-F` (fsync off, so that
//! a 2xx would promise nothing), cannot run under root, and brings its own downloads.
//!
//! What lies in the data directory, when this module is used:
//! ```text
//! lock             held while a postroad uses the directory; names its process id
//! node-id          who this node is, for ever
//! postgres/        the cluster (or a symbolic link to it, see `place`)
//! postgres.log     what Postgres says, at most 8 MiB, and as much again in postgres.log.1
//! socket/          the Unix socket, the only way in; closed to all but the cluster's owner and root
//! ```
//! The postmaster is a child in a session of its own: Ctrl-C reaches postroad alone, and the drain still has its
//! database. The kernel stops it if postroad is killed. Under systemd use `KillMode=mixed` for the same reason.

mod account;
mod attach;
mod binaries;
mod cluster;
mod data_dir;
mod leftovers;
mod lock_file;
mod memory;
mod pid_file;
mod place;
mod postmaster;
mod process;
mod server_log;
mod settings;
mod supervisor;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::sync::watch;

pub use attach::{AttachError, Attached, attach, running};
pub use data_dir::{DataDir, DataDirError};

/// A running private Postgres. It is restarted when it dies and stopped when this value goes.
///
/// Dropping it begins a stop without waiting for the end; call [`Embedded::stop`] to know how it ended.
#[derive(Debug)]
pub struct Embedded {
    options: PgConnectOptions,
    cluster: PathBuf,
    supervisor: supervisor::Handle,
}

impl Embedded {
    /// Starts the database of a data directory and waits until it accepts connections.
    ///
    /// Creates the cluster first if there is none; stops a postmaster that a killed postroad left behind. There is no
    /// deadline, since a recovery that is cut short begins again from nothing. Dropping the future stops what it began.
    ///
    /// # Errors
    /// Whatever keeps Postgres from starting the first time; later deaths are the supervisor's affair, see
    /// [`Embedded::state`].
    pub async fn start(dir: &DataDir) -> Result<Self, EmbeddedError> {
        let (supervisor, started) = supervisor::start(dir.clone()).await?;
        Ok(Self { options: connect_options(&started.socket_dir), cluster: started.cluster, supervisor })
    }

    /// How to reach it: the Unix socket, as user `postroad` (a superuser), database `postroad`.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Where the cluster really is: under the data directory, or, when started by root, perhaps under
    /// `/var/lib/postroad`.
    pub fn cluster(&self) -> &Path {
        &self.cluster
    }

    /// Follows the postmaster: readiness and metrics look here. Nobody needs to act on it, it restarts by itself.
    pub fn state(&self) -> watch::Receiver<State> {
        self.supervisor.state()
    }

    /// Stops it cleanly: a fast shutdown for at most 30 s, then an immediate one (recovered at the next start) for
    /// 10 s. It is never killed with SIGKILL, which would leave its backends at work without a postmaster.
    ///
    /// # Errors
    /// [`EmbeddedError::StillRunning`] if it did not obey; the next start waits for it.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        self.supervisor.stop().await
    }
}

/// What the supervisor knows of the postmaster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It accepts connections. `restarts` counts how often it died since [`Embedded::start`].
    Running {
        /// Process id of the postmaster.
        postmaster: u32,
        /// How often it has been started again.
        restarts: u32,
    },
    /// It died without being asked to, and is being started again, for as long as it takes (a full disk may empty).
    Restarting,
    /// It was asked to stop, and has.
    Stopped,
}

/// Why the private Postgres did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No usable server programs on this machine.
    #[error(
        "no PostgreSQL server programs of version 14 or newer were found. Install them \
         (Debian, Ubuntu: apt-get install postgresql; Fedora, RHEL: dnf install postgresql-server), \
         or set DATABASE_URL to a PostgreSQL server that runs already"
    )]
    NoServer,
    /// The cluster was made by a major version whose programs are gone.
    #[error(
        "the database in {} was made by PostgreSQL {major}, whose server programs are not installed (found: {found}). \
         Install them (Debian, Ubuntu: apt-get install postgresql-{major}; Fedora, RHEL: dnf install \
         postgresql{major}-server), or move the data with pg_upgrade or pg_dump",
        cluster.display()
    )]
    NoServerOfMajor {
        /// Where the cluster is.
        cluster: PathBuf,
        /// What its `PG_VERSION` says.
        major: u32,
        /// The versions found instead, for people.
        found: String,
    },
    /// Root must hand Postgres to another account, and there is none.
    #[error(
        "PostgreSQL refuses to run as root, and none of the accounts postroad, postgres and nobody exists. \
         Create one (useradd --system postroad), start postroad as another user, or set DATABASE_URL"
    )]
    NoAccount,
    /// The cluster belongs to an account that this process cannot act for.
    #[error("the database in {} belongs to {owner}, and {remedy}", cluster.display())]
    WrongOwner {
        /// Where the cluster is.
        cluster: PathBuf,
        /// The account's name or number.
        owner: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Something is where the cluster should be, but it is none.
    #[error(
        "{} is not a PostgreSQL cluster (it has no PG_VERSION). Move it away to begin with an empty database",
        path.display()
    )]
    NotACluster {
        /// What is in the way.
        path: PathBuf,
    },
    /// The symbolic link to the cluster leads nowhere: a lost volume must not become an empty database.
    #[error(
        "{} points to {}, which is not there. Bring it back, or remove the link to begin with an empty database",
        link.display(), target.display()
    )]
    Dangling {
        /// The link in the data directory.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// The account that owns the cluster cannot reach it.
    #[error("the account {account} cannot enter {}. Allow it (chmod o+x, on its parents too)", path.display())]
    Unreachable {
        /// The directory.
        path: PathBuf,
        /// The account that runs Postgres.
        account: String,
    },
    /// The place for the socket is not ours alone.
    #[error(
        "{} is not a private directory of the account that runs Postgres (mode 0700). Remove it, or give the data \
         directory a shorter path",
        path.display()
    )]
    UnsafeSocketDir {
        /// The directory.
        path: PathBuf,
    },
    /// Two data directories lead to one cluster (a copied symbolic link).
    #[error("the database in {} is in use through another data directory", cluster.display())]
    SharedCluster {
        /// The cluster both lead to.
        cluster: PathBuf,
    },
    /// `initdb`, or a one-off run of `postgres`, failed.
    #[error("{} failed ({status}):\n{output}", program.display())]
    Program {
        /// What was run.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },
    /// The postmaster ended before it accepted connections.
    #[error("PostgreSQL did not start ({status}). The end of {}:\n{tail}", log.display())]
    NotStarted {
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// What the log says of this start.
        tail: String,
    },
    /// A stop came while it was starting.
    #[error("PostgreSQL was stopped before it was ready")]
    Interrupted,
    /// The postmaster outlived even an immediate shutdown.
    #[error("PostgreSQL (process {pid}) does not stop; look at it before starting again")]
    StillRunning {
        /// Its process id.
        pid: i32,
    },
    /// The operating system refused something.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was being done, with the path.
        action: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The thread that runs the postmaster ended early: a defect, and it has been logged as a panic.
    #[error("the supervisor of PostgreSQL ended unexpectedly")]
    Lost,
}

impl EmbeddedError {
    /// Names what was being done when the system refused: `.map_err(EmbeddedError::io(|| format!(…)))`.
    fn io(action: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action: action(), source }
    }
}

/// The socket alone decides: TLS is not for Unix sockets, and a password or host of the environment is not meant here.
fn connect_options(socket_dir: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(settings::PORT)
        .username(cluster::SUPERUSER)
        .database(cluster::DATABASE)
        .ssl_mode(PgSslMode::Disable)
}

/// `NAME=VALUE` after `-c`, for values that may be any path.
fn setting(name: &str, value: impl Into<OsString>) -> [OsString; 2] {
    let mut pair = OsString::from(name);
    pair.push("=");
    pair.push(value.into());
    ["-c".into(), pair]
}
