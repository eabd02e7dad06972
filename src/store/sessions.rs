//! Signed-in browsers, and the log of who tried to sign in. Both belong to people, not to tenants.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{Id, SessionId, SignInId, TenantId, UserId};
use crate::domain::session::{Session, Visitor};
use crate::domain::ticket::TicketHash;

use super::StoreError;
use super::users::Row as UserRow;

struct Row {
    id: Uuid,
    tenant_id: Option<Uuid>,
    method: String,
    ip: Option<String>,
    user_agent: String,
    created_at: OffsetDateTime,
    proved_at: OffsetDateTime,
    seen_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    user_id: Uuid,
    email: String,
    name: String,
    operator: bool,
    entered_at: OffsetDateTime,
}

impl Row {
    fn session(self) -> Option<Session> {
        let user = UserRow {
            id: self.user_id,
            email: self.email,
            name: self.name,
            operator: self.operator,
            created_at: self.entered_at,
        };
        Some(Session {
            id: Id::from_uuid(self.id),
            user: user.user()?,
            tenant: self.tenant_id.map(Id::from_uuid),
            method: self.method,
            ip: self.ip.and_then(|ip| ip.parse().ok()),
            user_agent: self.user_agent,
            created_at: self.created_at,
            proved_at: self.proved_at,
            seen_at: self.seen_at,
            expires_at: self.expires_at,
        })
    }
}

/// Stores a new session.
///
/// # Errors
/// See [`StoreError`].
pub async fn insert(
    connection: &mut PgConnection,
    session: &Session,
    renewal: TicketHash,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO sessions (id, user_id, tenant_id, renewal, method, ip, user_agent, created_at, proved_at,
            seen_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6::text::inet, $7, $8, $9, $10, $11)
        "#,
        session.id.uuid(),
        session.user.id.uuid(),
        session.tenant.map(Id::uuid),
        &renewal.0,
        session.method,
        session.ip.map(|ip| ip.to_string()),
        session.user_agent,
        session.created_at,
        session.proved_at,
        session.seen_at,
        session.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A session that holds at `now`.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    id: SessionId,
    now: OffsetDateTime,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT s.id, s.tenant_id, s.method, host(s.ip) AS ip, s.user_agent, s.created_at, s.proved_at, s.seen_at,
            s.expires_at, s.user_id, u.email, u.name, u.operator, u.created_at AS entered_at
        FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2
        "#,
        id.uuid(),
        now,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(Row::session))
}

/// The session that a renewal ticket belongs to, if it holds at `now`.
///
/// # Errors
/// See [`StoreError`].
pub async fn find_by_renewal(
    connection: &mut PgConnection,
    renewal: TicketHash,
    now: OffsetDateTime,
) -> Result<Option<Session>, StoreError> {
    let id = sqlx::query_scalar!("SELECT id FROM sessions WHERE renewal = $1", &renewal.0)
        .fetch_optional(&mut *connection)
        .await?;
    match id {
        Some(id) => find(connection, Id::from_uuid(id), now).await,
        None => Ok(None),
    }
}

/// A person's sessions that hold at `now`, the newest first.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_user(
    connection: &mut PgConnection,
    user: UserId,
    now: OffsetDateTime,
) -> Result<Vec<Session>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT s.id, s.tenant_id, s.method, host(s.ip) AS ip, s.user_agent, s.created_at, s.proved_at, s.seen_at,
            s.expires_at, s.user_id, u.email, u.name, u.operator, u.created_at AS entered_at
        FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.user_id = $1 AND s.revoked_at IS NULL AND s.expires_at > $2 ORDER BY s.id DESC LIMIT 100
        "#,
        user.uuid(),
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(Row::session).collect())
}

/// Notes that a session was used.
///
/// # Errors
/// See [`StoreError`].
pub async fn touch(
    connection: &mut PgConnection,
    id: SessionId,
    now: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE sessions SET seen_at = $2, expires_at = $3 WHERE id = $1 AND revoked_at IS NULL AND seen_at < $2",
        id.uuid(),
        now,
        expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that she has proved again who she is.
///
/// # Errors
/// See [`StoreError`].
pub async fn prove(
    connection: &mut PgConnection,
    id: SessionId,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!("UPDATE sessions SET proved_at = $2 WHERE id = $1 AND revoked_at IS NULL", id.uuid(), now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Chooses whose dashboard it shows.
///
/// # Errors
/// See [`StoreError`].
pub async fn choose(
    connection: &mut PgConnection,
    id: SessionId,
    tenant: TenantId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE sessions SET tenant_id = $2 WHERE id = $1 AND revoked_at IS NULL",
        id.uuid(),
        tenant.uuid()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends one of a person's sessions. False: she has none of this id that holds.
///
/// # Errors
/// See [`StoreError`].
pub async fn revoke(
    connection: &mut PgConnection,
    user: UserId,
    id: SessionId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE sessions SET revoked_at = $3 WHERE user_id = $1 AND id = $2 AND revoked_at IS NULL",
        user.uuid(),
        id.uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all of a person's sessions but one. Gives how many.
///
/// # Errors
/// See [`StoreError`].
pub async fn revoke_others(
    connection: &mut PgConnection,
    user: UserId,
    kept: Option<SessionId>,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE sessions SET revoked_at = $3
        WHERE user_id = $1 AND ($2::uuid IS NULL OR id <> $2) AND revoked_at IS NULL
        "#,
        user.uuid(),
        kept.map(Id::uuid),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// A try to sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Names it; tells when.
    pub id: SignInId,
    /// By what means.
    pub method: String,
    /// What came of it.
    pub outcome: String,
    /// From where.
    pub ip: Option<String>,
    /// With what, as it called itself.
    pub user_agent: String,
}

/// Notes a try to sign in; `user` is `None` where nobody has the address.
///
/// # Errors
/// See [`StoreError`].
pub async fn log(
    connection: &mut PgConnection,
    user: Option<UserId>,
    email: &str,
    (method, outcome): (&str, &str),
    visitor: &Visitor,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO sign_ins (id, user_id, email, method, outcome, ip, user_agent)
        VALUES ($1, $2, $3, $4, $5, $6::text::inet, $7)
        "#,
        SignInId::new(now).uuid(),
        user.map(Id::uuid),
        email,
        method,
        outcome,
        visitor.ip.to_string(),
        visitor.user_agent,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The newest tries to sign in as a person.
///
/// # Errors
/// See [`StoreError`].
pub async fn log_of_user(
    connection: &mut PgConnection,
    user: UserId,
    limit: i64,
) -> Result<Vec<SignIn>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, method, outcome, host(ip) AS ip, user_agent FROM sign_ins
        WHERE user_id = $1 ORDER BY id DESC LIMIT $2
        "#,
        user.uuid(),
        limit,
    )
    .fetch_all(connection)
    .await?;
    let read = rows.into_iter().map(|row| SignIn {
        id: Id::from_uuid(row.id),
        method: row.method,
        outcome: row.outcome,
        ip: row.ip,
        user_agent: row.user_agent,
    });
    Ok(read.collect())
}

/// Forgets sessions that ended before `ended`, and tries to sign in that were made before `tried`.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(
    connection: &mut PgConnection,
    ended: OffsetDateTime,
    tried: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM sessions WHERE expires_at < $1 OR revoked_at < $1", ended)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("DELETE FROM sign_ins WHERE id < $1", crate::domain::id::floor_at(tried))
        .execute(connection)
        .await?;
    Ok(())
}
