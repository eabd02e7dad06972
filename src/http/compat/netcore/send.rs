//! `POST /v5/mail/send` and `/v5.1/mail/send`: 202 with the id of the message.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::Problem;

use super::message;

/// Sends: all personalizations, or none.
pub async fn send(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mails = message::mails(value).map_err(Problem::invalid)?;
    let accepted = parts::accept(&app, &principal, mails, None).await?;
    let id = accepted.first().map(|mail| mail.id.to_string());
    let view = json!({ "data": { "message_id": id }, "message": "OK", "status": "success" });
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}
