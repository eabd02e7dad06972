//! `/v1/queue` and `/v1/sites`: what waits, for whom, and what its next hops want; and what is done about it. Operators'
//! view of all tenants.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::{pauses as operation, queue as acts};
use crate::domain::id::DeliveryId;
use crate::domain::pacing::SiteKey;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Query};
use crate::http::fields::{Fields, parse_domain};
use crate::store::queue::{self, Destination, LastError};
use crate::store::sites::{self, ShareRow, SiteState};

use super::wire::{Page, moment};

fn show(destination: &Destination, errors: &HashMap<DeliveryId, LastError>) -> Value {
    let error = destination.tried.and_then(|tried| errors.get(&tried)).map(|error| {
        json!({
            "at": moment(error.at), "step": error.step, "host": error.host, "code": error.code,
            "text": error.reply, "delivery_id": error.delivery.to_string(),
        })
    });
    json!({
        "domain": destination.domain,
        "depth": destination.depth,
        "due": destination.due,
        "sending": destination.leased,
        "held": destination.held,
        "oldest": moment(destination.oldest.born()),
        "last_error": error,
    })
}

/// A page of recipient domains for which mail waits, the deepest first.
pub async fn destinations(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let limit = query.limit();
    let domain =
        query.parsed("domain", "invalid_domain", |text| parse_domain(text).ok_or("this is no domain"));
    let after: Option<(i64, String)> = query.parsed("cursor", "invalid_cursor", |text| {
        let parts =
            text.split_once(':').and_then(|(depth, domain)| Some((depth.parse().ok()?, domain.to_owned())));
        parts.ok_or("this is no cursor of this list")
    });
    query.finish()?;
    let after = after.as_ref().map(|(depth, domain)| (*depth, domain.as_str()));
    let mut connection = app.database.serve().acquire().await?;
    let now = app.clock.now();
    let rows = queue::destinations(&mut connection, domain.as_deref(), after, limit as i64 + 1, now).await?;
    let tried: Vec<DeliveryId> = rows.iter().filter_map(|row| row.tried).collect();
    let errors = queue::last_errors(&mut connection, &tried).await?;
    let errors: HashMap<_, _> = errors.into_iter().map(|error| (error.delivery, error)).collect();
    let cursor = |row: &Destination| format!("{}:{}", row.depth, row.domain);
    Ok(Json(Page::of(rows, limit, cursor, |row| show(&row, &errors))))
}

/// The one field of what is done to a destination.
async fn domain_of(app: &App, headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    let body = app.budget.read(headers, body, 16 * 1024).await?;
    let mut fields = Fields::of(extract::json(headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))?;
    let domain =
        fields.parsed("domain", "invalid_domain", |text| parse_domain(text).ok_or("this is no domain"));
    if domain.is_none() && !fields.is_wrong("domain") {
        fields.wrong("domain", "required", "a recipient domain is needed");
    }
    let errors = fields.finish();
    match domain {
        Some(domain) if errors.is_empty() => Ok(domain),
        _ => Err(Problem::invalid(errors)),
    }
}

/// Tries now what waits for a destination's next try.
pub async fn retry(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let domain = domain_of(&app, &headers, body).await?;
    let (actor, by, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let retried = acts::retry(&app.database, &actor, by, &domain, now).await?;
    Ok(Json(json!({ "domain": domain, "retried": retried })))
}

/// Takes back what waits for a destination.
pub async fn purge(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let domain = domain_of(&app, &headers, body).await?;
    let (actor, by, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let purged = acts::purge(&app.database, &actor, by, &domain, now).await?;
    Ok(Json(json!({ "domain": domain, "canceled": purged.canceled, "stopping": purged.stopping })))
}

fn show_site(site: &SiteState, shares: &[ShareRow]) -> Value {
    let of_it = shares.iter().filter(|share| share.key == site.key);
    let shares: Vec<Value> = of_it
        .map(|share| json!({ "process": share.incarnation, "connections": share.connections }))
        .collect();
    let slowed = site.slowed_until.map(|until| {
        json!({ "until": moment(until), "mails": site.slow_mails, "connections": site.slow_connections })
    });
    json!({
        "site": site.key.site,
        "source": site.key.source,
        "provider": if site.provider.is_empty() { None } else { Some(&site.provider) },
        "shares": shares,
        "suspended_until": site.suspended_until.map(moment),
        "slowed": slowed,
        "told": site.told,
        "told_at": site.told_at.map(moment),
    })
}

/// A page of sites that have been used lately.
pub async fn sites(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let limit = query.limit();
    let after = query.parsed("cursor", "invalid_cursor", |text| {
        let parts = text
            .split_once(' ')
            .map(|(source, site)| SiteKey { site: site.to_owned(), source: source.to_owned() });
        parts.ok_or("this is no cursor of this list")
    });
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let rows = sites::list(&mut connection, after.as_ref(), limit as i64 + 1).await?;
    let keys: Vec<SiteKey> = rows.iter().map(|site| site.key.clone()).collect();
    let shares = sites::shares(&mut connection, &keys, app.clock.now()).await?;
    let cursor = |site: &SiteState| format!("{} {}", site.key.source, site.key.site);
    Ok(Json(Page::of(rows, limit, cursor, |site| show_site(&site, &shares))))
}

/// Lifts what a site's own replies have suspended or slowed.
pub async fn resume(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let body = app.budget.read(&headers, body, 16 * 1024).await?;
    let mut fields = Fields::of(extract::json(&headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))?;
    let site = fields.required_text("site").unwrap_or_default();
    let source = fields.text("source").unwrap_or_default();
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let (actor, by, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let lifted = operation::lift(&app.database, &actor, by, &SiteKey { site, source }, now).await?;
    if lifted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("site")) }
}
