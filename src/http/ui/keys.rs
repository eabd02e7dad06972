//! `/ui/keys`: keys for the API and for SMTP, each shown once, with samples to start from.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::account::keys as operation;
use crate::domain::id::KeyId;
use crate::domain::key::{ApiKey, KeyMode, Scope};
use crate::domain::user::Act;
use crate::http::App;
use crate::http::api;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::store::keys;

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::messages::day;
use super::samples::{self, Sample};
use super::show::{self, At, Badge, Tone};

/// A tenant's keys on one page.
const MOST: i64 = 500;

#[derive(Template)]
#[template(path = "ui/keys.html")]
struct Keys {
    frame: Frame,
    form: Form,
    scopes: Vec<(&'static str, &'static str)>,
    rows: Vec<Row>,
    made: Option<Made>,
    samples: Vec<Sample>,
    smtp: Vec<(&'static str, String)>,
}

/// A key that has just been made.
struct Made {
    name: String,
    secret: String,
}

struct Row {
    id: String,
    name: String,
    hint: String,
    scopes: String,
    is_test: bool,
    limits: Vec<String>,
    badge: Badge,
    created: At,
    used: Option<At>,
    is_usable: bool,
}

const SCOPES: [(Scope, &str); 4] = [
    (Scope::Send, "send: send mail, over HTTP and SMTP"),
    (Scope::Read, "read: see messages, events and figures"),
    (Scope::Manage, "manage: change everything of this tenant"),
    (Scope::Operate, "operate: run the installation"),
];

async fn index(app: &App, page: &Page, form: Form, made: Option<Made>) -> Result<Keys, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    let mut rows = keys::list(&mut connection, page.tenant(), None, MOST).await?;
    drop(connection);
    rows.reverse();
    let now = app.clock.now();
    let scopes = SCOPES.iter().filter(|(scope, _)| page.who.scopes().has(*scope));
    let secret = made.as_ref().map_or("$POSTROAD_KEY", |made| made.secret.as_str());
    Ok(Keys {
        frame: page.frame("API keys & SMTP", "keys"),
        form,
        scopes: scopes.map(|(scope, label)| (scope.as_str(), *label)).collect(),
        rows: rows.iter().map(|key| row(key, now)).collect(),
        samples: samples::all(app.site.origin(), secret),
        smtp: app.installation.smtp(),
        made,
    })
}

fn row(key: &ApiKey, now: time::OffsetDateTime) -> Row {
    let expired = key.limits.expires_at.is_some_and(|at| at <= now);
    let badge = match (key.revoked_at, expired) {
        (Some(_), _) => Badge("revoked", Tone::Plain),
        (None, true) => Badge("run out", Tone::Warn),
        (None, false) => Badge("active", Tone::Good),
    };
    let list = |label: &str, list: &Option<Vec<String>>| {
        list.as_ref().map(|list| format!("{label} {}", list.join(", ")))
    };
    let networks =
        key.limits.allow_ips.as_ref().map(|nets| nets.iter().map(ToString::to_string).collect::<Vec<_>>());
    let limits = [
        list("domains", &key.limits.domains),
        list("streams", &key.limits.streams),
        list("from", &networks),
        key.limits.rate_per_second.map(|rate| format!("{rate} requests a second")),
    ];
    let scopes: Vec<&str> = key.scopes.iter().map(Scope::as_str).collect();
    Row {
        id: key.id.to_string(),
        name: key.name.clone(),
        hint: key.hint.clone(),
        scopes: scopes.join(", "),
        is_test: key.mode == KeyMode::Test,
        limits: limits.into_iter().flatten().collect(),
        badge,
        created: show::ago(key.created_at),
        used: key.last_used_at.map(show::ago),
        is_usable: key.revoked_at.is_none(),
    }
}

/// The page.
pub async fn list(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    let form = Form::default().with("scopes", "send");
    shown(&index(&app, &page, form, None).await?)
}

/// Makes a key, and shows it once.
pub async fn create(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Keys)?;
    let Posted { page, form } = posted;
    let made = match read(&page, &form) {
        Ok(new) => {
            operation::create(&app.database, &page.actor(), new, app.clock.now()).await.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok((key, secret)) => {
            let made = Made { name: key.name, secret: secret.reveal().to_owned() };
            shown(&index(&app, &page, Form::default().with("scopes", "send"), Some(made)).await?)
        }
        Err(problem) => refused(&index(&app, &page, form.refused(&problem), None).await?),
    }
}

fn read(page: &Page, form: &Form) -> Result<operation::NewKey, Problem> {
    let mut wanted = form.json(&["name"]);
    wanted.insert("scopes".to_owned(), json!(form.all("scopes")));
    wanted.insert("test".to_owned(), form.on("test").into());
    for name in ["domains", "streams", "allow_ips"] {
        let words = form.words(name);
        if !words.is_empty() {
            wanted.insert(name.to_owned(), json!(words));
        }
    }
    if let Some(rate) = form.given("rate_per_second") {
        wanted.insert(
            "rate_per_second".to_owned(),
            rate.parse::<i64>().map_or_else(|_| json!(rate), Value::from),
        );
    }
    if let Some(until) = form.given("expires_at") {
        let end = day(until).map(|begun| api::moment(begun + time::Duration::DAY));
        wanted.insert("expires_at".to_owned(), end.unwrap_or_else(|| until.to_owned()).into());
    }
    let (new, _) = api::keys::decode(wanted.into(), page.tenant(), page.who.scopes())?;
    Ok(new)
}

/// Revokes a key.
pub async fn revoke(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Keys)?;
    let id: KeyId = extract::id(&id, "key")?;
    let page = &posted.page;
    let revoked = operation::revoke(&app.database, &page.actor(), page.tenant(), id, app.clock.now()).await?;
    revoked.ok_or_else(|| Problem::not_found("key"))?;
    Ok(done("/ui/keys", "revoked"))
}
