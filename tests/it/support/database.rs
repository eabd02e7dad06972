//! A fresh database for each test, copied from a migrated template.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use postroad::domain::account_notice::{Kind, NewNotice};
use postroad::domain::id::InboundId;
use postroad::store::inbound::{self, NewInbound};
use postroad::store::{Database, Use, account_notices, migrate, nodes, partitions};

/// A database of one test. Dropped with the scratch server, or by [`TestDatabase::drop_now`].
#[derive(Debug, Clone)]
pub struct TestDatabase {
    /// How to reach it.
    pub url: String,
    name: String,
}

/// Serialises the makers of the template over all test processes.
const LOCK: i64 = 0x7465_7374;

fn maintenance_url() -> String {
    std::env::var("POSTROAD_TEST_DATABASE_URL")
        .expect("run the tests by `cargo nextest run`, or see the head of .config/nextest.toml")
}

fn url_of(name: &str) -> String {
    maintenance_url().replacen("/postgres?", &format!("/{name}?"), 1)
}

impl TestDatabase {
    /// Migrated, with partitions, empty.
    pub async fn fresh() -> TestDatabase {
        let template = template().await;
        let database = TestDatabase::named(&format!("test_{}", Uuid::new_v4().simple()));
        let mut connection =
            PgConnection::connect(&maintenance_url()).await.expect("the scratch server runs");
        create(&mut connection, &format!("CREATE DATABASE {} TEMPLATE {template}", database.name)).await;
        database
    }

    /// Without any table.
    pub async fn empty() -> TestDatabase {
        let database = TestDatabase::named(&format!("test_{}", Uuid::new_v4().simple()));
        let mut connection =
            PgConnection::connect(&maintenance_url()).await.expect("the scratch server runs");
        create(&mut connection, &format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    fn named(name: &str) -> TestDatabase {
        TestDatabase { url: url_of(name), name: name.to_owned() }
    }

    /// As the program opens it.
    pub fn open(&self) -> Database {
        Database::new(Database::parse(&self.url).expect("our own URL"))
    }

    /// A connection to look behind the API, or to break things.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("the test's database")
    }

    /// Makes everything that waits in the queue due: the next try, or a scheduled time, has come.
    pub async fn make_due(&self) {
        self.change("UPDATE queue SET due_at = clock_timestamp() WHERE leased_by IS NULL AND due_at > clock_timestamp()")
            .await;
    }

    /// Makes everything that waits in the queue older by so many seconds, and due.
    pub async fn age(&self, seconds: u32) {
        self.change(&format!(
            "UPDATE queue SET expires_at = expires_at - interval '{seconds} seconds', due_at = clock_timestamp()
             WHERE leased_by IS NULL"
        ))
        .await;
    }

    /// What one query counts.
    pub async fn count(&self, query: &str) -> i64 {
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_one(&mut self.connect().await).await.expect("a count")
    }

    /// The only column of a query, row by row.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let query = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        query.fetch_all(&mut self.connect().await).await.expect("texts")
    }

    /// Nobody else can use a table until the returned connection is closed.
    pub async fn hold(&self, table: &str) -> PgConnection {
        let mut connection = self.connect().await;
        let statement = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        connection.execute(AssertSqlSafe(statement)).await.expect("locked");
        connection
    }

    /// Keeps a mail that came in for a tenant, without a door; gives its id.
    pub async fn keep_inbound(&self, tenant: &str, domain: &str) -> String {
        let mut connection = self.connect().await;
        let now = nodes::database_time(&mut connection).await.expect("asked");
        let id = InboundId::new(now);
        let (recipient, raw) = (format!("ann@{domain}"), format!("Subject: {domain}\r\n\r\nText.\r\n"));
        let mail = NewInbound {
            id,
            tenant: tenant.parse().expect("an id"),
            route: None,
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
            helo: "mx.example.net",
            tls: None,
            sender: "zoe@example.net",
            recipient: &recipient,
            author: "zoe@example.net".to_owned(),
            subject: domain.to_owned(),
            message_id: "<1@example.net>".to_owned(),
            verdicts: serde_json::json!({
                "spf": "none", "dkim": "none", "signatures": [], "dmarc": "none", "arc": "none",
            }),
            kind: "mail",
            filtered: None,
            raw: raw.as_bytes(),
        };
        inbound::insert(&mut connection, &mail).await.expect("kept");
        id.to_string()
    }

    /// Raises a notice to a tenant; gives its id.
    pub async fn raise_notice(&self, tenant: &str) -> String {
        let mut connection = self.connect().await;
        let now = nodes::database_time(&mut connection).await.expect("asked");
        let (tenant, data) = (tenant.parse().expect("an id"), serde_json::json!({ "of": tenant }));
        let new = NewNotice { kind: Kind::QuotaReached, subject: "day 100", message: "Full.", data };
        assert!(account_notices::raise(&mut connection, tenant, &new, now).await.expect("raised"));
        let filter = account_notices::NoticeFilter::default();
        let listed = account_notices::list(&mut connection, tenant, &filter, None, 1).await.expect("listed");
        listed[0].id.to_string()
    }

    /// Changes something behind the API.
    pub async fn change(&self, statement: &str) {
        self.connect().await.execute(AssertSqlSafe(statement.to_owned())).await.expect("changed");
    }

    /// Removes it, whoever is connected.
    pub async fn drop_now(&self) {
        let mut connection =
            PgConnection::connect(&maintenance_url()).await.expect("the scratch server runs");
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        connection.execute(AssertSqlSafe(statement)).await.expect("dropped");
    }
}

async fn create(connection: &mut PgConnection, statement: &str) {
    connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("a new database");
}

/// The migrated database that others are copied from; made by the first test that needs it.
async fn template() -> String {
    let name = format!("template_{:016x}", migrations_fingerprint());
    let mut connection = PgConnection::connect(&maintenance_url()).await.expect("the scratch server runs");
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await.expect("locked");
    let known: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate)")
            .bind(&name)
            .fetch_one(&mut connection)
            .await
            .expect("asked");
    if !known {
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        connection.execute(AssertSqlSafe(drop)).await.expect("dropped");
        create(&mut connection, &format!("CREATE DATABASE {name}")).await;
        fill(&TestDatabase::named(&name)).await;
        let finish = format!("ALTER DATABASE {name} IS_TEMPLATE true");
        connection.execute(AssertSqlSafe(finish)).await.expect("finished");
    }
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(&mut connection).await.expect("unlocked");
    name
}

async fn fill(template: &TestDatabase) {
    let database = template.open();
    migrate::migrate(&database).await.expect("migrated");
    let mut link = database.link(Use::Maintain);
    let connection = link.get().await.expect("connected");
    let today = nodes::database_time(connection).await.expect("asked").date();
    partitions::ensure(connection, today).await.expect("partitions");
    link.close().await;
    database.close().await;
}

/// Changes with the migrations: FNV-1a over their texts.
fn migrations_fingerprint() -> u64 {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("migrations")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    let bytes = files.iter().flat_map(|path| std::fs::read(path).expect("a migration"));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
