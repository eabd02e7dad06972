//! Locks that end with their holder, on files that name it.
//!
//! Not a `flock`, which cannot be asked about without being taken: an open-file-description lock (`fcntl(2)`,
//! "Open file description locks") has the same life, and a look at it never stands in a starting server's way.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Takes the lock and writes our process id into the file; `None` if another holds it. Closing the file frees it.
pub(super) fn take(path: &Path) -> io::Result<Option<File>> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => {}
        Err(Errno::EAGAIN | Errno::EACCES) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Some(file))
}

/// Whether anyone holds the lock; the answer may be old when it arrives.
pub(super) fn is_held(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut lock = whole_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// The process id in the file: the holder's, unless it has only just taken the lock.
pub(super) fn holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn whole_file() -> libc::flock {
    // The kernel's constants are small ints that its struct keeps as shorts; the process id must be 0 here.
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_its_file_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");

        let first = take(&path).unwrap();
        assert!(first.is_some());
        assert!(is_held(&path).unwrap());
        assert!(take(&path).unwrap().is_none());
        assert_eq!(holder(&path), Some(std::process::id()));

        drop(first);
        assert!(!is_held(&path).unwrap());
        assert!(take(&path).unwrap().is_some());
    }
}
