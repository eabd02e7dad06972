//! `POST /emails` and `POST /emails/batch` (resend.com/docs/api-reference/emails).

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::submission::Submission;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::Problem;
use crate::submission::{IdempotencyKey, Rejected, Request, Unit};

use super::{errors, message};

/// Emails in one call.
const MAX_BATCH: usize = 100;

/// Sends an email.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Ok(key) = idempotency_key(&headers) else { return Ok(bad_key()) };
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mail = message::submission(value, app.clock.now())?;
    let accepted = parts::accept(&app, &principal, vec![mail], key).await?;
    let id = accepted.first().map(|accepted| accepted.id.uuid().to_string());
    Ok(Json(json!({ "id": id })).into_response())
}

/// Sends up to a hundred: all of them or none, unless `x-batch-validation` is `permissive`.
pub async fn batch(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Ok(key) = idempotency_key(&headers) else { return Ok(bad_key()) };
    let permissive = headers.get("x-batch-validation").is_some_and(|value| value == "permissive");
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let Value::Array(list) = value else {
        return Err(Problem::field("", "wrong_type", "The request body must be an array of emails."));
    };
    if list.is_empty() || list.len() > MAX_BATCH {
        let message = format!("A batch has 1 to {MAX_BATCH} emails.");
        return Err(Problem::field("", "out_of_range", message));
    }
    let now = app.clock.now();
    let items: Vec<Result<Submission, Rejected>> =
        list.into_iter().map(|value| message::submission(value, now)).collect();
    let unit = if permissive { Unit::Each } else { Unit::All };
    let answer = app.accept.accept(&principal.caller(), Request { items, key, unit }).await?;
    let mut data = Vec::new();
    let mut wrong = Vec::new();
    for (index, item) in answer.items.into_iter().enumerate() {
        match item {
            Ok(accepted) => data.push(json!({ "id": accepted.id.uuid().to_string() })),
            Err(rejected) => {
                let (_, _, message) = errors::words(&rejected.into());
                wrong.push(json!({ "index": index, "message": message }));
            }
        }
    }
    let mut body = json!({ "data": data });
    if permissive {
        body["errors"] = wrong.into();
    }
    Ok(Json(body).into_response())
}

struct BadKey;

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, BadKey> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| IdempotencyKey::parse(text).ok());
    key.map(Some).ok_or(BadKey)
}

fn bad_key() -> Response {
    errors::said(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
}
