//! The database for a command-line tool: the running server's if there is one, else the tool's own for its duration.
//!
//! Not for `serve`, which locks the data directory and starts its database itself.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::time::{Instant, sleep};

use super::data_dir::LOCK;
use super::place::CLUSTER;
use super::{DataDir, DataDirError, Embedded, EmbeddedError, connect_options, lock_file, pid_file};

/// How long a tool waits for a server that is starting, or for another tool to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// A database that a tool may use.
#[derive(Debug)]
pub enum Attached {
    /// A running postroad's.
    Server(PgConnectOptions),
    /// One of our own, to be stopped at the end.
    Own(Embedded),
}

/// Why a tool has no database.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The data directory cannot be used, or is in use by a postroad without an embedded database.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The tool's own database does not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
}

impl Attached {
    /// How to reach it.
    pub fn connect_options(&self) -> PgConnectOptions {
        match self {
            Self::Server(options) => options.clone(),
            Self::Own(embedded) => embedded.connect_options(),
        }
    }

    /// The same as a URL, for psql and pg_dump; `None` if the path of its socket has characters that no URL has.
    pub fn url(&self) -> Option<String> {
        let options = self.connect_options();
        let socket = options.get_socket()?.to_str()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~".contains(c);
        let (user, database) = (options.get_username(), options.get_database()?);
        socket.chars().all(plain).then(|| format!("postgres://{user}@localhost/{database}?host={socket}"))
    }

    /// Stops a database of our own; leaves the server's alone.
    ///
    /// # Errors
    /// As [`Embedded::stop`].
    pub async fn close(self) -> Result<(), EmbeddedError> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Own(embedded) => embedded.stop().await,
        }
    }
}

/// Reaches the database of a data directory, waiting up to 30 s while another process starts or ends with it.
///
/// # Errors
/// [`DataDirError::InUse`] when that time is over, else whatever keeps a database of our own from starting.
pub async fn attach(path: &Path) -> Result<Attached, AttachError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(options) = running(path) {
            return Ok(Attached::Server(options));
        }
        match DataDir::lock(path) {
            Ok(dir) => return Ok(Attached::Own(Embedded::start(&dir).await?)),
            Err(DataDirError::InUse { .. }) if Instant::now() < deadline => sleep(LOOK).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// How to reach the embedded database of a postroad that runs on this data directory now; `None` if none does, if its
/// database does not accept connections (yet, or again), or if this user may not look.
pub fn running(path: &Path) -> Option<PgConnectOptions> {
    // A postmaster without a postroad is an orphan that is about to stop.
    lock_file::is_held(&path.join(LOCK)).ok().filter(|held| *held)?;
    let file = pid_file::read(&path.join(CLUSTER)).filter(|file| file.ready)?;
    let alive = Path::new("/proc").join(file.pid.to_string()).exists();
    alive.then(|| connect_options(&file.socket_dir))
}
