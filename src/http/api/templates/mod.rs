//! `/v1/templates`: what mail is made of.

mod decode;
mod render;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::account::templates::{self as operation, TemplateError};
use crate::domain::id::TemplateId;
use crate::domain::template::TemplateName;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path, Query};
use crate::http::fields::Fields;
use crate::render::{Bodies, Part};
use crate::store::templates::{self, StoredTemplate, StoredVersion};

use super::wire::{Page, Paging, moment};

pub use decode::{change as decode_change, new as decode};
pub use render::render;

const WHAT: &str = "template";
/// Of one request: the sources, and what JSON adds to them.
const MAX_BODY: usize = 4 << 20;
/// Versions are numbered from 1.
const VERSIONS: std::ops::RangeInclusive<i64> = 1..=i32::MAX as i64;

impl From<TemplateError> for Problem {
    fn from(error: TemplateError) -> Problem {
        match error {
            TemplateError::NotFound => Problem::not_found(WHAT),
            TemplateError::NoVersion => Problem::field("/version", "unknown_version", error.to_string()),
            TemplateError::Conflict => Problem::new(Kind::Conflict, error.to_string()),
            TemplateError::Store(error) => error.into(),
        }
    }
}

/// A template without its sources.
fn show(template: &StoredTemplate) -> Map<String, Value> {
    let shown = json!({
        "id": template.id.to_string(),
        "alias": template.alias,
        "name": template.name,
        "latest_version": template.latest,
        "published_version": template.published,
        "created_at": moment(template.created_at),
        "updated_at": moment(template.updated_at),
    });
    match shown {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A template with the sources of one version.
fn show_version(template: &StoredTemplate, version: &StoredVersion) -> Value {
    let mut shown = show(template);
    shown.insert("version".to_owned(), version.version.into());
    shown.insert("published".to_owned(), (template.published == Some(version.version)).into());
    shown.extend(bodies(&version.contents.common));
    let locales = version.contents.locales.iter();
    let locales = locales.map(|(locale, own)| (locale.as_str().to_owned(), Value::Object(bodies(own))));
    shown.insert("locales".to_owned(), Value::Object(locales.collect()));
    Value::Object(shown)
}

fn bodies(bodies: &Bodies) -> Map<String, Value> {
    let parts = Part::ALL.into_iter();
    parts.map(|part| (part.name().to_owned(), bodies.get(part).map_or(Value::Null, Value::from))).collect()
}

/// The template that a path names.
fn named(text: &str) -> Result<TemplateName, Problem> {
    TemplateName::parse(text).ok_or_else(|| Problem::not_found(WHAT))
}

/// Makes a template.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let new = decode::new(extract::json(&headers, &body.bytes)?)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let (template, version) = operation::create(&app.database, &actor, tenant, new, app.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(show_version(&template, &version))))
}

/// A page of the tenant's templates.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<TemplateId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = templates::list(&mut connection, principal.tenant(), paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |row| row.id, |row| Value::Object(show(&row)))))
}

/// One template, with the sources of `?version=`, or of the newest.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let name = named(&name)?;
    let mut query = Query::parse(query.as_deref());
    let number = query.parsed("version", "out_of_range", |text| {
        let number = text.parse::<i32>().ok().filter(|number| *number >= 1);
        number.ok_or("a version is a whole number from 1")
    });
    query.finish()?;
    let tenant = principal.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let found = templates::find(&mut connection, tenant, &name).await?;
    let template = found.ok_or_else(|| Problem::not_found(WHAT))?;
    let number = number.unwrap_or(template.latest);
    let found = templates::version(&mut connection, tenant, template.id, number).await?;
    let version = found.ok_or_else(|| Problem::not_found("version of this template"))?;
    Ok(Json(show_version(&template, &version)))
}

/// The versions of a template, newest first.
pub async fn versions(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let name = named(&name)?;
    let tenant = principal.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let found = templates::find(&mut connection, tenant, &name).await?;
    let template = found.ok_or_else(|| Problem::not_found(WHAT))?;
    let versions = templates::versions(&mut connection, tenant, template.id).await?;
    let data: Vec<Value> = versions
        .into_iter()
        .map(|(version, at)| {
            let published = template.published == Some(version);
            json!({ "version": version, "published": published, "created_at": moment(at) })
        })
        .collect();
    Ok(Json(json!({ "data": data, "next_cursor": null })))
}

/// Changes a template: other sources are a new version.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let name = named(&name)?;
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let value = extract::json(&headers, &body.bytes)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let change = |newest: &_| decode::change(value, newest);
    let (template, version) =
        operation::update(&app.database, &actor, tenant, &name, change, app.clock.now()).await?;
    Ok(Json(show_version(&template, &version)))
}

/// Makes a version what sends use.
pub async fn publish(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let name = named(&name)?;
    let body = app.budget.read(&headers, body, 64 * 1024).await?;
    let value = extract::json(&headers, &body.bytes)?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let version = fields.number("version", VERSIONS).and_then(|number| i32::try_from(number).ok());
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let (template, version) =
        operation::publish(&app.database, &actor, tenant, &name, version, app.clock.now()).await?;
    Ok(Json(show_version(&template, &version)))
}

/// Deletes a template. Mail that was accepted keeps what it was made of.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let name = named(&name)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let deleted = operation::delete(&app.database, &actor, tenant, &name, app.clock.now()).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(WHAT)) }
}
