//! The calls by which inbound mail is posted to tenants' programs. They cross tenants: for workers.
//!
//! Invariant: an attempt is counted, and its successor's time set, before it is made, so that a worker that dies
//! in it leaves a call that is due again.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Id, InboundId, InboundRouteId, TenantId};

use super::StoreError;

/// A call to make now.
#[derive(Debug, Clone)]
pub struct DueCall {
    /// Whose.
    pub tenant: TenantId,
    /// Of which mail.
    pub mail: InboundId,
    /// By which route.
    pub route: InboundRouteId,
    /// The number of this attempt, from 1.
    pub attempt: i32,
}

/// Takes calls that are due; nobody else takes them before `until`.
///
/// # Errors
/// See [`StoreError`].
pub async fn claim(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<DueCall>, StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH due AS (
            SELECT tenant_id, inbound_id FROM inbound_calls
            WHERE due_at <= $1 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        UPDATE inbound_calls c SET attempts = c.attempts + 1, due_at = $2
        FROM due d WHERE c.tenant_id = d.tenant_id AND c.inbound_id = d.inbound_id
        RETURNING c.tenant_id, c.inbound_id, c.route_id, c.attempts
        "#,
        now,
        until,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DueCall {
            tenant: Id::from_uuid(row.tenant_id),
            mail: Id::from_uuid(row.inbound_id),
            route: Id::from_uuid(row.route_id),
            attempt: row.attempts,
        })
        .collect())
}

/// What became of an attempt.
#[derive(Debug, Clone)]
pub struct CallResult {
    /// Whether it is over: `delivered` or `failed`; else `pending`.
    pub state: &'static str,
    /// When it is tried again, if it is.
    pub due_at: Option<OffsetDateTime>,
    /// The answer's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Writes what became of an attempt, unless a later one was begun meanwhile.
///
/// # Errors
/// See [`StoreError`].
pub async fn finish(
    connection: &mut PgConnection,
    call: &DueCall,
    result: &CallResult,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE inbound_calls SET state = $4, due_at = $5, last_status = $6, last_error = $7
        WHERE tenant_id = $1 AND inbound_id = $2 AND attempts = $3 AND state = 'pending'
        "#,
        call.tenant.uuid(),
        call.mail.uuid(),
        call.attempt,
        result.state,
        result.due_at,
        result.status.map(i32::from),
        result.error,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets the calls of mail that came before a moment.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_older(connection: &mut PgConnection, before: OffsetDateTime) -> Result<u64, StoreError> {
    let done =
        sqlx::query!("DELETE FROM inbound_calls WHERE inbound_id < $1", crate::domain::id::floor_at(before))
            .execute(connection)
            .await?;
    Ok(done.rows_affected())
}
