//! `/templates` (postmarkapp.com/developer/api/templates-api). A template's number is made of its id.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::account::templates::{self as operation, NewTemplate, Publication, TemplateChange, TemplateError};
use crate::domain::id::{TemplateId, TenantId};
use crate::domain::template::{Alias, Contents};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::query::Asked;
use crate::http::compat::{lists, parts, stored};
use crate::http::error::Problem;
use crate::http::extract::Path;
use crate::render::{Bodies, Compiled, Gaps, Source};
use crate::store::templates::{self, StoredTemplate, StoredVersion};
use crate::webhooks::number;

use super::errors::Said;

fn show(template: &StoredTemplate) -> Value {
    json!({
        "Active": template.published.is_some(),
        "TemplateId": number(template.id.uuid()),
        "Name": template.name,
        "Alias": template.alias,
        "TemplateType": "Standard",
        "LayoutTemplate": null,
    })
}

fn show_version(template: &StoredTemplate, version: &StoredVersion) -> Value {
    let bodies = &version.contents.common;
    let mut shown = show(template);
    shown["AssociatedServerId"] = 1.into();
    shown["Subject"] = bodies.subject.clone().into();
    shown["HtmlBody"] = bodies.html.clone().into();
    shown["TextBody"] = bodies.text.clone().into();
    shown
}

fn not_found() -> Response {
    let message =
        "The Template's 'Alias' or 'TemplateId' associated with this request is not valid or was not found.";
    Said::new(1101, message).into_response()
}

/// Numbers that have been looked up, in one call.
pub type Known = HashMap<i64, Option<TemplateId>>;

/// In a mail, a number that is a template's stands for its id.
///
/// # Errors
/// The database does not answer.
pub async fn resolve(
    app: &App,
    tenant: TenantId,
    mail: &mut Value,
    known: &mut Known,
) -> Result<(), Problem> {
    let Some(number) = mail.get("TemplateId").and_then(Value::as_i64).filter(|number| *number != 0) else {
        return Ok(());
    };
    let found = match known.get(&number) {
        Some(found) => *found,
        None => lists::template(app, tenant, &number.to_string()).await?.map(|template| template.id),
    };
    known.insert(number, found);
    if let Some(id) = found {
        mail["TemplateId"] = id.to_string().into();
    }
    Ok(())
}

/// `GET /templates`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let (offset, count) = (asked.number("offset", 0, 10_000), asked.number("count", 100, 500));
    let mut connection = app.database.serve().acquire().await?;
    let all = templates::list(&mut connection, principal.tenant(), None, 10_000).await?;
    let page: Vec<Value> = all.iter().skip(offset).take(count).map(show).collect();
    Ok(Json(json!({ "TotalCount": all.len(), "Templates": page })))
}

/// `GET /templates/{id}`: by number or alias.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = principal.tenant();
    let Some(template) = lists::template(&app, tenant, &id).await? else { return Ok(not_found()) };
    let mut connection = app.database.serve().acquire().await?;
    let version = templates::version(&mut connection, tenant, template.id, template.latest).await?;
    Ok(version.map_or_else(not_found, |version| Json(show_version(&template, &version)).into_response()))
}

/// `POST /templates`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let contents = Contents { common: bodies(&value, Bodies::default())?, ..Contents::default() };
    let Some(name) = text(&value, "Name").filter(|name| is_name(name)) else {
        return Ok(Said::new(1120, "The 'Name' is required, and has at most 200 characters.").into_response());
    };
    let alias = match alias(&value) {
        Ok(alias) => alias,
        Err(said) => return Ok(said.into_response()),
    };
    let new = NewTemplate { alias, name, contents, publication: Publication::Published };
    let (actor, tenant) = (principal.actor(), principal.tenant());
    match operation::create(&app.database, &actor, tenant, new, app.clock.now()).await {
        Ok((template, _)) => Ok(Json(show(&template)).into_response()),
        Err(TemplateError::Conflict) => Ok(taken()),
        Err(error) => Err(error.into()),
    }
}

/// `PUT /templates/{id}`.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let tenant = principal.tenant();
    let Some(template) = lists::template(&app, tenant, &id).await? else { return Ok(not_found()) };
    let alias = match alias(&value) {
        Ok(alias) => alias,
        Err(said) => return Ok(said.into_response()),
    };
    let named = crate::domain::template::TemplateName::Id(template.id);
    let change = |newest: &Contents| {
        let common = bodies(&value, newest.common.clone())?;
        Ok(TemplateChange {
            alias: alias.map(Some),
            name: text(&value, "Name").filter(|name| is_name(name)),
            contents: Some(Contents { common, locales: newest.locales.clone() }),
            publication: Some(Publication::Published),
        })
    };
    let now = app.clock.now();
    let changed =
        operation::update::<Problem>(&app.database, &principal.actor(), tenant, &named, change, now).await;
    let (template, _) = changed?;
    Ok(Json(show(&template)).into_response())
}

/// `DELETE /templates/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let tenant = principal.tenant();
    let Some(template) = lists::template(&app, tenant, &id).await? else { return Ok(not_found()) };
    let named = crate::domain::template::TemplateName::Id(template.id);
    operation::delete(&app.database, &principal.actor(), tenant, &named, app.clock.now()).await?;
    let message = format!("Template {} removed.", number(template.id.uuid()));
    Ok(Json(json!({ "ErrorCode": 0, "Message": message })).into_response())
}

/// `POST /templates/validate`: what would come of sources with a model.
pub async fn validate(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let model = value.get("TestRenderModel").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut all_well = true;
    let mut shown = json!({ "SuggestedTemplateModel": model });
    for (name, place) in [("Subject", 0), ("HtmlBody", 1), ("TextBody", 2)] {
        let source = text(&value, name).unwrap_or_default();
        let result = rendered(&source, place, &model);
        all_well &= result.is_ok();
        shown[name] = match result {
            Ok(text) => json!({ "ContentIsValid": true, "ValidationErrors": [], "RenderedContent": text }),
            Err(errors) => {
                json!({ "ContentIsValid": false, "ValidationErrors": errors, "RenderedContent": null })
            }
        };
    }
    shown["AllContentIsValid"] = all_well.into();
    Ok(Json(shown))
}

fn rendered(source: &str, place: usize, model: &Map<String, Value>) -> Result<String, Vec<Value>> {
    let mut bodies = Bodies::default();
    let source = Some(stored::mustachio(source));
    match place {
        0 => bodies.subject = source,
        1 => bodies.html = source,
        _ => bodies.text = source,
    }
    let source = Source { bodies, ..Source::default() };
    let rendered = Compiled::new(&source)
        .and_then(|compiled| compiled.fill_with(model, Gaps::Empty))
        .and_then(|filled| filled.finish().map_err(|fault| vec![fault]));
    let told = |fault: &crate::render::Fault| json!({ "Message": fault.sentence(), "Line": 1, "CharacterPosition": 1 });
    let rendered = rendered.map_err(|faults| faults.iter().map(told).collect::<Vec<Value>>())?;
    Ok(match place {
        0 => rendered.subject,
        1 => rendered.html.unwrap_or_default(),
        _ => rendered.text.unwrap_or_default(),
    })
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn is_name(name: &str) -> bool {
    (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

fn alias(value: &Value) -> Result<Option<Alias>, Said> {
    let Some(text) = text(value, "Alias").filter(|alias| !alias.is_empty()) else { return Ok(None) };
    Alias::like(&text).map(Some).ok_or_else(|| Said::new(1122, "The 'Alias' is not valid."))
}

fn taken() -> Response {
    Said::new(1125, "The 'Alias' is already used by another template.").into_response()
}

fn bodies(value: &Value, mut bodies: Bodies) -> Result<Bodies, Problem> {
    let source = |name: &str| value.get(name).and_then(Value::as_str).map(stored::mustachio);
    bodies.subject = source("Subject").or(bodies.subject);
    bodies.html = source("HtmlBody").or(bodies.html).filter(|html| !html.is_empty());
    bodies.text = source("TextBody").or(bodies.text).filter(|text| !text.is_empty());
    parts::check_bodies(&bodies, "/HtmlBody")?;
    Ok(bodies)
}
