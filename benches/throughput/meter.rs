//! What a run costs: processor time and memory of everything that takes part, and of what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::processes;
use super::report::{self, Cpu};

/// Who takes part.
#[derive(Debug, Clone, Copy)]
pub struct Parties {
    /// What is measured.
    pub server: Server,
    /// Its database's postmaster, if that runs here.
    pub postmaster: Option<u32>,
    /// The sink.
    pub sink: Option<u32>,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub enum Server {
    /// One process.
    Process(u32),
    /// A process and its descendants.
    Tree(u32),
}

/// Seconds of processor time since each began.
#[derive(Debug, Clone, Copy)]
struct Spent {
    server: f64,
    postgres: Option<f64>,
    load: f64,
    sink: f64,
    machine: f64,
    stolen: f64,
}

/// A measurement that is going on.
pub struct Meter {
    parties: Parties,
    before: Spent,
    idle: processes::Memory,
    watch: MemoryWatch,
}

impl Server {
    fn cpu(self) -> f64 {
        match self {
            Server::Process(pid) => processes::cpu(pid),
            Server::Tree(pid) => processes::cpu_of_tree(pid),
        }
    }

    fn memory(self) -> processes::Memory {
        match self {
            Server::Process(pid) => processes::memory(pid),
            Server::Tree(pid) => processes::memory_of_tree(pid),
        }
    }
}

impl Meter {
    /// Begins.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn start(parties: Parties) -> Result<Meter> {
        let idle = parties.server.memory();
        let watch = MemoryWatch::start(parties.server);
        Ok(Meter { parties, before: parties.spent()?, idle, watch })
    }

    /// Ends, and tells what `messages` mails cost.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn finish(self, messages: u64) -> Result<(Cpu, report::Memory)> {
        let after = self.parties.spent()?;
        let peak = self.watch.finish();
        let postgres_pss =
            self.parties.postmaster.map(|pid| report::mebibytes(processes::memory_of_tree(pid).pss));
        let memory = report::Memory {
            idle_pss: report::mebibytes(self.idle.pss),
            peak_pss: report::mebibytes(peak.pss),
            peak_rss: report::mebibytes(peak.rss),
            postgres_pss,
        };
        Ok((self.before.until(&after, messages), memory))
    }
}

impl Parties {
    fn spent(&self) -> Result<Spent> {
        let (machine, stolen) = processes::cpu_of_machine();
        Ok(Spent {
            server: self.server.cpu(),
            postgres: self.postmaster.map(processes::cpu_of_tree),
            load: seconds(&getrusage(UsageWho::RUSAGE_SELF)?)
                + seconds(&getrusage(UsageWho::RUSAGE_CHILDREN)?),
            sink: self.sink.map_or(0.0, processes::cpu),
            machine,
            stolen,
        })
    }
}

impl Spent {
    fn until(&self, later: &Spent, messages: u64) -> Cpu {
        let for_thousand = |seconds: f64| report::round(seconds * 1000.0 / messages as f64, 10_000.0);
        let server = later.server - self.server;
        let postgres = later.postgres.zip(self.postgres).map(|(later, earlier)| later - earlier);
        let (load, sink) = (later.load - self.load, later.sink - self.sink);
        let ours = server + postgres.unwrap_or(0.0) + load + sink;
        Cpu {
            service: for_thousand(server + postgres.unwrap_or(0.0)),
            server: for_thousand(server),
            postgres: postgres.map(for_thousand),
            load: for_thousand(load),
            sink: for_thousand(sink),
            // The kernel counts processes and processors apart, a tick here and there.
            others: for_thousand((later.machine - self.machine - ours).max(0.0)),
            stolen: for_thousand(later.stolen - self.stolen),
        }
    }
}

fn seconds(usage: &Usage) -> f64 {
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    micros as f64 / 1e6
}

/// Looks at the server's memory again and again, and keeps the highest.
struct MemoryWatch {
    stop: Arc<AtomicBool>,
    highest: Arc<Highest>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Highest {
    rss: AtomicU64,
    pss: AtomicU64,
}

/// Looking walks the process's page tables: often enough, and not more often.
const MEMORY_INTERVAL: Duration = Duration::from_millis(200);

impl MemoryWatch {
    fn start(server: Server) -> MemoryWatch {
        let (stop, highest) = (Arc::new(AtomicBool::new(false)), Arc::new(Highest::default()));
        let (stopped, kept) = (Arc::clone(&stop), Arc::clone(&highest));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let now = server.memory();
                kept.rss.fetch_max(now.rss, Ordering::Relaxed);
                kept.pss.fetch_max(now.pss, Ordering::Relaxed);
                thread::park_timeout(MEMORY_INTERVAL);
            }
        });
        MemoryWatch { stop, highest, thread: Some(thread) }
    }

    fn finish(mut self) -> processes::Memory {
        self.end();
        processes::Memory {
            rss: self.highest.rss.load(Ordering::Relaxed),
            pss: self.highest.pss.load(Ordering::Relaxed),
        }
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // If it had panicked, the highest values up to then would stand.
            let _ = thread.join();
        }
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.end();
    }
}
