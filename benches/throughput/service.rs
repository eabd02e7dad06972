//! The service that is measured: the release binary, started as an operator would.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use super::children::Guard;
use super::options::Options;

/// A running postroad.
pub struct Service {
    guard: Guard,
    http: SocketAddr,
    submission: Option<SocketAddr>,
    home: Home,
    binary: PathBuf,
    environment: Vec<(String, String)>,
}

/// Where a service keeps its files.
pub enum Home {
    /// Removed afterwards.
    Temporary(TempDir),
    /// Kept.
    Kept(PathBuf),
}

/// The key of the tenant `default`.
pub const KEY: &str = "bench-key-of-the-default-tenant";
/// How long a start may take: it makes a database.
const START: Duration = Duration::from_secs(90);
/// How long a stop may take: it drains and stops the database.
const STOP: Duration = Duration::from_secs(60);

impl Home {
    /// A new one on a real disk, or the one that was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(options: &Options) -> Result<Home> {
        if let Some(kept) = &options.data_dir {
            fs::create_dir_all(kept).with_context(|| kept.display().to_string())?;
            return Ok(Home::Kept(kept.canonicalize()?));
        }
        // Not /tmp, which often is memory, where a flush costs nothing.
        let made = tempfile::Builder::new().prefix("postroad-bench-").tempdir_in("/var/tmp")?;
        // The embedded Postgres runs as an account that must be able to pass through.
        fs::set_permissions(made.path(), Permissions::from_mode(0o711))?;
        Ok(Home::Temporary(made))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Home::Temporary(made) => made.path(),
            Home::Kept(path) => path,
        }
    }

    /// postroad's data directory in it.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.path().join("postroad.log")
    }
}

impl Service {
    /// Starts it with its mail going to `relay`, and waits until it is ready.
    ///
    /// # Errors
    /// It does not start; its last words are in the error.
    pub fn start(options: &Options, home: Home, relay: SocketAddr) -> Result<Service> {
        let binary = options.binary.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_postroad").into());
        let environment = environment(options, &home, relay);
        if options.database_url.is_none() {
            configure_postgres(options, &binary, &environment, &home)?;
        }
        let log = File::create(home.log())?;
        let mut command = clean_command(&binary, &environment);
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut guard = Guard::spawn("postroad", &mut command, STOP)?;
        let stdout = guard.child().stdout.take().context("postroad has no output")?;
        let (http, submission) = match await_ready(stdout) {
            Ok(addresses) => addresses,
            Err(error) => {
                guard.end();
                return Err(error.context(last_lines(&home.log())));
            }
        };
        Ok(Service { guard, http, submission, home, binary, environment })
    }

    /// Where its API listens.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where its only submission door listens; `None`: both are shut.
    pub fn submission(&self) -> Option<SocketAddr> {
        self.submission
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.home.data()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.guard.id()
    }

    /// What was started.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// How to reach its database.
    ///
    /// # Errors
    /// It does not run.
    pub fn database(&self, options: &Options) -> Result<PgConnectOptions> {
        match &options.database_url {
            Some(url) => url.parse().context("--database-url"),
            None => {
                postroad::embedded::running(&self.home.data()).context("the embedded Postgres does not run")
            }
        }
    }

    /// Makes a tenant.
    ///
    /// # Errors
    /// The command fails.
    pub fn create_tenant(&self, tenant: &str) -> Result<()> {
        self.command(&["tenant", "create", tenant]).map(drop)
    }

    /// A new key of a tenant.
    ///
    /// # Errors
    /// The command fails.
    pub fn create_key(&self, tenant: &str) -> Result<String> {
        self.command(&["key", "create", "--tenant", tenant, "--name", "bench", "--scopes", "send"])
    }

    /// What it has logged last, for messages to people.
    pub fn last_words(&self) -> String {
        last_lines(&self.home.log())
    }

    fn command(&self, arguments: &[&str]) -> Result<String> {
        run(&self.binary, &self.environment, arguments)
    }
}

fn run(binary: &Path, environment: &[(String, String)], arguments: &[&str]) -> Result<String> {
    let output = clean_command(binary, environment).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("postroad {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout).context("output that is no text")?.trim().to_owned())
}

/// A command that sees none of the caller's own settings.
fn clean_command(binary: &Path, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name == "DATABASE_URL" || name.as_encoded_bytes().starts_with(b"POSTROAD_") {
            command.env_remove(name);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

fn environment(options: &Options, home: &Home, relay: SocketAddr) -> Vec<(String, String)> {
    let connections = options.connections.map(|number| format!("&connections={number}")).unwrap_or_default();
    let mut environment: Vec<(String, String)> = [
        ("POSTROAD_DATA_DIR", home.data().display().to_string()),
        ("POSTROAD_HTTP_ADDR", "127.0.0.1:0".to_owned()),
        ("POSTROAD_MX_ADDR", "off".to_owned()),
        ("POSTROAD_ROUTE", format!("smtp://{relay}?tls=none{connections}")),
        ("POSTROAD_SENDER_POLICY", "any".to_owned()),
        ("POSTROAD_API_KEY", KEY.to_owned()),
        ("POSTROAD_HOSTNAME", "bench.postroad.example".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for port in ["SUBMISSION", "SUBMISSIONS", "MX"] {
        let door = if options.starttls { "SUBMISSION" } else { "SUBMISSIONS" };
        let open = options.smtp && port == door;
        let address = if open { "127.0.0.1:0" } else { "off" };
        environment.push((format!("POSTROAD_{port}_ADDR"), address.to_owned()));
    }
    if let Some(url) = &options.database_url {
        environment.push(("DATABASE_URL".to_owned(), url.clone()));
    }
    environment.extend(options.env.iter().map(|pair| (pair.name.clone(), pair.value.clone())));
    environment
}

/// Makes the cluster before the first start if its configuration is to be changed. The last line of a setting wins.
fn configure_postgres(
    options: &Options,
    binary: &Path,
    environment: &[(String, String)],
    home: &Home,
) -> Result<()> {
    let mut lines: Vec<String> =
        options.postgres.iter().map(|pair| format!("{} = '{}'\n", pair.name, pair.value)).collect();
    if options.statements {
        lines.push("shared_preload_libraries = 'pg_stat_statements'\n".to_owned());
    }
    if lines.is_empty() {
        return Ok(());
    }
    let file = home.data().join("postgres/postgresql.conf");
    if !file.exists() {
        run(binary, environment, &["migrate"])?;
    }
    let mut file = File::options().append(true).open(&file).with_context(|| file.display().to_string())?;
    Ok(file.write_all(lines.concat().as_bytes())?)
}

/// Reads on after the line that was waited for, so that the service never writes into a closed pipe.
fn await_ready(stdout: ChildStdout) -> Result<(SocketAddr, Option<SocketAddr>)> {
    let (found, ready) = mpsc::channel();
    thread::Builder::new().name("postroad-stdout".to_owned()).spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // An error means that nobody waits any more.
            let _ = found.send(line);
        }
    })?;
    let line = ready.recv_timeout(START).context("postroad did not become ready")?;
    let address = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.parse().ok());
    let http = address("http=").with_context(|| format!("no address in {line:?}"))?;
    Ok((http, address("submissions=").or_else(|| address("submission="))))
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
