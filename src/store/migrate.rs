//! Migrations: the schema's history, compiled into the binary.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use super::{Database, StoreError, Use};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer postroad has been here, or a migration was changed after it ran, or it failed. Each migration is
    /// a transaction: it has run whole or not at all.
    #[error("the schema cannot be brought up to date: {0}")]
    Schema(#[from] MigrateError),
}

/// Brings the schema up to date. Any number of processes may call it at once: an advisory lock lets one work
/// and the others find it done.
///
/// # Errors
/// See [`MigrationError`].
pub async fn migrate(database: &Database) -> Result<(), MigrationError> {
    let mut link = database.link(Use::Maintain);
    MIGRATIONS.run(link.get().await?).await?;
    link.close().await;
    Ok(())
}

/// Whether all migrations of this binary have run.
///
/// # Errors
/// See [`StoreError`].
pub async fn is_current(connection: &mut PgConnection) -> Result<bool, StoreError> {
    connection.ping().await?;
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
    let there = sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "there!""#)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        return Ok(false);
    }
    // Not checked at compile time: the migrator owns this table.
    let done: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await?;
    Ok(done >= newest)
}
