//! How much tenants may send, and how much of it has been given out.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Id, TenantId};
use crate::domain::quota::{Limits, Period};

use super::StoreError;

/// A tenant's limits; without any: all are the installation's.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(connection: &mut PgConnection, tenant: TenantId) -> Result<Limits, StoreError> {
    let limits = sqlx::query_as!(
        Limits,
        "SELECT per_second, per_day, per_month, message_bytes, recipients FROM quotas WHERE tenant_id = $1",
        tenant.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(limits.unwrap_or_default())
}

/// Sets a tenant's limits.
///
/// # Errors
/// See [`StoreError`].
pub async fn set(connection: &mut PgConnection, tenant: TenantId, limits: &Limits) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO quotas (tenant_id, per_second, per_day, per_month, message_bytes, recipients)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant_id) DO UPDATE SET
            per_second = excluded.per_second, per_day = excluded.per_day, per_month = excluded.per_month,
            message_bytes = excluded.message_bytes, recipients = excluded.recipients
        "#,
        tenant.uuid(),
        limits.per_second,
        limits.per_day,
        limits.per_month,
        limits.message_bytes,
        limits.recipients,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The limits of all who have any. Crosses tenants: for the doors.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_all_tenants(connection: &mut PgConnection) -> Result<Vec<(TenantId, Limits)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT tenant_id, per_second, per_day, per_month, message_bytes, recipients FROM quotas"
    )
    .fetch_all(connection)
    .await?;
    let all = rows.into_iter().map(|row| {
        let limits = Limits {
            per_second: row.per_second,
            per_day: row.per_day,
            per_month: row.per_month,
            message_bytes: row.message_bytes,
            recipients: row.recipients,
        };
        (Id::from_uuid(row.tenant_id), limits)
    });
    Ok(all.collect())
}

/// How much of a period's limit has been given out, with the counter locked until the transaction ends. A counter of
/// an earlier period begins anew.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock_counter(
    connection: &mut PgConnection,
    tenant: TenantId,
    period: Period,
    starts_at: OffsetDateTime,
) -> Result<i64, StoreError> {
    let leased = sqlx::query_scalar!(
        r#"
        INSERT INTO quota_counters AS c (tenant_id, period, starts_at, leased) VALUES ($1, $2, $3, 0)
        ON CONFLICT (tenant_id, period) DO UPDATE SET
            leased = CASE WHEN c.starts_at < excluded.starts_at THEN 0 ELSE c.leased END,
            starts_at = greatest(c.starts_at, excluded.starts_at)
        RETURNING leased
        "#,
        tenant.uuid(),
        period.as_str(),
        starts_at,
    );
    Ok(leased.fetch_one(connection).await?)
}

/// Gives out more of it, or with a negative number takes back what was not spent in the period that began then.
///
/// # Errors
/// See [`StoreError`].
pub async fn count(
    connection: &mut PgConnection,
    tenant: TenantId,
    period: Period,
    starts_at: OffsetDateTime,
    more: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE quota_counters SET leased = greatest(leased + $4, 0)
        WHERE tenant_id = $1 AND period = $2 AND starts_at = $3
        "#,
        tenant.uuid(),
        period.as_str(),
        starts_at,
        more,
    )
    .execute(connection)
    .await?;
    Ok(())
}
