//! The addresses that mail leaves from, and whose mail uses which. The installation's; noted in the log of whoever
//! changes them.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::id::{IpId, IpRuleId, TenantId};
use crate::domain::sending::{Ip, IpRule, IpState, Source, portion};
use crate::store::audit::{self, Details, Entry};
use crate::store::ips::WarmupKey;
use crate::store::revisions::{self, Revised};
use crate::store::{Database, Link, PgConnection, StoreError, ips, tenants};

use super::Actor;

/// What may change of an address.
#[derive(Debug, Clone, Default)]
pub struct IpChange {
    /// The name in EHLO.
    pub ehlo: Option<String>,
    /// Its pool.
    pub pool: Option<String>,
    /// Whether it is used.
    pub state: Option<IpState>,
}

impl IpChange {
    /// The address after it. A warm-up that was paused goes on at the day that it is now; one that is asked for anew
    /// begins today.
    fn apply(self, ip: Ip, now: OffsetDateTime) -> Ip {
        let state = self.state.unwrap_or(ip.state);
        let warming_since = match (ip.state, state) {
            (IpState::Active, IpState::Warming) => Some(now),
            (_, IpState::Warming) => ip.warming_since.or(Some(now)),
            _ => ip.warming_since,
        };
        let source =
            Source { ehlo: self.ehlo.unwrap_or_else(|| ip.source.ehlo.clone()), ..(*ip.source).clone() };
        Ip { source: source.into(), pool: self.pool.unwrap_or(ip.pool), state, warming_since, ..ip }
    }
}

/// Adds an address.
///
/// # Errors
/// [`StoreError::Conflict`] when it is there already.
pub async fn create(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    ip: &Ip,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut transaction = database.serve().begin().await?;
    ips::insert(&mut transaction, ip).await?;
    changed(&mut transaction, actor, by, (&ip.id.to_string(), "ip.create", audit::made(details(ip))), now)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Changes an address. `None`: there is none.
///
/// # Errors
/// See [`StoreError`].
pub async fn update(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    id: IpId,
    change: IpChange,
    now: OffsetDateTime,
) -> Result<Option<Ip>, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(before) = ips::find(&mut transaction, id).await? else { return Ok(None) };
    let told = details(&before);
    let ip = change.apply(before, now);
    ips::update(&mut transaction, &ip).await?;
    changed(
        &mut transaction,
        actor,
        by,
        (&id.to_string(), "ip.update", audit::changed(told, details(&ip))),
        now,
    )
    .await?;
    transaction.commit().await?;
    Ok(Some(ip))
}

/// Removes an address: its mail leaves from others. False: there is none.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    id: IpId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(ip) = ips::find(&mut transaction, id).await? else { return Ok(false) };
    ips::delete(&mut transaction, id).await?;
    changed(&mut transaction, actor, by, (&id.to_string(), "ip.delete", audit::removed(details(&ip))), now)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Why there is no rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// There is one for the same mail and pool.
    #[error("there is a rule for the same tenant, stream and pool")]
    Conflict,
    /// It names a tenant that there is not.
    #[error("there is no such tenant")]
    NoTenant,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Adds a rule.
///
/// # Errors
/// See [`RuleError`].
pub async fn create_rule(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    rule: &IpRule,
    now: OffsetDateTime,
) -> Result<(), RuleError> {
    let mut transaction = database.serve().begin().await.map_err(StoreError::from)?;
    if let Some(tenant) = rule.tenant
        && tenants::find(&mut transaction, tenant).await?.is_none()
    {
        return Err(RuleError::NoTenant);
    }
    match ips::insert_rule(&mut transaction, rule).await {
        Err(StoreError::Conflict(_)) => return Err(RuleError::Conflict),
        other => other?,
    }
    let (target, details) = (rule.id.to_string(), audit::made(rule_details(rule)));
    changed(&mut transaction, actor, by, (&target, "ip_rule.create", details), now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}

/// Removes a rule. False: there is none.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete_rule(
    database: &Database,
    actor: &Actor,
    by: TenantId,
    id: IpRuleId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(rule) = ips::find_rule(&mut transaction, id).await? else { return Ok(false) };
    ips::delete_rule(&mut transaction, id).await?;
    let (target, details) = (id.to_string(), audit::removed(rule_details(&rule)));
    changed(&mut transaction, actor, by, (&target, "ip_rule.delete", details), now).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Takes a portion of a warm-up's day for this process; gives how many mails it is. 0: the day has no more.
///
/// # Errors
/// See [`StoreError`].
pub async fn take_portion(link: &mut Link, key: &WarmupKey, allowed: u32) -> Result<u32, StoreError> {
    let mut transaction = link.begin().await?;
    let taken = ips::take_warmup(&mut transaction, key, allowed, portion(allowed)).await?;
    transaction.commit().await?;
    Ok(taken)
}

/// Ends the warm-ups that began before.
///
/// # Errors
/// See [`StoreError`].
pub async fn finish_warmups(link: &mut Link, began_before: OffsetDateTime) -> Result<(), StoreError> {
    let mut transaction = link.begin().await?;
    if ips::finish_warmups(&mut transaction, began_before).await? > 0 {
        revisions::raise(&mut transaction, Revised::Ips).await?;
    }
    transaction.commit().await?;
    Ok(())
}

fn details(ip: &Ip) -> Value {
    json!({
        "address": ip.source.address, "address6": ip.source.address6, "ehlo": ip.source.ehlo, "pool": ip.pool,
        "state": ip.state.as_str(),
    })
}

fn rule_details(rule: &IpRule) -> Value {
    let tenant = rule.tenant.map(|tenant| tenant.to_string());
    json!({ "tenant": tenant, "stream": rule.stream, "pool": rule.pool, "weight": rule.weight })
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    by: TenantId,
    (target, action, details): (&str, &'static str, Details),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target, details };
    audit::append(connection, by, entry, now).await?;
    revisions::raise(connection, Revised::Ips).await
}
