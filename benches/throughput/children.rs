//! Processes that the bench starts. Each is ended by its id when its [`Guard`] goes, on success, error or panic.
//!
//! They have process groups of their own, so that a Ctrl-C reaches the bench alone, which then ends them in order.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running child.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    name: &'static str,
    patience: Duration,
}

const LOOK: Duration = Duration::from_millis(20);

impl Guard {
    /// Starts it. When it shall end it gets `patience` to do so by itself.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn spawn(name: &'static str, command: &mut Command, patience: Duration) -> Result<Guard> {
        let child = command.process_group(0).spawn().with_context(|| format!("run {name}: {command:?}"))?;
        Ok(Guard { child, name, patience })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end and waits until it has; after its patience it is killed.
    pub fn end(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // An error means that it has just ended.
        let _ = kill(pid(self.id()), Signal::SIGTERM);
        let asked = Instant::now();
        while self.ended().is_none() {
            if asked.elapsed() > self.patience {
                eprintln!("throughput: {} does not end, and is killed", self.name);
                // As above.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process id as the system calls want it.
pub fn pid(id: u32) -> Pid {
    // The kernel's ids are at most 2^22.
    Pid::from_raw(i32::try_from(id).unwrap_or(i32::MAX))
}
