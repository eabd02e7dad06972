//! Who people are at OpenID providers. It belongs to people, not to tenants.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Id, UserId};
use crate::domain::user::User;

use super::{StoreError, users};

/// Whom a provider means.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    issuer: &str,
    subject: &str,
) -> Result<Option<User>, StoreError> {
    let id = sqlx::query_scalar!(
        "SELECT user_id FROM user_identities WHERE issuer = $1 AND subject = $2",
        issuer,
        subject,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(id) = id else { return Ok(None) };
    Ok(users::find(connection, Id::from_uuid(id)).await?.map(|known| known.user))
}

/// Remembers whom a provider means.
///
/// # Errors
/// [`StoreError::Conflict`] when it is remembered already.
pub async fn insert(
    connection: &mut PgConnection,
    issuer: &str,
    subject: &str,
    user: UserId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO user_identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4)",
        issuer,
        subject,
        user.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}
