//! What inbound mail is still to bring about: calls by which it is posted to tenants' programs, and its being passed
//! on. They cross tenants: for workers.
//!
//! Invariant: an attempt is counted, and its successor's time set, before it is made, so that a worker that dies
//! in it leaves a call that is due again.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::id::{Id, InboundId, InboundRouteId, MessageId, TenantId};

use super::StoreError;

/// What a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// The mail is posted to a URL.
    Webhook,
    /// It is passed on to another address.
    Forward,
    /// It is a notice, and goes back to whose mail was passed on.
    Return,
}

impl CallKind {
    const ALL: [CallKind; 3] = [CallKind::Webhook, CallKind::Forward, CallKind::Return];

    const fn as_str(self) -> &'static str {
        match self {
            CallKind::Webhook => "webhook",
            CallKind::Forward => "forward",
            CallKind::Return => "return",
        }
    }
}

/// A call to make now.
#[derive(Debug, Clone)]
pub struct DueCall {
    /// Whose.
    pub tenant: TenantId,
    /// Of which mail.
    pub mail: InboundId,
    /// What it is.
    pub kind: CallKind,
    /// By which route; `None`: by none.
    pub route: Option<InboundRouteId>,
    /// The number of this attempt, from 1.
    pub attempt: i32,
}

/// Has something done with a mail, from `now` on.
///
/// # Errors
/// See [`StoreError`].
pub async fn insert(
    connection: &mut PgConnection,
    (tenant, mail): (TenantId, InboundId),
    route: Option<InboundRouteId>,
    kind: CallKind,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO inbound_calls (tenant_id, inbound_id, route_id, attempts, due_at, state, kind)
        VALUES ($1, $2, $3, 0, $4, 'pending', $5)
        "#,
        tenant.uuid(),
        mail.uuid(),
        route.map(Id::uuid),
        now,
        kind.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes calls of some kinds that are due; nobody else takes them before `until`.
///
/// # Errors
/// See [`StoreError`].
pub async fn claim(
    connection: &mut PgConnection,
    kinds: &[CallKind],
    now: OffsetDateTime,
    until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<DueCall>, StoreError> {
    let kinds: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        r#"
        WITH due AS (
            SELECT tenant_id, inbound_id FROM inbound_calls
            WHERE due_at <= $1 AND kind = ANY ($4) ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        UPDATE inbound_calls c SET attempts = c.attempts + 1, due_at = $2
        FROM due d WHERE c.tenant_id = d.tenant_id AND c.inbound_id = d.inbound_id
        RETURNING c.tenant_id, c.inbound_id, c.route_id, c.attempts, c.kind
        "#,
        now,
        until,
        limit,
        &kinds,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(DueCall {
                tenant: Id::from_uuid(row.tenant_id),
                mail: Id::from_uuid(row.inbound_id),
                // The table's CHECK has the same words.
                kind: CallKind::ALL.into_iter().find(|kind| kind.as_str() == row.kind)?,
                route: row.route_id.map(Id::from_uuid),
                attempt: row.attempts,
            })
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
    /// The message that it has become.
    pub message: Option<MessageId>,
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
        UPDATE inbound_calls SET state = $4, due_at = $5, last_status = $6, last_error = $7, message_id = $8
        WHERE tenant_id = $1 AND inbound_id = $2 AND attempts = $3 AND state = 'pending'
        "#,
        call.tenant.uuid(),
        call.mail.uuid(),
        call.attempt,
        result.state,
        result.due_at,
        result.status.map(i32::from),
        result.error,
        result.message.map(Id::uuid),
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
