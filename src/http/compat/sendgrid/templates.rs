//! `/v3/templates` and their versions (docs.sendgrid.com/api-reference/transactional-templates). A version here is never
//! changed: what changes one there makes another here, with a number of its own.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::templates::{self as operation, NewTemplate, Publication, TemplateChange};
use crate::domain::template::Contents;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::query::Asked;
use crate::http::compat::{lists, parts, stored};
use crate::http::error::Problem;
use crate::http::extract::Path;
use crate::render::Bodies;
use crate::store::templates::{self, StoredTemplate, StoredVersion};

const MOST: usize = 200;

fn show(template: &StoredTemplate, versions: &[StoredVersion]) -> Value {
    json!({
        "id": template.alias.clone().unwrap_or_else(|| template.id.to_string()),
        "name": template.name,
        "generation": "dynamic",
        "updated_at": moment(template.updated_at),
        "versions": versions.iter().map(|version| show_version(template, version)).collect::<Vec<_>>(),
    })
}

fn show_version(template: &StoredTemplate, version: &StoredVersion) -> Value {
    let bodies = &version.contents.common;
    json!({
        "id": version.version.to_string(),
        "template_id": template.alias.clone().unwrap_or_else(|| template.id.to_string()),
        "active": i32::from(template.published == Some(version.version)),
        "name": format!("v{}", version.version),
        "subject": bodies.subject.clone().unwrap_or_default(),
        "html_content": bodies.html.clone().unwrap_or_default(),
        "plain_content": bodies.text.clone().unwrap_or_default(),
        "generate_plain_content": bodies.text.is_none(),
        "editor": "code",
        "updated_at": moment(version.created_at),
    })
}

/// `GET /v3/templates`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let mut connection = app.database.serve().acquire().await?;
    let limit = asked.number("page_size", MOST, MOST);
    let all = templates::list(&mut connection, principal.tenant(), None, limit as i64).await?;
    drop(connection);
    let mut shown = Vec::with_capacity(all.len());
    for template in &all {
        shown.push(show(template, &lists::versions(&app, principal.tenant(), template).await?));
    }
    // Both names are in use: with paging, and without.
    let count = shown.len();
    Ok(Json(json!({ "result": shown, "templates": shown, "_metadata": { "count": count } })))
}

/// `POST /v3/templates`: without a version yet.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let new = NewTemplate {
        alias: None,
        name: name(&value)?,
        contents: Contents::default(),
        publication: Publication::Draft,
    };
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let (template, _) = operation::create(&app.database, &actor, tenant, new, app.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(show(&template, &[]))))
}

fn name(value: &Value) -> Result<String, Problem> {
    let name = value.get("name").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(Problem::field("/name", "invalid_name", "name must be between 1 and 100 characters"));
    }
    Ok(name.to_owned())
}

/// `GET /v3/templates/{id}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    shown(&app, &principal, &id).await.map(Json)
}

async fn shown(app: &App, principal: &Principal, id: &str) -> Result<Value, Problem> {
    let tenant = principal.tenant();
    let found = lists::template(app, tenant, id).await?;
    let template = found.ok_or_else(|| Problem::not_found("template"))?;
    let versions = lists::versions(app, tenant, &template).await?;
    Ok(show(&template, &versions))
}

/// `PATCH /v3/templates/{id}`: another name.
pub async fn rename(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let change = TemplateChange { name: Some(name(&value)?), ..TemplateChange::default() };
    let named = lists::template_named(&app, principal.tenant(), &id).await?;
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    operation::update::<Problem>(&app.database, &actor, tenant, &named, |_| Ok(change), now).await?;
    shown(&app, &principal, &id).await.map(Json)
}

/// `DELETE /v3/templates/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let named = lists::template_named(&app, principal.tenant(), &id).await?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    operation::delete(&app.database, &actor, tenant, &named, app.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v3/templates/{id}/versions`.
pub async fn add_version(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let version = changed(&app, &principal, &id, value, Publication::Published, None).await?;
    Ok((StatusCode::CREATED, Json(version)))
}

/// `PATCH /v3/templates/{id}/versions/{version}`.
pub async fn change_version(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((id, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let number = number(&version)?;
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let found = lists::template(&app, principal.tenant(), &id).await?;
    let template = found.ok_or_else(|| Problem::not_found("template"))?;
    let mut connection = app.database.serve().acquire().await?;
    let before = templates::version(&mut connection, principal.tenant(), template.id, number).await?;
    let before = before.ok_or_else(|| Problem::not_found("version"))?;
    drop(connection);
    let publication =
        if template.published == Some(number) { Publication::Published } else { Publication::Draft };
    let version = changed(&app, &principal, &id, value, publication, Some(before.contents.common)).await?;
    Ok(Json(version))
}

/// `GET /v3/templates/{id}/versions/{version}`.
pub async fn version(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let number = number(&version)?;
    let found = lists::template(&app, principal.tenant(), &id).await?;
    let template = found.ok_or_else(|| Problem::not_found("template"))?;
    let mut connection = app.database.serve().acquire().await?;
    let version = templates::version(&mut connection, principal.tenant(), template.id, number).await?;
    version
        .map(|version| Json(show_version(&template, &version)))
        .ok_or_else(|| Problem::not_found("version"))
}

/// `POST /v3/templates/{id}/versions/{version}/activate`.
pub async fn activate(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let number = number(&version)?;
    let named = lists::template_named(&app, principal.tenant(), &id).await?;
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let (template, version) =
        operation::publish(&app.database, &actor, tenant, &named, Some(number), now).await?;
    Ok(Json(show_version(&template, &version)))
}

fn number(text: &str) -> Result<i32, Problem> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| Problem::not_found("version"))
}

async fn changed(
    app: &App,
    principal: &Principal,
    id: &str,
    value: Value,
    usual: Publication,
    before: Option<Bodies>,
) -> Result<Value, Problem> {
    let bodies = bodies(&value, before.unwrap_or_default())?;
    let publication = match value.get("active").and_then(Value::as_i64) {
        Some(0) => Publication::Draft,
        Some(_) => Publication::Published,
        None => usual,
    };
    let change = TemplateChange {
        contents: Some(Contents { common: bodies, ..Contents::default() }),
        publication: Some(publication),
        ..TemplateChange::default()
    };
    let named = lists::template_named(app, principal.tenant(), id).await?;
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let (template, version) =
        operation::update::<Problem>(&app.database, &actor, tenant, &named, |_| Ok(change), now).await?;
    Ok(show_version(&template, &version))
}

/// The sources that a request has, over those there were.
fn bodies(value: &Value, mut bodies: Bodies) -> Result<Bodies, Problem> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(stored::handlebars);
    bodies.subject = text("subject").or(bodies.subject);
    bodies.html = text("html_content").or(bodies.html).filter(|html| !html.is_empty());
    bodies.text = text("plain_content").or(bodies.text).filter(|text| !text.is_empty());
    parts::check_bodies(&bodies, "/html_content")?;
    Ok(bodies)
}
