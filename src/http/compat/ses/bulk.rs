//! `POST /v2/email/outbound-bulk-emails` ("SendBulkEmail"): 200 with the fate of each entry.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::Problem;
use crate::submission::{Accepted, Rejected, Request, Unit};

use super::{errors, message};

/// Sends to up to fifty destinations.
pub async fn send(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let results = results(&app, &principal, value).await?;
    Ok(Json(json!({ "BulkEmailEntryResults": results })))
}

/// Sends; gives the fate of each entry.
///
/// # Errors
/// The request as a whole cannot be used.
pub async fn results(app: &App, principal: &Principal, request: Value) -> Result<Vec<Value>, Problem> {
    let items = message::bulk(request).map_err(Problem::invalid)?;
    let request = Request { items, key: None, unit: Unit::Each };
    let answer = app.accept.accept(&principal.caller(), request).await?;
    Ok(answer.items.iter().map(result).collect())
}

/// "BulkEmailEntryResult".
fn result(item: &Result<Accepted, Rejected>) -> Value {
    let rejected = match item {
        Ok(accepted) => return json!({ "Status": "SUCCESS", "MessageId": accepted.id.to_string() }),
        Err(rejected) => rejected,
    };
    let Some(first) = rejected.violations.first() else { return json!({ "Status": "FAILED" }) };
    let status = match first.code.as_str() {
        "sender_not_verified" | "domain_not_allowed" => "MAIL_FROM_DOMAIN_NOT_VERIFIED",
        "domain_paused" => "ACCOUNT_SENDING_PAUSED",
        "unknown_template" | "not_published" => "TEMPLATE_NOT_FOUND",
        "too_large" => "MESSAGE_REJECTED",
        _ => "INVALID_PARAMETER",
    };
    json!({ "Status": status, "Error": errors::violation(first).message })
}
