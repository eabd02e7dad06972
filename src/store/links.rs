//! Links that work once: to enter the first person, and to choose a password. What is stored is their hash alone.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Id, UserId};
use crate::domain::ticket::TicketHash;

use super::StoreError;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Enters the first person.
    Setup,
    /// Sets a person's password.
    Reset,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Purpose::Setup => "setup",
            Purpose::Reset => "reset",
        }
    }
}

/// Whose link it is; `None`: nobody's, since it is to enter somebody.
pub type Owner = Option<UserId>;

/// Stores a link.
///
/// # Errors
/// [`StoreError::Conflict`] when there is no such person.
pub async fn insert(
    connection: &mut PgConnection,
    hash: TicketHash,
    purpose: Purpose,
    user: Owner,
    now: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO one_time_links (hash, purpose, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        &hash.0,
        purpose.as_str(),
        user.map(Id::uuid),
        now,
        expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whose link this is. The outer `None`: it does not work.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    hash: TicketHash,
    purpose: Purpose,
    now: OffsetDateTime,
) -> Result<Option<Owner>, StoreError> {
    let row = sqlx::query!(
        "SELECT user_id FROM one_time_links WHERE hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3",
        &hash.0,
        purpose.as_str(),
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.user_id.map(Id::from_uuid)))
}

/// Uses a link, which works no more; gives whose it was. The outer `None`: it did not work.
///
/// # Errors
/// See [`StoreError`].
pub async fn use_up(
    connection: &mut PgConnection,
    hash: TicketHash,
    purpose: Purpose,
    now: OffsetDateTime,
) -> Result<Option<Owner>, StoreError> {
    let row = sqlx::query!(
        r#"
        UPDATE one_time_links SET used_at = $3
        WHERE hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3 RETURNING user_id
        "#,
        &hash.0,
        purpose.as_str(),
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.user_id.map(Id::from_uuid)))
}

/// Ends all links of a person.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_of_user(connection: &mut PgConnection, user: UserId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM one_time_links WHERE user_id = $1", user.uuid()).execute(connection).await?;
    Ok(())
}

/// Forgets links that ended before `ended`.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, ended: OffsetDateTime) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM one_time_links WHERE expires_at < $1", ended).execute(connection).await?;
    Ok(())
}
