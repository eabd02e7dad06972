//! What tenants are told about their account: raised in the transaction of the fact, at most once a day of one thing.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::account_notice::{NewNotice, posted};
use crate::domain::id::{AccountNoticeId, EventId, Id, TenantId};

use super::StoreError;
use super::calls::{self, Notice};

/// Raises a notice, in the transaction of what it tells of: for the API, for webhooks, and for mail. False: there was
/// one of this thing today.
///
/// # Errors
/// See [`StoreError`].
pub async fn raise(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &NewNotice<'_>,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO account_notices (tenant_id, id, day, type, subject, message, data, mail_due)
        SELECT $1, $2, $3, $4, $5, $6, $7,
               (SELECT $8::timestamptz FROM notice_settings s WHERE s.tenant_id = $1 AND s.emails <> '{}')
        ON CONFLICT DO NOTHING
        "#,
        tenant.uuid(),
        AccountNoticeId::new(now).uuid(),
        now.date(),
        new.kind.as_str(),
        new.subject,
        new.message,
        new.data,
        now,
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let body = posted(new.kind.as_str(), now, new.data.clone()).to_string();
    let notice = Notice { id: EventId::new(now), kind: new.kind.as_str(), body: &body };
    calls::add_notice(connection, tenant, &notice, now).await?;
    Ok(true)
}

/// What a list is narrowed by. `None` everywhere: nothing.
#[derive(Debug, Clone, Default)]
pub struct NoticeFilter {
    /// Of this type.
    pub kind: Option<String>,
    /// Read, or not read yet.
    pub read: Option<bool>,
}

/// A notice as it stands.
#[derive(Debug, Clone)]
pub struct StoredNotice {
    /// Its id, which carries when it was raised.
    pub id: AccountNoticeId,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// A sentence for people.
    pub message: String,
    /// For programs.
    pub data: Value,
    /// When somebody said that it is read.
    pub read_at: Option<OffsetDateTime>,
}

/// A page of a tenant's notices, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    filter: &NoticeFilter,
    before: Option<AccountNoticeId>,
    limit: i64,
) -> Result<Vec<StoredNotice>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, type AS kind, subject, message, data, read_at FROM account_notices
        WHERE tenant_id = $1
          AND ($2::uuid IS NULL OR id < $2)
          AND ($3::text IS NULL OR type = $3)
          AND ($4::boolean IS NULL OR (read_at IS NOT NULL) = $4)
        ORDER BY id DESC LIMIT $5
        "#,
        tenant.uuid(),
        before.map(Id::uuid),
        filter.kind,
        filter.read,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let stored = rows.into_iter().map(|row| StoredNotice {
        id: Id::from_uuid(row.id),
        kind: row.kind,
        subject: row.subject,
        message: row.message,
        data: row.data,
        read_at: row.read_at,
    });
    Ok(stored.collect())
}

/// Notes that a tenant's notice was read, or with `None` all of them. Gives how many there are; one that was read
/// before keeps its time.
///
/// # Errors
/// See [`StoreError`].
pub async fn mark_read(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: Option<AccountNoticeId>,
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        UPDATE account_notices SET read_at = coalesce(read_at, $3)
        WHERE tenant_id = $1 AND ($2::uuid IS NULL AND read_at IS NULL OR id = $2)
        "#,
        tenant.uuid(),
        id.map(Id::uuid),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// To whom a tenant's notices go by mail.
///
/// # Errors
/// See [`StoreError`].
pub async fn emails(connection: &mut PgConnection, tenant: TenantId) -> Result<Vec<String>, StoreError> {
    let emails =
        sqlx::query_scalar!("SELECT emails FROM notice_settings WHERE tenant_id = $1", tenant.uuid())
            .fetch_optional(connection)
            .await?;
    Ok(emails.unwrap_or_default())
}

/// Decides to whom they go.
///
/// # Errors
/// See [`StoreError`].
pub async fn set_emails(
    connection: &mut PgConnection,
    tenant: TenantId,
    emails: &[String],
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO notice_settings (tenant_id, emails) VALUES ($1, $2)
        ON CONFLICT (tenant_id) DO UPDATE SET emails = excluded.emails
        "#,
        tenant.uuid(),
        emails,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A notice that is being mailed.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Whose it is.
    pub tenant: TenantId,
    /// What the tenant is called.
    pub tenant_name: String,
    /// The notice.
    pub id: AccountNoticeId,
    /// Its type.
    pub kind: String,
    /// What it says.
    pub message: String,
    /// To whom.
    pub emails: Vec<String>,
    /// How often it was begun, this time included.
    pub tries: i16,
}

/// Begins mailing notices that are due: nobody else does before `again_at`. Crosses tenants: for the worker.
///
/// # Errors
/// See [`StoreError`].
pub async fn begin(
    connection: &mut PgConnection,
    now: OffsetDateTime,
    again_at: OffsetDateTime,
    limit: i64,
) -> Result<Vec<Begun>, StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH due AS (
            SELECT n.tenant_id, n.id FROM account_notices n WHERE n.mail_due <= $1
            ORDER BY n.mail_due LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        UPDATE account_notices n SET mail_due = $2, tries = least(n.tries, 1000) + 1
        FROM due JOIN tenants t ON t.id = due.tenant_id LEFT JOIN notice_settings s ON s.tenant_id = due.tenant_id
        WHERE n.tenant_id = due.tenant_id AND n.id = due.id
        RETURNING n.tenant_id, t.name AS tenant_name, n.id, n.type AS kind, n.message, n.tries,
                  coalesce(s.emails, '{}') AS "emails!"
        "#,
        now,
        again_at,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let begun = rows.into_iter().map(|row| Begun {
        tenant: Id::from_uuid(row.tenant_id),
        tenant_name: row.tenant_name,
        id: Id::from_uuid(row.id),
        kind: row.kind,
        message: row.message,
        emails: row.emails,
        tries: row.tries,
    });
    Ok(begun.collect())
}

/// Notes that a notice was mailed, or is not going to be.
///
/// # Errors
/// See [`StoreError`].
pub async fn mailed(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: AccountNoticeId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE account_notices SET mail_due = NULL WHERE tenant_id = $1 AND id = $2",
        tenant.uuid(),
        id.uuid(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what is older than a day. Crosses tenants: for the chore.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget(connection: &mut PgConnection, before: time::Date) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM account_notices WHERE day < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}
