//! The audit log: who changed what, written in the transaction of the change.

use std::net::IpAddr;

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{AuditId, TenantId};

use super::StoreError;

/// An entry to write.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// `key_…`, `user_…` or `cli`.
    pub actor: &'a str,
    /// Where the change came from.
    pub ip: Option<IpAddr>,
    /// `noun.verb`.
    pub action: &'static str,
    /// What was changed.
    pub target: &'a str,
    /// Before and after, without secrets.
    pub details: serde_json::Value,
}

/// Appends an entry.
///
/// # Errors
/// See [`StoreError`].
pub async fn append(
    connection: &mut PgConnection,
    tenant: TenantId,
    entry: Entry<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO audit_log (tenant_id, id, actor, ip, action, target, details)
        VALUES ($1, $2, $3, $4::text::inet, $5, $6, $7)
        "#,
        tenant.uuid(),
        AuditId::new(now).uuid(),
        entry.actor,
        entry.ip.map(|ip| ip.to_string()),
        entry.action,
        entry.target,
        entry.details,
    )
    .execute(connection)
    .await?;
    Ok(())
}
