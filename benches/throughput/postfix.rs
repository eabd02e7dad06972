//! Postfix as the peer: Debian's programs with a queue and a configuration of their own in a temporary directory,
//! relaying to smtp-sink, fed by smtp-source. The machine's own Postfix, if it has one, is not touched.
//!
//! It gets what makes it fast and no less durable: no limits between loopback peers, no lookups, no log (there is
//! nobody to take it), 100 processes of each kind.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use super::children::Guard;
use super::machine::{self, Machine};
use super::meter::{Meter, Parties, Server};
use super::options::{Mode, Options};
use super::report::{self, Build, Report};
use super::sink::{self, SmtpSink};

/// When it has delivered nothing for so long, it has failed.
const STALLED: Duration = Duration::from_secs(60);
/// Mails that are sent before the measured ones.
const WARM_UP: u64 = 500;
const LOOK: Duration = Duration::from_millis(5);

/// Runs Postfix once with as many mails as the options say, prints its line, and gives its end-to-end rate.
///
/// # Errors
/// It is not installed, or this is not root, or it does not run.
pub async fn measure(options: &Options, machine: &Machine, run: u32) -> Result<f64> {
    ensure!(Uid::effective().is_root(), "--peer postfix needs root");
    let sink = SmtpSink::start(None)?;
    let postfix = Postfix::start(sink.address())?;
    let warm = WARM_UP.min(options.messages());
    postfix.feed(options, warm).await?;
    all_taken(&sink, warm).await?;

    let messages = options.messages();
    let parties =
        Parties { server: Server::Tree(postfix.guard.id()), postmaster: None, sink: Some(sink.pid()) };
    let meter = Meter::start(parties)?;
    let began = Instant::now();
    postfix.feed(options, messages).await?;
    let fed = began.elapsed();
    all_taken(&sink, warm + messages).await?;
    let rate = report::rate(messages, began.elapsed().as_secs_f64());
    let (cpu_s_per_1000, memory_mb) = meter.finish(messages)?;
    let report = Report {
        subject: "postfix",
        mode: Mode::E2e,
        run,
        messages,
        accept: Some(report::Accept::at_rate(report::rate(messages, fed.as_secs_f64()))),
        end_to_end_per_s: Some(rate),
        recorded_per_s: None,
        duplicates: Some(sink.count() - warm - messages),
        latency: None,
        times_the_peer: None,
        cpu_s_per_1000,
        memory_mb,
        flow: None,
        database: None,
        composed_bytes: None,
        config: options.clone(),
        build: Build { commit: machine::commit(), binary: version()?, profile: "release" },
        machine: machine.clone(),
    };
    report.print()?;
    Ok(rate)
}

async fn all_taken(sink: &SmtpSink, messages: u64) -> Result<()> {
    let (mut seen, mut at) = (0, Instant::now());
    while sink.count() < messages {
        if sink.count() > seen {
            (seen, at) = (sink.count(), Instant::now());
        }
        ensure!(at.elapsed() < STALLED, "Postfix has delivered {seen} of {messages} mails, and no more");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// A running Postfix. Its `master` is our child, so that its end ends all.
struct Postfix {
    guard: Guard,
    address: SocketAddr,
    _home: TempDir,
}

impl Postfix {
    fn start(relay: SocketAddr) -> Result<Postfix> {
        let home = tempfile::Builder::new().prefix("postroad-bench-postfix-").tempdir_in("/var/tmp")?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        let address = sink::free_address()?;
        let configuration = configure(home.path(), address, relay)?;
        make_queue(&configuration)?;
        let mut command = Command::new(sink::program("master")?);
        command.arg("-c").arg(&configuration).arg("-d").stdin(Stdio::null()).stdout(Stdio::null());
        let mut guard = Guard::spawn("postfix master", &mut command, Duration::from_secs(10))?;
        sink::await_listener(address, &mut guard)?;
        Ok(Postfix { guard, address, _home: home })
    }

    /// Sends mails as fast as it takes them.
    async fn feed(&self, options: &Options, messages: u64) -> Result<()> {
        // Its own header takes some 200 octets.
        let length = options.size.saturating_sub(200);
        let output = tokio::process::Command::new(sink::program("smtp-source")?)
            .args(["-d", "-N", "-s", &options.concurrency.to_string()])
            .args(["-m", &messages.to_string(), "-l", &length.to_string()])
            .args(["-f", "orders@acme.example", "-t", "ann@customers.example", &self.address.to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            bail!("smtp-source: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

fn configure(home: &Path, address: SocketAddr, relay: SocketAddr) -> Result<PathBuf> {
    let path = home.join("etc");
    fs::create_dir(&path)?;
    let (queue, data) = (home.join("queue"), home.join("data"));
    let main = format!(
        "compatibility_level = 3.6\n\
         queue_directory = {queue}\ndata_directory = {data}\n\
         daemon_directory = {daemons}\ncommand_directory = /usr/sbin\n\
         mail_owner = postfix\nsetgid_group = postdrop\n\
         myhostname = peer.example\nmydestination =\nlocal_recipient_maps =\nalias_maps =\nalias_database =\n\
         inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
         relayhost = [{relay_ip}]:{relay_port}\n\
         smtpd_relay_restrictions = permit_mynetworks, reject\nsmtpd_recipient_restrictions =\n\
         smtpd_peername_lookup = no\nsmtp_dns_support_level = disabled\nsmtp_host_lookup = native\n\
         smtp_tls_security_level = none\nsmtpd_tls_security_level = none\n\
         default_process_limit = 100\ndefault_destination_concurrency_limit = 100\n\
         initial_destination_concurrency = 100\nin_flow_delay = 0\nsmtpd_client_connection_count_limit = 0\n",
        queue = queue.display(),
        data = data.display(),
        daemons = sink::program("master")?.parent().unwrap_or(Path::new("/")).display(),
        relay_ip = relay.ip(),
        relay_port = relay.port(),
    );
    fs::write(path.join("main.cf"), main)?;
    let port = address.port();
    let master = format!(
        "127.0.0.1:{port} inet n - n - - smtpd\n\
         pickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
         flush unix n - n 1000? 0 flush\nproxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\n\
         relay unix - - n - - smtp\nshowq unix n - n - - showq\nerror unix - - n - - error\n\
         retry unix - - n - - error\ndiscard unix - - n - - discard\nlocal unix - n n - - local\n\
         anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n"
    );
    fs::write(path.join("master.cf"), master)?;
    Ok(path)
}

/// Directories as `postfix check` makes them.
fn make_queue(configuration: &Path) -> Result<()> {
    let home = configuration.parent().unwrap_or(configuration);
    let owner = User::from_name("postfix")?.context("there is no account postfix")?;
    let make = |path: &Path, mode: u32, uid: Option<u32>| -> Result<()> {
        fs::create_dir(path)?;
        chown(path, uid, None)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
    };
    let (root, own) = (None, Some(owner.uid.as_raw()));
    make(&home.join("data"), 0o700, own)?;
    let queue = home.join("queue");
    make(&queue, 0o755, root)?;
    make(&queue.join("pid"), 0o755, root)?;
    for name in [
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved",
        "trace",
    ] {
        make(&queue.join(name), 0o700, own)?;
    }
    make(&queue.join("maildrop"), 0o730, own)?;
    make(&queue.join("public"), 0o710, own)
}

/// What is measured, in words.
fn version() -> Result<String> {
    let output = Command::new(sink::program("postconf")?).args(["-d", "-h", "mail_version"]).output()?;
    Ok(format!("postfix {}", String::from_utf8_lossy(&output.stdout).trim()))
}
