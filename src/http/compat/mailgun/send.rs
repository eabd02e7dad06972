//! `POST /v3/{domain}/messages` and `/v3/{domain}/messages.mime`.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::submission::Submission;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{HeldBody, Path};
use crate::http::fields::parse_domain;
use crate::submission::SenderPolicy;

use super::form::Form;
use super::message;

/// Sends a mail that is made of parameters; with `recipient-variables`, one to each recipient.
pub async fn messages(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(domain): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (form, _held) = read(&app, &principal, &domain, &headers, body).await?;
    let mail = message::of_parts(&form).map_err(Problem::invalid)?;
    queued(&app, &principal, mail).await
}

/// Sends a message that the caller composed.
pub async fn mime(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(domain): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (form, _held) = read(&app, &principal, &domain, &headers, body).await?;
    let mail = message::of_mime(&form, &domain).map_err(Problem::invalid)?;
    queued(&app, &principal, mail).await
}

async fn read(
    app: &App,
    principal: &Principal,
    domain: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Form, HeldBody), Problem> {
    check_domain(app, principal, domain)?;
    let held = app.budget.read(headers, body, app.max_batch_bytes()).await?;
    let form = Form::read(headers, held.bytes.clone()).await?;
    Ok((form, held))
}

/// Clients know an unknown domain by these words.
fn check_domain(app: &App, principal: &Principal, domain: &str) -> Result<(), Problem> {
    let limits = &app.accept.limits;
    let held = || parse_domain(domain).and_then(|name| limits.senders.find(principal.tenant(), &name));
    if limits.sender_policy == SenderPolicy::Any || held().is_some() {
        return Ok(());
    }
    Err(Problem::new(Kind::NotFound, format!("Domain not found: {domain}")))
}

async fn queued(app: &App, principal: &Principal, mail: Submission) -> Result<Response, Problem> {
    let accepted = parts::accept(app, principal, vec![mail], None).await?;
    let id = accepted.first().map(|first| first.message_id.clone());
    Ok(Json(json!({ "id": id, "message": "Queued. Thank you." })).into_response())
}
