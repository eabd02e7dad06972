//! Where the database lives, and what stands in its way.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use postroad::embedded::{DataDir, Embedded, EmbeddedError, running};
use sqlx::Connection;

use super::{Home, connect, run, value};

#[tokio::test]
async fn root_keeps_the_cluster_where_its_account_can_go() {
    let home = Home::new();
    fs::set_permissions(home.base.path(), Permissions::from_mode(0o700)).unwrap();
    let embedded = home.start().await;
    run(&mut connect(&embedded.connect_options()).await, "CREATE TABLE kept AS SELECT 'here' AS word").await;
    let cluster = embedded.cluster().to_owned();
    embedded.stop().await.unwrap();

    if !Uid::effective().is_root() {
        assert_eq!(cluster, home.cluster().canonicalize().unwrap(), "who owns the directory can go there");
        assert!(!home.cluster().is_symlink());
        return;
    }
    let elsewhere = Elsewhere(cluster.parent().unwrap().to_owned());
    let node_id = DataDir::lock(&home.data()).unwrap().node_id();
    assert_eq!(cluster, Path::new("/var/lib/postroad").join(node_id.to_string()).join("postgres"));
    assert_eq!(fs::read_link(home.cluster()).unwrap(), cluster);
    assert_eq!(fs::metadata(home.data()).unwrap().mode() & 0o777, 0o700, "opened to nobody in vain");

    fs::rename(home.data(), home.base.path().join("moved")).unwrap();
    let moved = Embedded::start(&DataDir::lock(&home.base.path().join("moved")).unwrap()).await.unwrap();
    let word = value(&mut connect(&moved.connect_options()).await, "SELECT word FROM kept").await;
    assert_eq!(word, "here", "the link is followed");

    symlink_in(&home.data(), &cluster);
    let copied = home.try_start().await.unwrap_err();
    assert!(matches!(copied, EmbeddedError::SharedCluster { .. }), "{copied}");
    moved.stop().await.unwrap();

    drop(elsewhere);
    let lost = home.try_start().await.unwrap_err();
    assert!(matches!(lost, EmbeddedError::Dangling { .. }), "a lost volume is no empty database: {lost}");
}

/// A second data directory whose link leads to the same cluster.
fn symlink_in(data: &Path, cluster: &Path) {
    fs::create_dir(data).unwrap();
    symlink(cluster, data.join("postgres")).unwrap();
}

/// A directory outside of the test's own, removed at the end.
struct Elsewhere(PathBuf);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_its_socket_elsewhere() {
    let home = Home::new();
    let data = home.base.path().join("x".repeat(100)).join("data");
    let dir = DataDir::lock(&data).unwrap();
    let embedded = Embedded::start(&dir).await.unwrap();

    let socket_dir = embedded.connect_options().get_socket().unwrap().clone();
    assert!(!socket_dir.starts_with(home.base.path()));
    assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
    connect(&embedded.connect_options()).await.ping().await.unwrap();
    connect(&running(&data).unwrap()).await.ping().await.unwrap();
    embedded.stop().await.unwrap();

    fs::remove_dir(&socket_dir).unwrap();
    if Uid::effective().is_root() {
        fs::remove_dir(socket_dir.parent().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_path_may_hold_any_character() {
    let home = Home::new();
    let data = home.base.path().join("a b, \"c\" 'd' ü");
    let embedded = Embedded::start(&DataDir::lock(&data).unwrap()).await.unwrap();
    assert!(embedded.connect_options().get_socket().unwrap().starts_with(data.canonicalize().unwrap()));
    connect(&embedded.connect_options()).await.ping().await.unwrap();
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn the_database_of_a_missing_version_says_what_to_install() {
    let home = Home::new();
    home.start().await.stop().await.unwrap();
    fs::write(home.cluster().join("PG_VERSION"), "9\n").unwrap();
    let error = home.try_start().await.unwrap_err().to_string();
    assert!(error.contains("was made by PostgreSQL 9, whose server programs are not installed"), "{error}");
}

#[tokio::test]
async fn what_is_no_cluster_is_not_written_over() {
    let home = Home::new();
    DataDir::lock(&home.data()).unwrap();
    fs::create_dir(home.cluster()).unwrap();
    fs::write(home.cluster().join("precious"), "").unwrap();
    let error = home.try_start().await.unwrap_err();
    assert!(matches!(error, EmbeddedError::NotACluster { .. }), "{error}");
    assert!(home.cluster().join("precious").exists());
}
