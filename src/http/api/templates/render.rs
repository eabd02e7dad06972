//! `POST /v1/templates/{id}/render`: what a mail made of a template would hold.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::domain::template::{Locale, Selection};
use crate::http::App;
use crate::http::api::variables;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;
use crate::render::{Compiled, Fault, Rendered, Source};
use crate::store::templates;
use crate::submission::template::{self, Pointers};

use super::{VERSIONS, WHAT, named};

struct Asked {
    variables: Map<String, Value>,
    version: Option<i32>,
    locale: Option<Locale>,
}

/// Renders a version: the one that is named, else the published one, else the newest.
pub async fn render(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let name = named(&name)?;
    let body = app.budget.read(&headers, body, 1 << 20).await?;
    let asked = decode(extract::json(&headers, &body.bytes)?)?;
    let tenant = principal.tenant();
    let source = {
        let mut connection = app.database.serve().acquire().await?;
        let found = templates::find(&mut connection, tenant, &name).await?;
        let found = found.ok_or_else(|| Problem::not_found(WHAT))?;
        let version = asked.version.unwrap_or_else(|| template::shown(&found));
        let selection = Selection { name, version: Some(version), locale: asked.locale };
        template::select(&mut connection, tenant, &selection, "").await?
    };
    let (_, source) = source.map_err(|violation| Problem::invalid(vec![violation]))?;
    let variables = asked.variables;
    // It may take some milliseconds: not on the threads that serve everybody.
    let rendered = tokio::task::spawn_blocking(move || rendered(&source, &variables))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let Rendered { subject, text, html, amp } = rendered.map_err(|faults| {
        let pointers = Pointers { variables: "/variables", template: Some(""), parts: "" };
        Problem::invalid(template::violations(faults, pointers))
    })?;
    let mut shown = json!({ "subject": subject, "html": html, "text": text });
    if let Some(amp) = amp {
        shown["amp"] = amp.into();
    }
    Ok(Json(shown))
}

fn rendered(source: &Source, variables: &Map<String, Value>) -> Result<Rendered, Vec<Fault>> {
    Compiled::new(source)?.render(variables)
}

fn decode(value: Value) -> Result<Asked, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let asked = Asked {
        variables: variables::take(&mut fields, "variables").unwrap_or_default(),
        version: fields.number("version", VERSIONS).and_then(|number| i32::try_from(number).ok()),
        locale: fields.parsed("locale", "invalid_locale", Locale::parse),
    };
    let errors = fields.finish();
    if errors.is_empty() { Ok(asked) } else { Err(Problem::invalid(errors)) }
}
