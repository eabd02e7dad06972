//! `/v1/suppressions`: addresses a tenant does not mail.

mod columns;
mod export;
mod import;
mod parse;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::suppressions::{self as operation, Added, NewSuppression};
use crate::domain::id::SuppressionId;
use crate::domain::submission::StreamName;
use crate::domain::suppression::{Reason, Suppression};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path, Query};
use crate::http::fields::Fields;
use crate::mail::EmailAddress;
use crate::store::suppressions::{self, SuppressionFilter};
use crate::submission::Violation;

use super::wire::{Page, moment};

pub use export::{export, of_tenant as file};
pub use import::{import, of_tenant as import_list};

const WHAT: &str = "suppression";
/// Entries of one call.
const MAX_BATCH: usize = 1000;
const MAX_BODY: usize = 1 << 20;

fn show(suppression: &Suppression) -> Value {
    json!({
        "id": suppression.id.to_string(),
        "email": suppression.address,
        "stream": (!suppression.stream.is_empty()).then_some(&suppression.stream),
        "reason": suppression.reason.as_str(),
        "delivery_id": suppression.delivery.map(|delivery| delivery.to_string()),
        "created_at": moment(suppression.created_at()),
    })
}

/// Suppresses an address; 200: it was suppressed already.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = app.budget.read(&headers, body, 64 * 1024).await?;
    let new = decode(extract::json(&headers, &body.bytes)?, "").map_err(Problem::invalid)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    Ok(match operation::create(&app.database, &actor, tenant, &new, app.clock.now()).await? {
        Added::New(suppression) => (StatusCode::CREATED, Json(show(&suppression))),
        Added::Already(suppression) => (StatusCode::OK, Json(show(&suppression))),
    })
}

/// Reads a suppression, found at `base`.
///
/// # Errors
/// Every field that cannot be used.
pub fn decode(value: Value, base: &str) -> Result<NewSuppression, Vec<Violation>> {
    let mut fields = Fields::of(value, base).map_err(|violation| vec![violation])?;
    let address = fields.required_text("email").and_then(|text| match EmailAddress::parse(&text) {
        Ok(address) => Some(address),
        Err(error) => {
            fields.wrong("email", "invalid_address", error.to_string());
            None
        }
    });
    let stream = fields.parsed("stream", "invalid_stream", StreamName::parse);
    let reason = fields.parsed("reason", "invalid_reason", str::parse).unwrap_or(Reason::Manual);
    let errors = fields.finish();
    match address {
        Some(address) if errors.is_empty() => Ok(NewSuppression {
            address,
            stream: stream.map_or_else(String::new, |stream| stream.as_str().to_owned()),
            reason,
            since: None,
        }),
        _ => Err(errors),
    }
}

/// Suppresses up to a thousand addresses: the valid ones together, all or none.
pub async fn create_many(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let Value::Array(list) = extract::json(&headers, &body.bytes)? else {
        return Err(Problem::field("", "wrong_type", "a list of suppressions is needed"));
    };
    if list.is_empty() || list.len() > MAX_BATCH {
        let message = format!("a batch has 1 to {MAX_BATCH} suppressions, this one has {}", list.len());
        return Err(Problem::field("", "out_of_range", message));
    }
    let read =
        list.into_iter().zip(0..).map(|(value, index): (Value, usize)| decode(value, &format!("/{index}")));
    let (mut valid, mut errors) = (Vec::new(), Vec::new());
    for one in read {
        match one {
            Ok(new) => valid.push(new),
            Err(violations) => errors.extend(violations),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let added = operation::create_many(&app.database, &actor, tenant, &valid, app.clock.now()).await?;
    Ok(Json(json!({ "added": added, "already": valid.len() as u64 - added })))
}

/// Takes up to a thousand addresses off the list.
pub async fn delete_many(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let mut fields = Fields::of(extract::json(&headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))?;
    let given = fields.texts("emails", MAX_BATCH).unwrap_or_default();
    if given.is_empty() && !fields.is_wrong("emails") {
        fields.wrong("emails", "required", "at least one address is needed");
    }
    let mut addresses = Vec::with_capacity(given.len());
    for (index, text) in given.iter().enumerate() {
        match EmailAddress::parse(text) {
            Ok(address) => addresses.push(address.key()),
            Err(error) => {
                let pointer = format!("{}/{index}", fields.pointer("emails"));
                fields.wrong_at(Violation::new(pointer, "invalid_address", error.to_string()));
            }
        }
    }
    let stream = fields.parsed("stream", "invalid_stream", StreamName::parse);
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let stream = stream.as_ref().map(StreamName::as_str);
    let now = app.clock.now();
    let deleted = operation::delete_many(&app.database, &actor, tenant, &addresses, stream, now).await?;
    Ok(Json(json!({ "deleted": deleted })))
}

/// A page of the tenant's list, newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let filter = SuppressionFilter {
        address: query.parsed("email", "invalid_address", EmailAddress::parse).map(|address| address.key()),
        reason: query.parsed("reason", "invalid_reason", str::parse),
        stream: query.text("stream"),
        since: query.moment("since"),
        until: query.moment("until"),
    };
    let (limit, before) = (query.limit(), query.cursor());
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let tenant = principal.tenant();
    let rows = suppressions::list(&mut connection, tenant, &filter, before, limit as i64 + 1).await?;
    Ok(Json(Page::of(rows, limit, |one| one.id.to_string(), |one| show(&one))))
}

/// One entry.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: SuppressionId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let found = suppressions::find(&mut connection, principal.tenant(), id).await?;
    found.map(|one| Json(show(&one))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Takes an entry off the list: the address is mailed again.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: SuppressionId = extract::id(&id, WHAT)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let deleted = operation::delete(&app.database, &actor, tenant, id, app.clock.now()).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(WHAT)) }
}
