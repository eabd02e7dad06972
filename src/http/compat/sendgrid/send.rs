//! `POST /v3/mail/send` (docs.sendgrid.com/api-reference/mail-send/mail-send).

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::domain::submission::Sending;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::Problem;

use super::message;

/// Sends a mail for each personalization, all or none. The answer's only content is the header `X-Message-Id`.
pub async fn send(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mails = message::submissions(value).map_err(Problem::invalid)?;
    let is_sandbox = mails.iter().all(|mail| mail.options.sending == Sending::Sandbox);
    let accepted = parts::accept(&app, &principal, mails, None).await?;
    // What is only checked is answered 200 (docs.sendgrid.com/for-developers/sending-email/sandbox-mode).
    let status = if is_sandbox { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = status.into_response();
    let id = accepted.first().and_then(|first| HeaderValue::from_str(&first.id.to_string()).ok());
    if let Some(id) = id {
        response.headers_mut().insert("x-message-id", id);
    }
    Ok(response)
}
