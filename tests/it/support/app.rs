//! A postroad inside the test's own process, on a database of its own.

use std::collections::HashMap;

use postroad::config::Config;
use postroad::delivery::transmit::Deadlines;
use postroad::server::{Role, Server};
use tempfile::TempDir;

use super::client::Client;
use super::database::TestDatabase;

/// The key that exists in every test, with every scope.
pub const KEY: &str = "a-key-with-every-scope";

/// A running postroad.
pub struct TestApp {
    /// Calls it with every scope.
    pub client: Client,
    /// Its database.
    pub database: TestDatabase,
    server: Option<Server>,
    _directory: TempDir,
}

/// What a postroad is started with.
pub struct Builder {
    environment: HashMap<String, String>,
    deadlines: Deadlines,
    database: Option<TestDatabase>,
    roles: Vec<Role>,
}

impl TestApp {
    /// With the defaults: mail is captured.
    pub async fn start() -> TestApp {
        TestApp::builder().start().await
    }

    /// With something else.
    pub fn builder() -> Builder {
        let environment = [
            ("POSTROAD_HTTP_ADDR", "127.0.0.1:0"),
            ("POSTROAD_API_KEY", KEY),
            ("POSTROAD_HOSTNAME", "mail.postroad.test"),
            ("POSTROAD_SENDER_POLICY", "any"),
            ("POSTROAD_DRAIN_SECS", "10"),
        ];
        Builder {
            environment: environment.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            deadlines: Deadlines::default(),
            database: None,
            roles: Role::ALL.to_vec(),
        }
    }

    /// The server itself.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs until it is stopped")
    }

    /// Drains it and removes its database.
    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.drain().await.expect("drained");
        }
        self.database.drop_now().await;
    }

    /// Drains it and leaves its database.
    pub async fn drain(mut self) -> TestDatabase {
        if let Some(server) = self.server.take() {
            server.drain().await.expect("drained");
        }
        self.database.clone()
    }
}

impl Builder {
    /// A setting.
    pub fn set(mut self, key: &str, value: &str) -> Builder {
        self.environment.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Through a relay on loopback, in clear.
    pub fn relay(self, port: u16) -> Builder {
        self.set("POSTROAD_ROUTE", &format!("smtp://127.0.0.1:{port}?tls=none"))
    }

    /// How long each step of delivery may take.
    pub fn deadlines(mut self, change: impl FnOnce(&mut Deadlines)) -> Builder {
        change(&mut self.deadlines);
        self
    }

    /// On a database that is there already.
    pub fn on(mut self, database: &TestDatabase) -> Builder {
        self.database = Some(database.clone());
        self
    }

    /// What the process does.
    pub fn roles(mut self, roles: &[Role]) -> Builder {
        self.roles = roles.to_vec();
        self
    }

    /// Starts it.
    pub async fn start(mut self) -> TestApp {
        let database = match self.database.take() {
            Some(database) => database,
            None => TestDatabase::fresh().await,
        };
        let directory = tempfile::tempdir().expect("a directory");
        self.environment.insert("DATABASE_URL".to_owned(), database.url.clone());
        self.environment.insert("POSTROAD_DATA_DIR".to_owned(), directory.path().display().to_string());
        // Nodes on one database have one master key.
        let key = "bWFzdGVyIGtleSBvZiBhbGwgdGVzdHMsIDMyIG9jdHM=".to_owned();
        self.environment.entry("POSTROAD_MASTER_KEY".to_owned()).or_insert(key);
        let mut config = Config::read(self.environment, None).expect("a usable configuration");
        config.deadlines = self.deadlines;
        let server = Server::start(config, &self.roles).await.expect("started");
        let url = server.http_addr().map_or_else(String::new, |address| format!("http://{address}"));
        TestApp { client: Client::new(&url, KEY), database, server: Some(server), _directory: directory }
    }
}
