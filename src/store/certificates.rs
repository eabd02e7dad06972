//! Certificates by ACME, and what is kept for getting them. They are the installation's: no tenant owns one. Keys
//! come and go sealed.
//!
//! Invariant: a try is counted by its lease before it is made, so that a node that dies in it leaves one that is due
//! again.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::StoreError;
use super::revisions::{self, Revised};

/// A certificate to get now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// For which name.
    pub name: String,
    /// Tries in a row that have failed.
    pub failures: i32,
}

/// A certificate that was got.
#[derive(Debug)]
pub struct Issued {
    /// For which name.
    pub name: String,
    /// PEM, that of the name first.
    pub chain: String,
    /// Its key, sealed.
    pub key_sealed: Vec<u8>,
    /// From when on it holds.
    pub not_before: OffsetDateTime,
    /// And until when.
    pub not_after: OffsetDateTime,
}

/// Wants certificates for names, from `now` on; those it has or wants already stay as they are.
///
/// # Errors
/// See [`StoreError`].
pub async fn want(
    connection: &mut PgConnection,
    names: &[String],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO certificates (name, due_at, failures)
        SELECT name, $2, 0 FROM UNNEST($1::text[]) AS wanted (name) ON CONFLICT (name) DO NOTHING
        "#,
        names,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes one of these names whose certificate is due; nobody else takes it before `until`.
///
/// # Errors
/// See [`StoreError`].
pub async fn begin(
    connection: &mut PgConnection,
    names: &[String],
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<Option<Due>, StoreError> {
    let row = sqlx::query!(
        r#"
        UPDATE certificates SET due_at = $3
        WHERE name = (SELECT name FROM certificates WHERE due_at <= $2 AND name = ANY ($1)
                      ORDER BY due_at, name LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING name, failures
        "#,
        names,
        now,
        until,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Due { name: row.name, failures: row.failures }))
}

/// Keeps a certificate, to be renewed at `due_at`; all nodes learn of it.
///
/// # Errors
/// See [`StoreError`].
pub async fn keep(
    connection: &mut PgConnection,
    issued: &Issued,
    due_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE certificates
        SET chain = $2, key_sealed = $3, not_before = $4, not_after = $5, due_at = $6, failures = 0,
            last_error = NULL
        WHERE name = $1
        "#,
        issued.name,
        issued.chain,
        issued.key_sealed,
        issued.not_before,
        issued.not_after,
        due_at,
    )
    .execute(&mut *connection)
    .await?;
    revisions::raise(connection, Revised::Certificates).await
}

/// Notes that a try has failed.
///
/// # Errors
/// See [`StoreError`].
pub async fn failed(
    connection: &mut PgConnection,
    name: &str,
    error: &str,
    due_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE certificates SET failures = failures + 1, last_error = $2, due_at = $3 WHERE name = $1",
        name,
        error,
        due_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// All certificates that hold `now`.
///
/// # Errors
/// See [`StoreError`].
pub async fn that_hold(
    connection: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<Vec<Issued>, StoreError> {
    let rows = sqlx::query_as!(
        Issued,
        r#"
        SELECT name, chain AS "chain!", key_sealed AS "key_sealed!", not_before AS "not_before!",
               not_after AS "not_after!"
        FROM certificates WHERE not_after > $1
        "#,
        now,
    );
    Ok(rows.fetch_all(connection).await?)
}

/// Keeps the answer to a challenge.
///
/// # Errors
/// See [`StoreError`].
pub async fn put_challenge(
    connection: &mut PgConnection,
    token: &str,
    key_authorization: &str,
    expires_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO acme_challenges (token, key_authorization, expires_at) VALUES ($1, $2, $3)
        ON CONFLICT (token) DO UPDATE SET key_authorization = $2, expires_at = $3
        "#,
        token,
        key_authorization,
        expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The answer to a challenge.
///
/// # Errors
/// See [`StoreError`].
pub async fn challenge(connection: &mut PgConnection, token: &str) -> Result<Option<String>, StoreError> {
    let found = sqlx::query_scalar!("SELECT key_authorization FROM acme_challenges WHERE token = $1", token);
    Ok(found.fetch_optional(connection).await?)
}

/// Forgets answers whose time is over.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_challenges(connection: &mut PgConnection, now: OffsetDateTime) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM acme_challenges WHERE expires_at < $1", now).execute(connection).await?;
    Ok(())
}

/// Our credentials with an authority, sealed.
///
/// # Errors
/// See [`StoreError`].
pub async fn account(connection: &mut PgConnection, directory: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let found =
        sqlx::query_scalar!("SELECT credentials_sealed FROM acme_accounts WHERE directory = $1", directory);
    Ok(found.fetch_optional(connection).await?)
}

/// Keeps our credentials with an authority, unless another node was first.
///
/// # Errors
/// See [`StoreError`].
pub async fn put_account(
    connection: &mut PgConnection,
    directory: &str,
    contact: &str,
    credentials_sealed: &[u8],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO acme_accounts (directory, contact, credentials_sealed, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (directory) DO NOTHING
        "#,
        directory,
        contact,
        credentials_sealed,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}
