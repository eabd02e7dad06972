//! Facts of the whole installation.

use sqlx::PgConnection;

use super::StoreError;

/// A fact's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// The fingerprint of the master key that sealed what is stored.
    MasterKeyFingerprint,
}

impl Fact {
    const fn name(self) -> &'static str {
        match self {
            Fact::MasterKeyFingerprint => "master_key_fingerprint",
        }
    }
}

/// Stores a fact unless it is known; gives what is stored.
///
/// # Errors
/// See [`StoreError`].
pub async fn ensure(connection: &mut PgConnection, fact: Fact, value: &str) -> Result<String, StoreError> {
    sqlx::query!(
        "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        fact.name(),
        value,
    )
    .execute(&mut *connection)
    .await?;
    Ok(sqlx::query_scalar!("SELECT value FROM installation WHERE name = $1", fact.name())
        .fetch_one(connection)
        .await?)
}
