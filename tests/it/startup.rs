//! Starts that are refused: what would not be safe does not run (security 5.19).

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::crash::cluster::Cluster;
use crate::support::database::TestDatabase;
use crate::support::peer::free_port;
use crate::support::program::{self, Settings};

/// A program on this database that looks for its master key in its own data directory.
fn keyless(directory: &std::path::Path, database: &TestDatabase) -> Settings {
    Settings::embedded(directory).set("DATABASE_URL", &database.url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_that_others_can_read_is_refused() {
    let (database, directory) = (TestDatabase::fresh().await, program::directory());
    let settings = keyless(directory.path(), &database);
    drop(settings.start());
    let key = directory.path().join("data/master-key");
    assert_eq!(std::fs::metadata(&key).expect("made at the first start").permissions().mode() & 0o777, 0o600);

    for mode in [0o640, 0o604, 0o666] {
        std::fs::set_permissions(&key, Permissions::from_mode(mode)).expect("ours");
        let told = settings.try_start().err().expect("refused");
        assert!(told.contains("can be read by others"), "{mode:o}: {told}");
    }

    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("ours");
    drop(settings.start());
    database.drop_now().await;
}

// A new key would make everything unreadable that is sealed, without anybody noticing before it is needed.
#[tokio::test(flavor = "multi_thread")]
async fn sealed_secrets_without_their_key_are_refused() {
    let (database, directory) = (TestDatabase::fresh().await, program::directory());
    let settings = keyless(directory.path(), &database);
    let node = settings.start();
    let relay = json!({ "host": "smtp.acme.example", "match": { "domain": "acme.example" },
        "auth": { "type": "password", "username": "mailer", "password": "hunter2" } });
    let made = node.client.post("/v1/relays", relay).await;
    assert_eq!(made.status, 201, "{:#}", made.body);
    drop(node);
    std::fs::remove_file(directory.path().join("data/master-key")).expect("it is there");

    let told = settings.try_start().err().expect("refused");

    assert!(told.contains("give POSTROAD_MASTER_KEY the key that sealed them"), "{told}");
    assert!(!directory.path().join("data/master-key").exists(), "and none is made");
    database.drop_now().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placeholders_for_the_master_key_are_refused() {
    let (database, directory) = (TestDatabase::fresh().await, program::directory());
    for placeholder in ["changeme", "0000000000000000000000000000000000000000000000000000000000000000"] {
        let settings = keyless(directory.path(), &database).set("POSTROAD_MASTER_KEY", placeholder);
        let told = settings.try_start().err().expect("refused");
        assert!(told.contains("POSTROAD_MASTER_KEY"), "{told}");
    }
    database.drop_now().await;
}

// 0.0.0.0 leads here, and does not say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_elsewhere_is_not_spoken_to_in_clear_unless_that_is_said() {
    let port = free_port();
    let cluster = Cluster::start(&["listen_addresses=127.0.0.1", &format!("port={port}")]).await;
    let directory = program::directory();
    let elsewhere = format!("postgres://postroad@0.0.0.0:{port}/postgres");
    let at = |url: &str| Settings::embedded(directory.path()).set("DATABASE_URL", url);

    let told = at(&elsewhere).try_start().err().expect("refused");
    assert!(told.contains("server does not support TLS") && told.contains("sslmode=disable"), "{told}");
    assert!(!told.contains("waiting for the database"), "{told}");

    let node = at(&format!("{elsewhere}?sslmode=disable")).start();
    assert!(node.log_text().contains("goes in clear"), "{}", node.log_text());
    drop(node);

    cluster.offer_tls().await;
    let node = at(&elsewhere).start();
    let mut watcher = cluster.connect().await;
    let ways = "SELECT ssl, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                WHERE application_name = 'postroad' GROUP BY ssl";
    let ways: Vec<(bool, i64)> = sqlx::query_as(ways).fetch_all(&mut watcher).await.expect("told");
    assert!(matches!(ways[..], [(true, 1..)]), "{ways:?}");
    assert!(!node.log_text().contains("goes in clear"), "{}", node.log_text());
}

// What is printed first can be done as it stands: where senders have to be proved, that comes first.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_says_what_to_do_first() {
    for (policy, proves) in [("any", false), ("verified", true)] {
        let (database, directory) = (TestDatabase::fresh().await, program::directory());
        let settings = keyless(directory.path(), &database).set("POSTROAD_SENDER_POLICY", policy);
        let node = settings.unset("POSTROAD_API_KEY").start();
        let told = node.log_text();
        assert!(told.contains("/v1/messages -H 'Authorization: Bearer pr_live_"), "{told}");
        let add = told.find("/v1/domains -H 'Authorization: Bearer pr_live_");
        assert_eq!(add.is_some(), proves, "{policy}: {told}");
        assert!(add < told.find("Send a first mail:"), "{told}");
        drop(node);
        database.drop_now().await;
    }
}
