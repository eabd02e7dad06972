//! The Postgres server programs on this machine, and which of them to use.
//!
//! Not a package manager: nothing is installed here. Invariant: a [`Server`] has both `initdb` and `postgres`.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::EmbeddedError;

/// The oldest major version with what postroad needs: it brought lz4 compression of columns.
const OLDEST_MAJOR: u32 = 14;

/// One installed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    dir: PathBuf,
    version: Version,
}

/// Major and minor, compared in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl Server {
    /// The newest installed version, for a new cluster.
    pub(super) fn newest() -> Result<Self, EmbeddedError> {
        newest_of(installed())
    }

    /// The newest installed minor of the major version that made a cluster: another major cannot read it.
    pub(super) fn for_cluster(cluster: &Path, major: u32) -> Result<Self, EmbeddedError> {
        of_major(installed(), cluster, major)
    }

    /// Creates clusters.
    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    /// Is the postmaster.
    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }
}

fn newest_of(servers: Vec<Server>) -> Result<Server, EmbeddedError> {
    servers.into_iter().max_by_key(|server| server.version).ok_or(EmbeddedError::NoServer)
}

fn of_major(servers: Vec<Server>, cluster: &Path, major: u32) -> Result<Server, EmbeddedError> {
    let found = servers.iter().map(|server| server.version.major.to_string()).collect::<Vec<_>>().join(", ");
    newest_of(servers.into_iter().filter(|server| server.version.major == major).collect()).map_err(|_| {
        EmbeddedError::NoServerOfMajor {
            cluster: cluster.to_owned(),
            major,
            found: if found.is_empty() { "none".to_owned() } else { found },
        }
    })
}

/// Every usable version, each program directory once.
fn installed() -> Vec<Server> {
    let mut servers = BTreeMap::new();
    for dir in candidates() {
        // A link such as /usr/local/bin/postgres leads to the directory where `postgres` finds its siblings.
        let Ok(program) = dir.join("postgres").canonicalize() else { continue };
        let Some(dir) = program.parent() else { continue };
        if !servers.contains_key(dir)
            && is_executable(&dir.join("initdb"))
            && is_executable(&program)
            && let Some(version) = version_of(&program)
            && version.major >= OLDEST_MAJOR
        {
            servers.insert(dir.to_owned(), version);
        }
    }
    servers.into_iter().map(|(dir, version)| Server { dir, version }).collect()
}

/// Where distributions put the server programs, most of them outside of `PATH`.
fn candidates() -> Vec<PathBuf> {
    let mut dirs = Vec::from_iter(pg_config_bindir());
    // Debian and Ubuntu; the PostgreSQL project's RPMs; Alpine.
    for (parent, prefix, suffix) in
        [("/usr/lib/postgresql", "", "bin"), ("/usr", "pgsql-", "bin"), ("/usr/libexec", "postgresql", "")]
    {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        dirs.extend(
            entries
                .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
                .map(|entry| entry.path().join(suffix)),
        );
    }
    dirs.push("/usr/local/pgsql/bin".into());
    dirs.extend(env::var_os("PATH").iter().flat_map(env::split_paths).filter(|dir| dir.is_absolute()));
    dirs
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok()?;
    let mut line = output.stdout;
    line.truncate(line.trim_ascii_end().len());
    (output.status.success() && !line.is_empty()).then(|| OsString::from_vec(line).into())
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn version_of(postgres: &Path) -> Option<Version> {
    let output = Command::new(postgres).arg("--version").stderr(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`; a beta such as `17beta1` has no minor yet.
fn parse_version(text: &str) -> Option<Version> {
    let number = text.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = if number.contains('.') { parts.next()?.parse().ok()? } else { 0 };
    Some(Version { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(major: u32, minor: u32) -> Server {
        Server { dir: format!("/opt/{major}.{minor}").into(), version: Version { major, minor } }
    }

    #[test]
    fn versions_are_read_as_distributions_print_them() {
        for (text, expected) in [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some((15, 14))),
            ("postgres (PostgreSQL) 16.0\n", Some((16, 0))),
            ("postgres (PostgreSQL) 17beta1\n", Some((17, 0))),
            ("postgres (PostgreSQL) 18devel\n", Some((18, 0))),
            ("postgres (EnterpriseDB) 15.1\n", None),
            ("postgres (PostgreSQL) fifteen\n", None),
            ("", None),
        ] {
            let found = parse_version(text).map(|version| (version.major, version.minor));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_new_cluster_gets_the_newest_version() {
        let found = newest_of(vec![server(16, 2), server(9, 6), server(16, 10), server(15, 14)]).unwrap();
        assert_eq!(found, server(16, 10));
    }

    #[test]
    fn a_cluster_keeps_its_major_version() {
        let installed = vec![server(16, 2), server(15, 3), server(15, 14)];
        assert_eq!(of_major(installed, Path::new("/data/postgres"), 15).unwrap(), server(15, 14));
    }

    #[test]
    fn missing_programs_say_what_to_install() {
        let none = newest_of(vec![]).unwrap_err().to_string();
        for word in ["apt-get install postgresql", "dnf install", "DATABASE_URL"] {
            assert!(none.contains(word), "{none}");
        }
        let other = of_major(vec![server(16, 2)], Path::new("/data/postgres"), 15).unwrap_err().to_string();
        for word in ["made by PostgreSQL 15", "found: 16", "apt-get install postgresql-15", "/data/postgres"]
        {
            assert!(other.contains(word), "{other}");
        }
    }

    #[test]
    fn this_machine_has_a_server_and_each_directory_counts_once() {
        let servers = installed();
        assert!(!servers.is_empty(), "the tests need PostgreSQL's server programs");
        for server in &servers {
            assert_eq!(servers.iter().filter(|other| other.dir == server.dir).count(), 1);
            assert!(is_executable(&server.initdb()) && is_executable(&server.postgres()));
        }
    }
}
