//! `/ui/inbound`: mail that came in, and the routes by which it is kept or posted.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::Value;

use crate::account::inbound_routes::{self as operation, Means};
use crate::domain::id::{InboundId, InboundRouteId};
use crate::domain::inbound::Action;
use crate::domain::user::Act;
use crate::http::App;
use crate::http::api::inbound_routes as api;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::store::inbound::{self, InboundRow};
use crate::store::inbound_routes;

use super::content::{self, Content};
use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At, Badge, Tone};

const WHAT: &str = "inbound mail";
const PAGE: usize = 50;
const ROUTES: i64 = 500;
const ACTIONS: [(&str, &str); 3] = [
    ("store", "store: keep it, to be read here and over the API"),
    ("webhook", "webhook: post it to a URL"),
    ("reject", "reject: refuse it at the door"),
];

#[derive(Template)]
#[template(path = "ui/inbound.html")]
struct Inbound {
    frame: Frame,
    form: Form,
    filter: Form,
    actions: [(&'static str, &'static str); 3],
    routes: Vec<Route>,
    /// Of a webhook that has just been made.
    secret: Option<String>,
    rows: Vec<Row>,
    older: String,
}

struct Route {
    id: String,
    pattern: String,
    action: String,
    url: String,
    priority: i32,
}

struct Row {
    id: String,
    from: String,
    recipient: String,
    subject: String,
    at: At,
    badge: Option<Badge>,
    size: String,
}

#[derive(Template)]
#[template(path = "ui/inbound_mail.html")]
struct OneMail {
    frame: Frame,
    subject: String,
    at: At,
    facts: Vec<(&'static str, String)>,
    verdicts: Vec<(String, String)>,
    posting: Option<(Badge, String)>,
    content: Content,
}

fn posting(mail: &InboundRow) -> Option<Badge> {
    mail.call.as_ref().map(|call| match call.state.as_str() {
        "delivered" => Badge("posted", Tone::Good),
        "pending" => Badge("to be posted", Tone::Info),
        _ => Badge("not accepted", Tone::Bad),
    })
}

fn row(mail: &InboundRow) -> Row {
    let from = if mail.author.is_empty() { &mail.sender } else { &mail.author };
    Row {
        id: mail.id.to_string(),
        from: from.clone(),
        recipient: mail.recipient.clone(),
        subject: mail.subject.clone(),
        at: show::ago(mail.id.born()),
        badge: posting(mail),
        size: show::octets(u64::try_from(mail.size).unwrap_or_default()),
    }
}

async fn index(
    app: &App,
    page: &Page,
    filter: Form,
    form: Form,
    secret: Option<String>,
) -> Result<Inbound, Failed> {
    let tenant = page.tenant();
    let recipient = filter.given("recipient").map(str::to_lowercase);
    let before: Option<InboundId> = filter.given("before").and_then(|text| text.parse().ok());
    let mut connection = app.database.serve().acquire().await?;
    let routes = inbound_routes::list(&mut connection, tenant, None, ROUTES).await?;
    let mut rows =
        inbound::list(&mut connection, tenant, recipient.as_deref(), before, PAGE as i64 + 1).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let older = rows
        .last()
        .filter(|_| more)
        .map(|last| filter.onward("/ui/inbound", &["recipient"], &last.id.to_string()));
    let route = |route: &inbound_routes::StoredInboundRoute| Route {
        id: route.id.to_string(),
        pattern: format!("{}@{}", route.local_pattern, route.domain),
        action: route.action.clone(),
        url: route.url.clone().unwrap_or_default(),
        priority: route.priority,
    };
    Ok(Inbound {
        frame: page.frame("Inbound", "inbound"),
        form,
        filter,
        actions: ACTIONS,
        routes: routes.iter().map(route).collect(),
        secret,
        rows: rows.iter().map(row).collect(),
        older: older.unwrap_or_default(),
    })
}

/// The page.
pub async fn list(State(app): State<App>, page: Page, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let filter = Form::parse(query.unwrap_or_default().as_bytes());
    shown(&index(&app, &page, filter, Form::default(), None).await?)
}

/// Makes a route; the secret of a webhook is shown once.
pub async fn create(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let mut value = form.json(&["match", "action"]);
    if form.text("action") == "webhook" {
        value.insert("url".to_owned(), form.text("url").into());
    }
    if form.text("action") == "forward" {
        value.insert("to".to_owned(), form.text("to").into());
    }
    let made = match api::decode::new(&app, value.into()).await {
        Ok(new) => {
            let secret = match &new.action {
                Action::Webhook { secret, .. } => Some(secret.reveal().to_owned()),
                _ => None,
            };
            let means =
                Means { database: &app.database, seal: &app.seal, policy: app.accept.limits.sender_policy };
            let made = operation::create(means, &page.actor(), page.tenant(), new, app.clock.now()).await;
            made.map(|_| secret).map_err(api::problem)
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok(None) => Ok(done("/ui/inbound", "saved")),
        Ok(secret) => shown(&index(&app, &page, Form::default(), Form::default(), secret).await?),
        Err(problem) => refused(&index(&app, &page, Form::default(), form.refused(&problem), None).await?),
    }
}

/// Deletes a route.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: InboundRouteId = extract::id(&id, "inbound route")?;
    let page = &posted.page;
    if !operation::delete(&app.database, &page.actor(), page.tenant(), id, app.clock.now()).await? {
        return Err(Problem::not_found("inbound route").into());
    }
    Ok(done("/ui/inbound", "deleted"))
}

async fn raw(app: &App, page: &Page, id: InboundId) -> Result<Option<Vec<u8>>, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    Ok(inbound::raw(&mut connection, page.tenant(), id).await?)
}

/// The page of one mail.
pub async fn one(
    State(app): State<App>,
    page: Page,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let id: InboundId = extract::id(&id, WHAT)?;
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let mut connection = app.database.serve().acquire().await?;
    let mail = inbound::find(&mut connection, page.tenant(), id).await?;
    drop(connection);
    let mail = mail.ok_or_else(|| Problem::not_found(WHAT))?;
    let content =
        content::content(raw(&app, &page, id).await?, format!("/ui/inbound/{id}"), String::new(), &form)
            .await;
    let subject = if mail.subject.is_empty() { "(no subject)".to_owned() } else { mail.subject.clone() };
    let facts = [
        ("From", mail.author.clone()),
        ("Envelope sender", mail.sender.clone()),
        ("Recipient", mail.recipient.clone()),
        ("Came from", format!("{} ({})", mail.peer, mail.helo)),
        ("TLS", mail.tls.clone().unwrap_or_else(|| "none: in clear".to_owned())),
        ("Size", show::octets(u64::try_from(mail.size).unwrap_or_default())),
        ("Message-ID", mail.message_id.clone()),
    ];
    let told = mail.call.as_ref().map(|call| {
        let answer = call.last_status.map(|status| status.to_string()).or_else(|| call.last_error.clone());
        format!("{}; {}", show::many(call.attempts.into(), "attempt", "attempts"), answer.unwrap_or_default())
    });
    shown(&OneMail {
        frame: page.frame(subject.clone(), "inbound"),
        subject,
        at: show::clock(id.born()),
        facts: facts.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        verdicts: verdicts(&mail.verdicts),
        posting: posting(&mail).zip(told),
        content,
    })
}

fn verdicts(value: &Value) -> Vec<(String, String)> {
    let members = value.as_object().into_iter().flatten();
    let shown = members.map(|(name, verdict)| {
        let result = verdict.as_str().map(str::to_owned);
        let result = result.or_else(|| verdict.get("result").and_then(Value::as_str).map(str::to_owned));
        (name.to_uppercase(), result.unwrap_or_else(|| verdict.to_string()))
    });
    shown.collect()
}

async fn stored(app: &App, page: &Page, id: &str) -> Result<Vec<u8>, Failed> {
    let id: InboundId = extract::id(id, WHAT)?;
    Ok(raw(app, page, id).await?.ok_or_else(|| Problem::not_found(WHAT))?)
}

/// Its HTML, made harmless.
pub async fn html(State(app): State<App>, page: Page, Path(id): Path<String>) -> Result<Response, Failed> {
    content::harmless(stored(&app, &page, &id).await?).await
}

/// Its source, as a file.
pub async fn source(State(app): State<App>, page: Page, Path(id): Path<String>) -> Result<Response, Failed> {
    Ok(content::download("message.eml", stored(&app, &page, &id).await?))
}

/// One of its files.
pub async fn file(
    State(app): State<App>,
    page: Page,
    Path((id, number)): Path<(String, usize)>,
) -> Result<Response, Failed> {
    content::one_file(stored(&app, &page, &id).await?, number).await
}
