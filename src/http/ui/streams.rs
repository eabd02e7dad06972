//! `/ui/streams`: kinds of a tenant's mail, and what each asks for.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::account::streams as operation;
use crate::domain::id::StreamId;
use crate::domain::stream::{Stream, UnknownStreams};
use crate::domain::user::Act;
use crate::http::App;
use crate::http::api::streams::{Wishes, decode};
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;
use crate::store::{StoreError, streams};

use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};

const WHAT: &str = "stream";
const MOST: i64 = 500;
const KINDS: [(&str, &str); 2] = [
    ("transactional", "transactional: people await it"),
    ("broadcast", "broadcast: people subscribed, and may leave"),
];
const PRIORITIES: [(&str, &str); 3] =
    [("high", "high: somebody waits"), ("normal", "normal"), ("low", "low: bulk")];

#[derive(Template)]
#[template(path = "ui/streams.html")]
struct Streams {
    frame: Frame,
    form: Form,
    kinds: [(&'static str, &'static str); 2],
    priorities: [(&'static str, &'static str); 3],
    rows: Vec<Row>,
    refuses: bool,
    /// The stream that is being changed; empty: a new one.
    editing: String,
    editing_name: String,
}

struct Row {
    id: String,
    name: String,
    title: String,
    kind: &'static str,
    priority: &'static str,
    opens: bool,
    clicks: bool,
}

fn row(stream: &Stream) -> Row {
    Row {
        id: stream.id.to_string(),
        name: stream.name.as_str().to_owned(),
        title: stream.title.clone(),
        kind: stream.kind.as_str(),
        priority: stream.priority.as_str(),
        opens: stream.tracking.opens,
        clicks: stream.tracking.clicks,
    }
}

async fn index(app: &App, page: &Page, form: Form, editing: Option<&Stream>) -> Result<Streams, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = streams::list(&mut connection, page.tenant(), None, MOST).await?;
    let policy = streams::policy(&mut connection, page.tenant()).await?;
    Ok(Streams {
        frame: page.frame("Streams", "streams"),
        form,
        kinds: KINDS,
        priorities: PRIORITIES,
        rows: rows.iter().map(row).collect(),
        refuses: policy == UnknownStreams::Refuse,
        editing: editing.map(|stream| stream.id.to_string()).unwrap_or_default(),
        editing_name: editing.map(|stream| stream.name.as_str().to_owned()).unwrap_or_default(),
    })
}

/// The page.
pub async fn list(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    let form = Form::default().with("priority", "normal");
    shown(&index(&app, &page, form, None).await?)
}

async fn find(app: &App, page: &Page, id: &str) -> Result<Stream, Failed> {
    let id: StreamId = extract::id(id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let found = streams::find(&mut connection, page.tenant(), id).await?;
    Ok(found.ok_or_else(|| Problem::not_found(WHAT))?)
}

/// The page with the form of one stream.
pub async fn edit(State(app): State<App>, page: Page, Path(id): Path<String>) -> Result<Response, Failed> {
    let stream = find(&app, &page, &id).await?;
    let mut form = Form::default()
        .with("title", stream.title.clone())
        .with("kind", stream.kind.as_str())
        .with("priority", stream.priority.as_str());
    if stream.tracking.opens {
        form = form.with("opens", "on");
    }
    if stream.tracking.clicks {
        form = form.with("clicks", "on");
    }
    shown(&index(&app, &page, form, Some(&stream)).await?)
}

fn fields(form: &Form, names: &[&str]) -> Result<Fields, Problem> {
    let mut value = form.json(names);
    value.insert("tracking".to_owned(), json!({ "opens": form.on("opens"), "clicks": form.on("clicks") }));
    Fields::of(value.into(), "").map_err(|violation| Problem::invalid(vec![violation]))
}

/// Describes a stream.
pub async fn create(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let now = app.clock.now();
    let made = match fields(&form, &["name", "title", "kind", "priority"])
        .and_then(|fields| decode(fields, page.tenant(), now))
    {
        Ok(new) => {
            operation::create(&app.database, &page.actor(), &new, now).await.map_err(|error| match error {
                StoreError::Conflict(_) => Problem::field("/name", "taken", "there is a stream of this name"),
                other => other.into(),
            })
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok(()) => Ok(done("/ui/streams", "saved")),
        Err(problem) => refused(&index(&app, &page, form.refused(&problem), None).await?),
    }
}

/// Describes a stream otherwise.
pub async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let stream = find(&app, &page, &id).await?;
    let mut fields = fields(&form, &["title", "kind", "priority"])?;
    let wishes = Wishes::read(&mut fields);
    let errors = fields.finish();
    if !errors.is_empty() {
        let form = form.refused(&Problem::invalid(errors));
        return refused(&index(&app, &page, form, Some(&stream)).await?);
    }
    let (actor, now) = (page.actor(), app.clock.now());
    let change = |stream| wishes.apply(stream);
    let changed = operation::update(&app.database, &actor, page.tenant(), stream.id, change, now).await?;
    changed.ok_or_else(|| Problem::not_found(WHAT))?;
    Ok(done("/ui/streams", "saved"))
}

/// Deletes a stream's description.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let id: StreamId = extract::id(&id, WHAT)?;
    let page = &posted.page;
    if !operation::delete(&app.database, &page.actor(), page.tenant(), id, app.clock.now()).await? {
        return Err(Problem::not_found(WHAT).into());
    }
    Ok(done("/ui/streams", "deleted"))
}

/// Decides what becomes of mail of streams that are not described.
pub async fn set_policy(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let policy = UnknownStreams::parse(posted.form.text("unknown"));
    let policy = policy.ok_or_else(|| Problem::new(Kind::InvalidRequest, "unknown is accept or refuse"))?;
    let page = &posted.page;
    operation::set_policy(&app.database, &page.actor(), page.tenant(), policy, app.clock.now()).await?;
    Ok(done("/ui/streams", "saved"))
}
