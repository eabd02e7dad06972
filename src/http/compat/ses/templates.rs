//! `/v2/email/templates` ("CreateEmailTemplate" and the others). A name is an alias here, in small letters; as it was
//! written it is the template's name for people, and shown.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::account::templates::{self as operation, NewTemplate, Publication, TemplateChange, TemplateError};
use crate::domain::template::{Alias, BadAlias, Contents, TemplateName};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::query::Asked;
use crate::http::compat::{lists, parts};
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::http::fields::Fields;
use crate::mail::Mailbox;
use crate::mail::compose::{self, ComposeError, Draft};
use crate::render::{Bodies, Compiled, Source};
use crate::store::templates::{self, StoredTemplate};
use crate::submission::template::{Pointers, source, violations};

use super::content::template_data;

const MOST: usize = 100;

fn nowhere(name: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("Template {name} does not exist."))
}

async fn find(app: &App, principal: &Principal, name: &str) -> Result<StoredTemplate, Problem> {
    lists::template(app, principal.tenant(), name).await?.ok_or_else(|| nowhere(name))
}

/// `TemplateContent`.
fn content(fields: &mut Fields) -> Contents {
    let Some(mut object) = fields.object("TemplateContent") else {
        if !fields.is_wrong("TemplateContent") {
            fields.wrong("TemplateContent", "required", "it is needed");
        }
        return Contents::default();
    };
    let common = Bodies {
        subject: object.text("Subject"),
        text: object.text("Text"),
        html: object.text("Html"),
        ..Bodies::default()
    };
    object.rest();
    fields.absorb(object);
    let compiled = Compiled::new(&Source { bodies: common.clone(), ..Source::default() });
    if let Err(faults) = compiled {
        let pointers = Pointers { variables: "", template: Some("/TemplateContent"), parts: "" };
        for violation in violations(faults, pointers) {
            fields.wrong_at(violation);
        }
    }
    Contents { common, ..Contents::default() }
}

fn finish(mut fields: Fields) -> Result<(), Problem> {
    fields.rest();
    let wrong = fields.finish();
    if wrong.is_empty() { Ok(()) } else { Err(Problem::invalid(wrong)) }
}

/// `POST /v2/email/templates`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let name = fields.required_text("TemplateName").unwrap_or_default();
    let alias = Alias::like(&name);
    if alias.is_none() {
        fields.wrong("TemplateName", "invalid_name", BadAlias.to_string());
    }
    let contents = content(&mut fields);
    finish(fields)?;
    let new = NewTemplate { alias, name, contents, publication: Publication::Published };
    let (actor, tenant) = (principal.actor(), principal.tenant());
    match operation::create(&app.database, &actor, tenant, new, app.clock.now()).await {
        Err(TemplateError::Conflict) => {
            Err(Problem::new(Kind::Conflict, "There is already a template with this name."))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Json(json!({}))),
    }
}

/// `PUT /v2/email/templates/{TemplateName}`: a new version, published at once.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let contents = content(&mut fields);
    finish(fields)?;
    let stored = find(&app, &principal, &name).await?;
    let change = TemplateChange {
        contents: Some(contents),
        publication: Some(Publication::Published),
        ..TemplateChange::default()
    };
    let named = TemplateName::Id(stored.id);
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    operation::update::<Problem>(&app.database, &actor, tenant, &named, |_| Ok(change), now).await?;
    Ok(Json(json!({})))
}

/// `GET /v2/email/templates/{TemplateName}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let stored = find(&app, &principal, &name).await?;
    let mut connection = app.database.serve().acquire().await?;
    let number = stored.published.unwrap_or(stored.latest);
    let version = templates::version(&mut connection, principal.tenant(), stored.id, number).await?;
    let bodies = version.map(|version| version.contents.common).unwrap_or_default();
    Ok(Json(json!({
        "TemplateName": shown_name(&stored),
        "TemplateContent": { "Subject": bodies.subject, "Text": bodies.text, "Html": bodies.html },
    })))
}

fn shown_name(stored: &StoredTemplate) -> String {
    match &stored.alias {
        // As it was written, if that is the same name.
        Some(alias) if Alias::like(&stored.name).is_some_and(|like| like.as_str() == alias) => {
            stored.name.clone()
        }
        Some(alias) => alias.clone(),
        None => stored.id.to_string(),
    }
}

/// `GET /v2/email/templates`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let limit = asked.number("PageSize", MOST, MOST);
    let after = asked.text("NextToken").and_then(|text| text.parse().ok());
    let mut connection = app.database.serve().acquire().await?;
    let mut all = templates::list(&mut connection, principal.tenant(), after, limit as i64 + 1).await?;
    let more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| more).map(|last| last.id.to_string());
    let shown: Vec<Value> = all
        .iter()
        .map(|stored| {
            json!({ "TemplateName": shown_name(stored), "CreatedTimestamp": stored.created_at.unix_timestamp() })
        })
        .collect();
    Ok(Json(json!({ "TemplatesMetadata": shown, "NextToken": next })))
}

/// `DELETE /v2/email/templates/{TemplateName}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let stored = find(&app, &principal, &name).await?;
    let named = TemplateName::Id(stored.id);
    let (actor, tenant) = (principal.actor(), principal.tenant());
    operation::delete(&app.database, &actor, tenant, &named, app.clock.now()).await?;
    Ok(Json(json!({})))
}

/// `POST /v2/email/templates/{TemplateName}/render` ("TestRenderEmailTemplate"): the mail, without addresses.
pub async fn render(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let variables = template_data(&mut fields, "TemplateData").unwrap_or_default();
    finish(fields)?;
    let stored = find(&app, &principal, &name).await?;
    let tenant = principal.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let number = stored.published.unwrap_or(stored.latest);
    let version = templates::version(&mut connection, tenant, stored.id, number).await?;
    let contents = version.map(|version| version.contents).ok_or_else(|| nowhere(&name))?;
    let source = source(&mut connection, tenant, &contents, None).await?;
    drop(connection);
    let rendered = Compiled::new(&source).and_then(|compiled| compiled.render(&variables));
    let pointers = Pointers { variables: "/TemplateData", template: Some("/TemplateName"), parts: "" };
    let rendered = rendered.map_err(|faults| Problem::invalid(violations(faults, pointers)))?;
    let nobody = Mailbox::parse("nobody@localhost.localdomain").map_err(|_| nowhere(&name))?;
    let draft = Draft {
        from: &nobody,
        reply_to: &[],
        to: &[],
        cc: &[],
        subject: &rendered.subject,
        text: rendered.text.as_deref(),
        html: rendered.html.as_deref(),
        amp: None,
        attachments: &[],
        headers: &[],
        message_id: &format!("{}@localhost.localdomain", stored.id.uuid().simple()),
        date: app.clock.now(),
        boundary_seed: stored.id.uuid().as_u128(),
    };
    let bad = |error: ComposeError| Problem::field("/TemplateData", "invalid_template", error.to_string());
    let octets = compose::compose(&draft).map_err(bad)?;
    let mail = String::from_utf8_lossy(&octets);
    let kept =
        mail.split_inclusive("\r\n").filter(|line| !line.starts_with("From: ") && !line.starts_with("To: "));
    Ok(Json(json!({ "RenderedTemplate": kept.collect::<String>() })))
}
