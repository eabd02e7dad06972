//! The operating-system account that owns a cluster and runs its processes.
//!
//! Postgres refuses to run as root, so under root this is an unprivileged account; otherwise it is the one we run as.
//! Invariant: a [`Account::command`] never runs as root.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User};

use super::EmbeddedError;

/// In order of preference; the last exists nearly everywhere.
const UNPRIVILEGED: [&str; 3] = ["postroad", "postgres", "nobody"];

/// An account, by number; the name is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Who shall own a new cluster.
    pub(super) fn for_new_cluster() -> Result<Self, EmbeddedError> {
        if !Uid::effective().is_root() {
            return Ok(Self::ours());
        }
        for name in UNPRIVILEGED {
            let user = User::from_name(name)
                .map_err(io::Error::from)
                .map_err(EmbeddedError::io(|| format!("look up the account {name}")))?;
            if let Some(user) = user.filter(|user| !user.uid.is_root()) {
                return Ok(Self { name: user.name, uid: user.uid, gid: user.gid });
            }
        }
        Err(EmbeddedError::NoAccount)
    }

    /// Who owns this cluster, if we can act for that account.
    pub(super) fn owning(cluster: &Path) -> Result<Self, EmbeddedError> {
        let found = fs::metadata(cluster)
            .map_err(EmbeddedError::io(|| format!("read the owner of {}", cluster.display())))?;
        let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
        let name = name_of(uid);
        let refused =
            |remedy| EmbeddedError::WrongOwner { cluster: cluster.to_owned(), owner: name.clone(), remedy };
        if uid.is_root() {
            return Err(refused("PostgreSQL refuses to run as root: chown -R it to another account"));
        }
        if !Uid::effective().is_root() && uid != Uid::effective() {
            return Err(refused(
                "this process may not act for that account: start postroad as it, or as root",
            ));
        }
        Ok(Self { name, uid, gid })
    }

    /// Whether it is the account that this process runs as.
    pub(super) fn is_ours(&self) -> bool {
        self.uid == Uid::effective()
    }

    /// A program run as this account, from a directory that it can enter, without input, and without the environment
    /// variables that steer Postgres (`PGDATA`, `PGOPTIONS`, `PGPORT`…), which are meant for the user's own clients.
    pub(super) fn command(&self, program: &Path, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(dir).stdin(Stdio::null());
        if !self.is_ours() {
            // The standard library drops the supplementary groups too when root sets a user id.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        for (name, _) in std::env::vars_os() {
            if steers_postgres(&name) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Whether the account can enter a directory: tried, not computed, so that ACLs and parents count.
    pub(super) fn can_enter(&self, dir: &Path) -> Result<bool, EmbeddedError> {
        // The directory is changed after the account, so that a shell that does nothing tells.
        match self.command(Path::new("/bin/sh"), dir).args(["-c", ":"]).status() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(source) => {
                let action = format!("enter {} as {}", dir.display(), self.name);
                Err(EmbeddedError::Io { action, source })
            }
        }
    }

    /// Makes the account the owner of a path of ours; symbolic links are not followed.
    pub(super) fn own(&self, path: &Path) -> io::Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }

    /// Whether the account owns what has this metadata.
    pub(super) fn owns(&self, found: &Metadata) -> bool {
        found.uid() == self.uid.as_raw()
    }

    fn ours() -> Self {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        Self { name: name_of(uid), uid, gid }
    }
}

/// The name if the system knows one (a container's user may have none), else the number.
fn name_of(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

fn steers_postgres(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"PG")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn postgres_never_runs_as_root() {
        let dir = Path::new("/");
        let account = Account::for_new_cluster().unwrap();
        let id = account.command(Path::new("/usr/bin/id"), dir).arg("-u").output().unwrap();
        let uid: u32 = String::from_utf8(id.stdout).unwrap().trim().parse().unwrap();

        assert_ne!(uid, 0);
        assert_eq!(uid, account.uid.as_raw());
        assert_eq!(account.is_ours(), !Uid::effective().is_root());
    }

    #[test]
    fn a_cluster_that_root_owns_is_refused() {
        let error = Account::owning(Path::new("/proc/1")).unwrap_err();
        assert!(error.to_string().contains("belongs to root, and PostgreSQL refuses"), "{error}");
    }

    #[test]
    fn root_acts_for_the_owner_of_a_cluster_and_others_for_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::for_new_cluster().unwrap();
        account.own(dir.path()).unwrap();
        assert_eq!(Account::owning(dir.path()).unwrap(), account);
    }

    #[test]
    fn a_closed_directory_cannot_be_entered_by_another_account() {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::for_new_cluster().unwrap();
        for (mode, entered) in [(0o700, account.is_ours()), (0o711, true)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(account.can_enter(dir.path()).unwrap(), entered, "{mode:o}");
        }
    }

    #[test]
    fn variables_of_the_users_clients_do_not_reach_the_server() {
        assert!(steers_postgres(OsStr::new("PGOPTIONS")));
        assert!(!steers_postgres(OsStr::new("PATH")));
    }
}
