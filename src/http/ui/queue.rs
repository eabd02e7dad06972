//! `/ui/operator/queue`: what waits, by destination, and what is done about it; and what next hops want. For those who run
//! the installation; crosses tenants.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use crate::account::{pauses as pause_operation, queue as operation};
use crate::domain::id::{DeliveryId, PauseId};
use crate::domain::pacing::SiteKey;
use crate::domain::pause::{Held, Pause};
use crate::domain::user::Act;
use crate::http::App;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::http::fields::parse_domain;
use crate::store::pauses;
use crate::store::queue::{self, Destination, LastError};
use crate::store::sites::{self, SiteState};

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At, Badge, Tone};

const DESTINATIONS: usize = 100;
const SITES: i64 = 200;
/// Characters of a site's name, and of a reason.
const LONGEST: usize = 255;
const PATH: &str = "/ui/operator/queue";

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
    /// An operator holds it.
    is_paused: bool,
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
    what: String,
    reason: String,
    since: At,
}

fn destination_row(
    one: &Destination,
    errors: &HashMap<DeliveryId, LastError>,
    paused: &HashMap<String, PauseId>,
) -> DestinationRow {
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
        is_paused: paused.contains_key(&one.domain),
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

fn pause_row(pause: &Pause) -> PauseRow {
    let what = match &pause.held {
        Held::Site(site) => site.clone(),
        Held::Destination(domain) => format!("everything @{domain}"),
        Held::Mail { .. } => "a tenant's mail".to_owned(),
    };
    let since = show::ago(pause.created_at);
    PauseRow { id: pause.id.to_string(), what, reason: pause.reason.clone(), since }
}

/// Which recipient domains an operator holds.
fn paused(pauses: &[Pause]) -> HashMap<String, PauseId> {
    let of_domain = pauses.iter().filter_map(|pause| match &pause.held {
        Held::Destination(domain) => Some((domain.clone(), pause.id)),
        Held::Site(_) | Held::Mail { .. } => None,
    });
    of_domain.collect()
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
    let paused = paused(&pauses);
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
        destinations: rows.iter().map(|row| destination_row(row, &errors, &paused)).collect(),
        more: last.map(|last| filter.onward(PATH, &["domain"], &last)).unwrap_or_default(),
        sites: sites.iter().map(|site| site_row(site, now)).collect(),
        pauses: pauses.iter().map(pause_row).collect(),
        filter,
    })
}

/// The page.
pub async fn show(State(app): State<App>, page: Page, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    page.require(Act::Operate)?;
    let filter = Form::parse(query.unwrap_or_default().as_bytes());
    shown(&queue_page(&app, &page, filter, Form::default()).await?)
}

/// The recipient domains that are ticked.
fn chosen(form: &Form) -> Vec<String> {
    form.all("domain").iter().take(DESTINATIONS).filter_map(|text| parse_domain(text)).collect()
}

/// Nothing is ticked: the page says so.
async fn none_chosen(app: &App, page: &Page, mut form: Form) -> Result<Response, Failed> {
    form.problem = "Tick the destinations that you mean, then choose again.".to_owned();
    refused(&queue_page(app, page, Form::default(), form).await?)
}

/// Tries now what waits for the next try, for each destination that is ticked.
pub async fn retry(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let domains = chosen(&form);
    if domains.is_empty() {
        return none_chosen(&app, &page, form).await;
    }
    let (actor, by, now) = (page.actor(), page.tenant(), app.clock.now());
    for domain in &domains {
        operation::retry(&app.database, &actor, by, domain, now).await?;
    }
    Ok(done(PATH, "retried"))
}

/// Holds each destination that is ticked, for all tenants.
pub async fn hold(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let domains = chosen(&form);
    if domains.is_empty() {
        return none_chosen(&app, &page, form).await;
    }
    let paused = paused_now(&app).await?;
    let (actor, by, now) = (page.actor(), page.tenant(), app.clock.now());
    for domain in domains.into_iter().filter(|domain| !paused.contains_key(domain)) {
        let (held, reason) = (Held::Destination(domain), String::new());
        pause_operation::create(&app.database, &actor, by, held, reason, now).await?;
    }
    Ok(done(PATH, "held"))
}

/// Lets each destination that is ticked go on.
pub async fn let_go(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let domains = chosen(&form);
    if domains.is_empty() {
        return none_chosen(&app, &page, form).await;
    }
    let paused = paused_now(&app).await?;
    let (actor, by, now) = (page.actor(), page.tenant(), app.clock.now());
    for id in domains.iter().filter_map(|domain| paused.get(domain)) {
        pause_operation::delete(&app.database, &actor, by, None, *id, now).await?;
    }
    Ok(done(PATH, "resumed"))
}

async fn paused_now(app: &App) -> Result<HashMap<String, PauseId>, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    Ok(paused(&pauses::list(&mut connection, None, None, SITES).await?))
}

#[derive(Template)]
#[template(path = "ui/queue_purge.html")]
struct Purge {
    frame: Frame,
    /// Each with how many deliveries wait for it.
    destinations: Vec<(String, String)>,
}

/// Takes back what waits for each destination that is ticked, once it has been said what that would be.
pub async fn purge(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Operate)?;
    let Posted { page, form } = posted;
    let domains = chosen(&form);
    if domains.is_empty() {
        return none_chosen(&app, &page, form).await;
    }
    let now = app.clock.now();
    if !form.on("sure") {
        let mut destinations = Vec::with_capacity(domains.len());
        let mut connection = app.database.serve().acquire().await?;
        for domain in domains {
            let found = queue::destinations(&mut connection, Some(&domain), None, 1, now).await?;
            let depth = found.first().map_or(0, |found| found.depth);
            destinations.push((domain, show::many(depth, "delivery", "deliveries")));
        }
        return shown(&Purge { frame: page.frame("Purge", "queue"), destinations });
    }
    let (actor, by) = (page.actor(), page.tenant());
    for domain in &domains {
        operation::purge(&app.database, &actor, by, domain, now).await?;
    }
    Ok(done(PATH, "purged"))
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
    Ok(done(PATH, "paused"))
}

/// Ends a pause.
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
    Ok(done(PATH, "resumed"))
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
    Ok(done(PATH, "hastened"))
}
