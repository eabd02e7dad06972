//! Public keys of people's authenticators, and what those were last asked. All belong to people, not to tenants.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Id, PasskeyId, UserId};

use super::StoreError;

/// A public key.
#[derive(Debug, Clone)]
pub struct StoredPasskey {
    /// Names it.
    pub id: PasskeyId,
    /// What its owner calls it.
    pub name: String,
    /// The key, its counter, and what else is checked.
    pub key: Value,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// When it last proved anything.
    pub last_used_at: Option<OffsetDateTime>,
}

/// What an authenticator is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceremony {
    /// A new key.
    Register,
    /// A proof by a known one.
    Prove,
}

impl Ceremony {
    /// As the table has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ceremony::Register => "register",
            Ceremony::Prove => "prove",
        }
    }
}

/// A person's keys, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_user(connection: &mut PgConnection, user: UserId) -> Result<Vec<StoredPasskey>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, name, key, created_at, last_used_at FROM passkeys WHERE user_id = $1 ORDER BY id",
        user.uuid(),
    )
    .fetch_all(connection)
    .await?;
    let read = rows.into_iter().map(|row| StoredPasskey {
        id: Id::from_uuid(row.id),
        name: row.name,
        key: row.key,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
    });
    Ok(read.collect())
}

/// Stores a key.
///
/// # Errors
/// [`StoreError::Conflict`] when somebody has it already.
pub async fn insert(
    connection: &mut PgConnection,
    user: UserId,
    credential: &[u8],
    passkey: &StoredPasskey,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO passkeys (user_id, id, credential, name, key, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        user.uuid(),
        passkey.id.uuid(),
        credential,
        passkey.name,
        passkey.key,
        passkey.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that a key has proved something.
///
/// # Errors
/// See [`StoreError`].
pub async fn used(
    connection: &mut PgConnection,
    user: UserId,
    id: PasskeyId,
    key: &Value,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE passkeys SET key = $3, last_used_at = $4 WHERE user_id = $1 AND id = $2",
        user.uuid(),
        id.uuid(),
        key,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a key. False: she has none of this id.
///
/// # Errors
/// See [`StoreError`].
pub async fn remove(connection: &mut PgConnection, user: UserId, id: PasskeyId) -> Result<bool, StoreError> {
    let done = sqlx::query!("DELETE FROM passkeys WHERE user_id = $1 AND id = $2", user.uuid(), id.uuid())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores, sealed, what an authenticator is asked; what it was asked before is forgotten.
///
/// # Errors
/// See [`StoreError`].
pub async fn ask(
    connection: &mut PgConnection,
    user: UserId,
    ceremony: Ceremony,
    state: &[u8],
    expires_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO passkey_ceremonies (user_id, kind, state, expires_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_id, kind) DO UPDATE SET state = excluded.state, expires_at = excluded.expires_at
        "#,
        user.uuid(),
        ceremony.as_str(),
        state,
        expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What an authenticator was asked, which it answers once; `None`: nothing, or too long ago.
///
/// # Errors
/// See [`StoreError`].
pub async fn answered(
    connection: &mut PgConnection,
    user: UserId,
    ceremony: Ceremony,
    now: OffsetDateTime,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query!(
        "DELETE FROM passkey_ceremonies WHERE user_id = $1 AND kind = $2 RETURNING state, expires_at",
        user.uuid(),
        ceremony.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.filter(|row| now < row.expires_at).map(|row| row.state))
}

/// Forgets what was never answered.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, now: OffsetDateTime) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM passkey_ceremonies WHERE expires_at < $1", now).execute(connection).await?;
    Ok(())
}
