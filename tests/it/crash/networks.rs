//! N1: networks that lose packets, cut connections, swallow everything, or are very slow. A test runs itself again in a
//! network namespace of its own, where only its own traffic can suffer.

use std::process::Command;

use crate::support::app::{Builder, TestApp};
use crate::support::client::mail;
use crate::support::oracle::{Oracle, Terms, taken_by};
use crate::support::sink::SmtpSink;

use super::*;

/// Set in the namespace.
const INSIDE: &str = "POSTROAD_TEST_NETWORK";

/// Runs this test in a namespace; true: we are there.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        command("ip", "link set lo up");
        command("nft", "add table inet test");
        command("nft", "add chain inet test input { type filter hook input priority 0 ; }");
        return true;
    }
    let mut outer = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        outer.args(["--user", "--map-root-user"]);
    }
    let this = std::env::current_exe().expect("the test's own program");
    let outer = outer.arg("--net").arg(this).args(["--exact", "--nocapture", test]).env(INSIDE, "1");
    let status = outer.status().expect("unshare");
    assert!(status.success(), "in the namespace: {status}");
    false
}

fn command(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|_| panic!("{program}: scripts/install-test-tools.sh installs it"));
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What happens to packets from and to a port.
fn rule(port: u16, direction: &str, fate: &str) {
    command("nft", &format!("add rule inet test input tcp {direction} {port} {fate}"));
}

/// All is well again.
fn heal() {
    command("nft", "flush chain inet test input");
}

struct Line {
    app: TestApp,
    sink: SmtpSink,
    oracle: Oracle,
}

impl Line {
    async fn laid(change: impl FnOnce(Builder) -> Builder) -> Line {
        let sink = SmtpSink::builder().start().await;
        let app = change(TestApp::builder().relay(sink.address().port())).start().await;
        Line { app, sink, oracle: Oracle::new() }
    }

    async fn send(&self, mails: usize) {
        for number in 0..mails {
            let mut body = mail(&format!("u{number}@example.net"));
            body["text"] = "A line of some length, to fill more than one packet.\n".repeat(200).into();
            self.oracle.send(&self.app.client, body).await.expect("accepted");
        }
    }

    /// For so long, what waits is made due again and again.
    async fn suffer(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && self.app.database.count("SELECT count(*) FROM queue").await > 0 {
            self.app.database.make_due().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The network is well again: all that is left is delivered.
    async fn end(self, what: &str, sent: usize) {
        let attempts = self.app.database.count("SELECT count(*) FROM attempts").await;
        heal();
        self.suffer(Duration::from_secs(60)).await;
        let terms = Terms { budget: Duration::from_secs(60), crashes: 0 };
        let verdict = self.oracle.check(&self.app.database.url, terms, || taken_by(&self.sink)).await;
        assert_eq!(verdict.ended("delivered"), sent);
        println!(
            "N1, {what}: {sent} mails, {attempts} attempts meanwhile, most copies {}",
            verdict.most_copies
        );
        self.app.stop().await;
    }
}

// N1
#[tokio::test]
async fn a_third_of_all_packets_lost_costs_time_and_no_mail() {
    if !is_inside("crash::networks::a_third_of_all_packets_lost_costs_time_and_no_mail") {
        return;
    }
    let line = Line::laid(|app| app).await;
    let port = line.sink.address().port();
    for direction in ["dport", "sport"] {
        rule(port, direction, "numgen random mod 100 < 30 drop");
    }
    let mails = rounds(20, 300);
    line.send(mails).await;
    line.suffer(Duration::from_secs(rounds(15, 240) as u64)).await;
    line.end("30 % loss", mails).await;
}

// N1
#[tokio::test]
async fn connections_that_are_cut_at_random_cost_no_mail() {
    if !is_inside("crash::networks::connections_that_are_cut_at_random_cost_no_mail") {
        return;
    }
    let line = Line::laid(|app| app).await;
    rule(line.sink.address().port(), "dport", "numgen random mod 100 < 5 reject with tcp reset");
    let mails = rounds(60, 1000);
    line.send(mails).await;
    line.suffer(Duration::from_secs(rounds(15, 240) as u64)).await;
    line.end("resets", mails).await;
}

// N1: from one moment on nothing comes through, amid the text of mails.
#[tokio::test]
async fn a_network_that_swallows_everything_is_given_up_in_time() {
    use crate::support::sink::{Step, at, hold, usual};
    if !is_inside("crash::networks::a_network_that_swallows_everything_is_given_up_in_time") {
        return;
    }
    let line = Line::laid(|app| {
        app.deadlines(|deadlines| {
            deadlines.connect = Duration::from_secs(2);
            deadlines.block = Duration::from_secs(2);
            deadlines.final_dot = Duration::from_secs(2);
        })
    })
    .await;
    let (act, mut reached) = hold();
    line.sink.set(at(Step::Text).octets(4096), act.then(usual()));
    line.send(5).await;
    reached.reached().await;
    for direction in ["dport", "sport"] {
        rule(line.sink.address().port(), direction, "drop");
    }
    reached.release();
    let tried = "SELECT count(*) FROM attempts WHERE result = 'deferred'";
    eventually("the attempts are given up", PATIENCE, async || line.app.database.count(tried).await >= 1)
        .await;
    line.sink.be_friendly();
    line.end("blackhole", 5).await;
}

// N1: 256 kbit/s for everything, the API too.
#[tokio::test]
async fn a_slow_line_delivers_all_the_same() {
    if !is_inside("crash::networks::a_slow_line_delivers_all_the_same") {
        return;
    }
    command("tc", "qdisc add dev lo root tbf rate 256kbit burst 16kb latency 400ms");
    let line = Line::laid(|app| app).await;
    let mails = rounds(10, 100);
    line.send(mails).await;
    line.suffer(Duration::from_secs(rounds(20, 120) as u64)).await;
    line.end("256 kbit/s", mails).await;
}
