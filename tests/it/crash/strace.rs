//! strace(1), attached to a running program: it counts system calls, or kills at one.
//!
//! It counts for each thread apart. The program therefore runs with one thread that does the work
//! (`TOKIO_WORKER_THREADS=1`), and strace is attached just before what it shall disturb.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// An attached strace; dropping it lets the program go on untraced, if it lives.
pub struct Strace {
    child: Child,
    calls: PathBuf,
}

impl Strace {
    /// Counts all calls.
    pub fn count(program: Pid, directory: &Path) -> Strace {
        Strace::attach(program, directory, &["-e", "trace=all"])
    }

    /// Kills the program when a thread makes its `number`th call from now on.
    pub fn kill_at(program: Pid, directory: &Path, number: usize) -> Strace {
        let inject = format!("inject=all:signal=KILL:when={number}");
        Strace::attach(program, directory, &["-e", "trace=all", "-e", &inject])
    }

    fn attach(program: Pid, directory: &Path, what: &[&str]) -> Strace {
        let calls = directory.join(format!("strace-{}", uuid::Uuid::new_v4().simple()));
        let mut child = Command::new("strace")
            .args(["-f", "-p", &program.to_string(), "-o"])
            .arg(&calls)
            .args(what)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace: scripts/install-test-tools.sh installs it");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let attached = lines.by_ref().any(|line| line.contains("attached"));
        assert!(attached, "strace may not trace here");
        // Read on, so that strace never waits for a reader.
        std::thread::spawn(move || lines.count());
        Strace { child, calls }
    }

    /// Detaches, and gives how many calls the busiest thread made.
    pub fn calls(mut self) -> usize {
        self.detach();
        let text = std::fs::read_to_string(&self.calls).expect("strace's output");
        let mut by_thread = std::collections::HashMap::<&str, usize>::new();
        for line in text.lines().filter(|line| !line.contains("resumed>")) {
            *by_thread.entry(line.split_whitespace().next().unwrap_or_default()).or_default() += 1;
        }
        by_thread.into_values().max().unwrap_or(0)
    }

    /// The name of the call at which it was killed, if it was.
    pub fn last_call(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.calls).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.contains("+++") && !line.contains("---"))?;
        let (_, call) = last.split_once(char::is_whitespace)?;
        call.trim_start().split('(').next().map(str::to_owned)
    }

    fn detach(&mut self) {
        // SIGTERM lets the traced go; an error means that strace has ended with them.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.detach();
    }
}
