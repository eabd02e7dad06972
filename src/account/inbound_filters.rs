//! A tenant's own filters of mail that comes in: looked at before those of the route.

use std::collections::HashMap;

use serde_json::json;
use time::OffsetDateTime;

use crate::domain::filter::Filter;
use crate::domain::id::TenantId;
use crate::store::audit::{self, Entry};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, StoreError, filters};

use super::Actor;

/// Replaces a tenant's filters.
///
/// # Errors
/// See [`StoreError`].
pub async fn set(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    wanted: &[Filter],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut transaction = database.serve().begin().await?;
    let before = filters::of_tenant(&mut transaction, tenant).await?;
    let before = before.map_or_else(Vec::new, |(filters, _)| filters);
    filters::set(&mut transaction, tenant, wanted, now).await?;
    let known = |filters: &[Filter]| json!({ "filters": filters::filters_value(filters) });
    let details = audit::changed(known(&before), known(wanted));
    let entry =
        Entry { actor: &actor.name, ip: actor.ip, action: "inbound_filters.set", target: "", details };
    audit::append(&mut transaction, tenant, entry, now).await?;
    revisions::raise(&mut transaction, Revised::Inbound).await?;
    transaction.commit().await?;
    Ok(())
}

/// All tenants' filters, for the door.
///
/// # Errors
/// See [`StoreError`].
pub async fn all(database: &Database) -> Result<HashMap<TenantId, Vec<Filter>>, StoreError> {
    let mut connection = database.serve().acquire().await?;
    Ok(filters::of_all_tenants(&mut connection).await?.into_iter().collect())
}
