//! `/templates` (resend.com/docs/api-reference/templates). A template has a draft until it is published; what its
//! variables are if nobody gives them is written into its sources.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::templates::{self as operation, NewTemplate, Publication, TemplateChange, TemplateError};
use crate::domain::template::{Alias, BadAlias, Contents, TemplateName};
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::{lists, parts};
use crate::http::error::{Kind, Problem};
use crate::http::extract::{Path, Query};
use crate::http::fields::Fields;
use crate::render::Bodies;
use crate::store::templates::{self, StoredTemplate, StoredVersion};

const MAX_VARIABLES: usize = 50;

fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "Template not found")
}

async fn find(app: &App, principal: &Principal, id: &str) -> Result<StoredTemplate, Problem> {
    let tenant = principal.tenant();
    let by_uuid = uuid::Uuid::parse_str(id).ok().map(crate::domain::id::TemplateId::from_uuid);
    let name = by_uuid.map_or_else(|| id.to_owned(), |id| id.to_string());
    lists::template(app, tenant, &name).await?.ok_or_else(not_found)
}

fn summary(template: &StoredTemplate) -> Value {
    let is_published = template.published.is_some();
    json!({
        "id": template.id.uuid().to_string(),
        "name": template.name,
        "alias": template.alias,
        "status": if is_published { "published" } else { "draft" },
        "published_at": is_published.then(|| moment(template.updated_at)),
        "created_at": moment(template.created_at),
        "updated_at": moment(template.updated_at),
    })
}

fn whole(template: &StoredTemplate, version: &StoredVersion) -> Value {
    let bodies = &version.contents.common;
    let mut shown = summary(template);
    shown["object"] = "template".into();
    shown["subject"] = bodies.subject.clone().into();
    shown["html"] = bodies.html.clone().into();
    shown["text"] = bodies.text.clone().into();
    shown["variables"] = json!([]);
    shown["from"] = Value::Null;
    shown["reply_to"] = Value::Null;
    shown["has_unpublished_versions"] = (template.published != Some(template.latest)).into();
    shown["current_version_id"] = format!("{}-{}", template.id.uuid(), template.latest).into();
    shown
}

fn named(template: &StoredTemplate) -> Value {
    json!({ "object": "template", "id": template.id.uuid().to_string() })
}

/// What a request says of a template.
struct Given {
    name: Option<String>,
    alias: Option<Alias>,
    bodies: Bodies,
}

fn given(value: Value, before: Bodies) -> Result<Given, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let name = fields.text("name").map(|name| name.chars().filter(|c| !c.is_control()).take(200).collect());
    let alias = fields.text("alias").filter(|alias| !alias.is_empty()).and_then(|text| {
        let alias = Alias::like(&text);
        if alias.is_none() {
            fields.wrong("alias", "invalid_alias", BadAlias.to_string());
        }
        alias
    });
    let fallbacks = fallbacks(&mut fields);
    let source = |text: Option<String>| text.map(|text| with_fallbacks(&text, &fallbacks));
    let bodies = Bodies {
        subject: source(fields.text("subject")).or(before.subject),
        html: source(fields.text("html")).or(before.html),
        text: source(fields.text("text")).or(before.text),
        ..Bodies::default()
    };
    // Who it is from and where answers go is said by each mail.
    fields.rest();
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(Problem::invalid(wrong));
    }
    parts::check_bodies(&bodies, "/html")?;
    Ok(Given { name, alias, bodies })
}

/// `variables: [{key, type, fallback_value}]`: what stands for those that a mail does not give.
fn fallbacks(fields: &mut Fields) -> Vec<(String, String)> {
    let list = fields.list("variables", MAX_VARIABLES).unwrap_or_default();
    let mut read = Vec::new();
    for variable in list {
        let key = variable.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
        if key.is_empty() || !key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
            fields.wrong("variables", "invalid", "Invalid `variables` field. A variable has a `key`.");
            continue;
        }
        let fallback = variable.get("fallback_value").or_else(|| variable.get("fallbackValue"));
        match fallback {
            Some(Value::String(text)) if text.contains(['"', '\\', '{', '}', '\n', '\r']) => {
                fields.wrong(
                    "variables",
                    "not_supported",
                    format!("the fallback of {key} cannot be kept here"),
                );
            }
            Some(Value::String(text)) => read.push((key, format!("\"{text}\""))),
            Some(Value::Number(number)) => read.push((key, number.to_string())),
            _ => {}
        }
    }
    read
}

/// `{{{NAME}}}` with what stands for it.
fn with_fallbacks(source: &str, fallbacks: &[(String, String)]) -> String {
    let mut source = source.to_owned();
    for (key, fallback) in fallbacks {
        for (open, close) in [("{{{", "}}}"), ("{{", "}}")] {
            for space in ["", " "] {
                let tag = format!("{open}{space}{key}{space}{close}");
                source = source.replace(&tag, &format!("{open}default {key} {fallback}{close}"));
            }
        }
    }
    source
}

/// `GET /templates`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let limit = query.limit();
    let mut connection = app.database.serve().acquire().await?;
    let all = templates::list(&mut connection, principal.tenant(), None, limit as i64 + 1).await?;
    let data: Vec<Value> = all.iter().take(limit).map(summary).collect();
    Ok(Json(json!({ "object": "list", "has_more": all.len() > limit, "data": data })))
}

/// `GET /templates/{id}`: its newest version.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let template = find(&app, &principal, &id).await?;
    let mut connection = app.database.serve().acquire().await?;
    let version =
        templates::version(&mut connection, principal.tenant(), template.id, template.latest).await?;
    Ok(Json(whole(&template, &version.ok_or_else(not_found)?)))
}

/// `POST /templates`: a draft.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let given = given(value, Bodies::default())?;
    let name = given.name.ok_or_else(|| Problem::field("/name", "required", "it is needed"))?;
    if given.bodies.html.is_none() && given.bodies.text.is_none() {
        return Err(Problem::field("/html", "required", "it is needed"));
    }
    let contents = Contents { common: given.bodies, ..Contents::default() };
    let new = NewTemplate { alias: given.alias, name, contents, publication: Publication::Draft };
    let template = made(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, Json(named(&template))))
}

async fn made(app: &App, principal: &Principal, new: NewTemplate) -> Result<StoredTemplate, Problem> {
    let (actor, tenant) = (principal.actor(), principal.tenant());
    match operation::create(&app.database, &actor, tenant, new, app.clock.now()).await {
        Ok((template, _)) => Ok(template),
        Err(TemplateError::Conflict) => {
            Err(Problem::field("/alias", "taken", "A template with this alias already exists."))
        }
        Err(error) => Err(error.into()),
    }
}

/// `PATCH /templates/{id}`: another draft.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let template = find(&app, &principal, &id).await?;
    let change = |newest: &Contents| {
        let given = given(value, newest.common.clone())?;
        Ok(TemplateChange {
            alias: given.alias.map(Some),
            name: given.name,
            contents: Some(Contents { common: given.bodies, locales: newest.locales.clone() }),
            publication: Some(Publication::Draft),
        })
    };
    let name = TemplateName::Id(template.id);
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    operation::update::<Problem>(&app.database, &actor, tenant, &name, change, now).await?;
    Ok(Json(named(&template)))
}

/// `POST /templates/{id}/publish`.
pub async fn publish(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let template = find(&app, &principal, &id).await?;
    let name = TemplateName::Id(template.id);
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    operation::publish(&app.database, &actor, tenant, &name, None, now).await?;
    Ok(Json(named(&template)))
}

/// `POST /templates/{id}/duplicate`: a draft of the same, without an alias.
pub async fn duplicate(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let template = find(&app, &principal, &id).await?;
    let mut connection = app.database.serve().acquire().await?;
    let version =
        templates::version(&mut connection, principal.tenant(), template.id, template.latest).await?;
    drop(connection);
    let contents = version.ok_or_else(not_found)?.contents;
    let name = format!("{} (Copy)", template.name.chars().take(190).collect::<String>());
    let new = NewTemplate { alias: None, name, contents, publication: Publication::Draft };
    let copy = made(&app, &principal, new).await?;
    Ok((StatusCode::CREATED, Json(named(&copy))))
}

/// `DELETE /templates/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let template = find(&app, &principal, &id).await?;
    let name = TemplateName::Id(template.id);
    let (actor, tenant) = (principal.actor(), principal.tenant());
    operation::delete(&app.database, &actor, tenant, &name, app.clock.now()).await?;
    let mut shown = named(&template);
    shown["deleted"] = true.into();
    Ok(Json(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_variable_is_written_into_the_source() {
        let fallbacks = [("NAME".to_owned(), "\"you\"".to_owned()), ("PRICE".to_owned(), "25".to_owned())];
        let source = "{{{NAME}}} {{ PRICE }} {{{NAMES}}} {{{ NAME }}}";
        let wanted = "{{{default NAME \"you\"}}} {{default PRICE 25}} {{{NAMES}}} {{{default NAME \"you\"}}}";
        assert_eq!(with_fallbacks(source, &fallbacks), wanted);
    }
}
