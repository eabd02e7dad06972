//! Mail that came in and is kept, and the calls by which it is posted to tenants' programs.

use std::net::IpAddr;

use sqlx::PgConnection;

use crate::domain::id::{EventId, Id, InboundId, InboundRouteId, MessageId, TenantId};

use super::StoreError;

/// A mail to keep.
#[derive(Debug)]
pub struct NewInbound<'a> {
    /// Its name; carries the moment.
    pub id: InboundId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The route it came by.
    pub route: Option<InboundRouteId>,
    /// From where.
    pub peer: IpAddr,
    /// What the client called itself.
    pub helo: &'a str,
    /// Version and cipher.
    pub tls: Option<&'a str>,
    /// MAIL FROM.
    pub sender: &'a str,
    /// RCPT TO.
    pub recipient: &'a str,
    /// From.
    pub author: String,
    /// Subject.
    pub subject: String,
    /// Message-ID.
    pub message_id: String,
    /// What its authentication gave.
    pub verdicts: serde_json::Value,
    /// What it is by its form.
    pub kind: &'static str,
    /// Filters that held, and those that could not be asked.
    pub filtered: Option<serde_json::Value>,
    /// The mail.
    pub raw: &'a [u8],
}

/// Keeps a mail.
///
/// # Errors
/// See [`StoreError`].
pub async fn insert(connection: &mut PgConnection, mail: &NewInbound<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO inbound
            (id, tenant_id, route_id, size_bytes, peer, helo, tls, sender, recipient, author, subject, message_id,
             verdicts, raw, kind, filtered)
        VALUES ($1, $2, $3, $4, $5::text::inet, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        "#,
        mail.id.uuid(),
        mail.tenant.uuid(),
        mail.route.map(Id::uuid),
        i32::try_from(mail.raw.len()).unwrap_or(i32::MAX),
        mail.peer.to_string(),
        mail.helo,
        mail.tls,
        mail.sender,
        mail.recipient,
        mail.author,
        mail.subject,
        mail.message_id,
        mail.verdicts,
        mail.raw,
        mail.kind,
        mail.filtered,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Tells the tenant. The event stands under the mail's own id where others have a delivery's.
///
/// # Errors
/// See [`StoreError`].
pub async fn tell(
    connection: &mut PgConnection,
    mail: &NewInbound<'_>,
    data: &serde_json::Value,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        VALUES (txid_current(), $1, 'received', $2, $3, $4, $5)
        "#,
        mail.id.lane().number(),
        mail.id.uuid(),
        EventId::new(mail.id.born()).uuid(),
        mail.tenant.uuid(),
        data,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A kept mail without its content.
#[derive(Debug, Clone)]
pub struct InboundRow {
    /// Its name; carries when it came.
    pub id: InboundId,
    /// The route it came by.
    pub route: Option<InboundRouteId>,
    /// Octets.
    pub size: i32,
    /// From where.
    pub peer: String,
    /// What the client called itself.
    pub helo: String,
    /// Version and cipher.
    pub tls: Option<String>,
    /// MAIL FROM.
    pub sender: String,
    /// RCPT TO.
    pub recipient: String,
    /// From.
    pub author: String,
    /// Subject.
    pub subject: String,
    /// Message-ID.
    pub message_id: String,
    /// What its authentication gave.
    pub verdicts: serde_json::Value,
    /// What it is by its form; `None`: it came before this was noted.
    pub kind: Option<String>,
    /// Filters that held, and those that could not be asked; `None`: none.
    pub filtered: Option<serde_json::Value>,
    /// What it is still to bring about, or has; `None`: nothing.
    pub call: Option<Call>,
}

/// How the posting of a mail, or its being passed on, stands.
#[derive(Debug, Clone)]
pub struct Call {
    /// webhook, forward or return.
    pub kind: String,
    /// pending, delivered or failed.
    pub state: String,
    /// How often it was tried.
    pub attempts: i32,
    /// The last answer's status.
    pub last_status: Option<i32>,
    /// What went wrong.
    pub last_error: Option<String>,
    /// The message it was passed on as.
    pub message: Option<MessageId>,
}

struct Row {
    id: uuid::Uuid,
    route_id: Option<uuid::Uuid>,
    size_bytes: i32,
    peer: String,
    helo: String,
    tls: Option<String>,
    sender: String,
    recipient: String,
    author: String,
    subject: String,
    message_id: String,
    verdicts: serde_json::Value,
    kind: Option<String>,
    filtered: Option<serde_json::Value>,
    call_kind: Option<String>,
    call_message: Option<uuid::Uuid>,
    state: Option<String>,
    attempts: Option<i32>,
    last_status: Option<i32>,
    last_error: Option<String>,
}

impl From<Row> for InboundRow {
    fn from(row: Row) -> InboundRow {
        let call = row.state.zip(row.call_kind).map(|(state, kind)| Call {
            kind,
            state,
            message: row.call_message.map(Id::from_uuid),
            attempts: row.attempts.unwrap_or_default(),
            last_status: row.last_status,
            last_error: row.last_error,
        });
        InboundRow {
            id: Id::from_uuid(row.id),
            route: row.route_id.map(Id::from_uuid),
            size: row.size_bytes,
            peer: row.peer,
            helo: row.helo,
            tls: row.tls,
            sender: row.sender,
            recipient: row.recipient,
            author: row.author,
            subject: row.subject,
            message_id: row.message_id,
            verdicts: row.verdicts,
            kind: row.kind,
            filtered: row.filtered,
            call,
        }
    }
}

/// A page of a tenant's kept mail, newest first, before `before`.
///
/// # Errors
/// See [`StoreError`].
pub async fn list(
    connection: &mut PgConnection,
    tenant: TenantId,
    recipient: Option<&str>,
    before: Option<InboundId>,
    limit: i64,
) -> Result<Vec<InboundRow>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT i.id, i.route_id, i.size_bytes, host(i.peer) AS "peer!", i.helo, i.tls, i.sender, i.recipient,
               i.author, i.subject, i.message_id, i.verdicts, i.kind, i.filtered, c.kind AS "call_kind?",
               c.message_id AS call_message, c.state AS "state?", c.attempts AS "attempts?",
               c.last_status, c.last_error
        FROM inbound i LEFT JOIN inbound_calls c ON c.tenant_id = i.tenant_id AND c.inbound_id = i.id
        WHERE i.tenant_id = $1 AND ($2::uuid IS NULL OR i.id < $2)
          AND ($3::text IS NULL OR lower(i.recipient) = $3)
        ORDER BY i.id DESC LIMIT $4
        "#,
        tenant.uuid(),
        before.map(Id::uuid),
        recipient,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(InboundRow::from).collect())
}

/// One kept mail of a tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn find(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: InboundId,
) -> Result<Option<InboundRow>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT i.id, i.route_id, i.size_bytes, host(i.peer) AS "peer!", i.helo, i.tls, i.sender, i.recipient,
               i.author, i.subject, i.message_id, i.verdicts, i.kind, i.filtered, c.kind AS "call_kind?",
               c.message_id AS call_message, c.state AS "state?", c.attempts AS "attempts?",
               c.last_status, c.last_error
        FROM inbound i LEFT JOIN inbound_calls c ON c.tenant_id = i.tenant_id AND c.inbound_id = i.id
        WHERE i.tenant_id = $1 AND i.id = $2
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(InboundRow::from))
}

/// The content of one kept mail of a tenant.
///
/// # Errors
/// See [`StoreError`].
pub async fn raw(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: InboundId,
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT raw FROM inbound WHERE tenant_id = $1 AND id = $2",
        tenant.uuid(),
        id.uuid()
    )
    .fetch_optional(connection)
    .await?)
}
