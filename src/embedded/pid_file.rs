//! `postmaster.pid`, which a postmaster keeps in its cluster: who runs it, where its socket is, whether it is ready.
//!
//! The lines are described in Postgres's `src/include/utils/pidfile.h`, and `pg_ctl` reads them in the same way.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

/// Its name in the cluster.
pub(super) const NAME: &str = "postmaster.pid";

/// What the file says; a dead postmaster's file says the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: Pid,
    /// Empty until the socket is open.
    pub(super) socket_dir: PathBuf,
    /// Connections are accepted.
    pub(super) ready: bool,
}

/// `None` if there is no file, it may not be read, or it is not written yet.
pub(super) fn read(cluster: &Path) -> Option<PidFile> {
    parse(&fs::read(cluster.join(NAME)).ok()?)
}

fn parse(text: &[u8]) -> Option<PidFile> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    // In single-user mode the id is negative: that is no postmaster, but it is a process.
    let pid: i32 = std::str::from_utf8(lines.first()?).ok()?.trim().parse().ok()?;
    let line = |number: usize| lines.get(number - 1).map(|line| line.trim_ascii_end()).unwrap_or_default();
    (pid != 0).then(|| PidFile {
        pid: Pid::from_raw(pid.abs()),
        socket_dir: OsString::from_vec(line(5).to_vec()).into(),
        ready: line(8) == b"ready",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_of_the_file_is_understood() {
        let starting = "412\n/data/postgres\n1763951234\n5432\n/data/socket\n\n  5443212   3\nstarting\n";
        let ready = starting.replace("starting", "ready   ");
        let entry = |pid, socket_dir: &str, ready| {
            Some(PidFile { pid: Pid::from_raw(pid), socket_dir: socket_dir.into(), ready })
        };
        for (text, expected) in [
            ("", None),
            ("x\n", None),
            ("0\n", None),
            ("412", entry(412, "", false)),
            ("412\n/data/postgres\n1763951234\n5432\n", entry(412, "", false)),
            (starting, entry(412, "/data/socket", false)),
            (&ready, entry(412, "/data/socket", true)),
            ("-412\n/data/postgres\n", entry(412, "", false)),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
