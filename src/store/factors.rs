//! Second factors: authenticator apps, and codes for who has lost hers; passkeys are beside (`passkeys`). All belong to people, not to tenants.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::UserId;

use super::StoreError;

/// Whether a person has a second factor.
///
/// # Errors
/// See [`StoreError`].
pub async fn any(connection: &mut PgConnection, user: UserId) -> Result<bool, StoreError> {
    let any = sqlx::query_scalar!(
        r#"
        SELECT (EXISTS (SELECT 1 FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL)
            OR EXISTS (SELECT 1 FROM passkeys WHERE user_id = $1)) AS "any!"
        "#,
        user.uuid(),
    );
    Ok(any.fetch_one(connection).await?)
}

/// Whether anything here is sealed.
///
/// # Errors
/// See [`StoreError`].
pub async fn any_sealed(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let any = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM totp_factors) AS "any!""#);
    Ok(any.fetch_one(connection).await?)
}

/// An authenticator app.
#[derive(Debug, Clone)]
pub struct Totp {
    /// Its secret, sealed for the user.
    pub secret: Vec<u8>,
    /// When a code of it was first given; `None`: never, and it is not asked for.
    pub confirmed_at: Option<OffsetDateTime>,
    /// The time step of the last code that was taken.
    pub last_step: i64,
}

/// A person's app.
///
/// # Errors
/// See [`StoreError`].
pub async fn totp(connection: &mut PgConnection, user: UserId) -> Result<Option<Totp>, StoreError> {
    let row = sqlx::query_as!(
        Totp,
        "SELECT secret, confirmed_at, last_step FROM totp_factors WHERE user_id = $1",
        user.uuid(),
    );
    Ok(row.fetch_optional(connection).await?)
}

/// Stores an app that is still to be confirmed, instead of one that is not. False: she has a confirmed one.
///
/// # Errors
/// See [`StoreError`].
pub async fn offer_totp(
    connection: &mut PgConnection,
    user: UserId,
    secret: &[u8],
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO totp_factors (user_id, secret, created_at, last_step) VALUES ($1, $2, $3, 0)
        ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at
        WHERE totp_factors.confirmed_at IS NULL
        "#,
        user.uuid(),
        secret,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that the code of a time step was taken. False: one of that step or a later one was taken before.
///
/// # Errors
/// See [`StoreError`].
pub async fn take_step(
    connection: &mut PgConnection,
    user: UserId,
    step: i64,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE totp_factors SET last_step = $2, confirmed_at = coalesce(confirmed_at, $3)
        WHERE user_id = $1 AND last_step < $2
        "#,
        user.uuid(),
        step,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a person's app. False: she has none.
///
/// # Errors
/// See [`StoreError`].
pub async fn remove_totp(connection: &mut PgConnection, user: UserId) -> Result<bool, StoreError> {
    let done =
        sqlx::query!("DELETE FROM totp_factors WHERE user_id = $1", user.uuid()).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces a person's recovery codes.
///
/// # Errors
/// See [`StoreError`].
pub async fn replace_codes(
    connection: &mut PgConnection,
    user: UserId,
    hashes: &[Vec<u8>],
) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM recovery_codes WHERE user_id = $1", user.uuid())
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "INSERT INTO recovery_codes (user_id, hash) SELECT $1, hash FROM unnest($2::bytea[]) AS hash",
        user.uuid(),
        hashes,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Uses a recovery code. False: she has none like it, or it was used.
///
/// # Errors
/// See [`StoreError`].
pub async fn use_code(
    connection: &mut PgConnection,
    user: UserId,
    hash: &[u8],
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND hash = $2 AND used_at IS NULL",
        user.uuid(),
        hash,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many recovery codes a person has left.
///
/// # Errors
/// See [`StoreError`].
pub async fn codes_left(connection: &mut PgConnection, user: UserId) -> Result<i64, StoreError> {
    let left = sqlx::query_scalar!(
        r#"SELECT count(*) AS "left!" FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL"#,
        user.uuid(),
    );
    Ok(left.fetch_one(connection).await?)
}
