//! `/ui/webhooks`: where a tenant has its events posted; what was posted, what came of it, and posting it again.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use time::Duration;

use crate::account::webhooks::{self as operation, Replay};
use crate::domain::event::EventType;
use crate::domain::id::{PostId, WebhookId};
use crate::domain::user::Act;
use crate::domain::webhook::WebhookSecret;
use crate::http::App;
use crate::http::api::webhooks::{decode, decode_change};
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::store::calls::Again;
use crate::store::posts::{self, Post, PostFilter};
use crate::store::webhooks::{self, StoredWebhook};
use crate::webhooks::{Tested, test as post_test};

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At, Badge, Tone};

const WHAT: &str = "webhook";
const MOST: i64 = 200;
const LOG: usize = 50;
/// How long a rotated secret still signs.
const OVERLAP: Duration = Duration::DAY;
/// Events looked at in one replay.
const MAX_REPLAY: i64 = 10_000;

#[derive(Template)]
#[template(path = "ui/webhooks.html")]
struct Webhooks {
    frame: Frame,
    form: Form,
    types: Vec<&'static str>,
    rows: Vec<Row>,
}

struct Row {
    id: String,
    url: String,
    description: String,
    types: String,
    badge: Badge,
    created: At,
}

#[derive(Template)]
#[template(path = "ui/webhook.html")]
struct OneWebhook {
    frame: Frame,
    form: Form,
    row: Row,
    is_enabled: bool,
    because: &'static str,
    types: Vec<&'static str>,
    /// Shown once, after it was made or rotated.
    secret: Option<String>,
    log: Vec<Logged>,
    older: String,
    results: [(&'static str, &'static str); 4],
    filter: Form,
}

struct Logged {
    id: String,
    at: At,
    badge: Badge,
    attempt: i32,
    answer: String,
    took: String,
    label: String,
    has_events: bool,
    next: Option<At>,
    request: String,
    response: String,
}

fn state(webhook: &StoredWebhook) -> Badge {
    match (&webhook.disabled, webhook.failing_since) {
        (Some(_), _) => Badge("off", Tone::Plain),
        (None, Some(_)) => Badge("failing", Tone::Bad),
        (None, None) => Badge("on", Tone::Good),
    }
}

fn row(webhook: &StoredWebhook) -> Row {
    Row {
        id: webhook.id.to_string(),
        url: webhook.url.clone(),
        description: webhook.description.clone(),
        types: webhook.types.as_ref().map_or_else(|| "all events".to_owned(), |types| types.join(", ")),
        badge: state(webhook),
        created: show::ago(webhook.created_at),
    }
}

fn logged(post: &Post) -> Logged {
    let badge = match post.result.as_str() {
        "delivered" => Badge("delivered", Tone::Good),
        "deferred" => Badge("deferred", Tone::Warn),
        _ => Badge("failed", Tone::Bad),
    };
    let status = post.status.map(|status| status.to_string());
    Logged {
        id: post.id.to_string(),
        at: show::ago(post.id.born()),
        badge,
        attempt: post.attempt,
        answer: status.or_else(|| post.error.clone()).unwrap_or_default(),
        took: show::lasting(f64::from(post.duration_ms) / 1000.0),
        label: show::many(i64::try_from(post.events.len()).unwrap_or(i64::MAX), "event", "events"),
        has_events: !post.events.is_empty(),
        next: post.next_at.map(show::ago),
        request: pretty(&post.request),
        response: post.response.clone(),
    }
}

/// JSON as people read it; what is cut or no JSON stays as it is.
fn pretty(text: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    parsed.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned())
}

fn types() -> Vec<&'static str> {
    EventType::ALL.iter().map(|kind| kind.as_str()).collect()
}

async fn index(app: &App, page: &Page, form: Form) -> Result<Webhooks, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = webhooks::list(&mut connection, page.tenant(), None, MOST).await?;
    Ok(Webhooks {
        frame: page.frame("Webhooks", "webhooks"),
        form,
        types: types(),
        rows: rows.iter().map(row).collect(),
    })
}

/// The page of all.
pub async fn list(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    shown(&index(&app, &page, Form::default()).await?)
}

async fn find(app: &App, page: &Page, id: &str) -> Result<StoredWebhook, Failed> {
    let id: WebhookId = extract::id(id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let found = webhooks::find(&mut connection, page.tenant(), id).await?;
    Ok(found.ok_or_else(|| Problem::not_found(WHAT))?)
}

fn wishes(form: &Form) -> Value {
    let mut value = form.json(&["url", "description"]);
    for name in ["streams", "tags"] {
        let words = form.words(name);
        value.insert(name.to_owned(), if words.is_empty() { Value::Null } else { json!(words) });
    }
    let types = form.all("types");
    value.insert("types".to_owned(), if types.is_empty() { Value::Null } else { json!(types) });
    value.into()
}

/// Makes a webhook, and shows its secret once.
pub async fn create(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let (new, secret) = match decode(&app, wishes(&form)).await {
        Ok(read) => read,
        Err(problem) => return refused(&index(&app, &page, form.refused(&problem)).await?),
    };
    let secret = secret.map_or_else(WebhookSecret::generate, Ok).map_err(no_randomness)?;
    let (actor, tenant, now) = (page.actor(), page.tenant(), app.clock.now());
    let made = operation::create(&app.database, &app.seal, &actor, tenant, new, &secret, now).await?;
    shown(&of_one(&app, &page, &made, Form::default(), Some(secret.reveal().to_owned())).await?)
}

fn no_randomness(error: crate::seal::NoRandomness) -> Problem {
    Problem::new(Kind::Internal, error.to_string())
}

/// Why it is off, in words.
fn why_off(because: &str) -> &'static str {
    match because {
        "failing" => "it failed for too long. Its events wait until it is switched on.",
        "gone" => "its address said that it is gone (410).",
        _ => "it was switched off by hand.",
    }
}

async fn of_one(
    app: &App,
    page: &Page,
    webhook: &StoredWebhook,
    filter: Form,
    secret: Option<String>,
) -> Result<OneWebhook, Failed> {
    let result = filter.given("result").filter(|result| ["delivered", "deferred", "failed"].contains(result));
    let wanted = PostFilter { result: result.map(str::to_owned), ..PostFilter::default() };
    let before: Option<PostId> = filter.given("before").and_then(|text| text.parse().ok());
    let mut connection = app.database.serve().acquire().await?;
    let tenant = webhook.tenant;
    let mut log = posts::list(&mut connection, tenant, webhook.id, &wanted, before, LOG as i64 + 1).await?;
    let more = log.len() > LOG;
    log.truncate(LOG);
    let path = path(webhook.id);
    let older =
        log.last().filter(|_| more).map(|last| filter.onward(&path, &["result"], &last.id.to_string()));
    Ok(OneWebhook {
        frame: page.frame("Webhook", "webhooks"),
        form: form_of(webhook),
        row: row(webhook),
        is_enabled: webhook.disabled.is_none(),
        because: webhook.disabled.as_ref().map(|(_, because)| why_off(because)).unwrap_or_default(),
        types: types(),
        secret,
        log: log.iter().map(logged).collect(),
        older: older.unwrap_or_default(),
        results: [("", "any"), ("delivered", "delivered"), ("deferred", "deferred"), ("failed", "failed")],
        filter,
    })
}

fn form_of(webhook: &StoredWebhook) -> Form {
    let list = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.join(", ")).unwrap_or_default();
    Form::default()
        .with("url", webhook.url.clone())
        .with("description", webhook.description.clone())
        .with("streams", list(&webhook.streams))
        .with("tags", list(&webhook.tags))
        .with_all("types", webhook.types.clone().unwrap_or_default())
}

fn path(id: WebhookId) -> String {
    format!("/ui/webhooks/{id}")
}

/// The page of one.
pub async fn one(
    State(app): State<App>,
    page: Page,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let webhook = find(&app, &page, &id).await?;
    let filter = Form::parse(query.unwrap_or_default().as_bytes());
    shown(&of_one(&app, &page, &webhook, filter, None).await?)
}

/// Changes one.
pub async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let known = find(&app, &page, &id).await?;
    let mut wanted = wishes(&form);
    if form.on("switch") {
        wanted = json!({ "enabled": known.disabled.is_some() });
    }
    let change = match decode_change(&app, wanted).await {
        Ok(change) => change,
        Err(problem) => {
            let mut page = of_one(&app, &page, &known, Form::default(), None).await?;
            page.form = form.refused(&problem);
            return refused(&page);
        }
    };
    let (actor, now) = (page.actor(), app.clock.now());
    let apply = |before| change.apply(before);
    let changed = operation::update(&app.database, &actor, page.tenant(), known.id, apply, now).await?;
    changed.ok_or_else(|| Problem::not_found(WHAT))?;
    Ok(done(&path(known.id), "saved"))
}

/// Posts a test at once.
pub async fn test(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let webhook = find(&app, &posted.page, &id).await?;
    let path = path(webhook.id);
    match post_test(&app.database, &app.seal, &app.outbound, webhook, app.clock.now()).await? {
        Tested::Posted(post) if post.result == "delivered" => Ok(done(&path, "posted")),
        Tested::Posted(_) => Ok(done(&path, "post-failed")),
        Tested::Sealed => {
            Err(Problem::new(Kind::Internal, "the webhook's secret does not open; rotate it").into())
        }
    }
}

/// Gives a webhook another secret, shown once.
pub async fn rotate(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let page = posted.page;
    let known = find(&app, &page, &id).await?;
    let secret = WebhookSecret::generate().map_err(no_randomness)?;
    let whose = (page.tenant(), known.id);
    let rotated = operation::rotate(
        &app.database,
        &app.seal,
        &page.actor(),
        whose,
        (&secret, OVERLAP),
        app.clock.now(),
    )
    .await?;
    let webhook = rotated.ok_or_else(|| Problem::not_found(WHAT))?;
    shown(&of_one(&app, &page, &webhook, Form::default(), Some(secret.reveal().to_owned())).await?)
}

/// Queues events once more: those of one request, or those since some hours.
pub async fn replay(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let webhook = find(&app, &page, &id).await?;
    let now = app.clock.now();
    let wanted = match form.given("post") {
        Some(post) => {
            let post: PostId = extract::id(post, "delivery to this webhook")?;
            let mut connection = app.database.serve().acquire().await?;
            let found = posts::find(&mut connection, webhook.tenant, webhook.id, post).await?;
            Replay::Post(Box::new(found.ok_or_else(|| Problem::not_found("delivery to this webhook"))?))
        }
        None => {
            let hours = form.text("hours").parse::<i64>().ok().filter(|hours| (1..=24 * 45).contains(hours));
            let hours = hours.ok_or_else(|| Problem::field("/hours", "out_of_range", "1 to 1080 hours"))?;
            Replay::Time(Again {
                since: now - Duration::hours(hours),
                until: now,
                after: None,
                limit: MAX_REPLAY,
            })
        }
    };
    operation::replay(&app.database, &page.actor(), &webhook, wanted, now).await?;
    Ok(done(&path(webhook.id), "queued"))
}

/// Deletes one.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: WebhookId = extract::id(&id, WHAT)?;
    let page = &posted.page;
    if !operation::delete(&app.database, &page.actor(), page.tenant(), id, app.clock.now()).await? {
        return Err(Problem::not_found(WHAT).into());
    }
    Ok(done("/ui/webhooks", "deleted"))
}
