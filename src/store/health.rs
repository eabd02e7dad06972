//! What `readyz` and `doctor` ask of the database.

use sqlx::PgConnection;

use super::StoreError;

/// The settings on which durability and speed depend.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// Such as 150018.
    pub version: i32,
    /// WAL reaches the disk.
    pub fsync: bool,
    /// Torn pages are repaired after a crash.
    pub full_page_writes: bool,
    /// It is a standby: nothing can be written.
    pub in_recovery: bool,
    /// What a connection gets that asks for nothing.
    pub synchronous_commit: String,
    /// Connections allowed.
    pub max_connections: i32,
    /// The age of the oldest snapshot, in transactions: it keeps vacuum from cleaning the queue.
    pub oldest_snapshot_age: i64,
    /// How long the oldest open transaction has been open, in seconds.
    pub oldest_transaction_seconds: f64,
}

/// Reads the server's settings.
///
/// # Errors
/// See [`StoreError`].
pub async fn server_facts(connection: &mut PgConnection) -> Result<ServerFacts, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT current_setting('server_version_num')::int AS "version!",
               current_setting('fsync')::bool AS "fsync!",
               current_setting('full_page_writes')::bool AS "full_page_writes!",
               pg_is_in_recovery() AS "in_recovery!",
               (SELECT s.reset_val FROM pg_settings s WHERE s.name = 'synchronous_commit') AS "synchronous_commit!",
               current_setting('max_connections')::int AS "max_connections!",
               (SELECT coalesce(max(age(a.backend_xmin)), 0) FROM pg_stat_activity a)::bigint AS "snapshot_age!",
               (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - a.xact_start)), 0)
                FROM pg_stat_activity a WHERE a.backend_type = 'client backend' AND a.state <> 'idle'
                  AND a.pid <> pg_backend_pid())::float8 AS "transaction_seconds!"
        "#,
    )
    .fetch_one(connection)
    .await?;
    Ok(ServerFacts {
        version: row.version,
        fsync: row.fsync,
        full_page_writes: row.full_page_writes,
        in_recovery: row.in_recovery,
        synchronous_commit: row.synchronous_commit,
        max_connections: row.max_connections,
        oldest_snapshot_age: row.snapshot_age,
        oldest_transaction_seconds: row.transaction_seconds,
    })
}

/// The process that serves this connection. Through a pooler that shares connections by transaction, two
/// questions in a row may be answered by two processes.
///
/// # Errors
/// See [`StoreError`].
pub async fn backend_pid(connection: &mut PgConnection) -> Result<i32, StoreError> {
    Ok(sqlx::query_scalar!(r#"SELECT pg_backend_pid() AS "pid!""#).fetch_one(connection).await?)
}

/// Answers at all.
///
/// # Errors
/// See [`StoreError`].
pub async fn ping(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(connection).await?;
    Ok(())
}

impl ServerFacts {
    /// What of the server's settings puts mail at risk, each with what to do.
    pub fn durability_warnings(&self) -> Vec<String> {
        let cases = [
            (!self.fsync, "fsync is off: a crash of the machine loses accepted mail; set fsync = on"),
            (
                !self.full_page_writes,
                "full_page_writes is off: a crash of the machine can damage the database; set full_page_writes = on",
            ),
            (
                matches!(self.synchronous_commit.as_str(), "off" | "local"),
                "synchronous_commit is not on for the server; postroad sets it for its own connections, other tools may lose writes",
            ),
        ];
        cases.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.to_owned()).collect()
    }
}

/// Whether a setting made by one statement is there for the next: not so through a pooler that shares
/// connections by transaction, unless it happens to give the same one again.
///
/// # Errors
/// See [`StoreError`].
pub async fn keeps_session_state(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let mark = "postroad.doctor";
    sqlx::query!("SELECT set_config($1, 'here', false) AS x", mark).fetch_one(&mut *connection).await?;
    let kept = sqlx::query_scalar!("SELECT current_setting($1, true)", mark).fetch_one(connection).await?;
    Ok(kept.as_deref() == Some("here"))
}
