//! Mail that the capture route received.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{CapturedId, DeliveryId, Id, TenantId};

use super::StoreError;

/// A mail as it came over SMTP.
#[derive(Debug, Clone)]
pub struct Captured {
    /// Its name; carries the moment.
    pub id: CapturedId,
    /// The delivery that its return path names.
    pub delivery: Option<DeliveryId>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// MAIL FROM.
    pub return_path: String,
    /// RCPT TO.
    pub recipients: Vec<String>,
    /// Its size in octets.
    pub size: i32,
}

/// Keeps a mail; the tenant is the one of the delivery its return path names.
///
/// # Errors
/// See [`StoreError`].
pub async fn insert(connection: &mut PgConnection, mail: &Captured, raw: &[u8]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO captured (id, tenant_id, delivery_id, tls, return_path, recipients, raw)
        VALUES ($1, (SELECT d.tenant_id FROM deliveries d WHERE d.lane = $2 AND d.id = $3), $3, $4, $5, $6, $7)
        "#,
        mail.id.uuid(),
        mail.delivery.map(|id| id.lane().number()),
        mail.delivery.map(Id::uuid),
        mail.tls,
        mail.return_path,
        &mail.recipients,
        raw,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A page of a tenant's captured mail, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    before: Option<CapturedId>,
    limit: i64,
) -> Result<Vec<Captured>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, delivery_id, tls, return_path, recipients, length(raw) AS "size!" FROM captured
        WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        "#,
        tenant.uuid(),
        before.map(Id::uuid),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Captured {
            id: Id::from_uuid(row.id),
            delivery: row.delivery_id.map(Id::from_uuid),
            tls: row.tls,
            return_path: row.return_path,
            recipients: row.recipients,
            size: row.size,
        })
        .collect())
}

/// One captured mail of a tenant, as it came over the wire.
///
/// # Errors
/// See [`StoreError`].
pub async fn raw(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: CapturedId,
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT raw FROM captured WHERE tenant_id = $1 AND id = $2",
        tenant.uuid(),
        id.uuid()
    )
    .fetch_optional(connection)
    .await?)
}

/// Keeps the newest `keep` mails of the installation and what came after `since`; forgets the rest.
///
/// # Errors
/// See [`StoreError`].
pub async fn prune(
    connection: &mut PgConnection,
    keep: i64,
    since: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM captured
        WHERE id < $2 AND id < (SELECT id FROM captured ORDER BY id DESC OFFSET $1 LIMIT 1)
        "#,
        keep,
        crate::domain::id::floor_at(since),
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
