//! `/ui/audit`: who changed what, when, from where, and how it was before.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use crate::domain::id::AuditId;
use crate::domain::user::Act;
use crate::http::App;
use crate::store::audit::{self, AuditFilter, Written};

use super::form::Form;
use super::frame::{Failed, Frame, Page, shown};
use super::messages::day;
use super::show::{self, At};

const PAGE: usize = 100;
const FILTERS: [&str; 5] = ["actor", "action", "resource", "since", "until"];

#[derive(Template)]
#[template(path = "ui/audit.html")]
struct Audit {
    frame: Frame,
    form: Form,
    rows: Vec<Row>,
    older: String,
    is_filtered: bool,
}

struct Row {
    at: At,
    actor: String,
    ip: String,
    action: String,
    resource: String,
    before: String,
    after: String,
}

fn row(entry: &Written) -> Row {
    let shown = |value: &serde_json::Value| {
        if value.is_null() { String::new() } else { serde_json::to_string_pretty(value).unwrap_or_default() }
    };
    Row {
        at: show::clock(entry.id.born()),
        actor: entry.actor.clone(),
        ip: entry.ip.clone().unwrap_or_default(),
        action: entry.action.clone(),
        resource: entry.resource.clone(),
        before: shown(&entry.before),
        after: shown(&entry.after),
    }
}

/// The page.
pub async fn list(State(app): State<App>, page: Page, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    page.require(Act::Audit)?;
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let text = |name: &str| form.given(name).map(str::to_owned);
    let filter = AuditFilter {
        actor: text("actor"),
        action: text("action"),
        resource: text("resource"),
        since: form.given("since").and_then(day),
        until: form.given("until").and_then(day).map(|begun| begun + time::Duration::DAY),
    };
    let before: Option<AuditId> = form.given("before").and_then(|text| text.parse().ok());
    let mut connection = app.database.serve().acquire().await?;
    let mut rows = audit::list(&mut connection, page.tenant(), &filter, before, PAGE as i64 + 1).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let older =
        rows.last().filter(|_| more).map(|last| form.onward("/ui/audit", &FILTERS, &last.id.to_string()));
    shown(&Audit {
        frame: page.frame("Audit log", "audit"),
        rows: rows.iter().map(row).collect(),
        older: older.unwrap_or_default(),
        is_filtered: FILTERS.iter().any(|name| form.given(name).is_some()),
        form,
    })
}
