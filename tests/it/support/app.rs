//! A postroad inside the test's own process, on a database of its own.

use std::collections::HashMap;
use std::time::Duration;

use postroad::account::bootstrap::{self, OperatorsKeys};
use postroad::account::relays::NewRelay;
use postroad::account::{Actor, relays};
use postroad::config::Config;
use postroad::delivery::transmit::Deadlines;
use postroad::domain::relay::{Endpoint, Hop};
use postroad::seal::{MasterKey, Purpose, Secret};
use postroad::server::{Role, Server};
use postroad::store::{Use, nodes};
use tempfile::TempDir;

use super::client::Client;
use super::database::TestDatabase;
use super::dns::DnsServer;

/// The key that exists in every test, with every scope.
pub const KEY: &str = "a-key-with-every-scope";

/// Nodes on one database have one master key.
pub const MASTER_KEY: &str = "bWFzdGVyIGtleSBvZiBhbGwgdGVzdHMsIDMyIG9jdHM=";

/// A running postroad.
pub struct TestApp {
    /// Calls it with every scope.
    pub client: Client,
    /// Its database.
    pub database: TestDatabase,
    server: Option<Server>,
    directory: TempDir,
}

/// What a postroad is started with.
pub struct Builder {
    environment: HashMap<String, String>,
    deadlines: Deadlines,
    dns_patience: Duration,
    database: Option<TestDatabase>,
    roles: Vec<Role>,
    relays: Vec<(String, String)>,
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
            ("POSTROAD_SUBMISSION_ADDR", "off"),
            ("POSTROAD_SUBMISSIONS_ADDR", "off"),
            ("POSTROAD_API_KEY", KEY),
            ("POSTROAD_HOSTNAME", "mail.postroad.test"),
            ("POSTROAD_SENDER_POLICY", "any"),
            ("POSTROAD_DRAIN_SECS", "10"),
            ("POSTROAD_MX_ADDR", "off"),
        ];
        Builder {
            environment: environment.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            deadlines: Deadlines::default(),
            dns_patience: postroad::dns::Settings::default().patience,
            database: None,
            roles: Role::ALL.to_vec(),
            relays: Vec::new(),
        }
    }

    /// The server itself.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs until it is stopped")
    }

    /// Where it keeps its own files.
    pub fn data_directory(&self) -> &std::path::Path {
        self.directory.path()
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

    /// What it does.
    pub fn roles(mut self, roles: &[Role]) -> Builder {
        self.roles = roles.to_vec();
        self
    }

    /// Through a relay on loopback, in clear.
    pub fn relay(self, port: u16) -> Builder {
        self.set("POSTROAD_ROUTE", &format!("smtp://127.0.0.1:{port}?tls=none"))
    }

    /// From the start, mail of the tenant `default` to this domain goes there. The URL is one of
    /// `POSTROAD_ROUTE`.
    pub fn relay_for(mut self, domain: &str, url: &str) -> Builder {
        self.relays.push((domain.to_owned(), url.to_owned()));
        self.set("POSTROAD_ALLOW_PRIVATE", "true")
    }

    /// Names are looked up there, and a silent server is soon given up.
    pub fn dns(mut self, dns: &DnsServer) -> Builder {
        self.dns_patience = Duration::from_secs(2);
        self.set("POSTROAD_DNS_SERVER", &dns.address().to_string())
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

    /// Starts it.
    pub async fn start(mut self) -> TestApp {
        let database = match self.database.take() {
            Some(database) => database,
            None => TestDatabase::fresh().await,
        };
        let directory = tempfile::tempdir().expect("a directory");
        self.environment.insert("DATABASE_URL".to_owned(), database.url.clone());
        self.environment.insert("POSTROAD_DATA_DIR".to_owned(), directory.path().display().to_string());
        self.environment.entry("POSTROAD_MASTER_KEY".to_owned()).or_insert(MASTER_KEY.to_owned());
        make_relays(&database, &self.relays).await;
        let mut config = Config::read(self.environment, None).expect("a usable configuration");
        config.deadlines = self.deadlines;
        config.dns.patience = self.dns_patience;
        let server = Server::start(config, &self.roles).await.expect("started");
        let url = server.http_addr().map_or_else(String::new, |address| format!("http://{address}"));
        TestApp { client: Client::new(&url, KEY), database, server: Some(server), directory }
    }
}

/// What `POST /v1/relays` does, before there is anybody to ask.
async fn make_relays(database: &TestDatabase, wanted: &[(String, String)]) {
    if wanted.is_empty() {
        return;
    }
    let database = database.open();
    let master = MasterKey::parse(MASTER_KEY).expect("a key");
    let mut link = database.link(Use::Maintain);
    let now = nodes::database_time(link.get().await.expect("connected")).await.expect("asked");
    let key = Secret::new(KEY);
    let operators = OperatorsKeys { api_key: Some(&key), ..OperatorsKeys::default() };
    let begun = bootstrap::run(&database, &master, operators, now).await.expect("begun");
    for (domain, url) in wanted {
        let new = NewRelay {
            name: domain.clone(),
            hop: Hop::Relay(Endpoint::parse(url).expect("a relay")),
            match_stream: None,
            match_domain: Some(domain.clone()),
        };
        let seal = master.derive(Purpose::Seal);
        relays::create(&database, &seal, &Actor::cli(), begun.tenant, new, now).await.expect("a new relay");
    }
    link.close().await;
    database.close().await;
}
