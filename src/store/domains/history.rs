//! What happened to domains, a line each.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{DomainId, DomainNoteId, TenantId};

use super::super::StoreError;

/// One line of a domain's history.
#[derive(Debug, Clone)]
pub struct Note {
    /// When it happened.
    pub at: OffsetDateTime,
    /// What, for programs.
    pub kind: String,
    /// What, for people.
    pub message: String,
}

/// Adds a line to a domain's history.
///
/// # Errors
/// See [`StoreError`].
pub async fn note(
    connection: &mut PgConnection,
    (tenant, domain): (TenantId, DomainId),
    kind: &str,
    message: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO domain_history (tenant_id, domain_id, id, kind, message) VALUES ($1, $2, $3, $4, $5)",
        tenant.uuid(),
        domain.uuid(),
        DomainNoteId::new(now).uuid(),
        kind,
        message,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The newest lines of a domain's history, newest first.
///
/// # Errors
/// See [`StoreError`].
pub async fn history(
    connection: &mut PgConnection,
    tenant: TenantId,
    domain: DomainId,
    limit: i64,
) -> Result<Vec<Note>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, kind, message FROM domain_history
        WHERE tenant_id = $1 AND domain_id = $2 ORDER BY id DESC LIMIT $3
        "#,
        tenant.uuid(),
        domain.uuid(),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let note = |id: uuid::Uuid, kind, message| Note { at: DomainNoteId::from_uuid(id).born(), kind, message };
    Ok(rows.into_iter().map(|row| note(row.id, row.kind, row.message)).collect())
}

/// Forgets lines of all histories that are older than `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_notes(connection: &mut PgConnection, before: OffsetDateTime) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM domain_history WHERE id < $1", crate::domain::id::floor_at(before))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
