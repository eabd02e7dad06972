//! `POST /v3/smtp/email`: 201 with the Message-ID, angle brackets and all; 202 for mail that is to wait.

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

/// Sends.
pub async fn send(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let call = message::call(value).map_err(Problem::invalid)?;
    let waits = call.mails.iter().any(|mail| mail.options.send_at.is_some());
    let status = if waits { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    let accepted = parts::accept(&app, &principal, call.mails, call.key).await?;
    let ids: Vec<&str> = accepted.iter().map(|mail| mail.message_id.as_str()).collect();
    let view = match ids.as_slice() {
        [only] if !call.is_versioned => json!({ "messageId": only }),
        all => json!({ "messageIds": all }),
    };
    Ok((status, Json(view)).into_response())
}
