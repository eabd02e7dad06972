//! Which processes belong to a cluster, read from their command lines.
//!
//! Not from `/proc/PID/cwd`, which would be exact, but which root may not read in a container without `CAP_SYS_PTRACE`.
//! Invariant: only what is surely a process of this cluster is called one.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Pid;

/// The `cluster_name` setting, which stands in the title of every server process: the cluster's device and inode, so
/// that a copied data directory has another one.
pub(super) fn cluster_name(cluster: &Path) -> io::Result<String> {
    let found = fs::metadata(cluster)?;
    Ok(format!("postroad-{:x}-{:x}", found.dev(), found.ino()))
}

/// Who the process id in a `postmaster.pid` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// The postmaster of this cluster, alive.
    Ours,
    /// Nobody now.
    Gone,
    /// Someone else: the id has been used again since.
    Another,
    /// A postmaster, perhaps of this cluster. Postgres itself shall decide.
    Unclear,
}

/// Looks at a process id that the cluster's `postmaster.pid` names.
pub(super) fn recorded(pid: Pid, cluster: &Path) -> Recorded {
    if !fs::exists(format!("/proc/{pid}")).unwrap_or(true) {
        return Recorded::Gone;
    }
    classify(&command_line(pid), cluster)
}

/// Server processes of the cluster other than its postmaster: backends, checkpointer, vacuum…
pub(super) fn children(cluster_name: &str) -> Vec<Pid> {
    let title = format!("postgres: {cluster_name}: ");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| command_line(*pid).starts_with(title.as_bytes()))
        .collect()
}

/// NUL-separated; empty for a process that has ended, also for one whose parent has not taken note (a zombie).
fn command_line(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn classify(command_line: &[u8], cluster: &Path) -> Recorded {
    // A child's title. A postmaster keeps its arguments, so this id is not the one that wrote the file.
    if command_line.starts_with(b"postgres: ") {
        return Recorded::Another;
    }
    let mut arguments = command_line.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let program = arguments.next().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let program = program.to_string_lossy();
    if !program.contains("postgres") && !program.contains("postmaster") {
        return Recorded::Another;
    }
    let Some(directory) = data_directory(arguments) else { return Recorded::Unclear };
    match Path::new(directory).canonicalize() {
        Ok(path) if path == cluster => Recorded::Ours,
        Ok(_) if Path::new(directory).is_absolute() => Recorded::Another,
        _ => Recorded::Unclear,
    }
}

/// `-D DIR` or `-DDIR`; it could also come from `PGDATA`, which we cannot see.
fn data_directory<'a>(mut arguments: impl Iterator<Item = &'a OsStr>) -> Option<&'a OsStr> {
    while let Some(argument) = arguments.next() {
        match argument.as_bytes() {
            b"-D" => return arguments.next(),
            // The value of another option, which may look like anything.
            b"-c" => drop(arguments.next()),
            bytes if bytes.starts_with(b"-D") => return Some(OsStr::from_bytes(&bytes[2..])),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_postmaster_of_this_cluster_is_ours() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let (cluster, other) = (base.join("postgres"), base.join("other"));
        fs::create_dir(&cluster).unwrap();
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&cluster, base.join("link")).unwrap();
        let (ours, other, link) = (cluster.display(), other.display(), base.join("link"));
        let link = link.display();

        for (line, expected) in [
            (format!("/usr/lib/postgresql/15/bin/postgres\0-D\0{ours}\0-c\0fsync=on\0"), Recorded::Ours),
            (format!("/usr/bin/postmaster\0-D{link}\0"), Recorded::Ours),
            (format!("/nix/store/.postgres-wrapped\0-c\0-D\0-D\0{ours}\0"), Recorded::Ours),
            (format!("/usr/lib/postgresql/15/bin/postgres\0-D\0{other}\0"), Recorded::Another),
            ("postgres: 15/main: checkpointer ".to_owned(), Recorded::Another),
            ("sleep\0forever\0".to_owned(), Recorded::Another),
            (String::new(), Recorded::Another),
            ("postgres\0".to_owned(), Recorded::Unclear),
            ("postgres\0-D\0data\0".to_owned(), Recorded::Unclear),
            ("postgres\0-D\0/no/such/directory\0".to_owned(), Recorded::Unclear),
            ("postgres\0-D\0".to_owned(), Recorded::Unclear),
        ] {
            assert_eq!(classify(line.as_bytes(), &cluster), expected, "{line:?}");
        }
    }

    #[test]
    fn a_process_that_has_ended_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert_eq!(recorded(pid, Path::new("/")), Recorded::Gone);
    }

    #[test]
    fn a_copied_cluster_has_another_name() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("a")).unwrap();
        fs::create_dir(base.path().join("b")).unwrap();
        let name = |dir: &str| cluster_name(&base.path().join(dir)).unwrap();
        assert_eq!(name("a"), name("a"));
        assert_ne!(name("a"), name("b"));
        assert!(name("a").len() < 64, "cluster_name is cut at 63 bytes");
    }
}
