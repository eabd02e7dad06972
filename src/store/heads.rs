//! What those who tell of events elsewhere want to know of their messages.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::id::{Id, MessageId, TenantId};

use super::StoreError;

/// The head of a message.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The Message-ID header, with its angle brackets.
    pub message_id: String,
    /// As the recipient sees it.
    pub subject: String,
    /// The author.
    pub from: String,
    /// The addressees.
    pub to: Vec<String>,
    /// Octets.
    pub size_bytes: i32,
}

/// The heads of messages; those that have left by retention are not among them.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_messages(
    connection: &mut PgConnection,
    tenant: TenantId,
    messages: &[MessageId],
) -> Result<HashMap<MessageId, Head>, StoreError> {
    let lanes: Vec<i16> = messages.iter().map(|id| id.lane().number()).collect();
    let ids: Vec<Uuid> = messages.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT m.id, m.message_id, m.subject, m.addresses, m.size_bytes
        FROM unnest($2::smallint[], $3::uuid[]) AS wanted (lane, id)
        JOIN messages m ON m.lane = wanted.lane AND m.id = wanted.id
        WHERE m.tenant_id = $1
        "#,
        tenant.uuid(),
        &lanes,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let texts = |value: Option<&serde_json::Value>| -> Vec<String> {
        let list = value.and_then(serde_json::Value::as_array).into_iter().flatten();
        list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let head = |row_addresses: &serde_json::Value| {
        let from = row_addresses.get("from").and_then(serde_json::Value::as_str).unwrap_or_default();
        (from.to_owned(), texts(row_addresses.get("to")))
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let (from, to) = head(&row.addresses);
            let head = Head {
                message_id: row.message_id,
                subject: row.subject,
                from,
                to,
                size_bytes: row.size_bytes,
            };
            (Id::from_uuid(row.id), head)
        })
        .collect())
}
