//! Connections. The hot path owns its connections, one for each writer; everything else shares small pools.
//! Each use has session settings of its own, given at connect, so that no statement runs without a timeout.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, Postgres, Transaction};

use super::StoreError;

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Group commits of accepted mail.
    Accept,
    /// Batches of results.
    Record,
    /// Claims, rescues and other work on the queue.
    Claim,
    /// Everything that a caller of the API waits for.
    Serve,
    /// LISTEN and the node's sign of life.
    Watch,
    /// Migrations and chores that may take long.
    Maintain,
}

impl Use {
    /// Session settings. All durable uses name synchronous_commit themselves: a 2xx means committed and
    /// flushed, whatever the server's default is. Nothing is compiled (jit): servers have that on, the estimates of
    /// generic plans are high enough for it, and it takes seconds for what runs in milliseconds.
    fn settings(self) -> Vec<(&'static str, &'static str)> {
        let mut settings =
            vec![("synchronous_commit", "on"), ("jit", "off"), ("idle_in_transaction_session_timeout", "5s")];
        settings.extend_from_slice(match self {
            // Plans are made for small inputs joined to large tables by key; the planner's guess of an
            // array's length must never lead it to read a whole table. work_mem holds one batch.
            Use::Accept => &[
                ("statement_timeout", "5s"),
                ("enable_seqscan", "off"),
                ("plan_cache_mode", "force_generic_plan"),
                ("work_mem", "32MB"),
            ],
            Use::Claim => &[
                ("statement_timeout", "10s"),
                ("enable_seqscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
                ("plan_cache_mode", "force_generic_plan"),
                ("work_mem", "32MB"),
            ],
            // Each result looks its row up by the whole key, also where a vacuum found the queue empty and the planner
            // believes that it always is. Left a plain index scan, it would read the whole queue for each batch, which
            // a bitmap scan cannot, having to have a condition. With pages and operators for nothing, of the indexes
            // that look alike it takes the one that fits most of the key.
            Use::Record => &[
                ("statement_timeout", "10s"),
                ("enable_seqscan", "off"),
                ("enable_indexscan", "off"),
                ("enable_indexonlyscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
                ("cpu_operator_cost", "0"),
                ("random_page_cost", "0"),
                ("plan_cache_mode", "force_generic_plan"),
                ("work_mem", "32MB"),
            ],
            // Filters are optional, so each call is planned for the filters it has.
            Use::Serve => &[("statement_timeout", "4s"), ("plan_cache_mode", "force_custom_plan")],
            Use::Watch => &[("statement_timeout", "5s")],
            Use::Maintain => &[("lock_timeout", "5s")],
        });
        settings
    }
}

/// How to reach the database, and the pools of what is not hot.
#[derive(Debug, Clone)]
pub struct Database {
    options: PgConnectOptions,
    serve: PgPool,
    claim: PgPool,
}

/// How long a caller waits for a free connection: within the five seconds in which the API answers.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
const SERVE_CONNECTIONS: u32 = 8;
const CLAIM_CONNECTIONS: u32 = 2;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Database {
    /// Reads a `postgres://` URL. The way to another machine is encrypted, unless it says `sslmode=disable` (or `allow`):
    /// `prefer`, which is what it says when it says nothing, would go in clear for whoever answers that there is no TLS.
    ///
    /// # Errors
    /// Not such a URL.
    pub fn parse(url: &str) -> Result<PgConnectOptions, StoreError> {
        let options = PgConnectOptions::from_str(url)?;
        let prefers = matches!(options.get_ssl_mode(), PgSslMode::Prefer);
        Ok(if prefers && is_elsewhere(&options) { options.ssl_mode(PgSslMode::Require) } else { options })
    }

    /// Prepares the pools; connects nothing yet.
    pub fn new(options: PgConnectOptions) -> Database {
        let options = options.application_name("postroad").disable_statement_logging();
        let pool = |purpose: Use, size: u32| {
            PgPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_lazy_with(with_settings(&options, purpose))
        };
        Database {
            serve: pool(Use::Serve, SERVE_CONNECTIONS),
            claim: pool(Use::Claim, CLAIM_CONNECTIONS),
            options,
        }
    }

    /// For what callers of the API wait for.
    pub fn serve(&self) -> &PgPool {
        &self.serve
    }

    /// For reading several things as they stood at one moment: what commits between two statements is seen by
    /// neither. It only reads; dropping it ends it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        Ok(self.serve.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
    }

    /// For work on the queue.
    pub fn claim(&self) -> &PgPool {
        &self.claim
    }

    /// A connection of its own, opened at first use.
    pub fn link(&self, purpose: Use) -> Link {
        Link { options: with_settings(&self.options, purpose), connection: None }
    }

    /// A connection that hears notifications.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn listener(&self) -> Result<PgListener, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(with_settings(&self.options, Use::Watch));
        Ok(PgListener::connect_with(&pool).await?)
    }

    /// Whether a notification that is sent is heard: not so through some poolers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn hears_itself(&self) -> Result<bool, StoreError> {
        let mut listener = self.listener().await?;
        listener.listen("postroad_doctor").await?;
        let mut link = self.link(Use::Watch);
        sqlx::query!("SELECT pg_notify('postroad_doctor', '')").execute(link.get().await?).await?;
        let heard = tokio::time::timeout(Duration::from_secs(2), listener.recv()).await;
        link.close().await;
        Ok(matches!(heard, Ok(Ok(_))))
    }

    /// Why the way to the database is not safe, and what to do: it leads to another machine, and goes in clear.
    pub fn unsafe_way(&self) -> Option<String> {
        let is_clear = matches!(self.options.get_ssl_mode(), PgSslMode::Allow | PgSslMode::Disable);
        let host = self.options.get_host();
        (is_clear && is_elsewhere(&self.options)).then(|| {
            format!(
                "what is said to the database at {host} goes in clear, passwords too; unless nobody can listen on the way, say sslmode=verify-full in DATABASE_URL"
            )
        })
    }

    /// How the database is reached, for tools that want their own connection.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Closes the pools; waits for what is under way.
    pub async fn close(&self) {
        self.serve.close().await;
        self.claim.close().await;
    }
}

/// Whether the way to the database leaves this machine.
fn is_elsewhere(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback = || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let is_here =
        options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || is_loopback();
    !is_here
}

fn with_settings(options: &PgConnectOptions, purpose: Use) -> PgConnectOptions {
    options.clone().options(purpose.settings())
}

/// One connection, owned by one task, reopened when it broke.
#[derive(Debug)]
pub struct Link {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Link {
    /// The open connection, or a new one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is none to be had within five seconds.
    pub async fn get(&mut self) -> Result<&mut PgConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(open) => open,
            None => tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&self.options))
                .await
                .map_err(|_| StoreError::timed_out())??,
        };
        Ok(self.connection.insert(connection))
    }

    /// A transaction on the connection. Dropped without commit, it is undone.
    ///
    /// # Errors
    /// As [`Link::get`].
    pub async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, StoreError> {
        Ok(self.get().await?.begin().await?)
    }

    /// Forgets the connection: after an error nobody knows what state it is in.
    pub fn broken(&mut self) {
        self.connection = None;
    }

    /// Closes the connection politely.
    pub async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            // It is going away either way.
            let _ = connection.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_encrypted(options: &PgConnectOptions) -> bool {
        use PgSslMode::{Require, VerifyCa, VerifyFull};
        matches!(options.get_ssl_mode(), Require | VerifyCa | VerifyFull)
    }

    #[tokio::test]
    async fn a_way_to_another_machine_is_encrypted_or_said_to_be_in_clear() {
        for (url, encrypted, warns) in [
            ("postgres://u@localhost/d", false, false),
            ("postgres://u@127.0.0.1:5433/d", false, false),
            ("postgres://u@[::1]/d?sslmode=disable", false, false),
            ("postgres://u@localhost/d?host=/run/postgresql", false, false),
            ("postgres://u@db.example/d?sslmode=require", true, false),
            ("postgres://u@db.example/d?sslmode=verify-full", true, false),
            ("postgres://u@db.example/d", true, false),
            ("postgres://u@localhost/d?hostaddr=10.0.0.5", true, false),
            ("postgres://u@10.0.0.5/d?sslmode=prefer", true, false),
            ("postgres://u@db/d?sslmode=allow", false, true),
            ("postgres://u@db/d?sslmode=disable", false, true),
        ] {
            let options = Database::parse(url).expect("a URL");
            assert_eq!(is_encrypted(&options), encrypted, "{url}");
            assert_eq!(Database::new(options).unsafe_way().is_some(), warns, "{url}");
        }
    }
}
