//! The database's own view: its time, what it wrote, which statements took long.

use anyhow::{Context, Result};
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use time::OffsetDateTime;

use super::processes;

/// A connection that only looks.
pub struct Postgres {
    connection: PgConnection,
    /// The process that all others of the server descend from; `None`: it runs on another machine.
    pub postmaster: Option<u32>,
}

/// How it is set, as far as it matters to what is measured.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Its version.
    pub server_version: String,
    /// Without it nothing is durable.
    pub fsync: String,
    /// Its cache.
    pub shared_buffers: String,
    /// Of full pages.
    pub wal_compression: String,
    /// How much may be written between two checkpoints.
    pub max_wal_size: String,
}

/// Counters.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Octets of write-ahead log since the beginning of time.
    pub wal: i64,
    /// Transactions of this database.
    pub transactions: i64,
}

impl Postgres {
    /// Connects.
    ///
    /// # Errors
    /// What the server says.
    pub async fn connect(options: &PgConnectOptions) -> Result<Postgres> {
        let mut connection = options.connect().await.context("connect to the database")?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let backend = u32::try_from(backend)?;
        let is_local = processes::name(backend).is_some_and(|name| name.starts_with("postgres"));
        let postmaster = if is_local { processes::parent(backend) } else { None };
        Ok(Postgres { connection, postmaster })
    }

    /// The connection, for what is not measured.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Its time.
    ///
    /// # Errors
    /// What the server says.
    pub async fn now(&mut self) -> Result<OffsetDateTime> {
        Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut self.connection).await?)
    }

    /// How it is set.
    ///
    /// # Errors
    /// What the server says.
    pub async fn settings(&mut self) -> Result<Settings> {
        Ok(Settings {
            server_version: self.setting("server_version").await?,
            fsync: self.setting("fsync").await?,
            shared_buffers: self.setting("shared_buffers").await?,
            wal_compression: self.setting("wal_compression").await?,
            max_wal_size: self.setting("max_wal_size").await?,
        })
    }

    /// What it has written until now.
    ///
    /// # Errors
    /// What the server says.
    pub async fn written(&mut self) -> Result<Written> {
        let (wal, transactions): (i64, i64) = sqlx::query_as(
            "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, xact_commit
             FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok(Written { wal, transactions })
    }

    /// Whether a tenant of this name is there.
    ///
    /// # Errors
    /// What the server says.
    pub async fn has_tenant(&mut self, name: &str) -> Result<bool> {
        let there = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tenants WHERE name = $1)").bind(name);
        Ok(there.fetch_one(&mut self.connection).await?)
    }

    /// Octets of a mail as it was composed: the newest one's. `None`: there is none.
    ///
    /// # Errors
    /// What the server says.
    pub async fn composed_size(&mut self) -> Result<Option<i32>> {
        let newest = sqlx::query_scalar("SELECT size_bytes FROM messages ORDER BY id DESC LIMIT 1");
        Ok(newest.fetch_optional(&mut self.connection).await?)
    }

    /// Begins to count statements anew.
    ///
    /// # Errors
    /// `pg_stat_statements` is not loaded.
    pub async fn reset_statements(&mut self) -> Result<()> {
        for sql in ["CREATE EXTENSION IF NOT EXISTS pg_stat_statements", "SELECT pg_stat_statements_reset()"]
        {
            let done = sqlx::raw_sql(sql).execute(&mut self.connection).await;
            done.context("--statements needs pg_stat_statements in shared_preload_libraries")?;
        }
        Ok(())
    }

    /// The statements that took longest in total, a line each.
    ///
    /// # Errors
    /// What the server says.
    pub async fn statements(&mut self) -> Result<String> {
        let rows: Vec<(f64, i64, f64, i64, i64, i64, String)> = sqlx::query_as(
            "SELECT total_exec_time, calls, mean_exec_time, rows, shared_blks_hit, wal_bytes::bigint,
                    left(regexp_replace(regexp_replace(query, '--[^\n]*', '', 'g'), '\\s+', ' ', 'g'), 110)
             FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 14",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let lines = rows.into_iter().map(|(total, calls, mean, rows, hit, wal, query)| {
            format!("{total:9.0} {calls:7} {mean:8.2} {rows:8} {hit:10} {wal:11}  {query}")
        });
        let head = " total_ms   calls  mean_ms     rows   blks_hit   wal_bytes  statement".to_owned();
        Ok(std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n"))
    }

    async fn setting(&mut self, name: &str) -> Result<String> {
        let setting = sqlx::query_scalar("SELECT current_setting($1)").bind(name);
        Ok(setting.fetch_one(&mut self.connection).await?)
    }
}
