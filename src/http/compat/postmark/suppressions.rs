//! `/message-streams/{stream}/suppressions` (postmarkapp.com/developer/api/suppressions-api). Suppressions there are of a
//! stream; those that hold for all streams here are shown with each.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};
use time::Duration;

use crate::domain::suppression::{Reason, Suppression};
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::lists::{self, Wanted};
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::Problem;
use crate::http::extract::Path;
use crate::mail::EmailAddress;

use super::message::stream_name;

const MOST: usize = 10_000;
/// Addresses of one call.
const MAX_BATCH: usize = 50;

fn stream(id: &str) -> Result<String, Problem> {
    let name = stream_name(id);
    name.map(|name| name.as_str().to_owned())
        .ok_or_else(|| Problem::field("/MessageStream", "invalid_stream", "no such stream"))
}

fn show(entry: &Suppression) -> Value {
    let (reason, origin) = match entry.reason {
        Reason::Bounce => ("HardBounce", "Recipient"),
        Reason::Complaint => ("SpamComplaint", "Recipient"),
        Reason::Unsubscribe => ("ManualSuppression", "Recipient"),
        Reason::Manual => ("ManualSuppression", "Customer"),
    };
    json!({
        "EmailAddress": entry.address,
        "SuppressionReason": reason,
        "Origin": origin,
        "CreatedAt": moment(entry.created_at()),
    })
}

/// `GET …/dump`.
pub async fn dump(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let stream = stream(&id)?;
    let reasons: &[Reason] = match asked.text("SuppressionReason").or(asked.text("suppressionreason")) {
        Some("HardBounce") => &[Reason::Bounce],
        Some("SpamComplaint") => &[Reason::Complaint],
        Some("ManualSuppression") => &[Reason::Unsubscribe, Reason::Manual],
        _ => &Reason::ALL,
    };
    let address = asked.text("EmailAddress").or(asked.text("emailaddress"));
    let address = address.and_then(|text| EmailAddress::parse(text).ok());
    let until = asked.moment("todate").map(|day| day + Duration::DAY);
    let mut found = Vec::new();
    for stream in [String::new(), stream] {
        let wanted = Wanted {
            reasons,
            stream: Some(stream),
            address: address.as_ref(),
            time: (asked.moment("fromdate"), until),
            before: None,
        };
        found.extend(lists::suppressed(&app, principal.tenant(), &wanted, (0, MOST)).await?);
    }
    Ok(Json(json!({ "Suppressions": found.iter().map(show).collect::<Vec<_>>() })))
}

/// `POST /message-streams/{stream}/suppressions`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let stream = stream(&id)?;
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut told = Vec::new();
    let mut addresses = Vec::new();
    for text in emails(&value)? {
        match EmailAddress::parse(text) {
            Ok(address) => {
                told.push(status(text, "Suppressed", None));
                addresses.push((address, None));
            }
            Err(_) => told.push(status(text, "Failed", Some("An invalid email address was provided."))),
        }
    }
    lists::suppress(&app, &principal, addresses, (Reason::Manual, &stream)).await?;
    Ok(Json(json!({ "Suppressions": told })))
}

/// `POST …/delete`: what holds for all streams goes too.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let stream = stream(&id)?;
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut told = Vec::new();
    for text in emails(&value)? {
        let Ok(address) = EmailAddress::parse(text) else {
            told.push(status(text, "Failed", Some("An invalid email address was provided.")));
            continue;
        };
        // Who called a mail spam stays on the list.
        let reasons = &[Reason::Bounce, Reason::Manual, Reason::Unsubscribe];
        for stream in [String::new(), stream.clone()] {
            let wanted =
                Wanted { reasons, stream: Some(stream), address: Some(&address), ..Wanted::default() };
            lists::unsuppress(&app, &principal, &wanted).await?;
        }
        let complained =
            Wanted { reasons: &[Reason::Complaint], address: Some(&address), ..Wanted::default() };
        let stays = !lists::suppressed(&app, principal.tenant(), &complained, (0, 1)).await?.is_empty();
        told.push(if stays {
            status(text, "Failed", Some("You do not have the required authority to change this suppression."))
        } else {
            status(text, "Deleted", None)
        });
    }
    Ok(Json(json!({ "Suppressions": told })))
}

fn status(address: &str, status: &str, message: Option<&str>) -> Value {
    json!({ "EmailAddress": address, "Status": status, "Message": message })
}

fn emails(value: &Value) -> Result<Vec<&str>, Problem> {
    let list = value.get("Suppressions").and_then(Value::as_array).into_iter().flatten();
    let emails: Vec<&str> = list.filter_map(|entry| entry.get("EmailAddress")?.as_str()).collect();
    if emails.len() > MAX_BATCH {
        let message = format!("You may only change {MAX_BATCH} suppressions at once.");
        return Err(Problem::field("/Suppressions", "too_many", message));
    }
    Ok(emails)
}
