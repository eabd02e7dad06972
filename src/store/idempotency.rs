//! Answers to requests with an Idempotency-Key.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Lane, TenantId};

use super::StoreError;

/// A stored answer.
#[derive(Debug, Clone)]
pub struct Stored {
    /// SHA-256 over the submission it answered.
    pub fingerprint: Vec<u8>,
    /// The outcome of accept.
    pub answer: serde_json::Value,
    /// When it was given.
    pub created_at: OffsetDateTime,
}

/// The answer stored for a tenant's key.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    lane: Lane,
    key: &str,
) -> Result<Option<Stored>, StoreError> {
    Ok(sqlx::query_as!(
        Stored,
        r#"
        SELECT fingerprint, answer, created_at FROM idempotency
        WHERE tenant_id = $1 AND lane = $2 AND key = $3
        "#,
        tenant.uuid(),
        lane.number(),
        key,
    )
    .fetch_optional(connection)
    .await?)
}

/// Forgets one expired answer, so that its key may be used anew.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(
    connection: &mut PgConnection,
    tenant: TenantId,
    lane: Lane,
    key: &str,
    before: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM idempotency WHERE tenant_id = $1 AND lane = $2 AND key = $3 AND created_at < $4",
        tenant.uuid(),
        lane.number(),
        key,
        before,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets up to `limit` answers given before `before`, over all tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_older(
    connection: &mut PgConnection,
    before: OffsetDateTime,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM idempotency i USING (
            SELECT o.lane, o.tenant_id, o.key FROM idempotency o WHERE o.created_at < $1 LIMIT $2) old
        WHERE i.lane = old.lane AND i.tenant_id = old.tenant_id AND i.key = old.key
        "#,
        before,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
