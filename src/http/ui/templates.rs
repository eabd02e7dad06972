//! `/ui/templates`: what mail is made of: its sources, how they look with variables in them, and a test mail.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::account::templates as operation;
use crate::domain::template::{Contents, TemplateName};
use crate::domain::user::Act;
use crate::http::App;
use crate::http::api::{messages, templates as api};
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::mail::preview;
use crate::render::{Bodies, Compiled, Fault, Part, Rendered};
use crate::store::templates::{self, StoredTemplate};
use crate::submission::template::{Pointers, source, violations};
use crate::submission::{Request, Unit, Violation};

use super::content::{in_sandbox, off_runtime};
use super::form::Form;
use super::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use super::show::{self, At, Badge, Tone};

const WHAT: &str = "template";
const MOST: i64 = 500;
/// The sources that the editor has room for.
const PARTS: [Part; 4] = [Part::Subject, Part::Html, Part::Mjml, Part::Text];

#[derive(Template)]
#[template(path = "ui/templates.html")]
struct Templates {
    frame: Frame,
    rows: Vec<Row>,
}

struct Row {
    id: String,
    name: String,
    alias: String,
    badge: Badge,
    version: i32,
    updated: At,
}

#[derive(Template)]
#[template(path = "ui/template.html")]
struct Editor {
    frame: Frame,
    form: Form,
    /// Empty: a new one.
    id: String,
    title: String,
    version: i32,
    published: Option<i32>,
    /// The version that is shown is the one that sends use.
    is_published: bool,
    versions: Vec<(i32, At, bool)>,
    locales: Vec<String>,
}

#[derive(Template)]
#[template(path = "ui/template_preview.html")]
struct Faults {
    faults: Vec<Violation>,
}

fn row(template: &StoredTemplate) -> Row {
    let id = template.id.to_string();
    let alias = template.alias.clone().unwrap_or_default();
    let name = [&template.name, &alias, &id].into_iter().find(|text| !text.is_empty()).cloned();
    Row {
        name: name.unwrap_or_default(),
        alias,
        badge: match template.published {
            Some(version) if version == template.latest => Badge("published", Tone::Good),
            Some(_) => Badge("newer draft", Tone::Warn),
            None => Badge("draft", Tone::Plain),
        },
        version: template.latest,
        updated: show::ago(template.updated_at),
        id,
    }
}

/// The page of all.
pub async fn list(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = templates::list(&mut connection, page.tenant(), None, MOST).await?;
    shown(&Templates { frame: page.frame("Templates", "templates"), rows: rows.iter().map(row).collect() })
}

/// The editor of a new one.
pub async fn new(page: Page) -> Result<Response, Failed> {
    page.require(Act::Manage)?;
    let form = Form::default()
        .with("subject", "Welcome, {{name}}")
        .with("html", "<h1>Hello {{name}}</h1>\n<p>We are glad that you are here.</p>\n")
        .with("variables", "{\n  \"name\": \"Ann\"\n}");
    shown(&empty(&page, form))
}

fn empty(page: &Page, form: Form) -> Editor {
    Editor {
        frame: page.frame("New template", "templates"),
        form,
        id: String::new(),
        title: "New template".to_owned(),
        version: 0,
        published: None,
        is_published: false,
        versions: Vec::new(),
        locales: Vec::new(),
    }
}

fn named(text: &str) -> Result<TemplateName, Problem> {
    TemplateName::parse(text).ok_or_else(|| Problem::not_found(WHAT))
}

/// The editor of one, with the sources of `?version=`, or of the newest.
pub async fn one(
    State(app): State<App>,
    page: Page,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failed> {
    let name = named(&name)?;
    let asked = Form::parse(query.unwrap_or_default().as_bytes());
    let (template, contents, editor) = read(&app, &page, &name, asked.text("version").parse().ok()).await?;
    let mut form = Form::default()
        .with("name", template.name)
        .with("alias", template.alias.unwrap_or_default())
        .with("variables", guessed(&contents.common));
    for part in PARTS {
        form = form.with(part.name(), contents.common.get(part).unwrap_or_default());
    }
    shown(&Editor { form, ..editor })
}

async fn read(
    app: &App,
    page: &Page,
    name: &TemplateName,
    version: Option<i32>,
) -> Result<(StoredTemplate, Contents, Editor), Failed> {
    let tenant = page.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let found = templates::find(&mut connection, tenant, name).await?;
    let template = found.ok_or_else(|| Problem::not_found(WHAT))?;
    let number = version.unwrap_or(template.latest);
    let found = templates::version(&mut connection, tenant, template.id, number).await?;
    let stored = found.ok_or_else(|| Problem::not_found("version of this template"))?;
    let versions = templates::versions(&mut connection, tenant, template.id).await?;
    let title = row(&template).name;
    let editor = Editor {
        frame: page.frame(title.clone(), "templates"),
        form: Form::default(),
        id: template.id.to_string(),
        title,
        version: number,
        published: template.published,
        is_published: template.published == Some(number),
        versions: versions
            .into_iter()
            .map(|(one, at)| (one, show::ago(at), template.published == Some(one)))
            .collect(),
        locales: stored.contents.locales.keys().map(|locale| locale.as_str().to_owned()).collect(),
    };
    Ok((template, stored.contents, editor))
}

/// Variables to begin with: the names that sources use, each with itself as its value.
fn guessed(bodies: &Bodies) -> String {
    let Ok(names) = Regex::new(r"\{\{\{?\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\}?\}\}") else {
        return "{}".to_owned();
    };
    let sources = PARTS.into_iter().filter_map(|part| bodies.get(part));
    let found: BTreeSet<&str> = sources
        .flat_map(|text| names.captures_iter(text).filter_map(|hit| Some(hit.get(1)?.as_str())))
        .collect();
    let mut variables = Map::new();
    for name in found.into_iter().filter(|name| !["this", "else"].contains(name)) {
        let mut steps = name.split('.').peekable();
        let mut place = &mut variables;
        while let Some(step) = steps.next() {
            if steps.peek().is_none() {
                place.entry(step).or_insert_with(|| json!(step));
                break;
            }
            let inner = place.entry(step).or_insert_with(|| json!({}));
            let Some(object) = inner.as_object_mut() else { break };
            place = object;
        }
    }
    serde_json::to_string_pretty(&variables).unwrap_or_default()
}

fn wishes(form: &Form) -> Map<String, Value> {
    let mut value = form.json(&["name", "alias"]);
    for part in PARTS {
        let text = form.raw(part.name());
        let given = !text.trim().is_empty();
        value.insert(part.name().to_owned(), if given { text.into() } else { Value::Null });
    }
    value.insert("published".to_owned(), form.on("publish").into());
    value
}

/// Makes a template.
pub async fn create(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let made = match api::decode(wishes(&form).into()) {
        Ok(new) => operation::create(&app.database, &page.actor(), page.tenant(), new, app.clock.now())
            .await
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match made {
        Ok((template, _)) => Ok(done(&format!("/ui/templates/{}", template.id), "saved")),
        Err(problem) => refused(&empty(&page, form.refused(&problem))),
    }
}

/// Changes a template: other sources are a new version.
pub async fn update(
    State(app): State<App>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let name = named(&name)?;
    let mut wanted = wishes(&form);
    if !form.on("publish") {
        // A draft beside what is published: that stays.
        wanted.remove("published");
    }
    wanted.entry("alias").or_insert(Value::Null);
    let change = |newest: &Contents| api::decode_change(wanted.into(), newest);
    let (actor, tenant, now) = (page.actor(), page.tenant(), app.clock.now());
    match operation::update(&app.database, &actor, tenant, &name, change, now).await {
        Ok((template, _)) => Ok(done(&format!("/ui/templates/{}", template.id), "saved")),
        Err(problem) => {
            let (_, _, editor) = read(&app, &page, &name, None).await?;
            refused(&Editor { form: form.refused(&problem), ..editor })
        }
    }
}

/// Makes a version what sends use.
pub async fn publish(
    State(app): State<App>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let Posted { page, form } = posted;
    let name = named(&name)?;
    let version = form.text("version").parse().ok();
    let (actor, tenant, now) = (page.actor(), page.tenant(), app.clock.now());
    let (template, _) = operation::publish(&app.database, &actor, tenant, &name, version, now).await?;
    Ok(done(&format!("/ui/templates/{}", template.id), "published"))
}

/// Deletes a template.
pub async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Manage)?;
    let (page, name) = (posted.page, named(&name)?);
    let (actor, tenant, now) = (page.actor(), page.tenant(), app.clock.now());
    if !operation::delete(&app.database, &actor, tenant, &name, now).await? {
        return Err(Problem::not_found("template").into());
    }
    Ok(done("/ui/templates", "deleted"))
}

fn variables(form: &Form) -> Result<Map<String, Value>, Problem> {
    let text = form.text("variables");
    if text.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::field(
            "/variables",
            "wrong_type",
            "variables are a JSON object: {\"name\": \"Ann\"}",
        )),
        Err(error) => {
            Err(Problem::field("/variables", "invalid_json", format!("the variables are no JSON: {error}")))
        }
    }
}

/// What stands in the editor, rendered, for a sandboxed frame; what is wrong with it, else.
pub async fn preview(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    let Posted { page, form } = posted;
    let rendered = rendered(&app, &page, &form).await?;
    match rendered {
        Ok(rendered) => {
            let html = rendered.html.unwrap_or_default();
            let text = rendered.text.unwrap_or_default();
            let subject = rendered.subject;
            let body = if html.is_empty() { format!("<pre>{}</pre>", escaped(&text)) } else { html };
            let whole =
                format!("<p><small>Subject</small><br><strong>{}</strong></p><hr>{body}", escaped(&subject));
            Ok(in_sandbox(off_runtime(move || preview::page(&whole, &[])).await))
        }
        Err(faults) => {
            let page = Faults { faults };
            let page = page.render().map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
            Ok(in_sandbox(page))
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

async fn rendered(app: &App, page: &Page, form: &Form) -> Result<Result<Rendered, Vec<Violation>>, Failed> {
    let variables = match variables(form) {
        Ok(variables) => variables,
        Err(problem) => return Ok(Err(problem.violations().to_vec())),
    };
    let contents = match api::decode(wishes(form).into()) {
        Ok(new) => new.contents,
        Err(problem) => return Ok(Err(problem.violations().to_vec())),
    };
    let mut connection = app.database.serve().acquire().await?;
    let source = source(&mut connection, page.tenant(), &contents, None).await?;
    drop(connection);
    let work = move || -> Result<Rendered, Vec<Fault>> { Compiled::new(&source)?.render(&variables) };
    let pointers = Pointers { variables: "/variables", template: None, parts: "" };
    Ok(off_runtime(work).await.map_err(|faults| violations(faults, pointers)))
}

/// Sends what was saved last to one address.
pub async fn send_test(
    State(app): State<App>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    posted.require(Act::Send)?;
    let Posted { page, form } = posted;
    let name = named(&name)?;
    let (template, _, editor) = read(&app, &page, &name, None).await?;
    let sent = match variables(&form) {
        Ok(variables) => {
            let mail = json!({
                "from": form.text("from"), "to": form.text("to"), "tags": ["test"], "variables": variables,
                "template": { "id": template.id.to_string(), "version": template.latest },
            });
            let item = messages::decode::submission(mail, app.clock.now());
            let answer = app
                .accept
                .accept(&page.caller(), Request { items: vec![item], key: None, unit: Unit::Each })
                .await?;
            let first = answer.items.into_iter().next();
            first.ok_or_else(|| Problem::new(Kind::Internal, "no answer"))?.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    match sent {
        Ok(accepted) => {
            Ok(Redirect::to(&format!("/ui/messages/{}?done=tested", accepted.id)).into_response())
        }
        Err(problem) => {
            let mut form = form.refused(&problem);
            if form.error("from").is_none() && form.error("to").is_none() && form.error("variables").is_none()
            {
                problem.detail().clone_into(&mut form.problem);
            }
            refused(&Editor { form, ..editor })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_sources_use_are_variables_to_begin_with() {
        let bodies = Bodies {
            subject: Some("Hi {{name}}".to_owned()),
            html: Some(
                "{{{ order.id }}} {{order.total}} {{#each items}}{{this}}{{/each}} {{name}}".to_owned(),
            ),
            ..Bodies::default()
        };
        let value: Value = serde_json::from_str(&guessed(&bodies)).expect("JSON");
        assert_eq!(value, json!({ "name": "name", "order": { "id": "id", "total": "total" } }));
    }
}
