//! A cluster: the directory of files that one Postgres server keeps.
//!
//! Made once, by `initdb`, here. Invariant: a directory with the cluster's name is a whole cluster; one that was being
//! made when the power went has another name, and is removed at the next start.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::account::Account;
use super::binaries::Server;
use super::data_dir::random_uuid;
use super::place::CLUSTER;
use super::{EmbeddedError, server_log};

/// The role that `initdb` makes, and that postroad connects as.
pub(super) const SUPERUSER: &str = "postroad";
/// The one database that postroad uses.
pub(super) const DATABASE: &str = "postroad";

/// Text is ordered by its bytes (`C`), not by a language: an index then stays valid whatever C library reads it (a new
/// glibc with another order has silently corrupted many), and serves `LIKE 'prefix%'` too. Only upper and lower case
/// are the C library's (`C.UTF-8`), so that a search that ignores case does so beyond ASCII, as on any other Postgres.
const INITDB: [&str; 7] = [
    "--username=postroad",
    // Whoever can enter the socket's directory is the cluster's owner or root.
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--lc-ctype=C.UTF-8",
    "--data-checksums",
    "--no-instructions",
];

/// Which major version of Postgres made the cluster.
pub(super) fn major(cluster: &Path) -> Result<u32, EmbeddedError> {
    let path = cluster.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| EmbeddedError::NotACluster { path: cluster.to_owned() }),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(EmbeddedError::NotACluster { path: cluster.to_owned() })
        }
        Err(error) => Err(EmbeddedError::io(|| format!("read {}", path.display()))(error)),
    }
}

/// Makes a cluster with the database `postroad` in it, under another name, and names it when it is whole and on disk.
pub(super) fn create(server: &Server, account: &Account, cluster: &Path) -> Result<(), EmbeddedError> {
    remove_drafts(cluster);
    let home = cluster.parent().unwrap_or(Path::new("/"));
    let refused = |error| EmbeddedError::io(|| format!("create a database in {}", home.display()))(error);
    let draft = home.join(format!("{CLUSTER}.new-{}", random_uuid().map_err(refused)?.simple()));
    DirBuilder::new().mode(0o700).create(&draft).map_err(refused)?;
    account.own(&draft).map_err(refused)?;

    run(account.command(&server.initdb(), &draft).arg("--pgdata").arg(&draft).args(INITDB), "")?;
    create_database(server, account, &draft)?;

    fs::rename(&draft, cluster).map_err(refused)?;
    File::open(home).and_then(|dir| dir.sync_all()).map_err(refused)?;
    tracing::info!(cluster = %cluster.display(), account = account.name, "created an empty database");
    Ok(())
}

/// Removes what unfinished starts left beside the cluster. It may still be written to (`initdb` outlives a killed
/// postroad by a second): what cannot be removed now is removed at the next start.
pub(super) fn remove_drafts(cluster: &Path) {
    for entry in fs::read_dir(cluster.parent().unwrap_or(cluster)).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!("{CLUSTER}.new-"))
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove an unfinished database");
        }
    }
}

/// Whether this build of Postgres accepts a setting, given as `-c` and `NAME=VALUE`.
pub(super) fn supports(
    server: &Server,
    account: &Account,
    cluster: &Path,
    setting: &[std::ffi::OsString; 2],
) -> bool {
    let mut postgres = account.command(&server.postgres(), cluster);
    // Prints one setting (any will do) after it has read them all.
    postgres.arg("-D").arg(cluster).args(setting).args(["-C", "jit"]);
    postgres.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// In single-user mode, since nothing may be missing in a cluster that has its name. It ends with a checkpoint.
fn create_database(server: &Server, account: &Account, cluster: &Path) -> Result<(), EmbeddedError> {
    let mut postgres = account.command(&server.postgres(), cluster);
    postgres.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(cluster).arg("postgres");
    run(&mut postgres, &format!("CREATE DATABASE {DATABASE};\n"))
}

/// Runs a program to its end, and gives what it said if it failed.
fn run(command: &mut Command, input: &str) -> Result<(), EmbeddedError> {
    let program = command.get_program().to_owned();
    let refused = |error| EmbeddedError::io(|| format!("run {}", Path::new(&program).display()))(error);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(refused)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why in its output.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(refused)?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(EmbeddedError::Program {
        program: Path::new(&program).to_owned(),
        status: output.status,
        output: server_log::tail(&said),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_version_is_no_cluster() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(major(dir.path()), Err(EmbeddedError::NotACluster { .. })));
        fs::write(dir.path().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(major(dir.path()).unwrap(), 15);
        assert!(matches!(major(&dir.path().join("PG_VERSION")), Err(EmbeddedError::NotACluster { .. })));
    }

    #[test]
    fn a_failing_program_is_quoted() {
        let error = run(Command::new("sh").args(["-c", "read x; echo $x; exit 3"]), "no room\n").unwrap_err();
        let EmbeddedError::Program { status, output, .. } = error else { panic!("{error}") };
        assert_eq!(status.code(), Some(3));
        assert_eq!(output, "no room");
    }

    #[test]
    fn only_unfinished_databases_are_removed() {
        let home = tempfile::tempdir().unwrap();
        for name in ["postgres", "postgres.new-1", "postgres.new-2", "socket"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        remove_drafts(&home.path().join("postgres"));
        let mut left: Vec<_> =
            fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["postgres", "socket"]);
    }
}
