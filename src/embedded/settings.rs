//! What the private Postgres is told: durable first, then tuned for a queue of mail.
//!
//! Given on the command line, which beats `postgresql.conf` and `ALTER SYSTEM`: durability cannot be edited away.
//! Everything else an operator may put into `postgresql.conf` stays in force. Who wants other values of these runs
//! a Postgres of their own and sets `DATABASE_URL`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::{memory, setting};

/// Names the socket file, `.s.PGSQL.5432`; nothing listens on TCP.
pub(super) const PORT: u16 = 5432;

/// The same on every machine.
const FIXED: [(&str, &str); 19] = [
    // A 2xx means committed: these three are the promise.
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    // The socket is the only way in.
    ("listen_addresses", ""),
    ("port", "5432"),
    ("max_connections", "100"),
    // Few, spread checkpoints: each makes the next write of every page cost a full page of WAL.
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "15min"),
    ("huge_pages", "try"),
    // The queue's statements take milliseconds; compiling them takes longer.
    ("jit", "off"),
    // A queue makes dead rows by the thousand: look every 5 s, and let no forgotten transaction hold vacuum back.
    ("autovacuum", "on"),
    ("autovacuum_naptime", "5s"),
    ("idle_in_transaction_session_timeout", "5s"),
    // Everything goes to one place, which `server_log` keeps small.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] "),
    ("log_timezone", "UTC"),
    ("timezone", "UTC"),
    // A backend that was killed or a panic (a full disk) must not end the postmaster.
    ("restart_after_crash", "on"),
];

/// Worth having, but only if this build of Postgres knows them: lz4 is a build option, and compresses WAL since 15.
const OPTIONAL: [(&str, &str); 2] = [("default_toast_compression", "lz4"), ("wal_compression", "lz4")];

/// The postmaster's arguments after `-D`. `supports` answers whether this build accepts a setting.
pub(super) fn arguments(
    socket_dir: &Path,
    cluster_name: &str,
    supports: impl Fn(&[OsString; 2]) -> bool,
) -> Vec<OsString> {
    let fixed = FIXED.iter().map(|(name, value)| setting(name, value));
    let own = [
        setting("shared_buffers", format!("{}MB", shared_buffers_mib(memory::available()))),
        setting("unix_socket_directories", quoted(socket_dir.as_os_str())),
        setting("cluster_name", cluster_name),
    ];
    let optional = OPTIONAL.iter().map(|(name, value)| setting(name, value)).filter(supports);
    fixed.chain(own).chain(optional).flatten().collect()
}

/// A quarter of the memory, as Postgres's manual advises, but at most 1 GiB (a mail queue's working set is small) and
/// at least 64 MiB. 256 MiB are reached on a machine of 1 GiB.
fn shared_buffers_mib(memory: Option<u64>) -> u64 {
    memory.map_or(256, |bytes| (bytes / 4 / (1 << 20)).clamp(64, 1024))
}

/// `unix_socket_directories` is a comma-separated list, in which a quoted name may hold anything.
fn quoted(path: &OsStr) -> OsString {
    let mut text = vec![b'"'];
    for byte in path.as_bytes() {
        text.extend(if *byte == b'"' { [*byte].repeat(2) } else { vec![*byte] });
    }
    text.push(b'"');
    OsString::from_vec(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_buffers_follow_the_memory() {
        const MIB: u64 = 1 << 20;
        for (memory, expected) in [
            (None, 256),
            (Some(128 * MIB), 64),
            (Some(512 * MIB), 128),
            (Some(1024 * MIB), 256),
            (Some(2048 * MIB), 512),
            (Some(4096 * MIB), 1024),
            (Some(64 * 1024 * MIB), 1024),
        ] {
            assert_eq!(shared_buffers_mib(memory), expected, "{memory:?}");
        }
    }

    #[test]
    fn a_setting_that_this_build_does_not_know_is_left_out() {
        let arguments = |supported: bool| arguments(Path::new("/run/x"), "name", |_| supported);
        let lz4 = OsString::from("wal_compression=lz4");
        assert!(arguments(true).contains(&lz4));
        assert!(!arguments(false).contains(&lz4));
        assert!(arguments(false).contains(&OsString::from("synchronous_commit=on")));
    }

    #[test]
    fn a_socket_directory_may_have_any_name() {
        assert_eq!(quoted(OsStr::new("/a b,\"c\"")), OsStr::new("\"/a b,\"\"c\"\"\""));
    }
}
