//! `POST /api/v1/transmissions`: 200 with how many recipients were accepted, and the id of the message.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
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
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let call = message::call(value).map_err(Problem::invalid)?;
    let accepted = parts::accept(&app, &principal, vec![call.mail], None).await?;
    let id = accepted.first().map(|mail| mail.id.to_string());
    let mut view = json!({ "results": {
        "total_rejected_recipients": call.rejected.len(),
        "total_accepted_recipients": call.accepted,
        "id": id,
    } });
    if !call.rejected.is_empty() {
        let errors: Vec<Value> = call.rejected.iter().map(|why| not_accepted(why)).collect();
        view["results"]["rcpt_to_errors"] = Value::Array(errors);
    }
    Ok(Json(view).into_response())
}

fn not_accepted(why: &str) -> Value {
    json!({ "message": "transmission created, but with validation errors", "description": why, "code": "2000" })
}
