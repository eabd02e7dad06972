//! The real program, as a user starts it: for everything that a process can suffer.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::app::KEY;
use super::client::Client;

/// A running program. Killed when it is dropped.
pub struct Program {
    child: Child,
    /// Calls it with every scope.
    pub client: Client,
    /// Where its log goes.
    pub log: PathBuf,
    ready: String,
}

/// What the program is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    environment: HashMap<String, String>,
    arguments: Vec<String>,
    directory: PathBuf,
    program: PathBuf,
}

/// How long a start may take; it may initialise a database.
const START: Duration = Duration::from_secs(90);

impl Settings {
    /// With the private database under `directory`.
    pub fn embedded(directory: &Path) -> Settings {
        let environment = [
            ("POSTROAD_HTTP_ADDR", "127.0.0.1:0".to_owned()),
            ("POSTROAD_SUBMISSION_ADDR", "off".to_owned()),
            ("POSTROAD_SUBMISSIONS_ADDR", "off".to_owned()),
            ("POSTROAD_MX_ADDR", "127.0.0.1:0".to_owned()),
            ("POSTROAD_API_KEY", KEY.to_owned()),
            ("POSTROAD_HOSTNAME", "mail.postroad.test".to_owned()),
            ("POSTROAD_SENDER_POLICY", "any".to_owned()),
            ("POSTROAD_DRAIN_SECS", "10".to_owned()),
            ("POSTROAD_DATA_DIR", directory.join("data").display().to_string()),
        ];
        Settings {
            environment: environment.map(|(key, value)| (key.to_owned(), value)).into(),
            arguments: vec!["serve".to_owned()],
            directory: directory.to_owned(),
            program: env!("CARGO_BIN_EXE_postroad").into(),
        }
    }

    /// With this database.
    pub fn database(self, url: &str) -> Settings {
        self.set("DATABASE_URL", url)
            .set("POSTROAD_MASTER_KEY", "bWFzdGVyIGtleSBvZiBhbGwgdGVzdHMsIDMyIG9jdHM=")
    }

    /// A setting.
    pub fn set(mut self, key: &str, value: &str) -> Settings {
        self.environment.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Without a setting.
    pub fn unset(mut self, key: &str) -> Settings {
        self.environment.remove(key);
        self
    }

    /// Another release.
    pub fn release(self, program: &Path) -> Settings {
        Settings { program: program.to_owned(), ..self }
    }

    /// Another data directory: another node.
    pub fn node(self, name: &str) -> Settings {
        let path = self.directory.join(name).display().to_string();
        self.set("POSTROAD_DATA_DIR", &path)
    }

    /// Through a relay on loopback, in clear.
    pub fn relay(self, port: u16) -> Settings {
        self.set("POSTROAD_ROUTE", &format!("smtp://127.0.0.1:{port}?tls=none"))
    }

    /// Further arguments of `serve`.
    pub fn arguments(mut self, arguments: &[&str]) -> Settings {
        self.arguments.extend(arguments.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The command, not yet started.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(&self.environment);
        for inherited in ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"] {
            if let Ok(value) = std::env::var(inherited) {
                command.env(inherited, value);
            }
        }
        command
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self) -> Program {
        self.try_start().unwrap_or_else(|error| panic!("it does not start: {error}"))
    }

    /// Starts it; the error is what it logged.
    pub fn try_start(&self) -> Result<Program, String> {
        let log = self.directory.join(format!("log-{}", uuid::Uuid::new_v4().simple()));
        let file = std::fs::File::create(&log).expect("a log");
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("the program");
        let out = child.stdout.take().expect("piped");
        match ready(out) {
            Some(ready) => {
                // A process without an API is asked nothing: port 9 discards.
                let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
                let http = address_in(&ready, "http").unwrap_or(nobody);
                let client = Client::new(&format!("http://{http}"), KEY);
                Ok(Program { child, client, log, ready })
            }
            None => {
                // It has ended or is hopeless: either way its log tells.
                let _ = child.kill();
                let _ = child.wait();
                Err(std::fs::read_to_string(&log).unwrap_or_default())
            }
        }
    }
}

/// The address of a door in the ready line.
fn address_in(ready: &str, door: &str) -> Option<SocketAddr> {
    let addresses = ready.split(' ').filter_map(|word| word.split_once('='));
    addresses.into_iter().find(|(name, _)| *name == door)?.1.parse().ok()
}

/// What follows `ready`.
fn ready(out: std::process::ChildStdout) -> Option<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            // An error means that nobody waits any more; the pipe is read to its end all the same.
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + START;
    loop {
        let line = receiver.recv_timeout(deadline.checked_duration_since(Instant::now())?).ok()?;
        if let Some(rest) = line.strip_prefix("ready ") {
            return Some(rest.to_owned());
        }
    }
}

impl Program {
    /// Where a door listens: `submission`, `submissions` or `mx`.
    pub fn door(&self, name: &str) -> SocketAddr {
        address_in(&self.ready, name).unwrap_or_else(|| panic!("{name} is not open: {}", self.ready))
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        // An error means that it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to drain, and waits until it has ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(Duration::from_secs(60))
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(began.elapsed() < patience, "it does not end:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// What it logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory for one test.
pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}
