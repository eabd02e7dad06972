//! `/v3/{domain}/templates` (documentation.mailgun.com/docs/mailgun/api-reference/openapi-final/tag/Templates). Templates
//! there are a domain's; here they are the tenant's. Versions have tags there and numbers here.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::account::templates::{self as operation, NewTemplate, Publication, TemplateChange, TemplateError};
use crate::domain::template::{Alias, Contents, TemplateName};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::query::Asked;
use crate::http::compat::{lists, parts, stored};
use crate::http::error::Problem;
use crate::http::extract::Path;
use crate::render::Bodies;
use crate::store::templates::{self, StoredTemplate, StoredVersion};

use super::errors::said;
use super::form::Form;
use super::suppressions::{place, rfc_2822};

const MAX_BODY: usize = 4 << 20;

fn show(template: &StoredTemplate) -> Value {
    json!({
        "name": template.alias.clone().unwrap_or_else(|| template.id.to_string()),
        "description": template.name,
        "createdAt": rfc_2822(template.created_at),
        "createdBy": "",
        "id": template.id.uuid().to_string(),
    })
}

fn show_version(template: &StoredTemplate, version: &StoredVersion) -> Value {
    let bodies = &version.contents.common;
    json!({
        "tag": tag(version.version),
        "template": bodies.html,
        "engine": "handlebars",
        "mjml": bodies.mjml.clone().unwrap_or_default(),
        "createdAt": rfc_2822(version.created_at),
        "comment": "",
        "active": template.published == Some(version.version),
        "id": format!("{}-{}", template.id.uuid(), version.version),
        "headers": { "Subject": bodies.subject.clone().unwrap_or_default() },
    })
}

fn tag(version: i32) -> String {
    if version == 1 { "initial".to_owned() } else { format!("v{version}") }
}

fn number(tag: &str) -> Option<i32> {
    if tag == "initial" {
        Some(1)
    } else {
        tag.trim_start_matches('v').parse().ok().filter(|number| *number > 0)
    }
}

fn not_found() -> Response {
    said(404, "template not found")
}

async fn form(app: &App, headers: &HeaderMap, body: Body) -> Result<Form, Problem> {
    let held = app.budget.read(headers, body, MAX_BODY).await?;
    Form::read(headers, held.bytes.clone()).await
}

fn bodies(form: &Form, mut bodies: Bodies) -> Result<Bodies, Problem> {
    if let Some(html) = form.one("template") {
        bodies.html = Some(stored::handlebars(html));
    }
    let headers = form.one("headers").and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(subject) = headers.as_ref().and_then(|headers| headers.get("Subject")?.as_str()) {
        bodies.subject = Some(stored::handlebars(subject));
    }
    parts::check_bodies(&bodies, "/template")?;
    Ok(bodies)
}

/// `GET /v3/{domain}/templates`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let limit = asked.number("limit", 100, 100);
    let mut connection = app.database.serve().acquire().await?;
    let all = templates::list(&mut connection, principal.tenant(), None, limit as i64).await?;
    let items: Vec<Value> = all.iter().map(show).collect();
    // All are on the first page.
    let page = format!("{}?limit={limit}", place(&headers, &uri));
    let paging = json!({ "first": page, "last": page, "next": page, "previous": page });
    Ok(Json(json!({ "items": items, "paging": paging })))
}

/// `POST /v3/{domain}/templates`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let form = form(&app, &headers, body).await?;
    let Some(alias) = form.one("name").and_then(Alias::like) else {
        return Ok(said(400, "'name' parameter is missing or invalid"));
    };
    let common = bodies(&form, Bodies::default())?;
    let is_empty = common.is_empty();
    let new = NewTemplate {
        name: form
            .one("description")
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect(),
        alias: Some(alias),
        contents: Contents { common, ..Contents::default() },
        publication: if is_empty { Publication::Draft } else { Publication::Published },
    };
    let (actor, tenant) = (principal.actor(), principal.tenant());
    match operation::create(&app.database, &actor, tenant, new, app.clock.now()).await {
        Ok((template, version)) => {
            let mut shown = show(&template);
            if !is_empty {
                shown["version"] = show_version(&template, &version);
            }
            Ok(Json(json!({ "template": shown, "message": "template has been stored" })).into_response())
        }
        Err(TemplateError::Conflict) => Ok(said(400, "template with this name already exists")),
        Err(error) => Err(error.into()),
    }
}

/// `GET /v3/{domain}/templates/{name}`, with `?active=yes` its active version too.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let tenant = principal.tenant();
    let Some(template) = lists::template(&app, tenant, &name).await? else { return Ok(not_found()) };
    let mut shown = show(&template);
    if Asked::parse(query.as_deref()).text("active").is_some() {
        let mut connection = app.database.serve().acquire().await?;
        let number = template.published.unwrap_or(template.latest);
        let version = templates::version(&mut connection, tenant, template.id, number).await?;
        shown["version"] = version.map(|version| show_version(&template, &version)).into();
    }
    Ok(Json(json!({ "template": shown })).into_response())
}

/// `PUT /v3/{domain}/templates/{name}`: another description.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let form = form(&app, &headers, body).await?;
    let tenant = principal.tenant();
    let Some(template) = lists::template(&app, tenant, &name).await? else { return Ok(not_found()) };
    let named = TemplateName::Id(template.id);
    let description: String =
        form.one("description").unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    let change = TemplateChange { name: Some(description), ..TemplateChange::default() };
    let now = app.clock.now();
    operation::update::<Problem>(&app.database, &principal.actor(), tenant, &named, |_| Ok(change), now)
        .await?;
    Ok(Json(json!({ "template": { "name": name }, "message": "template has been updated" })).into_response())
}

/// `DELETE /v3/{domain}/templates/{name}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = principal.tenant();
    let Some(template) = lists::template(&app, tenant, &name).await? else { return Ok(not_found()) };
    let named = TemplateName::Id(template.id);
    operation::delete(&app.database, &principal.actor(), tenant, &named, app.clock.now()).await?;
    Ok(Json(json!({ "template": { "name": name }, "message": "template has been deleted" })).into_response())
}

/// `GET /v3/{domain}/templates/{name}/versions`.
pub async fn versions(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let tenant = principal.tenant();
    let Some(template) = lists::template(&app, tenant, &name).await? else { return Ok(not_found()) };
    let versions = lists::versions(&app, tenant, &template).await?;
    let mut shown = show(&template);
    shown["versions"] = versions.iter().map(|version| show_version(&template, version)).collect();
    Ok(Json(json!({ "template": shown, "paging": {} })).into_response())
}

/// `POST /v3/{domain}/templates/{name}/versions`.
pub async fn add_version(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let form = form(&app, &headers, body).await?;
    if form.one("template").is_none() {
        return Ok(said(400, "'template' parameter is missing"));
    }
    let active = form.one("active").is_some_and(|active| active == "yes" || active == "true");
    let publication = if active { Publication::Published } else { Publication::Draft };
    let answer = changed(&app, &principal, &name, &form, publication).await?;
    Ok(answer.map_or_else(not_found, |template| {
        Json(json!({ "template": template, "message": "new version of the template has been stored" }))
            .into_response()
    }))
}

async fn changed(
    app: &App,
    principal: &Principal,
    name: &str,
    form: &Form,
    publication: Publication,
) -> Result<Option<Value>, Problem> {
    let tenant = principal.tenant();
    let Some(template) = lists::template(app, tenant, name).await? else { return Ok(None) };
    let named = TemplateName::Id(template.id);
    let change = |newest: &Contents| {
        let common = bodies(form, newest.common.clone())?;
        Ok(TemplateChange {
            contents: Some(Contents { common, locales: newest.locales.clone() }),
            publication: Some(publication),
            ..TemplateChange::default()
        })
    };
    let now = app.clock.now();
    let (template, version) =
        operation::update::<Problem>(&app.database, &principal.actor(), tenant, &named, change, now).await?;
    let mut shown = show(&template);
    shown["version"] = show_version(&template, &version);
    Ok(Some(shown))
}

/// `GET /v3/{domain}/templates/{name}/versions/{tag}`.
pub async fn version(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name, tag)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let tenant = principal.tenant();
    let found = lists::template(&app, tenant, &name).await?;
    let Some((template, number)) = found.zip(number(&tag)) else { return Ok(not_found()) };
    let mut connection = app.database.serve().acquire().await?;
    let version = templates::version(&mut connection, tenant, template.id, number).await?;
    Ok(version.map_or_else(not_found, |version| {
        let mut shown = show(&template);
        shown["version"] = show_version(&template, &version);
        Json(json!({ "template": shown })).into_response()
    }))
}

/// `PUT /v3/{domain}/templates/{name}/versions/{tag}`: versions never change here, so it makes another, and its tag is
/// told; with `active` it is published, and so it is if it takes the place of the active one.
pub async fn change_version(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path((_, name, tag)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let form = form(&app, &headers, body).await?;
    let tenant = principal.tenant();
    let Some(template) = lists::template(&app, tenant, &name).await? else { return Ok(not_found()) };
    let Some(number) = number(&tag) else { return Ok(said(404, "template version not found")) };
    let mut connection = app.database.serve().acquire().await?;
    let before = templates::version(&mut connection, tenant, template.id, number).await?;
    drop(connection);
    let Some(before) = before else { return Ok(said(404, "template version not found")) };
    let named = TemplateName::Id(template.id);
    let (actor, now) = (principal.actor(), app.clock.now());
    let is_active = form.one("active").is_some_and(|active| active == "yes" || active == "true");
    if form.one("template").is_none() && form.one("headers").is_none() {
        // Only which one is used changes.
        if is_active {
            operation::publish(&app.database, &actor, tenant, &named, Some(number), now).await?;
        }
        let shown = json!({ "name": name, "version": { "tag": tag } });
        return Ok(Json(json!({ "template": shown, "message": "version has been updated" })).into_response());
    }
    let is_active = is_active || template.published == Some(number);
    let change = |_: &Contents| {
        let common = bodies(&form, before.contents.common.clone())?;
        Ok(TemplateChange {
            contents: Some(Contents { common, locales: before.contents.locales.clone() }),
            publication: Some(if is_active { Publication::Published } else { Publication::Draft }),
            ..TemplateChange::default()
        })
    };
    let (_, version) =
        operation::update::<Problem>(&app.database, &actor, tenant, &named, change, now).await?;
    let shown = json!({ "name": name, "version": { "tag": self::tag(version.version) } });
    Ok(Json(json!({ "template": shown, "message": "version has been updated" })).into_response())
}
