//! Where the cluster of a data directory lives, who owns it, and which programs run it.
//!
//! Usually in the data directory itself. Under root an unprivileged account must reach it; if the data directory lies
//! where that account cannot go (`/root`, say), the cluster lives in `/var/lib/postroad/<node id>` and the data
//! directory holds a symbolic link. The node id, and not the path, names the place: whoever removes a data directory
//! and begins anew gets an empty database, and one that is moved keeps its own.
//! Invariant: a link once made is followed or refused, never replaced.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use uuid::Uuid;

use super::account::Account;
use super::binaries::Server;
use super::{DataDir, EmbeddedError, cluster};

/// The cluster, or the link to it, in the data directory.
pub(super) const CLUSTER: &str = "postgres";
/// Where clusters live that their account could not reach in the data directory.
const ELSEWHERE: &str = "/var/lib/postroad";
/// `sun_path` holds 108 bytes with the closing NUL (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

/// A cluster that exists, with all that is needed to run it. Holds a lock on it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) account: Account,
    pub(super) server: Server,
    /// Absolute and free of symbolic links.
    pub(super) cluster: PathBuf,
    pub(super) socket_dir: PathBuf,
    _lock: File,
}

impl Place {
    /// Finds the cluster of a data directory, or creates it.
    pub(super) fn settle(dir: &DataDir) -> Result<Self, EmbeddedError> {
        let (account, server, cluster) = match existing(&dir.path().join(CLUSTER))? {
            Some(found) => reopen(dir, found)?,
            None => begin(dir)?,
        };
        let lock = lock(&cluster)?;
        let socket_dir = socket_dir(dir, &account)?;
        Ok(Self { account, server, cluster, socket_dir, _lock: lock })
    }
}

/// The cluster that a path leads to, if there is anything at that path.
fn existing(path: &Path) -> Result<Option<PathBuf>, EmbeddedError> {
    let unreadable = |error| EmbeddedError::io(|| format!("look at {}", path.display()))(error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        Ok(_) => {}
    }
    match path.canonicalize() {
        Ok(cluster) => Ok(Some(cluster)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let target = fs::read_link(path).map_err(unreadable)?;
            Err(EmbeddedError::Dangling { link: path.to_owned(), target })
        }
        Err(error) => Err(unreadable(error)),
    }
}

fn reopen(dir: &DataDir, cluster: PathBuf) -> Result<(Account, Server, PathBuf), EmbeddedError> {
    let server = Server::for_cluster(&cluster, cluster::major(&cluster)?)?;
    let account = Account::owning(&cluster)?;
    if cluster.starts_with(dir.path()) {
        let_enter(dir.path(), &account)?;
    }
    if !account.can_enter(&cluster)? {
        return Err(EmbeddedError::Unreachable { path: cluster, account: account.name });
    }
    cluster::remove_drafts(&cluster);
    Ok((account, server, cluster))
}

fn begin(dir: &DataDir) -> Result<(Account, Server, PathBuf), EmbeddedError> {
    let server = Server::newest()?;
    let account = Account::for_new_cluster()?;
    if let_enter(dir.path(), &account)? {
        let cluster = dir.path().join(CLUSTER);
        cluster::create(&server, &account, &cluster)?;
        return Ok((account, server, cluster));
    }
    let cluster = elsewhere(dir.node_id())?.join(CLUSTER);
    // It may be there already: an earlier start may have ended between this and the link.
    if existing(&cluster)?.is_none() {
        cluster::create(&server, &account, &cluster)?;
    }
    let link = dir.path().join(CLUSTER);
    symlink(&cluster, &link).map_err(EmbeddedError::io(|| format!("create the link {}", link.display())))?;
    tracing::warn!(
        cluster = %cluster.display(), link = %link.display(), account = account.name,
        "the account that runs Postgres cannot enter the data directory: the database lives elsewhere"
    );
    reopen(dir, cluster)
}

/// Lets the account pass through the data directory if it can come that far; whether it now can.
///
/// Others may then enter but not list it, and what is in it is closed to them file by file.
fn let_enter(dir: &Path, account: &Account) -> Result<bool, EmbeddedError> {
    if account.is_ours() {
        return Ok(true);
    }
    if !account.can_enter(dir.parent().unwrap_or(dir))? {
        return Ok(false);
    }
    let refused =
        |error| EmbeddedError::io(|| format!("let {} enter {}", account.name, dir.display()))(error);
    let mode = fs::metadata(dir).map_err(refused)?.permissions().mode();
    if mode & 0o001 == 0 {
        fs::set_permissions(dir, Permissions::from_mode(mode | 0o001)).map_err(refused)?;
    }
    account.can_enter(dir)
}

/// Root's directory for this node outside of its data directory; others may pass through, not write.
fn elsewhere(node_id: Uuid) -> Result<PathBuf, EmbeddedError> {
    let base = PathBuf::from(ELSEWHERE);
    let home = base.join(node_id.to_string());
    for dir in [&base, &home] {
        let refused = |error| EmbeddedError::io(|| format!("create {}", dir.display()))(error);
        match DirBuilder::new().mode(0o711).create(dir) {
            // The process's umask may have closed it.
            Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o711)).map_err(refused)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(home)
}

/// The data directory's lock does not tell of a second data directory whose link leads here.
fn lock(cluster: &Path) -> Result<File, EmbeddedError> {
    let refused = |error| EmbeddedError::io(|| format!("lock {}", cluster.display()))(error);
    let directory = File::open(cluster).map_err(refused)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::SharedCluster { cluster: cluster.to_owned() }),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// A directory for the socket that only the account can enter, with a path short enough.
fn socket_dir(dir: &DataDir, account: &Account) -> Result<PathBuf, EmbeddedError> {
    let near = dir.path().join("socket");
    let path = if fits(&near) && (account.is_ours() || account.can_enter(dir.path())?) {
        near
    } else if Uid::effective().is_root() {
        elsewhere(dir.node_id())?.join("socket")
    } else {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        short_socket_dir(runtime_dir.filter(|dir| is_private(dir, account)), dir.node_id())
    };
    make_private(&path, account)?;
    Ok(path)
}

fn fits(socket_dir: &Path) -> bool {
    let socket = socket_dir.join(format!(".s.PGSQL.{}", super::settings::PORT));
    socket.as_os_str().as_bytes().len() <= LONGEST_SOCKET_PATH
}

/// In the user's runtime directory, or else in `/tmp`, where the sticky bit keeps others from replacing it.
fn short_socket_dir(runtime_dir: Option<PathBuf>, node_id: Uuid) -> PathBuf {
    let name = format!("postroad-{}", node_id.simple());
    runtime_dir
        .map(|dir| dir.join(&name))
        .filter(|dir| fits(dir))
        .unwrap_or_else(|| Path::new("/tmp").join(name))
}

/// Creates the directory, or makes sure that it is what it would have been: in `/tmp` anyone may have been first.
fn make_private(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let refused = |error| EmbeddedError::io(|| format!("create {}", path.display()))(error);
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(refused(error)),
        _ => {}
    }
    account.own(path).map_err(refused)?;
    if is_private(path, account) {
        Ok(())
    } else {
        Err(EmbeddedError::UnsafeSocketDir { path: path.to_owned() })
    }
}

/// A directory, no link to one, that belongs to the account and is closed to others.
fn is_private(path: &Path, account: &Account) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_dir() && account.owns(&found) && found.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::for_new_cluster().unwrap()
    }

    #[test]
    fn a_socket_path_is_at_most_107_bytes() {
        // ".s.PGSQL.5432" and the slash before it take 14.
        assert!(fits(&Path::new("/").join("x".repeat(92))));
        assert!(!fits(&Path::new("/").join("x".repeat(93))));
    }

    #[test]
    fn a_long_runtime_directory_is_not_used_for_the_socket() {
        let id = Uuid::nil();
        let name = "postroad-00000000000000000000000000000000";
        for (runtime_dir, expected) in [
            (None, format!("/tmp/{name}")),
            (Some("/run/user/1000".to_owned()), format!("/run/user/1000/{name}")),
            (Some(format!("/{}", "x".repeat(60))), format!("/tmp/{name}")),
        ] {
            assert_eq!(short_socket_dir(runtime_dir.map(Into::into), id), Path::new(&expected));
        }
    }

    #[test]
    fn a_directory_that_another_made_open_or_a_link_is_refused_for_the_socket() {
        let base = tempfile::tempdir().unwrap();
        let path = |name: &str| base.path().join(name);
        make_private(&path("new"), &account()).unwrap();
        make_private(&path("new"), &account()).unwrap();

        fs::create_dir(path("open")).unwrap();
        fs::set_permissions(path("open"), Permissions::from_mode(0o755)).unwrap();
        symlink(path("new"), path("link")).unwrap();
        fs::write(path("file"), "").unwrap();
        for name in ["open", "link", "file"] {
            let refused = make_private(&path(name), &account());
            assert!(matches!(refused, Err(EmbeddedError::UnsafeSocketDir { .. })), "{name}: {refused:?}");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_refused() {
        let base = tempfile::tempdir().unwrap();
        symlink("/no/such/volume", base.path().join(CLUSTER)).unwrap();
        let refused = existing(&base.path().join(CLUSTER));
        assert!(matches!(refused, Err(EmbeddedError::Dangling { .. })), "{refused:?}");
    }

    #[test]
    fn a_cluster_is_used_through_one_data_directory_only() {
        let base = tempfile::tempdir().unwrap();
        let first = lock(base.path()).unwrap();
        assert!(matches!(lock(base.path()), Err(EmbeddedError::SharedCluster { .. })));
        drop(first);
        lock(base.path()).unwrap();
    }
}
