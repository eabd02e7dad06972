//! `/v1/streams`: kinds of a tenant's mail.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::account::streams as operation;
use crate::domain::delivery::Priority;
use crate::domain::handling::Tracking;
use crate::domain::id::{StreamId, TenantId};
use crate::domain::stream::{Stream, StreamKind, UnknownStreams, Watched};
use crate::domain::submission::StreamName;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;
use crate::store::{StoreError, streams};

use super::wire::{Page, Paging, moment};

const WHAT: &str = "stream";
const MAX_TITLE: usize = 100;
const MAX_BODY: usize = 16 * 1024;

fn show(stream: &Stream) -> Value {
    json!({
        "id": stream.id.to_string(),
        "name": stream.name.as_str(),
        "title": stream.title,
        "kind": stream.kind.as_str(),
        "priority": stream.priority.as_str(),
        "tracking": stream.decides_tracking().then(|| {
            json!({ "opens": stream.tracking.opens, "clicks": stream.tracking.clicks })
        }),
        "created_at": moment(stream.created_at),
    })
}

/// What is said of a stream; `None`: nothing.
pub struct Wishes {
    title: Option<String>,
    kind: Option<StreamKind>,
    priority: Option<Priority>,
    tracking: Option<Tracking>,
}

impl Wishes {
    /// Reads them.
    pub fn read(fields: &mut Fields) -> Wishes {
        let title = fields.text("title");
        if title.as_ref().is_some_and(|title| !(1..=MAX_TITLE).contains(&title.chars().count())) {
            fields.wrong("title", "invalid_title", format!("a title has 1 to {MAX_TITLE} characters"));
        }
        Wishes {
            title,
            kind: fields.parsed("kind", "invalid_kind", str::parse),
            priority: fields.parsed("priority", "invalid_priority", str::parse),
            tracking: tracking(fields),
        }
    }

    /// The stream as it is wanted.
    pub fn apply(self, stream: Stream) -> Stream {
        Stream {
            title: self.title.unwrap_or(stream.title),
            kind: self.kind.unwrap_or(stream.kind),
            priority: self.priority.unwrap_or(stream.priority),
            watched: self.tracking.map_or(stream.watched, |_| Watched::ByStream),
            tracking: self.tracking.unwrap_or(stream.tracking),
            ..stream
        }
    }
}

fn tracking(fields: &mut Fields) -> Option<Tracking> {
    let mut object = fields.object("tracking")?;
    let tracking = Tracking {
        opens: object.flag("opens").unwrap_or_default(),
        clicks: object.flag("clicks").unwrap_or_default(),
    };
    fields.absorb(object);
    Some(tracking)
}

async fn body(app: &App, headers: &HeaderMap, body: Body) -> Result<Fields, Problem> {
    let body = app.budget.read(headers, body, MAX_BODY).await?;
    Fields::of(extract::json(headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))
}

/// Describes a stream.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let now = app.clock.now();
    let new = decode(self::body(&app, &headers, body).await?, principal.tenant(), now)?;
    let made = operation::create(&app.database, &principal.actor(), &new, now).await;
    made.map_err(|error| match error {
        StoreError::Conflict(_) => {
            Problem::new(Kind::Conflict, format!("there is a stream {}", new.name.as_str()))
        }
        other => other.into(),
    })?;
    Ok((StatusCode::CREATED, Json(show(&new))))
}

/// Reads a new stream.
///
/// # Errors
/// Every field that cannot be used.
pub fn decode(mut fields: Fields, tenant: TenantId, now: OffsetDateTime) -> Result<Stream, Problem> {
    let name = fields.required_text("name").and_then(|text| match StreamName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            fields.wrong("name", "invalid_stream", error.to_string());
            None
        }
    });
    let wishes = Wishes::read(&mut fields);
    let errors = fields.finish();
    match name {
        Some(name) if errors.is_empty() => Ok(wishes.apply(Stream {
            id: StreamId::new(now),
            tenant,
            title: name.as_str().to_owned(),
            name,
            kind: StreamKind::Transactional,
            priority: Priority::Normal,
            tracking: Tracking::default(),
            watched: Watched::ByDomain,
            created_at: now,
        })),
        _ => Err(Problem::invalid(errors)),
    }
}

/// A page of the tenant's streams.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<StreamId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = streams::list(&mut connection, principal.tenant(), paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |stream| stream.id, |stream| show(&stream))))
}

/// One stream.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: StreamId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let stream = streams::find(&mut connection, principal.tenant(), id).await?;
    stream.map(|stream| Json(show(&stream))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Changes what is given, and leaves the rest.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id: StreamId = extract::id(&id, WHAT)?;
    let mut fields = self::body(&app, &headers, body).await?;
    let wishes = Wishes::read(&mut fields);
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let change = |stream| wishes.apply(stream);
    let changed = operation::update(&app.database, &actor, tenant, id, change, now).await?;
    changed.map(|stream| Json(show(&stream))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Deletes a stream's description.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: StreamId = extract::id(&id, WHAT)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let deleted = operation::delete(&app.database, &actor, tenant, id, app.clock.now()).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(WHAT)) }
}

/// What becomes of mail of streams that are not described.
pub async fn policy(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let policy = streams::policy(&mut connection, principal.tenant()).await?;
    Ok(Json(json!({ "unknown": policy.as_str() })))
}

/// Decides what becomes of it.
pub async fn set_policy(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let mut fields = self::body(&app, &headers, body).await?;
    let words = "unknown is accept or refuse";
    let policy = fields.parsed("unknown", "invalid_policy", |text| UnknownStreams::parse(text).ok_or(words));
    if policy.is_none() && !fields.is_wrong("unknown") {
        fields.wrong("unknown", "required", "it is needed");
    }
    let errors = fields.finish();
    let policy = policy.filter(|_| errors.is_empty()).ok_or_else(|| Problem::invalid(errors))?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    operation::set_policy(&app.database, &actor, tenant, policy, app.clock.now()).await?;
    Ok(Json(json!({ "unknown": policy.as_str() })))
}
