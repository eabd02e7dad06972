//! MTA-STS policies of recipient domains. They are the domains' own public word, and cross tenants.

use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use crate::mail::mta_sts::{StsMode, StsPolicy};

use super::StoreError;

/// A policy, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// The id that its domain's record had.
    pub id: String,
    /// What it says.
    pub policy: StsPolicy,
    /// When it ends.
    pub expires_at: OffsetDateTime,
}

/// A domain's policy that still holds.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    domain: &str,
    now: OffsetDateTime,
) -> Result<Option<StoredPolicy>, StoreError> {
    let row = sqlx::query!(
        "SELECT id, mode, mx, max_age, expires_at FROM mta_sts_policies WHERE domain = $1 AND expires_at > $2",
        domain,
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|row| {
        let mode = StsMode::parse(&row.mode)?;
        let policy = StsPolicy { mode, mx: row.mx, max_age: u32::try_from(row.max_age).unwrap_or_default() };
        Some(StoredPolicy { id: row.id, policy, expires_at: row.expires_at })
    }))
}

/// Keeps a policy in place of the domain's earlier one.
///
/// # Errors
/// See [`StoreError`].
pub async fn put(
    connection: &mut PgConnection,
    domain: &str,
    stored: &StoredPolicy,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO mta_sts_policies (domain, id, mode, mx, max_age, fetched_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (domain) DO UPDATE
        SET id = excluded.id, mode = excluded.mode, mx = excluded.mx, max_age = excluded.max_age,
            fetched_at = excluded.fetched_at, expires_at = excluded.expires_at
        "#,
        domain,
        stored.id,
        stored.policy.mode.as_str(),
        &stored.policy.mx,
        i32::try_from(stored.policy.max_age).unwrap_or(i32::MAX),
        now,
        stored.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets policies that ended before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, before: OffsetDateTime) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM mta_sts_policies WHERE expires_at < $1", before)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

impl StoredPolicy {
    /// Fetched `now`, under this id.
    pub fn fetched(id: String, policy: StsPolicy, now: OffsetDateTime) -> StoredPolicy {
        let expires_at = now + Duration::seconds(policy.max_age.into());
        StoredPolicy { id, policy, expires_at }
    }
}
