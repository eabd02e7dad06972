//! A Postgres of one test's own, durable as a production one, to be stopped, paused, starved and started again.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::clocks::Watch;
use super::disks::Disks;
use super::{PATIENCE, reconnect};

/// A running Postgres. Stopped and removed when it is dropped.
pub struct Cluster {
    home: TempDir,
    programs: PathBuf,
    account: Option<User>,
    settings: Vec<String>,
    environment: Vec<(&'static str, String)>,
    postmaster: Option<Child>,
    /// Where its files are, if not beside all others.
    disks: Option<Disks>,
}

/// Where a cluster's files are.
enum Place {
    /// Beside those of all other tests.
    Beside,
    SmallDisks,
    /// Beside the others, with a clock that is ours to move.
    OwnClock,
}

impl Cluster {
    /// With these settings (`name=value`) besides the defaults.
    pub async fn start(settings: &[&str]) -> Cluster {
        Cluster::make(settings, Place::Beside).await
    }

    /// On two small disks, one for its data and one for its write-ahead log, that can be filled.
    pub async fn start_on_small_disks(settings: &[&str]) -> Cluster {
        Cluster::make(settings, Place::SmallDisks).await
    }

    /// With a clock that [`Cluster::watch`] moves.
    pub async fn start_with_own_clock() -> Cluster {
        Cluster::make(&[], Place::OwnClock).await
    }

    async fn make(settings: &[&str], place: Place) -> Cluster {
        let (programs, account) = programs();
        let home = tempfile::Builder::new().prefix("postroad-crash").tempdir().expect("a directory");
        if let Some(user) = &account {
            std::os::unix::fs::chown(home.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .expect("root may");
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let watch = Watch::at(home.path().join("watch"));
        let environment = match place {
            Place::OwnClock => watch.environment().into(),
            Place::Beside | Place::SmallDisks => Vec::new(),
        };
        let disks = match place {
            Place::Beside | Place::OwnClock => None,
            Place::SmallDisks => Some(Disks::mount(home.path(), account.as_ref())),
        };
        let mut cluster = Cluster { home, programs, account, settings, environment, postmaster: None, disks };
        let mut initdb = cluster.command("initdb");
        initdb
            .args(["-U", "postroad", "--auth=trust", "--no-sync", "--no-instructions"])
            .args(["--encoding=UTF8", "--locale=C", "-D"])
            .arg(cluster.data());
        if let Some(disks) = &cluster.disks {
            initdb.arg("-X").arg(disks.wal());
        }
        let made = initdb.stdout(Stdio::null()).status().expect("initdb");
        assert!(made.success());
        cluster.start_again().await;
        cluster
    }

    /// Starts it, after it was stopped. A postmaster that finds backends of a killed one still running, which end
    /// when they notice, refuses to start: as a supervisor would, we try again.
    pub async fn start_again(&mut self) {
        let began = Instant::now();
        loop {
            self.spawn();
            if self.answers().await {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "Postgres does not start: {:?}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether it answers; false: it has ended.
    async fn answers(&mut self) -> bool {
        let url = self.url();
        loop {
            if PgConnection::connect(&url).await.is_ok() {
                return true;
            }
            let ended = self.postmaster.as_mut().is_none_or(|it| it.try_wait().expect("our child").is_some());
            if ended {
                self.postmaster = None;
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn spawn(&mut self) {
        let log = std::fs::File::options().append(true).create(true).open(self.home.path().join("log"));
        let log = log.expect("a log");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let sockets = format!("unix_socket_directories={}", self.home.path().display());
        let own = ["listen_addresses=", "max_connections=60", "timezone=UTC"];
        for setting in
            own.into_iter().chain([sockets.as_str()]).chain(self.settings.iter().map(String::as_str))
        {
            command.args(["-c", setting]);
        }
        let errors = log.try_clone().expect("a log");
        let postmaster = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("postgres");
        self.postmaster = Some(postmaster);
    }

    /// How to reach it, as its superuser.
    pub fn url(&self) -> String {
        self.url_as("postroad")
    }

    /// How to reach it as another user.
    pub fn url_as(&self, user: &str) -> String {
        format!(
            "postgres://{user}@localhost/postgres?host={}&port={}",
            self.home.path().display(),
            self.port()
        )
    }

    /// The one of its settings, or that of every Postgres.
    fn port(&self) -> &str {
        self.settings.iter().find_map(|setting| setting.strip_prefix("port=")).unwrap_or("5432")
    }

    /// Offers TLS to whoever comes by TCP from now on, with a certificate that nobody knows.
    pub async fn offer_tls(&self) {
        let signed =
            rcgen::generate_simple_self_signed(["postgres.example".to_owned()]).expect("a certificate");
        let certificate = self.keep("certificate.pem", &signed.cert.pem());
        let key = self.keep("key.pem", &signed.signing_key.serialize_pem());
        let mut connection = self.connect().await;
        for statement in [
            format!("ALTER SYSTEM SET ssl_cert_file = '{certificate}'"),
            format!("ALTER SYSTEM SET ssl_key_file = '{key}'"),
            "ALTER SYSTEM SET ssl = on".to_owned(),
            "SELECT pg_reload_conf()".to_owned(),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect("done");
        }
        // The postmaster reads them in its own time; whoever connects has what it has.
        let began = Instant::now();
        loop {
            let asked = sqlx::query_scalar("SHOW ssl").fetch_one(&mut self.connect().await).await;
            let ssl: String = asked.expect("told");
            if ssl == "on" {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "it has no TLS: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Writes a file that its account alone can read; says where.
    fn keep(&self, name: &str, text: &str) -> String {
        let file = self.home.path().join(name);
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("ours");
        if let Some(user) = &self.account {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            std::os::unix::fs::chown(&file, Some(uid), Some(gid)).expect("root may");
        }
        file.display().to_string()
    }

    /// A connection, as soon as there is one to be had.
    pub async fn connect(&self) -> PgConnection {
        reconnect(&self.url()).await
    }

    /// Stops it: SIGINT is a fast shutdown, SIGQUIT an immediate one, to be recovered from.
    pub fn stop(&mut self, how: Signal) {
        let Some(mut postmaster) = self.postmaster.take() else { return };
        kill(Pid::from_raw(postmaster.id().cast_signed()), how).expect("it runs");
        postmaster.wait().expect("our child");
    }

    /// Stops every process of it in its tracks: it accepts connections, and answers nothing.
    pub fn pause(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    /// What it believes about the time, if it was started with a clock of its own.
    pub fn watch(&self) -> Watch {
        Watch::at(self.home.path().join("watch"))
    }

    /// Its disks, if it was started on small ones.
    pub fn disks(&self) -> &Disks {
        self.disks.as_ref().expect("started on small disks")
    }

    /// Whether its postmaster runs.
    pub fn runs(&mut self) -> bool {
        self.postmaster.as_mut().is_some_and(|it| it.try_wait().expect("our child").is_none())
    }

    fn signal_all(&self, signal: Signal) {
        let Some(postmaster) = &self.postmaster else { return };
        let postmaster = Pid::from_raw(postmaster.id().cast_signed());
        // The parent first, so that no child is born meanwhile.
        for process in std::iter::once(postmaster).chain(children(postmaster)) {
            // An error means that it has just ended.
            let _ = kill(process, signal);
        }
    }

    fn data(&self) -> PathBuf {
        self.disks.as_ref().map_or_else(|| self.home.path().join("data"), Disks::data)
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match &self.disks {
            Some(disks) => disks.command(&program, self.account.as_ref()),
            None => Command::new(&program),
        };
        command.envs(self.environment.clone());
        command.current_dir("/").env_remove("PGDATA").env_remove("PGOPTIONS").env_remove("PGPORT");
        if let (Some(user), None) = (&self.account, &self.disks) {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.resume();
        self.stop(Signal::SIGQUIT);
    }
}

/// The processes that a process has started and that run.
pub fn children(parent: Pid) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// From `/proc/PID/stat`: the second field after the name, which is in parentheses.
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}

/// Where the server programs are, and whom they run as: as the scripts find them.
fn programs() -> (PathBuf, Option<User>) {
    let script = ". scripts/common.sh && postgres_bindir && postgres_account";
    let output = Command::new("bash").args(["-c", script]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = String::from_utf8(output.expect("bash").stdout).expect("paths");
    let mut lines = text.lines();
    let programs = lines.next().expect("Postgres's programs: scripts/install-postgres.sh installs them");
    let account = lines.next().map(|name| User::from_name(name).expect("looked up").expect("it exists"));
    (programs.into(), account)
}
