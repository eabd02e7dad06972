//! What tenants are limited to: an operator's decision.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::id::TenantId;
use crate::domain::quota::Limits;
use crate::store::audit::{self, Entry};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, StoreError, quotas, tenants};

use super::Actor;

/// Changes a tenant's limits. `None`: there is no such tenant. `change` is given the present ones.
///
/// # Errors
/// See [`StoreError`].
pub async fn set(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    change: impl FnOnce(Limits) -> Limits + Send,
    now: OffsetDateTime,
) -> Result<Option<Limits>, StoreError> {
    let mut transaction = database.serve().begin().await?;
    if tenants::find(&mut transaction, tenant).await?.is_none() {
        return Ok(None);
    }
    let before = quotas::find(&mut transaction, tenant).await?;
    let limits = change(before);
    quotas::set(&mut transaction, tenant, &limits).await?;
    let (target, details) = (tenant.to_string(), audit::changed(shown(&before), shown(&limits)));
    let entry = Entry { actor: &actor.name, ip: actor.ip, action: "tenant.limits", target: &target, details };
    audit::append(&mut transaction, tenant, entry, now).await?;
    revisions::raise(&mut transaction, Revised::Quotas).await?;
    transaction.commit().await?;
    Ok(Some(limits))
}

/// As the audit log and the API tell them.
pub fn shown(limits: &Limits) -> Value {
    json!({
        "per_second": limits.per_second,
        "per_day": limits.per_day,
        "per_month": limits.per_month,
        "message_bytes": limits.message_bytes,
        "recipients": limits.recipients,
    })
}
