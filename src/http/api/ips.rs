//! `/v1/ips` and `/v1/ip-rules`: the addresses that mail leaves from, and whose mail uses which. Operators' own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::Actor;
use crate::account::ips::{self as operation, IpChange, RuleError};
use crate::domain::id::{Id, IpId, IpRuleId, TenantId};
use crate::domain::sending::{DEFAULT_POOL, Ip, IpRule, IpState, Source, warmup_day};
use crate::domain::submission::StreamName;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::{Fields, parse_domain};
use crate::store::StoreError;
use crate::store::ips::{self, Warmup};

use super::wire::{Page, Paging, moment};

const WHAT: &str = "IP";
const RULE: &str = "IP rule";

fn show(ip: &Ip, warmups: &[Warmup], now: time::OffsetDateTime) -> Value {
    let of_it = warmups.iter().filter(|warmup| warmup.ip == ip.id);
    let today: Vec<Value> = of_it
        .map(|warmup| json!({ "provider": warmup.provider, "allowed": warmup.allowed, "taken": warmup.granted }))
        .collect();
    let warmup = ip
        .warming_since
        .filter(|_| ip.state == IpState::Warming)
        .map(|since| json!({ "since": moment(since), "day": warmup_day(since, now) + 1, "today": today }));
    json!({
        "id": ip.id.to_string(),
        "address": ip.source.address,
        "address6": ip.source.address6,
        "ehlo": ip.source.ehlo,
        "pool": ip.pool,
        "state": ip.state.as_str(),
        "warmup": warmup,
        "created_at": moment(ip.created_at),
    })
}

fn show_rule(rule: &IpRule) -> Value {
    json!({
        "id": rule.id.to_string(),
        "tenant": rule.tenant.map(|tenant| tenant.to_string()),
        "stream": rule.stream,
        "pool": rule.pool,
        "weight": rule.weight,
        "created_at": moment(rule.created_at),
    })
}

async fn given(app: &App, headers: &HeaderMap, body: Body) -> Result<Value, Problem> {
    let body = app.budget.read(headers, body, 16 * 1024).await?;
    extract::json(headers, &body.bytes)
}

fn fields(given: Value) -> Result<Fields, Problem> {
    Fields::of(given, "").map_err(|violation| Problem::invalid(vec![violation]))
}

/// Adds an address.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let given = given(&app, &headers, body).await?;
    let ip = make(&app, &principal.actor(), principal.tenant(), given).await?;
    Ok((StatusCode::CREATED, Json(show(&ip, &[], app.clock.now()))))
}

/// Reads and adds an address.
///
/// # Errors
/// Something is wrong with it, or it is there already.
pub async fn make(app: &App, actor: &Actor, by: TenantId, given: Value) -> Result<Ip, Problem> {
    let mut fields = fields(given)?;
    let now = app.clock.now();
    let address = address(&mut fields);
    let address6 = fields.parsed("address6", "invalid_address", |text| match text.parse::<Ipv6Addr>() {
        Ok(address) if is_usable(address.into()) => Ok(address),
        _ => Err("an IPv6 address of this machine's is needed"),
    });
    let (ehlo, pool) = (ehlo(&mut fields), pool(&mut fields).unwrap_or_else(|| DEFAULT_POOL.to_owned()));
    if ehlo.is_none() && !fields.is_wrong("ehlo") {
        fields.wrong("ehlo", "required", "a host name is needed, which leads to the address");
    }
    let state = state(&mut fields).unwrap_or(IpState::Active);
    let errors = fields.finish();
    let (Some(address), Some(ehlo), true) = (address, ehlo, errors.is_empty()) else {
        return Err(Problem::invalid(errors));
    };
    let warming_since = (state == IpState::Warming).then_some(now);
    let source = Source { address, address6, ehlo }.into();
    let ip = Ip { id: IpId::new(now), source, pool, state, warming_since, created_at: now };
    operation::create(&app.database, actor, by, &ip, now).await.map_err(|error| match error {
        StoreError::Conflict(_) => Problem::new(Kind::Conflict, "the address is there already"),
        other => other.into(),
    })?;
    Ok(ip)
}

/// Required: the address that mail to IPv4 servers leaves from.
fn address(fields: &mut Fields) -> Option<Ipv4Addr> {
    let text = fields.required_text("address")?;
    let address = text.parse::<Ipv4Addr>().ok().filter(|address| is_usable((*address).into()));
    if address.is_none() {
        fields.wrong("address", "invalid_address", "an IPv4 address of this machine's is needed");
    }
    address
}

/// Something can be bound to it. Loopback is: installations are tried out so.
fn is_usable(address: IpAddr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST))
}

fn ehlo(fields: &mut Fields) -> Option<String> {
    let what = "a host name is needed, which leads to the address";
    fields.parsed("ehlo", "invalid_host", |text| parse_domain(text).ok_or(what))
}

fn pool(fields: &mut Fields) -> Option<String> {
    // The alphabet and length of streams.
    let what = "1 to 64 of a-z, 0-9, - and _ are needed";
    fields.parsed("pool", "invalid_pool", |text| {
        StreamName::parse(text).map(|name| name.as_str().to_owned()).map_err(|_| what)
    })
}

fn state(fields: &mut Fields) -> Option<IpState> {
    fields.parsed("state", "invalid_state", |text| {
        IpState::parse(text).ok_or("state is active, warming or paused")
    })
}

/// A page of addresses.
pub async fn list(State(app): State<App>, paging: Paging<IpId>) -> Result<Json<Page<Value>>, Problem> {
    let now = app.clock.now();
    let mut connection = app.database.serve().acquire().await?;
    let rows = ips::list(&mut connection, paging.from, paging.wanted()).await?;
    let ids: Vec<IpId> = rows.iter().map(|ip| ip.id).collect();
    let warmups = ips::warmups(&mut connection, &ids, now.date()).await?;
    Ok(Json(paging.page(rows, |ip| ip.id, |ip| show(&ip, &warmups, now))))
}

async fn shown(app: &App, ip: &Ip) -> Result<Json<Value>, Problem> {
    let now = app.clock.now();
    let mut connection = app.database.serve().acquire().await?;
    let warmups = ips::warmups(&mut connection, &[ip.id], now.date()).await?;
    Ok(Json(show(ip, &warmups, now)))
}

/// One address.
pub async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id: IpId = extract::id(&id, WHAT)?;
    let ip = {
        let mut connection = app.database.serve().acquire().await?;
        ips::find(&mut connection, id).await?
    };
    shown(&app, &ip.ok_or_else(|| Problem::not_found(WHAT))?).await
}

/// Changes name, pool or state.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id: IpId = extract::id(&id, WHAT)?;
    let given = given(&app, &headers, body).await?;
    shown(&app, &change(&app, &principal.actor(), principal.tenant(), id, given).await?).await
}

/// Reads and makes a change of an address.
///
/// # Errors
/// Something is wrong with it, or there is no such address.
pub async fn change(app: &App, actor: &Actor, by: TenantId, id: IpId, given: Value) -> Result<Ip, Problem> {
    let mut fields = fields(given)?;
    let change = IpChange { ehlo: ehlo(&mut fields), pool: pool(&mut fields), state: state(&mut fields) };
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let ip = operation::update(&app.database, actor, by, id, change, app.clock.now()).await?;
    ip.ok_or_else(|| Problem::not_found(WHAT))
}

/// Removes an address.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: IpId = extract::id(&id, WHAT)?;
    let (actor, by, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let deleted = operation::delete(&app.database, &actor, by, id, now).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(WHAT)) }
}

/// Adds a rule.
pub async fn create_rule(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let given = given(&app, &headers, body).await?;
    let rule = make_rule(&app, &principal.actor(), principal.tenant(), given).await?;
    Ok((StatusCode::CREATED, Json(show_rule(&rule))))
}

/// Reads and adds a rule.
///
/// # Errors
/// Something is wrong with it, there is one like it, or no such tenant.
pub async fn make_rule(app: &App, actor: &Actor, by: TenantId, given: Value) -> Result<IpRule, Problem> {
    let mut fields = fields(given)?;
    let tenant = fields.parsed("tenant", "invalid_tenant", |text| {
        text.parse::<Id<_>>().map_err(|_| "the id of a tenant is needed")
    });
    let stream = fields.parsed("stream", "invalid_stream", StreamName::parse);
    let pool = pool(&mut fields);
    if pool.is_none() && !fields.is_wrong("pool") {
        fields.wrong("pool", "required", "the name of a pool is needed");
    }
    let weight = fields.number("weight", 1..=1000).unwrap_or(1);
    let errors = fields.finish();
    let (Some(pool), true) = (pool, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let now = app.clock.now();
    let rule = IpRule {
        id: IpRuleId::new(now),
        tenant,
        stream: stream.map(|stream| stream.as_str().to_owned()),
        pool,
        weight: u32::try_from(weight).unwrap_or(1),
        created_at: now,
    };
    operation::create_rule(&app.database, actor, by, &rule, now).await.map_err(|error| match error {
        RuleError::Conflict => Problem::new(Kind::Conflict, error.to_string()),
        RuleError::NoTenant => Problem::not_found("tenant"),
        RuleError::Store(error) => error.into(),
    })?;
    Ok(rule)
}

/// A page of rules.
pub async fn list_rules(
    State(app): State<App>,
    paging: Paging<IpRuleId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = ips::list_rules(&mut connection, paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |rule| rule.id, |rule| show_rule(&rule))))
}

/// One rule.
pub async fn one_rule(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id: IpRuleId = extract::id(&id, RULE)?;
    let mut connection = app.database.serve().acquire().await?;
    let rule = ips::find_rule(&mut connection, id).await?;
    rule.map(|rule| Json(show_rule(&rule))).ok_or_else(|| Problem::not_found(RULE))
}

/// Removes a rule.
pub async fn delete_rule(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: IpRuleId = extract::id(&id, RULE)?;
    let (actor, by, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let deleted = operation::delete_rule(&app.database, &actor, by, id, now).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(RULE)) }
}
