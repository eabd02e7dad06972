//! `/v1/erasures`: erasing what is stored of one recipient.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::erasures::{self as operation, Afterwards, ErasureError};
use crate::domain::id::ErasureId;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;
use crate::mail::EmailAddress;
use crate::store::erasures::{self, Erasure};

use super::wire::{Page, Paging, moment};

const WHAT: &str = "erasure";

fn show(erasure: &Erasure) -> Value {
    json!({
        "id": erasure.id.to_string(),
        "status": if erasure.finished_at.is_some() { "done" } else { "running" },
        "keep_suppressed": erasure.keep_suppressed,
        "created_at": moment(erasure.id.born()),
        "finished_at": erasure.finished_at.map(moment),
        "erased": {
            "deliveries": erasure.deliveries,
            "contents": erasure.contents,
            "inbound": erasure.inbound,
        },
    })
}

impl From<ErasureError> for Problem {
    fn from(error: ErasureError) -> Problem {
        match error {
            ErasureError::NoRandomness(error) => Problem::new(Kind::Internal, error.to_string()),
            ErasureError::Store(error) => error.into(),
        }
    }
}

/// Asks for an erasure.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = app.budget.read(&headers, body, 16 * 1024).await?;
    let mut fields = Fields::of(extract::json(&headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))?;
    let address = fields.required_text("email").and_then(|text| match EmailAddress::parse(&text) {
        Ok(address) => Some(address),
        Err(error) => {
            fields.wrong("email", "invalid_address", error.to_string());
            None
        }
    });
    let keep = fields.flag("keep_suppressed") == Some(true);
    let afterwards = if keep { Afterwards::Suppressed } else { Afterwards::Mailable };
    let errors = fields.finish();
    let Some(address) = address.filter(|_| errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let whom = (&address, afterwards);
    let made = operation::create(&app.database, &app.seal, &actor, tenant, whom, app.clock.now()).await?;
    Ok((StatusCode::ACCEPTED, Json(show(&made))))
}

/// A page of the tenant's erasures, newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<ErasureId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = erasures::list(&mut connection, principal.tenant(), paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |one| one.id, |one| show(&one))))
}

/// One erasure, and how far it is.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: ErasureId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let found = erasures::find(&mut connection, principal.tenant(), id).await?;
    found.map(|one| Json(show(&one))).ok_or_else(|| Problem::not_found(WHAT))
}
