//! What a tenant has seen of addresses: how its newest deliveries to them ended, and its suppressions of them.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::domain::id::TenantId;
use crate::domain::validation::History;

use super::StoreError;

/// Of these addresses, in canonical form ([`EmailAddress::key`](crate::mail::EmailAddress::key)); those of which
/// nothing is known are not among them.
///
/// # Errors
/// See [`StoreError`].
pub async fn of(
    connection: &mut PgConnection,
    tenant: TenantId,
    addresses: &[String],
) -> Result<HashMap<String, History>, StoreError> {
    let ended = sqlx::query!(
        r#"
        SELECT w.address AS "address!",
               max(o.at) FILTER (WHERE o.status = 'delivered') AS delivered_at,
               max(o.at) FILTER (WHERE o.status = 'bounced' AND o.hard) AS bounced_at
        FROM unnest($2::text[]) AS w (address)
        -- The newest tell enough.
        CROSS JOIN LATERAL (
            SELECT d.lane, d.id FROM deliveries d
            WHERE d.tenant_id = $1 AND lower(d.recipient) = lower(w.address) ORDER BY d.id DESC LIMIT 20
        ) d
        JOIN outcomes o ON o.lane = d.lane AND o.delivery_id = d.id
        GROUP BY w.address
        "#,
        tenant.uuid(),
        addresses,
    )
    .fetch_all(&mut *connection)
    .await?;
    let suppressed = sqlx::query!(
        "SELECT address, stream, reason FROM suppressions WHERE tenant_id = $1 AND address = ANY ($2) ORDER BY stream",
        tenant.uuid(),
        addresses,
    )
    .fetch_all(connection)
    .await?;
    let mut known: HashMap<String, History> = HashMap::new();
    for row in ended {
        let history = known.entry(row.address).or_default();
        (history.delivered_at, history.bounced_at) = (row.delivered_at, row.bounced_at);
    }
    for row in suppressed {
        // The schema's CHECK has the reasons of this binary, or those of a newer one during an upgrade.
        if let Ok(reason) = row.reason.parse() {
            known.entry(row.address).or_default().suppressed.push((row.stream, reason));
        }
    }
    Ok(known)
}
