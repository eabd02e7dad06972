//! The file that Postgres's messages go to, kept small.
//!
//! The server writes to the file itself, so that nothing is lost or blocked when postroad stops or dies. When the file
//! has grown too long it is copied aside and emptied; a message written between the two is lost, no more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The file is put aside when it is longer.
const LONGEST: u64 = 8 << 20;
/// How much of it an error message quotes.
const TAIL: u64 = 4096;

/// `postgres.log` of a data directory.
#[derive(Debug, Clone)]
pub(super) struct ServerLog {
    path: PathBuf,
    longest: u64,
}

impl ServerLog {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("postgres.log"), longest: LONGEST }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Standard output and error for a server process. Appending is what lets `trim` empty the file under it.
    pub(super) fn outputs(&self) -> io::Result<(Stdio, Stdio)> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        Ok((file.try_clone()?.into(), file.into()))
    }

    /// Where the next message will begin.
    pub(super) fn end(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }

    /// What was written since, at most its last 4 KiB.
    pub(super) fn since(&self, start: u64) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL)).min(end)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(tail(&bytes))
    }

    /// Puts a long log aside as `postgres.log.1`, over the one before.
    pub(super) fn trim(&self) -> io::Result<()> {
        if self.end() <= self.longest {
            return Ok(());
        }
        fs::copy(&self.path, self.path.with_extension("log.1"))?;
        OpenOptions::new().write(true).open(&self.path)?.set_len(0)
    }
}

/// The last 4 KiB of what a program said, as text.
pub(super) fn tail(said: &[u8]) -> String {
    let start = said.len().saturating_sub(TAIL as usize);
    String::from_utf8_lossy(&said[start..]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn say(log: &ServerLog, text: &str) {
        let (stdout, _) = log.outputs().unwrap();
        assert!(Command::new("echo").arg(text).stdout(stdout).status().unwrap().success());
    }

    #[test]
    fn a_long_log_is_put_aside_and_a_short_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let log = ServerLog { longest: 8, ..ServerLog::new(dir.path()) };
        let old = dir.path().join("postgres.log.1");

        say(&log, "short");
        log.trim().unwrap();
        assert_eq!(log.since(0).unwrap(), "short");
        assert!(!old.exists());

        say(&log, "and longer");
        log.trim().unwrap();
        assert_eq!(log.end(), 0);
        assert_eq!(fs::read_to_string(&old).unwrap(), "short\nand longer\n");
    }

    #[test]
    fn only_the_end_of_the_newest_messages_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let log = ServerLog::new(dir.path());
        say(&log, "of an earlier start");
        let start = log.end();
        say(&log, "of this one");
        assert_eq!(log.since(start).unwrap(), "of this one");

        say(&log, &"x".repeat(10_000));
        assert_eq!(log.since(start).unwrap().len(), 4095, "without the last line's end");
        assert_eq!(log.since(1 << 30).unwrap(), "", "the log has been put aside since");
    }
}
