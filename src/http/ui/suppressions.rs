//! `/ui/suppressions`: addresses that are not mailed, and why.

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use crate::account::suppressions::{self as operation, NewSuppression};
use crate::domain::id::SuppressionId;
use crate::domain::suppression::{Reason, Suppression};
use crate::domain::user::Act;
use crate::http::App;
use crate::http::api;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::mail::EmailAddress;
use crate::store::suppressions::{self, SuppressionFilter};

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At, Badge, Tone};

const PAGE: usize = 100;
/// Addresses of one form.
const MANY: usize = 1000;

#[derive(Template)]
#[template(path = "ui/suppressions.html")]
struct Suppressions {
    frame: Frame,
    form: Form,
    filter: Form,
    reasons: Vec<(&'static str, &'static str)>,
    rows: Vec<Row>,
    older: String,
    is_filtered: bool,
}

struct Row {
    id: String,
    address: String,
    stream: String,
    badge: Badge,
    why: &'static str,
    message: String,
    at: At,
}

fn row(one: &Suppression) -> Row {
    let (badge, why) = match one.reason {
        Reason::Bounce => (Badge("bounce", Tone::Bad), "Its mail server says that it is dead."),
        Reason::Complaint => (Badge("complaint", Tone::Bad), "Its owner called a mail spam."),
        Reason::Unsubscribe => (Badge("unsubscribe", Tone::Warn), "Its owner wants no more."),
        Reason::Manual => (Badge("manual", Tone::Plain), "Somebody here put it on the list."),
    };
    Row {
        id: one.id.to_string(),
        address: one.address.clone(),
        stream: one.stream.clone(),
        badge,
        why,
        message: one.delivery.map(|delivery| delivery.message().to_string()).unwrap_or_default(),
        at: show::ago(one.created_at()),
    }
}

async fn index(app: &App, page: &Page, filter: Form, form: Form) -> Result<Suppressions, Failed> {
    let mut filter = filter;
    let mut wanted = SuppressionFilter::default();
    if let Some(email) = filter.given("email") {
        match EmailAddress::parse(email) {
            Ok(address) => wanted.address = Some(address.key()),
            Err(error) => filter = filter.clone().wrong("email", error.to_string()),
        }
    }
    wanted.reason = filter.given("reason").and_then(|reason| reason.parse().ok());
    wanted.stream = filter.given("only_stream").map(str::to_owned);
    let before: Option<SuppressionId> = filter.given("before").and_then(|text| text.parse().ok());
    let mut connection = app.database.serve().acquire().await?;
    let mut rows =
        suppressions::list(&mut connection, page.tenant(), &wanted, before, PAGE as i64 + 1).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let older = rows
        .last()
        .filter(|_| more)
        .map(|last| filter.onward("/ui/suppressions", &FILTERS, &last.id.to_string()));
    let reasons = Reason::ALL.into_iter().map(|reason| (reason.as_str(), reason.as_str()));
    Ok(Suppressions {
        frame: page.frame("Suppressions", "suppressions"),
        form,
        reasons: std::iter::once(("", "any")).chain(reasons).collect(),
        rows: rows.iter().map(row).collect(),
        older: older.unwrap_or_default(),
        is_filtered: FILTERS.iter().any(|name| filter.given(name).is_some()),
        filter,
    })
}

const FILTERS: [&str; 3] = ["email", "reason", "only_stream"];

/// The page.
pub async fn list(State(app): State<App>, page: Page, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let filter = Form::parse(query.unwrap_or_default().as_bytes());
    shown(&index(&app, &page, filter, Form::default()).await?)
}

/// Suppresses the addresses of a form: all, or none.
pub async fn create(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let new = match read(&form) {
        Ok(new) => new,
        Err(form) => return refused(&index(&app, &page, Form::default(), form).await?),
    };
    operation::create_many(&app.database, &page.actor(), page.tenant(), &new, app.clock.now()).await?;
    Ok(done("/ui/suppressions", "suppressed"))
}

fn read(form: &Form) -> Result<Vec<NewSuppression>, Form> {
    let words = form.words("emails");
    if words.is_empty() || words.len() > MANY {
        return Err(form
            .clone()
            .wrong("emails", format!("1 to {MANY} addresses, these are {}", words.len())));
    }
    let mut new = Vec::with_capacity(words.len());
    for (number, word) in words.iter().enumerate() {
        let mut value = form.json(&["stream"]);
        value.insert("email".to_owned(), json!(word));
        match api::suppressions::decode(value.into(), "") {
            Ok(one) => new.push(one),
            Err(violations) => {
                let first = violations.into_iter().next();
                let (name, why) = first.map_or(("emails", String::new()), |first| {
                    (if first.pointer == "/stream" { "stream" } else { "emails" }, first.message)
                });
                let message = format!("{word} (number {}): {why}", number + 1);
                return Err(form.clone().wrong(name, message));
            }
        }
    }
    Ok(new)
}

/// Suppresses one address for all streams.
pub(super) async fn suppress(app: &App, page: &Page, address: &str) -> Result<(), Failed> {
    let address = EmailAddress::parse(address)
        .map_err(|error| Problem::field("/email", "invalid_address", error.to_string()))?;
    let new = NewSuppression { address, stream: String::new(), reason: Reason::Manual, since: None };
    operation::create(&app.database, &page.actor(), page.tenant(), &new, app.clock.now()).await?;
    Ok(())
}

/// Takes an entry off the list.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: SuppressionId = extract::id(&id, "suppression")?;
    let page = &posted.page;
    if !operation::delete(&app.database, &page.actor(), page.tenant(), id, app.clock.now()).await? {
        return Err(Problem::not_found("suppression").into());
    }
    Ok(done("/ui/suppressions", "unsuppressed"))
}

/// What an import came to, as a part of the page.
#[derive(Template)]
#[template(path = "ui/suppressions_import.html")]
struct Imported {
    /// Whose form the file had.
    from: &'static str,
    read: String,
    added: String,
    already: String,
    invalid: String,
    /// Number, and what is wrong with it.
    errors: Vec<(u64, String)>,
    /// Why there is nothing to tell; empty: there is.
    problem: String,
}

/// Imports the file that is the body, as the API does.
pub async fn import(
    State(app): State<App>,
    page: Page,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failed> {
    page.require(Act::Manage)?;
    let who = (page.actor(), page.tenant());
    let told = match api::suppressions::import_list(&app, who, query.as_deref(), &headers, body).await {
        Ok(tally) => Imported {
            from: match tally.format {
                "sendgrid" => "SendGrid",
                "mailgun" => "Mailgun",
                "postmark" => "Postmark",
                "ses" => "Amazon SES",
                "postroad" => "postroad",
                "empty" => "nobody",
                _ => "a plain list",
            },
            read: show::many(whole(tally.read), "line", "lines"),
            added: show::count(whole(tally.added)),
            already: show::count(whole(tally.already)),
            invalid: if tally.invalid == 0 { String::new() } else { show::count(whole(tally.invalid)) },
            errors: tally.errors.into_iter().map(|error| (error.line, error.message)).collect(),
            problem: String::new(),
        },
        Err(problem) => {
            let first = problem.violations().first().map(|violation| violation.message.clone());
            let problem = first.unwrap_or_else(|| problem.detail().to_owned());
            Imported { problem, ..Imported::nothing() }
        }
    };
    if told.problem.is_empty() { shown(&told) } else { refused(&told) }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Imported {
    fn nothing() -> Imported {
        let none = String::new;
        let (read, added, already, invalid, problem) = (none(), none(), none(), none(), none());
        Imported { from: "", read, added, already, invalid, errors: Vec::new(), problem }
    }
}

/// The list as a file.
pub async fn export(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    Ok(api::suppressions::file(app, page.tenant()).await?)
}
