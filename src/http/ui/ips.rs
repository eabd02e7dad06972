//! `/ui/operator/ips`: the addresses that mail leaves from, their warm-up, and whose mail uses which. For those who run
//! the installation. What is typed is read as the API reads it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::account::ips as operation;
use crate::domain::id::{IpId, IpRuleId};
use crate::domain::sending::{Ip, IpRule, IpState, warmup_day};
use crate::domain::user::Act;
use crate::http::App;
use crate::http::api::ips as api;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::store::ips::{self, Warmup};
use crate::store::reputation::{self, Standings};
use crate::store::tenants;

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::reputation::{Dns, dns};
use super::show::{self, At, Badge, Tone};

/// Addresses, and rules, that are shown.
const MOST: i64 = 500;
const TENANTS: i64 = 1000;
const PATH: &str = "/ui/operator/ips";

#[derive(Template)]
#[template(path = "ui/ips.html")]
struct Ips {
    frame: Frame,
    /// A new address.
    form: Form,
    /// A new rule.
    rule: Form,
    states: [(&'static str, &'static str); 2],
    tenants: Vec<(String, String)>,
    rows: Vec<Row>,
    rules: Vec<RuleRow>,
}

struct Row {
    id: String,
    address: String,
    address6: String,
    ehlo: String,
    pool: String,
    badge: Badge,
    /// Which day of its warm-up it is; empty: none.
    day: String,
    /// What has left today of what may, over all providers.
    today: Option<Today>,
    dns: Option<Dns>,
}

struct Today {
    taken: i64,
    allowed: i64,
    told: String,
}

struct RuleRow {
    id: String,
    tenant: String,
    stream: String,
    pool: String,
    weight: u32,
}

fn badge(state: IpState) -> Badge {
    match state {
        IpState::Active => Badge("active", Tone::Good),
        IpState::Warming => Badge("warming up", Tone::Info),
        IpState::Paused => Badge("paused", Tone::Warn),
    }
}

fn day(ip: &Ip, now: OffsetDateTime) -> String {
    let since = ip.warming_since.filter(|_| ip.state == IpState::Warming);
    since.map(|since| format!("day {}", warmup_day(since, now) + 1)).unwrap_or_default()
}

fn today(warmups: &[Warmup]) -> Option<Today> {
    if warmups.is_empty() {
        return None;
    }
    let sum = |of: fn(&Warmup) -> i32| warmups.iter().map(|one| i64::from(of(one))).sum::<i64>();
    let (taken, allowed) = (sum(|one| one.granted), sum(|one| one.allowed));
    Some(Today { taken, allowed, told: format!("{} of {}", show::count(taken), show::count(allowed)) })
}

fn row(ip: &Ip, warmups: &[Warmup], standings: &[Standings], now: OffsetDateTime) -> Row {
    let of_it: Vec<Warmup> = warmups.iter().filter(|one| one.ip == ip.id).cloned().collect();
    let address = ip.source.address.to_string();
    Row {
        id: ip.id.to_string(),
        address6: ip.source.address6.map(|address| address.to_string()).unwrap_or_default(),
        ehlo: ip.source.ehlo.clone(),
        pool: ip.pool.clone(),
        badge: badge(ip.state),
        day: day(ip, now),
        today: today(&of_it).filter(|_| ip.state == IpState::Warming),
        dns: standings.iter().find(|one| one.name == address).map(dns),
        address,
    }
}

fn rule_row(rule: &IpRule, tenants: &[(String, String)]) -> RuleRow {
    let tenant = rule.tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
    let name = tenants.iter().find(|(id, _)| *id == tenant).map(|(_, name)| name.clone());
    RuleRow {
        id: rule.id.to_string(),
        tenant: name.unwrap_or(tenant),
        stream: rule.stream.clone().unwrap_or_default(),
        pool: rule.pool.clone(),
        weight: rule.weight,
    }
}

async fn index(app: &App, page: &Page, form: Form, rule: Form) -> Result<Ips, Failed> {
    let now = app.clock.now();
    let mut connection = app.database.serve().acquire().await?;
    let rows = ips::list(&mut connection, None, MOST).await?;
    let ids: Vec<IpId> = rows.iter().map(|ip| ip.id).collect();
    let warmups = ips::warmups(&mut connection, &ids, now.date()).await?;
    let standings = reputation::standings_of_ips(&mut connection).await?;
    let rules = ips::list_rules(&mut connection, None, MOST).await?;
    let known = tenants::list(&mut connection, None, TENANTS).await?;
    let everybody = std::iter::once((String::new(), "everybody".to_owned()));
    let named = known.iter().map(|tenant| (tenant.id.to_string(), tenant.name.as_str().to_owned()));
    let tenants: Vec<(String, String)> = everybody.chain(named).collect();
    Ok(Ips {
        frame: page.frame("IPs & warm-up", "ips"),
        form,
        rule,
        states: [("warming", "warm it up: it is new to the world"), ("active", "use it fully")],
        rows: rows.iter().map(|ip| row(ip, &warmups, &standings, now)).collect(),
        rules: rules.iter().map(|rule| rule_row(rule, &tenants)).collect(),
        tenants,
    })
}

impl Ips {
    fn tenant_options(&self) -> Vec<(&str, &str)> {
        self.tenants.iter().map(|(id, name)| (&**id, &**name)).collect()
    }
}

fn first() -> Form {
    Form::default().with("state", "warming")
}

/// The page of addresses.
pub async fn list(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    shown(&index(&app, &page, first(), Form::default()).await?)
}

/// Adds an address.
pub async fn create(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let given = form.json(&["address", "address6", "ehlo", "pool", "state"]);
    match api::make(&app, &page.actor(), page.tenant(), given.into()).await {
        Ok(_) => Ok(done(PATH, "saved")),
        Err(problem) => refused(&index(&app, &page, form.refused(&problem), Form::default()).await?),
    }
}

/// Adds a rule.
pub async fn create_rule(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let mut given = form.json(&["tenant", "stream", "pool"]);
    number(&mut given, &form, "weight");
    match api::make_rule(&app, &page.actor(), page.tenant(), given.into()).await {
        Ok(_) => Ok(done(PATH, "saved")),
        Err(problem) => refused(&index(&app, &page, first(), form.refused(&problem)).await?),
    }
}

/// A number as JSON has it; what is none goes as it was typed, and is refused.
fn number(given: &mut Map<String, Value>, form: &Form, name: &str) {
    if let Some(text) = form.given(name) {
        let value = text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from);
        given.insert(name.to_owned(), value);
    }
}

/// Removes a rule.
pub async fn delete_rule(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let id: IpRuleId = extract::id(&id, "IP rule")?;
    let (actor, by, now) = (posted.page.actor(), posted.page.tenant(), app.clock.now());
    if !operation::delete_rule(&app.database, &actor, by, id, now).await? {
        return Err(Problem::not_found("IP rule").into());
    }
    Ok(done(PATH, "deleted"))
}

#[derive(Template)]
#[template(path = "ui/ip.html")]
struct One {
    frame: Frame,
    form: Form,
    states: [(&'static str, &'static str); 3],
    id: String,
    address: String,
    address6: String,
    badge: Badge,
    day: String,
    is_warming: bool,
    providers: Vec<(String, Today)>,
    dns: Option<Dns>,
    created: At,
}

async fn view(app: &App, page: &Page, ip: &Ip, form: Form) -> Result<One, Failed> {
    let now = app.clock.now();
    let mut connection = app.database.serve().acquire().await?;
    let warmups = ips::warmups(&mut connection, &[ip.id], now.date()).await?;
    let standings = reputation::standings_of_ips(&mut connection).await?;
    let address = ip.source.address.to_string();
    let provider = |one: &Warmup| Some((one.provider.clone(), today(std::slice::from_ref(one))?));
    Ok(One {
        frame: page.frame(&*address, "ips"),
        form,
        states: [
            ("active", "used fully"),
            ("warming", "warming up: as much as the day allows"),
            ("paused", "not used"),
        ],
        id: ip.id.to_string(),
        address6: ip.source.address6.map(|address| address.to_string()).unwrap_or_default(),
        badge: badge(ip.state),
        day: day(ip, now),
        is_warming: ip.state == IpState::Warming,
        providers: warmups.iter().filter_map(provider).collect(),
        dns: standings.iter().find(|one| one.name == address).map(dns),
        created: show::ago(ip.created_at),
        address,
    })
}

async fn find(app: &App, id: &str) -> Result<Ip, Failed> {
    let id: IpId = extract::id(id, "IP")?;
    let mut connection = app.database.serve().acquire().await?;
    Ok(ips::find(&mut connection, id).await?.ok_or_else(|| Problem::not_found("IP"))?)
}

/// The page of one address.
pub async fn one(State(app): State<App>, Path(id): Path<String>, page: Page) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    let ip = find(&app, &id).await?;
    let form =
        Form::default().with("ehlo", &ip.source.ehlo).with("pool", &ip.pool).with("state", ip.state.as_str());
    shown(&view(&app, &page, &ip, form).await?)
}

/// Changes name, pool or state.
pub async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let ip = find(&app, &id).await?;
    let given = form.json(&["ehlo", "pool", "state"]);
    match api::change(&app, &page.actor(), page.tenant(), ip.id, given.into()).await {
        Ok(_) => Ok(done(&format!("{PATH}/{id}"), "saved")),
        Err(problem) => refused(&view(&app, &page, &ip, form.refused(&problem)).await?),
    }
}

/// Removes an address.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let id: IpId = extract::id(&id, "IP")?;
    let (actor, by, now) = (posted.page.actor(), posted.page.tenant(), app.clock.now());
    if !operation::delete(&app.database, &actor, by, id, now).await? {
        return Err(Problem::not_found("IP").into());
    }
    Ok(done(PATH, "deleted"))
}
