//! Suppressions: addresses not to mail.

use sqlx::PgConnection;

use crate::domain::id::{Id, SuppressionId, TenantId};

use super::StoreError;

/// Adds an address to a tenant's list, for one stream or (empty) for all. False: it was there.
///
/// # Errors
/// See [`StoreError`].
pub async fn add(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: SuppressionId,
    address: &str,
    stream: &str,
    reason: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO suppressions (tenant_id, id, address, stream, reason) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        "#,
        tenant.uuid(),
        id.uuid(),
        address,
        stream,
        reason,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether an address is on a tenant's list, for `stream` or for all; and why.
///
/// # Errors
/// See [`StoreError`].
pub async fn reason(
    connection: &mut PgConnection,
    tenant: TenantId,
    address: &str,
    stream: &str,
) -> Result<Option<(SuppressionId, String)>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT id, reason FROM suppressions
        WHERE tenant_id = $1 AND address = $2 AND stream IN ('', $3) ORDER BY stream LIMIT 1
        "#,
        tenant.uuid(),
        address,
        stream,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (Id::from_uuid(row.id), row.reason)))
}
