//! `/ui/settings`: the tenant itself, what it holds back, and which ways its mail takes.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::account::pauses as operation;
use crate::account::tenants::{self as tenant_operation, Changes};
use crate::domain::id::PauseId;
use crate::domain::notice::DsnPolicy;
use crate::domain::pause::{Held, Kinds, Pause};
use crate::domain::submission::StreamName;
use crate::domain::tenant::Tenant;
use crate::domain::user::Act;
use crate::http::App;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::parse_domain;
use crate::store::relays::StoredRelay;
use crate::store::{pauses, relays, tenants};

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At};

const MOST: i64 = 200;
/// Characters of a reason.
const LONGEST: usize = 255;
const NOTICES: [(&str, &str); 3] = [
    ("asked", "asked: failures, and what the mail itself asks for (NOTIFY)"),
    ("always", "always: delays too"),
    ("never", "never: we read events"),
];

#[derive(Template)]
#[template(path = "ui/settings.html")]
struct Settings {
    frame: Frame,
    form: Form,
    tenant: Tenant,
    created: At,
    notices: [(&'static str, &'static str); 3],
    pauses: Vec<PauseRow>,
    relays: Vec<RelayRow>,
}

struct PauseRow {
    id: String,
    held: String,
    reason: String,
    since: At,
}

struct RelayRow {
    name: String,
    way: String,
    of: String,
}

fn pause_row(pause: &Pause) -> PauseRow {
    let held = match &pause.held {
        Held::Mail { stream, domain, sender, kinds, .. } => {
            let of = stream.as_ref().map(|stream| format!(" of the stream {stream}")).unwrap_or_default();
            let from = sender.as_ref().map(|sender| format!(" from {sender}")).unwrap_or_default();
            let to = domain.as_ref().map(|domain| format!(" to {domain}")).unwrap_or_default();
            let mail = match kinds {
                Kinds::Broadcast => "broadcast mail",
                Kinds::All if of.is_empty() && from.is_empty() && to.is_empty() => "all mail",
                Kinds::All => "mail",
            };
            format!("{mail}{of}{from}{to}")
        }
        Held::Site(to) | Held::Destination(to) => format!("whatever goes to {to}"),
    };
    PauseRow {
        id: pause.id.to_string(),
        held,
        reason: pause.reason.clone(),
        since: show::ago(pause.created_at),
    }
}

fn relay_row(relay: &StoredRelay) -> RelayRow {
    let way = if relay.route == "direct" {
        "directly to the recipients' servers".to_owned()
    } else {
        format!("{}:{}, TLS {}", relay.host, relay.port, relay.tls)
    };
    let of = match (&relay.match_stream, &relay.match_domain) {
        (None, None) => "all mail".to_owned(),
        (Some(stream), None) => format!("the stream {stream}"),
        (None, Some(domain)) => format!("to {domain}"),
        (Some(stream), Some(domain)) => format!("the stream {stream}, to {domain}"),
    };
    RelayRow { name: relay.name.clone(), way, of }
}

async fn index(app: &App, page: &Page, form: Form) -> Result<Settings, Failed> {
    let id = page.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let tenant = tenants::find(&mut connection, id).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    let pauses = pauses::list(&mut connection, Some(id), None, MOST).await?;
    let relays = relays::list(&mut connection, id, None, MOST).await?;
    Ok(Settings {
        frame: page.frame("Settings", "settings"),
        form: if form.given("dsn").is_some() { form } else { form.with("dsn", tenant.dsn.as_str()) },
        created: show::clock(tenant.created_at),
        tenant,
        notices: NOTICES,
        pauses: pauses.iter().map(pause_row).collect(),
        relays: relays.iter().map(relay_row).collect(),
    })
}

/// The page.
pub async fn show(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    shown(&index(&app, &page, Form::default()).await?)
}

/// Chooses which notices submitters by SMTP get.
pub async fn notices(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::People)?;
    let Posted { page, form } = posted;
    let dsn = form.text("dsn").parse::<DsnPolicy>();
    let dsn = dsn.map_err(|_| Problem::new(Kind::InvalidRequest, "notices are asked, always or never"))?;
    let changes = Changes { dsn: Some(dsn), ..Changes::default() };
    tenant_operation::update(&app.database, &page.actor(), page.tenant(), changes, app.clock.now()).await?;
    Ok(done("/ui/settings", "saved"))
}

/// Holds mail of the tenant.
pub async fn pause(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let held = match held(&page, &form) {
        Ok(held) => held,
        Err(form) => return refused(&index(&app, &page, form).await?),
    };
    let (reason, now) = (form.text("reason").to_owned(), app.clock.now());
    operation::create(&app.database, &page.actor(), page.tenant(), held, reason, now).await?;
    Ok(done("/ui/settings", "paused"))
}

fn held(page: &Page, form: &Form) -> Result<Held, Form> {
    let stream = match form.given("stream").map(StreamName::parse) {
        Some(Err(error)) => return Err(form.clone().wrong("stream", error.to_string())),
        stream => stream.and_then(Result::ok).map(|stream| stream.as_str().to_owned()),
    };
    let domain = match form.given("domain") {
        None => None,
        Some(text) => {
            Some(parse_domain(text).ok_or_else(|| form.clone().wrong("domain", "this is no domain"))?)
        }
    };
    if form.text("reason").chars().count() > LONGEST {
        return Err(form.clone().wrong("reason", format!("at most {LONGEST} characters")));
    }
    Ok(Held::Mail { tenant: page.tenant(), stream, domain, sender: None, kinds: Kinds::All })
}

/// Lets mail go on.
pub async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: PauseId = extract::id(&id, "pause")?;
    let page = &posted.page;
    let of = page.tenant();
    if !operation::delete(&app.database, &page.actor(), of, Some(of), id, app.clock.now()).await? {
        return Err(Problem::not_found("pause").into());
    }
    Ok(done("/ui/settings", "resumed"))
}
