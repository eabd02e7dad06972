//! The data directory: one postroad at a time, and who this node is.
//!
//! Not the place of the master key or of certificates; those modules keep their own files here.
//! Invariant: whoever holds a [`DataDir`] is the only postroad that does, on this machine.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::lock_file;

/// Name of the lock file in the data directory.
pub(super) const LOCK: &str = "lock";

/// A locked data directory. Clones share the lock, which ends with the last of them (or with the process).
#[derive(Debug, Clone)]
pub struct DataDir(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    node_id: Uuid,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds it.
    #[error(
        "another postroad{} already uses the data directory {}",
        holder.map(|pid| format!(" (process {pid})")).unwrap_or_default(), path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The holder's process id, if the lock file tells.
        holder: Option<u32>,
    },
    /// `node-id` holds something else than a UUID.
    #[error("{} does not hold a UUID. Restore it; or remove it, and this is a new node", path.display())]
    NodeId {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl DataDir {
    /// Creates the directory if need be and takes it for this process.
    ///
    /// A new directory has mode 0700; starting the embedded database as root lets others *enter* it (0711), since
    /// Postgres runs as an unprivileged account. The files in it stay closed either way.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] if another postroad has it, else what the system says.
    pub fn lock(path: &Path) -> Result<Self, DataDirError> {
        create(path)?;
        let path = path.canonicalize().map_err(io_error("open the data directory", path))?;
        let lock_path = path.join(LOCK);
        let lock = lock_file::take(&lock_path).map_err(io_error("lock", &lock_path))?.ok_or_else(|| {
            DataDirError::InUse { holder: lock_file::holder(&lock_path), path: path.clone() }
        })?;
        let node_id = node_id(&path)?;
        Ok(Self(Arc::new(Held { path, node_id, _lock: lock })))
    }

    /// The directory, absolute and free of symbolic links.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Who this node is: drawn at random when the directory was first used, and the same ever since.
    pub fn node_id(&self) -> Uuid {
        self.0.node_id
    }
}

/// Only the directory itself is private: parents made on the way are ordinary ones.
fn create(path: &Path) -> Result<(), DataDirError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("create", path)(error)),
        _ => Ok(()),
    }
}

fn node_id(dir: &Path) -> Result<Uuid, DataDirError> {
    let path = dir.join("node-id");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| DataDirError::NodeId { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = random_uuid().map_err(io_error("draw random bytes for", &path))?;
            write_durably(dir, &path, &format!("{id}\n")).map_err(io_error("write", &path))?;
            Ok(id)
        }
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

/// Version 4, from the system's generator.
pub(super) fn random_uuid() -> io::Result<Uuid> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("the random generator failed"))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Whole or not at all, also after a power cut: a node that forgot who it is would not find its own leases.
fn write_durably(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(dir)?.sync_all()
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    move |source| DataDirError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("data");
        let first = DataDir::lock(&path).unwrap();

        let error = DataDir::lock(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "another postroad (process {}) already uses the data directory {}",
                std::process::id(),
                first.path().display()
            )
        );

        let clone = first.clone();
        drop(first);
        assert!(
            matches!(DataDir::lock(&path), Err(DataDirError::InUse { .. })),
            "a clone holds the lock too"
        );
        drop(clone);
        DataDir::lock(&path).unwrap();
    }

    #[test]
    fn a_node_keeps_its_id() {
        let base = tempfile::tempdir().unwrap();
        let id = DataDir::lock(base.path()).unwrap().node_id();
        assert_eq!(id.get_version_num(), 4);
        assert_eq!(DataDir::lock(base.path()).unwrap().node_id(), id);
    }

    #[test]
    fn a_damaged_node_id_is_an_error_and_not_a_new_node() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("node-id"), "7").unwrap();
        assert!(matches!(DataDir::lock(base.path()), Err(DataDirError::NodeId { .. })));
    }

    #[test]
    fn a_new_directory_is_private_and_its_new_parents_are_ordinary() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("srv/postroad/data");
        DataDir::lock(&path).unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_ne!(mode(path.parent().unwrap()) & 0o100, 0);
        assert_ne!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&path.join("node-id")), 0o600);
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("data");
        fs::write(&path, "").unwrap();
        assert!(matches!(DataDir::lock(&path), Err(DataDirError::Io { .. })));
    }
}
