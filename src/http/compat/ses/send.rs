//! `POST /v2/email/outbound-emails` ("SendEmail"): 200 with the id of the message.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

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
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mail = message::mail(value).map_err(Problem::invalid)?;
    let accepted = parts::accept(&app, &principal, vec![mail], None).await?;
    Ok(Json(json!({ "MessageId": accepted.first().map(|mail| mail.id.to_string()) })))
}
