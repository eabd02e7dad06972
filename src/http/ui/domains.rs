//! `/ui/domains`: whom a tenant may send as: the records to publish, ready to copy, what was found, and how to fix it.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::domains::{Changes, DomainView, Proof};
use crate::domain::id::DomainId;
use crate::domain::identity::DomainStatus;
use crate::domain::identity::judge::RecordStatus;
use crate::domain::identity::records::{Need, Purpose};
use crate::domain::identity::senders::Standing;
use crate::domain::user::Act;
use crate::http::App;
use crate::http::api;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::store::domains::StoredDomain;

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At, Badge, Tone};

const WHAT: &str = "domain";
/// A tenant's domains on one page.
const MOST: i64 = 1000;

#[derive(Template)]
#[template(path = "ui/domains.html")]
struct Domains {
    frame: Frame,
    form: Form,
    rows: Vec<Row>,
}

struct Row {
    id: String,
    name: String,
    badge: Badge,
    records: Vec<(&'static str, Badge)>,
    created: At,
}

#[derive(Template)]
#[template(path = "ui/domain.html")]
struct OneDomain {
    frame: Frame,
    id: String,
    name: String,
    badge: Badge,
    explained: &'static str,
    is_paused: bool,
    records: Vec<Shown>,
    keys: Vec<Key>,
    history: Vec<(At, String)>,
    checked: Option<At>,
    next_check: Option<At>,
}

struct Shown {
    purpose: &'static str,
    why: &'static str,
    kind: &'static str,
    name: String,
    value: String,
    priority: Option<u16>,
    is_required: bool,
    badge: Badge,
    found: Vec<String>,
    advice: String,
}

struct Key {
    selector: String,
    algorithm: &'static str,
    state: &'static str,
    origin: &'static str,
    created: At,
}

/// Where a domain stands.
pub fn state(domain: &StoredDomain) -> Badge {
    if domain.paused_at.is_some() {
        return Badge("paused", Tone::Warn);
    }
    match domain.status {
        DomainStatus::Pending => Badge("pending", Tone::Warn),
        DomainStatus::Verified => Badge("verified", Tone::Good),
        DomainStatus::Failing => Badge("failing", Tone::Bad),
    }
}

fn explained(domain: &StoredDomain) -> &'static str {
    match domain.status {
        _ if domain.paused_at.is_some() => "It is paused: nothing is sent as it, and what is queued waits.",
        DomainStatus::Pending => {
            "Publish the required records where your domain's DNS is kept, then verify. Until then nobody can tell your \
             mail from forged mail."
        }
        DomainStatus::Verified => {
            "All required records are published: mail as this domain is signed, and proves it."
        }
        DomainStatus::Failing => {
            "A record that was published is gone or was changed. Mail goes out, but may not prove whose it is: fix it soon."
        }
    }
}

fn found(status: RecordStatus) -> Badge {
    match status {
        RecordStatus::Ok => Badge("ok", Tone::Good),
        RecordStatus::Missing => Badge("missing", Tone::Bad),
        RecordStatus::Mismatch => Badge("mismatch", Tone::Bad),
        RecordStatus::Unknown => Badge("not looked up", Tone::Plain),
    }
}

fn spoken(purpose: Purpose) -> (&'static str, &'static str) {
    match purpose {
        Purpose::Dkim => ("DKIM", "The key that receivers check your signatures with."),
        Purpose::ReturnPath => ("Return path", "Where bounces come back to, and what SPF is checked for."),
        Purpose::Spf => ("SPF", "Says that we may send for the domain itself."),
        Purpose::Dmarc => ("DMARC", "Says what receivers do with mail that pretends to be yours."),
        Purpose::Tracking => ("Tracking", "Lets links in tracked mail stand under your own name."),
        Purpose::Mx => ("MX", "Brings mail for the domain here, if you want to receive it."),
    }
}

/// How each kind of record stands: the worst of its kind.
pub fn summary(view: &DomainView) -> Vec<(&'static str, Badge)> {
    let mut kinds: Vec<(&'static str, RecordStatus)> = Vec::new();
    for (record, finding) in &view.records {
        let label = spoken(record.purpose).0;
        if !matches!(record.purpose, Purpose::Dkim | Purpose::ReturnPath | Purpose::Spf | Purpose::Dmarc) {
            continue;
        }
        match kinds.iter_mut().find(|(known, _)| *known == label) {
            Some((_, status)) if *status == RecordStatus::Ok => *status = finding.status,
            Some(_) => {}
            None => kinds.push((label, finding.status)),
        }
    }
    kinds.into_iter().map(|(label, status)| (label, found(status))).collect()
}

async fn index(app: &App, page: &Page, form: Form) -> Result<Domains, Failed> {
    let views = app.domains.list(page.tenant(), None, MOST).await.map_err(Problem::from)?;
    let row = |view: &DomainView| Row {
        id: view.domain.id.to_string(),
        name: view.domain.name.clone(),
        badge: state(&view.domain),
        records: summary(view),
        created: show::ago(view.domain.created_at),
    };
    Ok(Domains { frame: page.frame("Domains", "domains"), form, rows: views.iter().map(row).collect() })
}

/// The page of all.
pub async fn list(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    let form = Form::default().with("return_path", "bounce");
    shown(&index(&app, &page, form).await?)
}

/// Adds a domain.
pub async fn create(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let value = form.json(&["name", "return_path"]);
    let made = match api::domains::decode(value.into()) {
        Ok(new) => {
            let made = app.domains.create(&page.actor(), page.tenant(), new, app.clock.now()).await;
            made.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok(view) => Ok(Redirect::to(&path(view.domain.id)).into_response()),
        Err(problem) => refused(&index(&app, &page, form.refused(&problem)).await?),
    }
}

fn path(id: DomainId) -> String {
    format!("/ui/domains/{id}")
}

/// The page of one.
pub async fn one(State(app): State<App>, page: Page, Path(id): Path<String>) -> Result<Response, Failed> {
    let id: DomainId = extract::id(&id, WHAT)?;
    let view = app.domains.find(page.tenant(), id).await.map_err(Problem::from)?;
    let history = app.domains.history(page.tenant(), id).await.map_err(Problem::from)?;
    let domain = &view.domain;
    let records = view.records.iter().map(|(record, finding)| {
        let (purpose, why) = spoken(record.purpose);
        Shown {
            purpose,
            why,
            kind: record.kind.as_str(),
            name: record.name.clone(),
            value: record.value.clone(),
            priority: record.priority,
            is_required: record.need == Need::Required,
            badge: found(finding.status),
            found: finding.found.clone(),
            advice: finding.advice.clone().unwrap_or_default(),
        }
    });
    let keys = view.keys.iter().map(|key| Key {
        selector: key.facts.selector.clone(),
        algorithm: key.facts.algorithm.as_str(),
        state: key.facts.state.as_str(),
        origin: key.origin.as_str(),
        created: show::ago(key.created_at),
    });
    shown(&OneDomain {
        frame: page.frame(domain.name.clone(), "domains"),
        id: id.to_string(),
        badge: state(domain),
        explained: explained(domain),
        is_paused: domain.paused_at.is_some(),
        records: records.collect(),
        keys: keys.collect(),
        history: history.iter().map(|note| (show::ago(note.at), note.message.clone())).collect(),
        checked: domain.checked_at.map(show::ago),
        next_check: domain.check_due_at.map(show::ago),
        name: domain.name.clone(),
    })
}

/// Looks a domain's records up now.
pub async fn verify(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: DomainId = extract::id(&id, WHAT)?;
    let place = (posted.page.tenant(), id);
    let proved = app.domains.verify(&posted.page.actor(), place, Proof::Asked, app.clock.now()).await;
    proved.map_err(Problem::from)?;
    let view = app.domains.find(place.0, place.1).await.map_err(Problem::from)?;
    let code = if view.domain.status == DomainStatus::Verified { "verified" } else { "unverified" };
    Ok(done(&path(id), code))
}

/// Makes the next keys.
pub async fn rotate(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: DomainId = extract::id(&id, WHAT)?;
    let place = (posted.page.tenant(), id);
    app.domains.rotate(&posted.page.actor(), place, app.clock.now()).await.map_err(Problem::from)?;
    Ok(done(&path(id), "keys-made"))
}

/// Stops a domain, or lets it go on.
pub async fn pause(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: DomainId = extract::id(&id, WHAT)?;
    let (standing, code) =
        if posted.form.on("resume") { (Standing::Active, "resumed") } else { (Standing::Paused, "paused") };
    let (actor, place, now) = (posted.page.actor(), (posted.page.tenant(), id), app.clock.now());
    let changes = Changes { standing: Some(standing), ..Changes::default() };
    app.domains.update(&actor, place, changes, now).await.map_err(Problem::from)?;
    Ok(done(&path(id), code))
}

/// Deletes a domain.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: DomainId = extract::id(&id, WHAT)?;
    let place = (posted.page.tenant(), id);
    app.domains.delete(&posted.page.actor(), place, app.clock.now()).await.map_err(Problem::from)?;
    Ok(done("/ui/domains", "deleted"))
}
