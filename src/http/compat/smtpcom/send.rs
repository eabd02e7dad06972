//! `POST /v4/messages` and `/v4/messages/mime`: 200 with the id of the message.

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
use crate::http::error::Problem;

use super::message;

/// Sends what is composed here.
pub async fn message(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mail = message::mail(value).map_err(Problem::invalid)?;
    send(&app, &principal, mail).await
}

/// Sends what is composed already.
pub async fn mime(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mail = message::mime(value).map_err(Problem::invalid)?;
    send(&app, &principal, mail).await
}

async fn send(app: &App, principal: &Principal, mail: Submission) -> Result<Response, Problem> {
    let accepted = parts::accept(app, principal, vec![mail], None).await?;
    let id = accepted.first().map(|mail| mail.id.to_string()).unwrap_or_default();
    let data = json!({ "message": format!("accepted for delivery, msg_id: {id}"), "msg_id": id });
    Ok(Json(json!({ "status": "success", "data": data })).into_response())
}
