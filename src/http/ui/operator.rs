//! `/ui/operator/…`: the installation: its tenants, what waits for whom, what its next hops want, and its nodes.
//! For those who run it; crosses tenants.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use crate::account::pauses as pause_operation;
use crate::account::tenants::{self as operation, Changes, Standing};
use crate::domain::id::{DeliveryId, PauseId, TenantId};
use crate::domain::pacing::SiteKey;
use crate::domain::pause::{Held, Pause};
use crate::domain::tenant::TenantName;
use crate::domain::user::Act;
use crate::http::App;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::http::fields::parse_domain;
use crate::store::nodes::{self, NodeRow};
use crate::store::queue::{self, Destination, LastError};
use crate::store::sites::{self, SiteState};
use crate::store::{pauses, tenants};

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At, Badge, Tone};

const TENANTS: i64 = 1000;
const DESTINATIONS: usize = 100;
const SITES: i64 = 200;
const NODES: i64 = 50;
/// Characters of a site's name, and of a reason.
const LONGEST: usize = 255;

#[derive(Template)]
#[template(path = "ui/tenants.html")]
struct Tenants {
    frame: Frame,
    form: Form,
    rows: Vec<TenantRow>,
}

struct TenantRow {
    id: String,
    name: String,
    badge: Badge,
    is_suspended: bool,
    created: At,
}

async fn tenant_rows(app: &App) -> Result<Vec<TenantRow>, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = tenants::list(&mut connection, None, TENANTS).await?;
    let row = |tenant: &crate::domain::tenant::Tenant| TenantRow {
        id: tenant.id.to_string(),
        name: tenant.name.as_str().to_owned(),
        badge: match tenant.suspended_at {
            Some(_) => Badge("suspended", Tone::Bad),
            None => Badge("active", Tone::Good),
        },
        is_suspended: tenant.suspended_at.is_some(),
        created: show::ago(tenant.created_at),
    };
    Ok(rows.iter().map(row).collect())
}

/// The page of tenants.
pub async fn list_tenants(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    let (frame, form) = (page.frame("Tenants", "tenants"), Form::default());
    shown(&Tenants { frame, form, rows: tenant_rows(&app).await? })
}

/// Makes a tenant.
pub async fn create_tenant(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let made =
        match TenantName::parse(form.text("name")) {
            Ok(name) => operation::create(&app.database, &page.actor(), name, app.clock.now()).await.map_err(
                |error| match error {
                    operation::TenantError::NameTaken => {
                        Problem::field("/name", "taken", "another tenant has this name")
                    }
                    other => other.into(),
                },
            ),
            Err(error) => Err(Problem::field("/name", "invalid_name", error.to_string())),
        };
    match made {
        Ok(_) => Ok(done("/ui/operator/tenants", "saved")),
        Err(problem) => {
            let (frame, form) = (page.frame("Tenants", "tenants"), form.refused(&problem));
            refused(&Tenants { frame, form, rows: tenant_rows(&app).await? })
        }
    }
}

/// Suspends a tenant, or lets it send again.
pub async fn suspend(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let id: TenantId = extract::id(&id, "tenant")?;
    let (standing, code) = if posted.form.on("reinstate") {
        (Standing::Active, "reinstated")
    } else {
        (Standing::Suspended, "suspended")
    };
    let changes = Changes { standing: Some(standing), ..Changes::default() };
    operation::update(&app.database, &posted.page.actor(), id, changes, app.clock.now()).await?;
    Ok(done("/ui/operator/tenants", code))
}

#[derive(Template)]
#[template(path = "ui/queue.html")]
struct Queue {
    frame: Frame,
    form: Form,
    filter: Form,
    depth: Depth,
    oldest: String,
    destinations: Vec<DestinationRow>,
    more: String,
    sites: Vec<SiteRow>,
    pauses: Vec<PauseRow>,
}

struct Depth {
    due: String,
    waiting: String,
    leased: String,
    suspects: String,
}

struct DestinationRow {
    domain: String,
    depth: String,
    due: String,
    sending: String,
    held: String,
    oldest: At,
    error: String,
    error_at: Option<At>,
}

struct SiteRow {
    site: String,
    source: String,
    provider: String,
    badge: Badge,
    until: Option<At>,
    told: String,
    is_changed: bool,
}

struct PauseRow {
    id: String,
    site: String,
    reason: String,
    since: At,
}

fn destination_row(one: &Destination, errors: &HashMap<DeliveryId, LastError>) -> DestinationRow {
    let error = one.tried.and_then(|tried| errors.get(&tried));
    let told = error.map(|error| {
        let code = error.code.map(|code| code.to_string());
        let parts = [error.host.as_deref(), code.as_deref(), Some(error.reply.as_str())];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    });
    DestinationRow {
        domain: one.domain.clone(),
        depth: show::count(one.depth),
        due: show::count(one.due),
        sending: show::count(one.leased),
        held: show::count(one.held),
        oldest: show::ago(one.oldest.born()),
        error: told.unwrap_or_default(),
        error_at: error.map(|error| show::ago(error.at)),
    }
}

fn site_row(site: &SiteState, now: time::OffsetDateTime) -> SiteRow {
    let suspended = site.suspended_until.filter(|until| *until > now);
    let slowed = site.slowed_until.filter(|until| *until > now);
    let badge = match (suspended, slowed) {
        (Some(_), _) => Badge("suspended", Tone::Bad),
        (None, Some(_)) => Badge("slowed", Tone::Warn),
        (None, None) => Badge("open", Tone::Good),
    };
    SiteRow {
        site: site.key.site.clone(),
        source: site.key.source.clone(),
        provider: site.provider.clone(),
        badge,
        until: suspended.or(slowed).map(show::ago),
        told: site.told.clone().unwrap_or_default(),
        is_changed: suspended.or(slowed).is_some(),
    }
}

fn pause_row(pause: &Pause) -> Option<PauseRow> {
    let Held::Site(site) = &pause.held else { return None };
    let since = show::ago(pause.created_at);
    Some(PauseRow { id: pause.id.to_string(), site: site.clone(), reason: pause.reason.clone(), since })
}

async fn queue_page(app: &App, page: &Page, filter: Form, form: Form) -> Result<Queue, Failed> {
    let now = app.clock.now();
    let domain = filter.given("domain").and_then(parse_domain);
    let after = filter.given("before").and_then(|text| {
        let (depth, domain) = text.split_once(':')?;
        Some((depth.parse::<i64>().ok()?, domain.to_owned()))
    });
    let after = after.as_ref().map(|(depth, domain)| (*depth, domain.as_str()));
    let mut connection = app.database.serve().acquire().await?;
    let depth = queue::depth(&mut connection, now).await?;
    let mut rows =
        queue::destinations(&mut connection, domain.as_deref(), after, DESTINATIONS as i64 + 1, now).await?;
    let more = rows.len() > DESTINATIONS;
    rows.truncate(DESTINATIONS);
    let tried: Vec<DeliveryId> = rows.iter().filter_map(|row| row.tried).collect();
    let errors = queue::last_errors(&mut connection, &tried).await?;
    let errors: HashMap<_, _> = errors.into_iter().map(|error| (error.delivery, error)).collect();
    let sites = sites::list(&mut connection, None, SITES).await?;
    let pauses = pauses::list(&mut connection, None, None, SITES).await?;
    let last = rows.last().filter(|_| more).map(|row| format!("{}:{}", row.depth, row.domain));
    Ok(Queue {
        frame: page.frame("Queue", "queue"),
        form,
        oldest: if depth.due > 0 {
            format!("for {}", show::lasting(depth.oldest_due_seconds))
        } else {
            String::new()
        },
        depth: Depth {
            due: show::count(depth.due),
            waiting: show::count(depth.waiting),
            leased: show::count(depth.leased),
            suspects: show::count(depth.suspects),
        },
        destinations: rows.iter().map(|row| destination_row(row, &errors)).collect(),
        more: last.map(|last| filter.onward("/ui/operator/queue", &["domain"], &last)).unwrap_or_default(),
        sites: sites.iter().map(|site| site_row(site, now)).collect(),
        pauses: pauses.iter().filter_map(pause_row).collect(),
        filter,
    })
}

/// The page of the queue.
pub async fn show_queue(
    State(app): State<App>,
    page: Page,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    let filter = Form::parse(query.unwrap_or_default().as_bytes());
    shown(&queue_page(&app, &page, filter, Form::default()).await?)
}

/// Holds whatever goes to a site.
pub async fn pause(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let site = form.text("site").to_owned();
    if site.is_empty() || site.chars().count() > LONGEST || form.text("reason").chars().count() > LONGEST {
        let form = form.wrong("site", "a provider, a relay or an MX host, in at most 255 characters");
        return refused(&queue_page(&app, &page, Form::default(), form).await?);
    }
    let (actor, by, now) = (page.actor(), page.tenant(), app.clock.now());
    let reason = form.text("reason").to_owned();
    pause_operation::create(&app.database, &actor, by, Held::Site(site), reason, now).await?;
    Ok(done("/ui/operator/queue", "paused"))
}

/// Lets mail to a site go on.
pub async fn release(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let id: PauseId = extract::id(&id, "pause")?;
    let (actor, by, now) = (posted.page.actor(), posted.page.tenant(), app.clock.now());
    if !pause_operation::delete(&app.database, &actor, by, None, id, now).await? {
        return Err(Problem::not_found("pause").into());
    }
    Ok(done("/ui/operator/queue", "resumed"))
}

/// Lifts what a site's own replies have suspended or slowed.
pub async fn lift(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let key = SiteKey { site: form.text("site").to_owned(), source: form.text("source").to_owned() };
    let (actor, by, now) = (page.actor(), page.tenant(), app.clock.now());
    if !pause_operation::lift(&app.database, &actor, by, &key, now).await? {
        return Err(Problem::not_found("site").into());
    }
    Ok(done("/ui/operator/queue", "hastened"))
}

#[derive(Template)]
#[template(path = "ui/nodes.html")]
struct Nodes {
    frame: Frame,
    rows: Vec<Node>,
}

struct Node {
    number: i32,
    host: String,
    version: String,
    roles: String,
    badge: Badge,
    started: At,
    alive_until: At,
    held: String,
}

fn node(row: &NodeRow, now: time::OffsetDateTime) -> Node {
    let badge = match row.rescued_at {
        Some(_) => Badge("ended", Tone::Plain),
        None if row.alive_until < now => Badge("silent", Tone::Bad),
        None => Badge("alive", Tone::Good),
    };
    Node {
        number: row.incarnation,
        host: row.hostname.clone(),
        version: row.version.clone(),
        roles: row.roles.join(", "),
        badge,
        started: show::ago(row.started_at),
        alive_until: show::ago(row.alive_until),
        held: show::count(row.held),
    }
}

/// The page of nodes.
pub async fn list_nodes(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    let now = app.clock.now();
    let mut connection = app.database.serve().acquire().await?;
    let rows = nodes::list(&mut connection, NODES).await?;
    let frame = page.frame("Nodes", "nodes");
    shown(&Nodes { frame, rows: rows.iter().map(|row| node(row, now)).collect() })
}
