//! The recipients of messages, with what is each one's alone.

use sqlx::PgConnection;

use crate::domain::delivery::Role;
use crate::domain::handling::Particulars;
use crate::domain::id::{DeliveryId, Id, MessageId, TenantId};

use super::{StoreError, handling};

/// A recipient of a message, with what is his alone.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// How the header names him.
    pub role: Role,
    /// To whom.
    pub address: String,
    /// What is his alone.
    pub particulars: Particulars,
}

/// The recipients of a message, in the order in which they were given.
///
/// # Errors
/// See [`StoreError`].
pub async fn of(
    connection: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Vec<Recipient>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, role, recipient, particulars FROM deliveries
        WHERE tenant_id = $1 AND lane = $2 AND id > $3 AND id <= $4 ORDER BY id
        "#,
        tenant.uuid(),
        message.lane().number(),
        message.uuid(),
        message.last_delivery().uuid(),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Recipient {
            delivery: Id::from_uuid(row.id),
            role: Role::from_number(row.role),
            address: row.recipient,
            particulars: handling::particulars(row.particulars.as_ref()),
        })
        .collect())
}
