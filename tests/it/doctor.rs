//! `postroad doctor`: what it says, and how it ends, about databases that are well and databases that are not.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sqlx::Connection;

use crate::support::app::TestApp;
use crate::support::database::TestDatabase;
use crate::support::dns::DnsServer;
use crate::support::peer::free_port;
use crate::support::program::Settings;
use crate::support::sink::SmtpSink;

/// What it printed, and whether it was content.
fn doctor(url: &str, extra: &[(&str, &str)]) -> (String, bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings::embedded(directory.path());
    // Empty: the private database, which has a schema only when something has migrated it.
    let settings = if url.is_empty() { migrated_privately(settings) } else { settings.database(url) };
    let settings = extra.iter().fold(settings, |settings, (key, value)| settings.set(key, value));
    let program = settings.command().get_program().to_owned();
    let environment: Vec<_> = settings
        .command()
        .get_envs()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect();
    let output: Output = Command::new(program)
        .arg("doctor")
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .output()
        .expect("the program");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

/// A data directory whose private database a `serve` has left behind.
fn migrated_privately(settings: Settings) -> Settings {
    settings.start().terminate();
    settings
}

async fn migrated() -> TestDatabase {
    TestDatabase::fresh().await
}

async fn doctor_of(url: String, extra: &'static [(&'static str, &'static str)]) -> (String, bool) {
    tokio::task::spawn_blocking(move || doctor(&url, extra)).await.expect("it ran")
}

// The private database, which it starts for its own duration.
#[tokio::test]
async fn a_healthy_installation_gets_a_clean_bill() {
    let (text, content) = doctor_of(String::new(), &[]).await;
    assert!(content, "{text}");
    for wanted in
        ["fsync, full_page_writes and synchronous_commit are on", "sessions are our own", "private database"]
    {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }
}

// K9: the scratch server of the tests is fast and loses everything.
#[tokio::test]
async fn settings_that_lose_mail_are_told() {
    let (text, content) = doctor_of(migrated().await.url, &[]).await;
    assert!(!content, "{text}");
    for wanted in
        ["fsync is off", "set fsync = on", "full_page_writes is off", "sessions are our own", "up to date"]
    {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_in_a_sentence() {
    let (text, content) = doctor_of("postgres://nobody@127.0.0.1:1/none".to_owned(), &[]).await;
    assert!(!content, "{text}");
    assert!(text.contains("check DATABASE_URL"), "{text}");
}

#[tokio::test]
async fn an_old_schema_is_told() {
    let (text, content) = doctor_of(TestDatabase::empty().await.url, &[]).await;
    assert!(!content, "{text}");
    assert!(text.contains("run postroad migrate"), "{text}");
}

#[tokio::test]
async fn a_relay_that_does_not_answer_is_told() {
    let extra = &[("POSTROAD_ROUTE", "smtp://127.0.0.1:1?tls=none")];
    let (text, content) = doctor_of(migrated().await.url, extra).await;
    assert!(!content && text.contains("cannot be reached"), "{text}");
}

// An open transaction that is older than a few minutes cannot be made in a test; its age is read from the same place.
#[tokio::test]
async fn open_transactions_are_measured() {
    let app = TestApp::start().await;
    let mut other = app.database.connect().await;
    let mut transaction = other.begin().await.expect("begun");
    sqlx::query("SELECT count(*) FROM queue").execute(&mut *transaction).await.expect("a snapshot");
    tokio::time::sleep(Duration::from_millis(1100)).await;

    let metrics = app.client.download("/metrics").await;

    let text = String::from_utf8(metrics).expect("text");
    let line = text.lines().find(|line| line.starts_with("postroad_database_oldest_transaction_seconds"));
    let seconds: f64 = line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a number");
    assert!(seconds >= 1.0, "{seconds}");
    transaction.rollback().await.expect("ended");
    app.stop().await;
}

/// A pooler before the scratch server, sharing connections by transaction.
struct Pooler {
    child: Child,
    _home: tempfile::TempDir,
    url: String,
}

impl Pooler {
    async fn start(database: &TestDatabase) -> Pooler {
        let home =
            tempfile::Builder::new().prefix("postroad-pooler").tempdir_in("/var/tmp").expect("a directory");
        std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("ours");
        let port = free_port();
        let configuration = home.path().join("pooler.ini");
        std::fs::write(&configuration, settings(database, port, home.path())).expect("written");
        let mut command = Command::new("pgbouncer");
        if nix::unistd::Uid::effective().is_root() {
            // It will not be root; whoever runs the server may reach its socket.
            let socket = std::fs::metadata(socket_of(database)).expect("the server's directory");
            let owner = nix::unistd::Uid::from_raw(std::os::unix::fs::MetadataExt::uid(&socket));
            let owner = nix::unistd::User::from_uid(owner).expect("looked up").expect("it exists");
            command.args(["-u", &owner.name]);
        }
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let child = command.arg("-q").arg(&configuration).env("PATH", path).stdin(Stdio::null()).spawn();
        let child = child.expect("scripts/install-test-tools.sh installs it");
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "it does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let url = format!("postgres://pooled@127.0.0.1:{port}/pooled?sslmode=disable");
        Pooler { child, _home: home, url }
    }
}

fn socket_of(database: &TestDatabase) -> String {
    let url = url::Url::parse(&database.url).expect("our own");
    url.query_pairs().find(|(name, _)| name == "host").expect("a socket").1.into_owned()
}

/// The scratch server is reached by its socket, and trusts.
fn settings(database: &TestDatabase, port: u16, home: &Path) -> String {
    let url = url::Url::parse(&database.url).expect("our own");
    let host = socket_of(database);
    let server_port = url
        .query_pairs()
        .find(|(name, _)| name == "port")
        .map_or("5432".to_owned(), |(_, port)| port.into_owned());
    let (user, name) = (url.username(), url.path().trim_start_matches('/'));
    format!(
        "[databases]\npooled = host={host} port={server_port} user={user} dbname={name} pool_size=4\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = transaction\nmin_pool_size = 4\nserver_round_robin = 1\n\
         ignore_startup_parameters = extra_float_digits,options\nlogfile = {home}/log\npidfile = {home}/pid\n",
        home = home.display()
    )
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // Either it ends now, or it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// 0.0.0.0 leads here, and does not say so.
#[tokio::test]
async fn a_database_elsewhere_that_offers_no_tls_is_told_with_the_remedy() {
    let pooler = Pooler::start(&migrated().await).await;
    let elsewhere = pooler.url.replace("127.0.0.1", "0.0.0.0").replace("?sslmode=disable", "");
    let (text, content) = doctor_of(elsewhere, &[]).await;
    assert!(!content, "{text}");
    assert!(text.contains("turn it on there, or say sslmode=disable in DATABASE_URL"), "{text}");
}

#[tokio::test]
async fn a_pooler_that_shares_by_transaction_is_found_out() {
    let database = migrated().await;
    let pooler = Pooler::start(&database).await;
    let (text, content) = doctor_of(pooler.url.clone(), &[]).await;
    assert!(!content, "{text}");
    assert!(text.contains("a pooler shares connections by transaction"), "{text}");
}

#[tokio::test]
async fn what_direct_mail_needs_is_looked_at() {
    let (dns, sink) = (DnsServer::start().await, SmtpSink::builder().start().await);
    dns.mx("gmail.com", 5, "mx.test").address_of("mx.test", "127.0.0.1");
    dns.address_of("mail.acme.example", "127.0.0.1");
    let direct = |hostname: &str, port: u16| {
        [
            ("POSTROAD_ROUTE", "direct".to_owned()),
            ("POSTROAD_DNS_SERVER", dns.address().to_string()),
            ("POSTROAD_DIRECT_PORT", port.to_string()),
            ("POSTROAD_HOSTNAME", hostname.to_owned()),
        ]
    };
    let url = migrated().await.url;
    let examine = |settings: [(&'static str, String); 4]| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            let settings: Vec<(&str, &str)> =
                settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
            doctor(&url, &settings).0
        })
    };
    let port = sink.address().port();
    let text = examine(direct("mail.acme.example", port)).await.expect("it ran");
    for wanted in ["mail.acme.example is 127.0.0.1", "127.0.0.1 leads back to nothing", "(gmail.com) answers"]
    {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }
    dns.ptr("127.0.0.1", "mail.acme.example");
    let text = examine(direct("mail.acme.example", 1)).await.expect("it ran");
    for wanted in
        ["reverse dns  127.0.0.1 is mail.acme.example", "port 1 of gmail.com's servers", "use a relay"]
    {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }
    let text = examine(direct("nowhere.acme.example", port)).await.expect("it ran");
    assert!(text.contains("nowhere.acme.example leads nowhere"), "{text}");
}
