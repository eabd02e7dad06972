//! `POST /v1/email`: 202, an empty body, and the id in `X-Message-Id`; `POST /v1/bulk-email`: 202 with an id for all.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::id::EventId;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::Problem;
use crate::submission::{Accepted, BornState};

use super::message;
use super::messages::bulk_key;

const MESSAGE_ID: HeaderName = HeaderName::from_static("x-message-id");
/// Mails in one call of bulk-email.
const MAX_BULK: usize = 500;

/// Sends one mail.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mail = message::mail(value, "").map_err(Problem::invalid)?;
    let accepted = parts::accept(&app, &principal, vec![mail], None).await?;
    Ok(accepted.first().map_or_else(|| StatusCode::ACCEPTED.into_response(), answer))
}

/// 202; clients read the id in a header, and the type of an empty body.
fn answer(accepted: &Accepted) -> Response {
    let warnings = warnings(accepted);
    let mut response = match warnings {
        None => (
            StatusCode::ACCEPTED,
            [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"))],
            String::new(),
        )
            .into_response(),
        Some(warning) => {
            let message = "There are some warnings for your request.";
            (StatusCode::ACCEPTED, Json(json!({ "message": message, "warnings": [warning] }))).into_response()
        }
    };
    if let Ok(id) = HeaderValue::from_str(&accepted.id.to_string()) {
        response.headers_mut().insert(MESSAGE_ID, id);
    }
    response
}

/// developers.mailersend.com, "Email", "Responses": who will not get it, since he is on the list of suppressions.
fn warnings(accepted: &Accepted) -> Option<Value> {
    let suppressed: Vec<Value> = accepted
        .deliveries
        .iter()
        .filter(|delivery| delivery.state == BornState::Suppressed)
        .map(|delivery| json!({ "email": delivery.recipient, "name": null, "reason": ["blocklisted"] }))
        .collect();
    if suppressed.is_empty() {
        return None;
    }
    let (kind, warning) = if suppressed.len() == accepted.deliveries.len() {
        ("ALL_SUPPRESSED", "All recipients have been suppressed.")
    } else {
        ("SOME_SUPPRESSED", "Some of the recipients have been suppressed.")
    };
    Some(json!({ "type": kind, "warning": warning, "recipients": suppressed }))
}

/// Sends many mails: all of them, or none.
pub async fn bulk(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let Value::Array(list) = value else {
        return Err(Problem::field("", "required", "a list of mails is needed"));
    };
    if list.is_empty() || list.len() > MAX_BULK {
        return Err(Problem::field("", "too_many", format!("1 to {MAX_BULK} mails are needed")));
    }
    let mut mails = Vec::new();
    let mut wrong = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        match message::mail(value, &format!("/{index}")) {
            Ok(mail) => mails.push(mail),
            Err(violations) => wrong.extend(violations),
        }
    }
    if !wrong.is_empty() {
        return Err(Problem::invalid(wrong));
    }
    let id = EventId::new(app.clock.now()).uuid().simple().to_string();
    parts::accept(&app, &principal, mails, bulk_key(&id)).await?;
    let view = json!({ "message": "The bulk email is being processed.", "bulk_email_id": id });
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}
