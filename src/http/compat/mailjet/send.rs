//! `POST /v3.1/send`: 200 if every message was accepted; else the worst status, with the fate of each.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::id::MessageId;
use crate::domain::submission::Submission;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::Problem;
use crate::mail::EmailAddress;
use crate::submission::{Accepted, Rejected, Rejection, Request, Unit};
use crate::webhooks::number;

use super::{errors, message};

/// Sends up to fifty messages, each with its own fate.
pub async fn send(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let call = message::call(value).map_err(Problem::invalid)?;
    let roles: Vec<[Vec<String>; 3]> = call.mails.iter().map(roles).collect();
    let request = Request { items: call.mails, key: None, unit: Unit::Each };
    let answer = app.accept.accept(&principal.caller(), request).await?;
    let mut status = StatusCode::OK;
    let mut views = Vec::new();
    for ((item, custom_id), roles) in answer.items.iter().zip(&call.custom_ids).zip(&roles) {
        match item {
            Ok(accepted) => views.push(accepted_view(accepted, custom_id, roles)),
            Err(rejected) => {
                status = status.max(status_of(rejected));
                views.push(errors::message(rejected));
            }
        }
    }
    Ok((status, Json(json!({ "Messages": views }))).into_response())
}

/// Who gets it in which role, by the keys of their addresses.
fn roles(mail: &Result<Submission, Rejected>) -> [Vec<String>; 3] {
    let Ok(mail) = mail else { return Default::default() };
    let recipients = &mail.recipients;
    [&recipients.to, &recipients.cc, &recipients.bcc]
        .map(|list| list.iter().map(|mailbox| mailbox.address.key()).collect())
}

fn status_of(rejected: &Rejected) -> StatusCode {
    match rejected.rejection {
        Rejection::Invalid => StatusCode::BAD_REQUEST,
        Rejection::Forbidden => StatusCode::FORBIDDEN,
        Rejection::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    }
}

fn accepted_view(accepted: &Accepted, custom_id: &str, [to, cc, bcc]: &[Vec<String>; 3]) -> Value {
    let of = |keys: &[String]| -> Vec<Value> {
        let is_one = |recipient: &str| {
            EmailAddress::parse(recipient).is_ok_and(|address| keys.contains(&address.key()))
        };
        let own = accepted.deliveries.iter().filter(|delivery| is_one(&delivery.recipient));
        own.map(|delivery| recipient(accepted.id, &delivery.recipient)).collect()
    };
    json!({ "Status": "success", "CustomID": custom_id, "To": of(to), "Cc": of(cc), "Bcc": of(bcc) })
}

/// The message's id as a UUID and as a number: what events say, too.
fn recipient(id: MessageId, email: &str) -> Value {
    let number = number(id.uuid());
    json!({
        "Email": email,
        "MessageUUID": id.uuid().to_string(),
        "MessageID": number,
        "MessageHref": format!("https://api.mailjet.com/v3/REST/message/{number}"),
    })
}
