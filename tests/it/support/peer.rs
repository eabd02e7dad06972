//! Servers that nobody here wrote: Postfix, as a relay or as somebody who returns mail, Postfix's smtp-sink, and an old
//! aiosmtpd past which mail can be smuggled.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::client::PATIENCE;
use super::sink::SmtpSink;

/// A program that listens on a loopback port. Ended with SIGTERM when it is dropped.
pub struct Server {
    child: Child,
    port: u16,
    home: tempfile::TempDir,
}

/// A loopback port that nobody listened at a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

impl Server {
    pub(super) async fn start(command: impl FnOnce(&Path, u16) -> Command) -> Server {
        let home =
            tempfile::Builder::new().prefix("postroad-peer").tempdir_in("/var/tmp").expect("a directory");
        let port = free_port();
        // What only administrators run lives where ordinary search paths do not look.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = command(home.path(), port);
        let child = command.env("PATH", path).stdin(Stdio::null()).spawn();
        let mut server = Server { child: child.expect("make test installs it"), port, home };
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(server.child.try_wait().expect("our child").is_none(), "it has ended");
            assert!(began.elapsed() < PATIENCE, "it does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// Postfix, which relays to `sink`.
    pub async fn postfix(sink: &SmtpSink) -> Server {
        Server::postfix_with(sink, &[]).await
    }

    /// The same; notices to addresses at `domain` go to that port, and what is put off is given up at once.
    pub async fn postfix_returning(sink: &SmtpSink, domain: &str, port: u16) -> Server {
        Server::postfix_with(sink, &[domain, &port.to_string(), "maximal_queue_lifetime = 0"]).await
    }

    async fn postfix_with(sink: &SmtpSink, more: &[&str]) -> Server {
        let relay = sink.address().port().to_string();
        Server::start(|home, port| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/postfix.sh");
            let mut command = Command::new(script);
            command.arg(home).arg(port.to_string()).arg(relay).args(more);
            command
        })
        .await
    }

    /// Postfix, which hands everything to a submission door with STARTTLS on `localhost`, with this key.
    pub async fn smarthost(door: u16, key: &str) -> Server {
        let settings = [
            format!("relayhost = [localhost]:{door}"),
            "smtp_tls_security_level = encrypt".to_owned(),
            "smtp_sasl_auth_enable = yes".to_owned(),
            "smtp_sasl_security_options = noanonymous".to_owned(),
            format!("smtp_sasl_password_maps = inline:{{ {{[localhost]:{door} = anybody:{key}}} }}"),
        ];
        Server::start(|home, port| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/postfix.sh");
            let mut command = Command::new(script);
            let nowhere = ["returns.invalid", "9"];
            command.arg(home).arg(port.to_string()).arg(door.to_string()).args(nowhere).args(settings);
            command
        })
        .await
    }

    /// The directory that is its own.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// smtp-sink, which writes each mail into a file.
    pub async fn smtp_sink(options: &[&str]) -> Server {
        Server::start(|home, port| {
            let mut command = Command::new("smtp-sink");
            if Uid::effective().is_root() {
                // It will not be root; anybody may write where it writes.
                std::fs::set_permissions(home, Permissions::from_mode(0o777)).expect("our own");
                command.args(["-u", "nobody"]);
            }
            command.args(options).arg("-d").arg(home.join("%M.")).arg(format!("127.0.0.1:{port}")).arg("100");
            command
        })
        .await
    }

    /// aiosmtpd of a release that ends a mail where it has no end; it writes each mail into a file.
    pub async fn vulnerable() -> Server {
        Server::start(|home, port| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let mut command = Command::new(root.join("target/verifiers/smuggling/bin/python3"));
            command.arg(root.join("tests/verifiers/smuggling/peer.py")).arg(port.to_string()).arg(home);
            command
        })
        .await
    }

    /// The route through it.
    pub fn route(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    /// What was written: by smtp-sink X- fields of its own and a Received field, then the mail; by aiosmtpd a line with the
    /// sender, then the mail.
    pub fn dumped(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.home.path()).expect("readable").flatten();
        files
            .map(|file| String::from_utf8_lossy(&std::fs::read(file.path()).expect("a file")).into_owned())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is our child, alive or waited for below.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
