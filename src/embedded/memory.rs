//! How much memory this process may use: the machine's, or less if a control group says so.

use std::fs;
use std::path::Path;

/// Bytes; `None` if the system does not tell.
pub(super) fn available() -> Option<u64> {
    under(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
}

/// The smallest of the machine's memory and the limits of every control group we are in. A group's own limit may be
/// `max` while its parent's is not.
fn under(proc: &Path, cgroups: &Path) -> Option<u64> {
    let machine = total(&fs::read_to_string(proc.join("meminfo")).unwrap_or_default());
    let groups = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    groups.lines().filter_map(|line| group_limit(line, cgroups)).chain(machine).min()
}

/// `MemTotal:       24681508 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()? * 1024)
}

/// One line of `/proc/self/cgroup`, `ID:CONTROLLERS:PATH` (cgroups(7)): version 2 has no controllers there, version 1
/// has one hierarchy for memory. Inside a container the path may be the host's and unknown here; the root of the
/// mounted hierarchy, which ends every walk, is then the container's group.
fn group_limit(line: &str, cgroups: &Path) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (root, file) = match controllers {
        "" => (cgroups.to_owned(), "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            (cgroups.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    root.join(path.trim_start_matches('/'))
        .ancestors()
        .take_while(|group| group.starts_with(&root))
        .filter_map(|group| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        under(&root.path().join("proc"), &root.path().join("cgroup"))
    }

    #[test]
    fn the_smallest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:        4194304 kB\nMemFree: 1 kB\n");
        let half = &(GIB / 2).to_string();
        for (name, files, expected) in [
            ("no groups", vec![meminfo], Some(4 * GIB)),
            (
                "version 2, limited by the parent",
                vec![
                    meminfo,
                    ("proc/self/cgroup", "0::/system.slice/postroad.service\n"),
                    ("cgroup/system.slice/postroad.service/memory.max", "max\n"),
                    ("cgroup/system.slice/memory.max", "1073741824\n"),
                ],
                Some(GIB),
            ),
            (
                "version 2 in a container",
                vec![meminfo, ("proc/self/cgroup", "0::/\n"), ("cgroup/memory.max", half)],
                Some(GIB / 2),
            ),
            (
                "version 1, the path being the host's",
                vec![
                    meminfo,
                    ("proc/self/cgroup", "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n"),
                    ("cgroup/memory/memory.limit_in_bytes", half),
                ],
                Some(GIB / 2),
            ),
            (
                "version 1 without a limit says a huge number",
                vec![
                    meminfo,
                    ("proc/self/cgroup", "4:memory:/\n"),
                    ("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(4 * GIB),
            ),
            ("nothing known", vec![], None),
        ] {
            assert_eq!(machine(&files), expected, "{name}");
        }
    }
}
