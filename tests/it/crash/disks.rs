//! Small disks of a test's own, to be filled: two file systems in memory, in a mount namespace that ends with the test.
//!
//! Mounting is root's: whoever is not, runs these tests in a user namespace (`unshare -r make torture`) or by sudo.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::User;

/// What each disk holds, in MiB: a cluster of ours with its partitions is a third of it.
const DATA: usize = 200;
const WAL: usize = 100;

/// Two mounted disks. Unmounted when they are dropped, or the test dies.
pub struct Disks {
    /// Lives in the namespace, and keeps it alive.
    keeper: Child,
    root: PathBuf,
}

/// One of the two.
#[derive(Debug, Clone, Copy)]
pub enum Disk {
    /// For tables and indexes: an error, and the server goes on.
    Data,
    /// For the write-ahead log: a panic, and the server starts anew.
    Wal,
}

impl Disks {
    /// Mounts both below `home`, for this account.
    pub fn mount(home: &Path, account: Option<&User>) -> Disks {
        let root = home.join("disks");
        for name in ["data", "wal"] {
            std::fs::create_dir_all(root.join(name)).expect("a directory");
        }
        std::fs::set_permissions(&root, Permissions::from_mode(0o755)).expect("our own");
        let owner = account.map_or_else(String::new, |user| format!(",uid={},gid={}", user.uid, user.gid));
        let mount = |name: &str, size: usize| {
            format!("mount -t tmpfs -o size={size}m,mode=700{owner} tmpfs {}/{name}", root.display())
        };
        // It ends with its standard input, which is ours.
        let script = format!("{} && {} && echo mounted && exec cat", mount("data", DATA), mount("wal", WAL));
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let out = keeper.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("it tells");
        assert_eq!(line, "mounted\n", "only root mounts disks to be filled");
        Disks { keeper, root }
    }

    /// Where the data is, as seen from inside.
    pub fn data(&self) -> PathBuf {
        self.root.join("data/cluster")
    }

    /// Where the write-ahead log is.
    pub fn wal(&self) -> PathBuf {
        self.root.join("wal/log")
    }

    /// A program that sees the disks, run by this account.
    pub fn command(&self, program: &Path, account: Option<&User>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.keeper.id().to_string()]);
        if let Some(user) = account {
            command.args([format!("--setuid={}", user.uid), format!("--setgid={}", user.gid)]);
        }
        command.arg("--").arg(program);
        command
    }

    /// Fills one, to the last block.
    pub fn fill(&self, disk: Disk) {
        let balloon = self.balloon(disk);
        self.run(&format!("cat /dev/zero > {0} 2>/dev/null; test -s {0}", balloon.display()));
    }

    /// Makes room again.
    pub fn make_room(&self, disk: Disk) {
        self.run(&format!("rm {}", self.balloon(disk).display()));
    }

    fn balloon(&self, disk: Disk) -> PathBuf {
        let name = match disk {
            Disk::Data => "data",
            Disk::Wal => "wal",
        };
        self.root.join(name).join("balloon")
    }

    fn run(&self, script: &str) {
        let done = self.command(Path::new("sh"), None).args(["-c", script]).status().expect("sh");
        assert!(done.success(), "{script}");
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        // What else ran in the namespace has ended before.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
