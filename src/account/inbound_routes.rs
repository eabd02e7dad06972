//! Tenants' inbound routes: made, changed and deleted, and opened for the door. A tenant has routes for domains that it
//! holds, or, where this installation asks for no proof, for domains that nobody else has.

use std::collections::HashMap;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::filter::Filter;
use crate::domain::id::{InboundRouteId, TenantId};
use crate::domain::inbound::{Action, InboundRoute, Pattern};
use crate::domain::webhook::WebhookSecret;
use crate::mail::EmailAddress;
use crate::seal::{NoRandomness, Subkey};
use crate::store::audit::{self, Details, Entry};
use crate::store::filters::filters_value;
use crate::store::inbound_routes::{self, StoredInboundRoute};
use crate::store::revisions::{self, Revised};
use crate::store::{Database, PgConnection, StoreError};
use crate::submission::SenderPolicy;

use super::Actor;

/// A route to make.
#[derive(Debug, Clone)]
pub struct NewInboundRoute {
    /// For which recipients.
    pub pattern: Pattern,
    /// Before or after others.
    pub priority: i32,
    /// What is done.
    pub action: Action,
    /// What its mail is looked at for.
    pub filters: Vec<Filter>,
}

/// What is to be changed of a route; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct RouteChange {
    /// For which recipients.
    pub pattern: Option<Pattern>,
    /// Before or after others.
    pub priority: Option<i32>,
    /// What is done.
    pub action: Option<Action>,
    /// What its mail is looked at for.
    pub filters: Option<Vec<Filter>>,
}

/// Why there is no route.
#[derive(Debug, thiserror::Error)]
pub enum InboundRouteError {
    /// The tenant has one with this pattern.
    #[error("there is a route with this pattern")]
    Exists,
    /// The domain is not the tenant's.
    #[error("mail for this domain is not yours to take: verify the domain first (POST /v1/domains)")]
    NotHeld,
    /// See [`NoRandomness`].
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What changes need.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    /// Where routes are.
    pub database: &'a Database,
    /// Seals secrets.
    pub seal: &'a Subkey,
    /// Whether domains must be proved.
    pub policy: SenderPolicy,
}

/// Makes a route.
///
/// # Errors
/// See [`InboundRouteError`].
pub async fn create(
    means: Means<'_>,
    actor: &Actor,
    tenant: TenantId,
    new: NewInboundRoute,
    now: OffsetDateTime,
) -> Result<StoredInboundRoute, InboundRouteError> {
    let id = InboundRouteId::new(now);
    let mut stored = StoredInboundRoute {
        id,
        tenant,
        local_pattern: new.pattern.local().to_owned(),
        domain: new.pattern.domain().to_owned(),
        priority: new.priority,
        action: String::new(),
        url: None,
        secret_sealed: None,
        forward_to: None,
        filters: new.filters,
        created_at: now,
    };
    set_action(&mut stored, &new.action, means.seal)?;
    let mut transaction = means.database.serve().begin().await.map_err(StoreError::from)?;
    claim_domain(&mut transaction, means.policy, tenant, &stored.domain).await?;
    match inbound_routes::insert(&mut transaction, &stored).await {
        Err(StoreError::Conflict(_)) => return Err(InboundRouteError::Exists),
        other => other?,
    }
    changed(&mut transaction, actor, &stored, "inbound_route.create", audit::made(shown(&stored)), now)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(stored)
}

/// Changes a route. `None`: the tenant has no such route.
///
/// # Errors
/// See [`InboundRouteError`].
pub async fn update(
    means: Means<'_>,
    actor: &Actor,
    (tenant, id): (TenantId, InboundRouteId),
    change: RouteChange,
    now: OffsetDateTime,
) -> Result<Option<StoredInboundRoute>, InboundRouteError> {
    let mut transaction = means.database.serve().begin().await.map_err(StoreError::from)?;
    let Some(mut stored) = inbound_routes::find_to_change(&mut transaction, tenant, id).await? else {
        return Ok(None);
    };
    let before = shown(&stored);
    if let Some(pattern) = change.pattern {
        stored.local_pattern = pattern.local().to_owned();
        if stored.domain != pattern.domain() {
            stored.domain = pattern.domain().to_owned();
            claim_domain(&mut transaction, means.policy, tenant, &stored.domain).await?;
        }
    }
    if let Some(action) = &change.action {
        set_action(&mut stored, action, means.seal)?;
    }
    stored.priority = change.priority.unwrap_or(stored.priority);
    stored.filters = change.filters.unwrap_or(stored.filters);
    match inbound_routes::update(&mut transaction, &stored).await {
        Err(StoreError::Conflict(_)) => return Err(InboundRouteError::Exists),
        other => other?,
    }
    let details = audit::changed(before, shown(&stored));
    changed(&mut transaction, actor, &stored, "inbound_route.update", details, now).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(Some(stored))
}

/// Gives a stored route an action, and takes from it what belonged to the one before.
fn set_action(
    stored: &mut StoredInboundRoute,
    action: &Action,
    seal: &Subkey,
) -> Result<(), InboundRouteError> {
    stored.action = action.as_str().to_owned();
    (stored.url, stored.secret_sealed, stored.forward_to) = match action {
        Action::Webhook { url, secret } => {
            (Some(url.clone()), Some(seal.seal(&stored.id.to_string(), secret.octets())?), None)
        }
        Action::Forward(to) => (None, None, Some(to.as_str().to_owned())),
        Action::Store | Action::Reject => (None, None, None),
    };
    Ok(())
}

async fn claim_domain(
    connection: &mut PgConnection,
    policy: SenderPolicy,
    tenant: TenantId,
    domain: &str,
) -> Result<(), InboundRouteError> {
    inbound_routes::lock_domain(connection, domain).await?;
    if may_take(connection, policy, tenant, domain).await? { Ok(()) } else { Err(InboundRouteError::NotHeld) }
}

/// Deletes a route. False: the tenant has no such route.
///
/// # Errors
/// See [`StoreError`].
pub async fn delete(
    database: &Database,
    actor: &Actor,
    tenant: TenantId,
    id: InboundRouteId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut transaction = database.serve().begin().await?;
    let Some(stored) = inbound_routes::find(&mut transaction, tenant, id).await? else { return Ok(false) };
    inbound_routes::delete(&mut transaction, tenant, id).await?;
    changed(&mut transaction, actor, &stored, "inbound_route.delete", audit::removed(shown(&stored)), now)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

async fn may_take(
    connection: &mut PgConnection,
    policy: SenderPolicy,
    tenant: TenantId,
    domain: &str,
) -> Result<bool, StoreError> {
    let holders = inbound_routes::holders(connection, &with_parents(domain)).await?;
    Ok(match holder_of(&holders.into_iter().collect(), domain) {
        Some(holder) => holder == tenant,
        None if policy == SenderPolicy::Any => {
            !inbound_routes::is_of_another(connection, tenant, domain).await?
        }
        None => false,
    })
}

/// All routes that are in force, ready to be used. A route whose domain is no longer its tenant's is not.
///
/// # Errors
/// See [`StoreError`].
pub async fn open_all(means: Means<'_>) -> Result<Vec<InboundRoute>, StoreError> {
    let mut connection = means.database.serve().acquire().await?;
    let stored = inbound_routes::of_all_tenants(&mut connection).await?;
    let mut names: Vec<String> = stored.iter().flat_map(|route| with_parents(&route.domain)).collect();
    names.sort();
    names.dedup();
    let holders: HashMap<String, TenantId> =
        inbound_routes::holders(&mut connection, &names).await?.into_iter().collect();
    let in_force = |route: &StoredInboundRoute| match holder_of(&holders, &route.domain) {
        Some(holder) => holder == route.tenant,
        None => means.policy == SenderPolicy::Any,
    };
    Ok(stored.into_iter().filter(in_force).filter_map(|route| open(means.seal, route)).collect())
}

fn open(seal: &Subkey, stored: StoredInboundRoute) -> Option<InboundRoute> {
    let name = stored.id.to_string();
    let action = match stored.action.as_str() {
        "webhook" => {
            let clear = seal.open(&name, stored.secret_sealed.as_deref()?).ok();
            let Some(secret) = clear.and_then(|clear| WebhookSecret::from_octets(clear).ok()) else {
                tracing::error!(inbound_route.id = name, "the route's secret does not open; it is not used");
                return None;
            };
            Action::Webhook { url: stored.url?, secret }
        }
        "store" => Action::Store,
        "forward" => Action::Forward(EmailAddress::parse(stored.forward_to.as_deref()?).ok()?),
        "reject" => Action::Reject,
        // Of a newer version, during an upgrade.
        _ => return None,
    };
    Some(InboundRoute {
        id: stored.id,
        tenant: stored.tenant,
        pattern: Pattern::parse(&format!("{}@{}", stored.local_pattern, stored.domain)).ok()?,
        priority: stored.priority,
        action,
        filters: stored.filters,
    })
}

/// A domain and those above it, down to two labels: who holds `acme.example` holds `in.acme.example`.
fn with_parents(domain: &str) -> Vec<String> {
    let mut names = vec![domain.to_owned()];
    let mut rest = domain;
    while let Some((_, parent)) = rest.split_once('.') {
        if !parent.contains('.') {
            break;
        }
        names.push(parent.to_owned());
        rest = parent;
    }
    names
}

/// Who holds the nearest of the domain and those above it.
fn holder_of(holders: &HashMap<String, TenantId>, domain: &str) -> Option<TenantId> {
    with_parents(domain).iter().find_map(|name| holders.get(name).copied())
}

/// As the audit log tells it.
fn shown(route: &StoredInboundRoute) -> Value {
    json!({
        "match": format!("{}@{}", route.local_pattern, route.domain),
        "priority": route.priority,
        "action": route.action,
        "url": route.url,
        "to": route.forward_to,
        "filters": filters_value(&route.filters),
    })
}

async fn changed(
    connection: &mut PgConnection,
    actor: &Actor,
    route: &StoredInboundRoute,
    action: &'static str,
    details: Details,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let target = route.id.to_string();
    let entry = Entry { actor: &actor.name, ip: actor.ip, action, target: &target, details };
    audit::append(connection, route.tenant, entry, now).await?;
    revisions::raise(connection, Revised::Inbound).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_domain_holds_what_is_below_it_unless_it_is_held_itself() {
        let (one, two) = (
            TenantId::new(time::macros::datetime!(2026-11-25 10:00 UTC)),
            TenantId::new(time::macros::datetime!(2026-11-25 11:00 UTC)),
        );
        let holders = HashMap::from([("acme.example".to_owned(), one), ("eu.acme.example".to_owned(), two)]);
        let cases = [
            ("acme.example", Some(one)),
            ("in.acme.example", Some(one)),
            ("eu.acme.example", Some(two)),
            ("in.eu.acme.example", Some(two)),
            ("notacme.example", None),
            ("example", None),
        ];
        for (domain, expected) in cases {
            assert_eq!(holder_of(&holders, domain), expected, "{domain}");
        }
    }
}
