//! DNS that is signed and checked by programs that nobody here wrote: Knot signs zones, and unbound, which trusts them,
//! tells what it finds.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::client::PATIENCE;
use super::peer::Server;

/// A zone.
pub struct Zone {
    /// Its name.
    pub name: &'static str,
    /// Whether it is signed, and the resolver believes it.
    pub trust: Trust,
    /// Its records, as a zone file has them; names are relative to the zone.
    pub records: String,
}

/// How a zone stands with the resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is signed, and the resolver knows its key.
    Signed,
    /// It is not signed, and nobody expects it to be.
    Unsigned,
    /// It is signed, and by another key than the resolver knows.
    Forged,
}

/// Both servers.
pub struct SignedDns {
    /// Serves the zones.
    _knot: Server,
    unbound: Server,
}

impl SignedDns {
    /// Serves these zones.
    pub async fn start(zones: &[Zone]) -> SignedDns {
        let knot = Server::start(|home, port| {
            std::fs::create_dir(home.join("db")).expect("our own directory");
            write_zones(home, zones);
            write(home, "knot.conf", &knot_conf(home, port, zones));
            let mut command = Command::new("knotd");
            command.arg("-c").arg(home.join("knot.conf"));
            command
        })
        .await;
        let mut anchors = String::new();
        for zone in zones.iter().filter(|zone| zone.trust != Trust::Unsigned) {
            let anchor = anchor(&knot, zone.name).await;
            let anchor = if zone.trust == Trust::Forged { forged(&anchor) } else { anchor };
            writeln!(anchors, "  trust-anchor: \"{anchor}\"").expect("memory");
        }
        let authority = knot.port();
        let unbound = Server::start(|home, port| {
            write(home, "unbound.conf", &unbound_conf(home, port, authority, zones, &anchors));
            let mut command = Command::new("unbound");
            command.arg("-d").arg("-c").arg(home.join("unbound.conf"));
            command
        })
        .await;
        SignedDns { _knot: knot, unbound }
    }

    /// Where the resolver is.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.unbound.port()).into()
    }
}

fn write(home: &Path, name: &str, text: &str) {
    std::fs::write(home.join(name), text).expect("our own directory");
}

fn write_zones(home: &Path, zones: &[Zone]) {
    for Zone { name, records, .. } in zones {
        let head = "@ 60 SOA ns hostmaster 1 3600 600 86400 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n";
        write(home, &format!("{name}.zone"), &format!("{head}{records}"));
    }
}

fn knot_conf(home: &Path, port: u16, zones: &[Zone]) -> String {
    let home = home.display();
    let mut conf = format!(
        "server:\n  rundir: {home}\n  listen: 127.0.0.1@{port}\nlog:\n  - target: stderr\n    any: error\n\
         database:\n  storage: {home}/db\npolicy:\n  - id: ours\n    algorithm: ecdsap256sha256\n    \
         single-type-signing: on\nzone:\n"
    );
    for Zone { name, trust, .. } in zones {
        let signing = if *trust == Trust::Unsigned { "off" } else { "on" };
        writeln!(
            conf,
            "  - domain: {name}\n    storage: {home}\n    file: {name}.zone\n    zonefile-sync: -1\n    \
             journal-content: all\n    dnssec-policy: ours\n    dnssec-signing: {signing}"
        )
        .expect("memory");
    }
    conf
}

fn unbound_conf(home: &Path, port: u16, authority: u16, zones: &[Zone], anchors: &str) -> String {
    let home = home.display();
    let mut conf = format!(
        "server:\n  interface: 127.0.0.1\n  port: {port}\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  \
         directory: \"{home}\"\n  pidfile: \"\"\n  use-syslog: no\n  verbosity: 0\n  do-not-query-localhost: no\n  \
         module-config: \"validator iterator\"\n  qname-minimisation: no\n{anchors}remote-control:\n  \
         control-enable: no\n"
    );
    for Zone { name, .. } in zones {
        writeln!(conf, "stub-zone:\n  name: \"{name}\"\n  stub-addr: 127.0.0.1@{authority}").expect("memory");
    }
    conf
}

/// The fingerprint of a zone's key, as its parent would have it (DS), once there is one.
async fn anchor(knot: &Server, zone: &str) -> String {
    let began = Instant::now();
    loop {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("keymgr");
        command.env("PATH", path).arg("-c").arg(knot.home().join("knot.conf")).args([zone, "ds"]);
        let told = command.output().expect("make test installs it");
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        // Of several digests SHA-256 (2).
        let found = text.lines().find(|line| line.split_ascii_whitespace().nth(4) == Some("2"));
        if let Some(line) = found {
            return line.to_owned();
        }
        assert!(
            began.elapsed() < PATIENCE,
            "no key of {zone}: {text} {}",
            String::from_utf8_lossy(&told.stderr)
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The fingerprint of a key that nobody has.
fn forged(anchor: &str) -> String {
    let (head, digest) = anchor.rsplit_once(' ').expect("a digest");
    let turned: String = digest.chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
    format!("{head} {turned}")
}
