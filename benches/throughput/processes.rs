//! What processes cost, read from `/proc` (proc(5)).

use std::collections::HashMap;
use std::fs;

/// `sysconf(_SC_CLK_TCK)`: 100 on every machine that Linux runs on today.
const TICKS: f64 = 100.0;

/// Seconds of processor time, user and system together, of one process without its children.
pub fn cpu(pid: u32) -> f64 {
    stat(pid).map_or(0.0, |stat| stat.own)
}

/// The same of a process, all its living descendants, and all those that have ended and were waited for.
pub fn cpu_of_tree(root: u32) -> f64 {
    let stats = all();
    tree(root, &stats).iter().map(|stat| stat.own + stat.reaped).sum()
}

/// A process's parent.
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.parent)
}

/// What a process calls itself.
pub fn name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

/// Seconds in which any processor of the machine was busy, and in which the hypervisor had taken it away.
pub fn cpu_of_machine() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .flat_map(str::parse)
        .collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0.0) / TICKS;
    // user nice system (idle iowait) irq softirq steal
    ([0, 1, 2, 5, 6].map(field).iter().sum(), field(7))
}

/// Octets of memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// With every shared page.
    pub rss: u64,
    /// With its part of shared pages.
    pub pss: u64,
}

/// A process's memory now.
pub fn memory(pid: u32) -> Memory {
    rollup(pid).unwrap_or_default()
}

/// The memory of a process and its descendants now.
pub fn memory_of_tree(root: u32) -> Memory {
    let stats = all();
    let each = tree(root, &stats).into_iter().filter_map(|stat| rollup(stat.pid));
    each.fold(Memory::default(), |sum, one| Memory { rss: sum.rss + one.rss, pss: sum.pss + one.pss })
}

struct Stat {
    pid: u32,
    parent: u32,
    own: f64,
    reaped: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Some(Stat {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        own: (ticks(11) + ticks(12)) / TICKS,
        reaped: (ticks(13) + ticks(14)) / TICKS,
    })
}

fn all() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(stat).collect()
}

fn tree(root: u32, stats: &[Stat]) -> Vec<&Stat> {
    let parents: HashMap<u32, u32> = stats.iter().map(|stat| (stat.pid, stat.parent)).collect();
    let descends = |pid: u32| {
        std::iter::successors(Some(pid), |pid| parents.get(pid).copied()).take(64).any(|pid| pid == root)
    };
    stats.iter().filter(|stat| descends(stat.pid)).collect()
}

fn rollup(pid: u32) -> Option<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Some(Memory { rss: kib("Rss:") * 1024, pss: kib("Pss:") * 1024 })
}
