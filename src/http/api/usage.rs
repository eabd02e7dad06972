//! `/v1/usage` and `/v1/tenants/{id}/limits`: how much was sent, and how much may be.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::account::quotas::{self as operation, shown};
use crate::domain::id::TenantId;
use crate::domain::quota::{Limits, Period};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;
use crate::reporting::usage;
use crate::store::{quotas, tenants};

use super::wire::moment;

const WHAT: &str = "tenant";
/// More than anybody sends.
const MOST: i64 = 1_000_000_000_000;

/// What this tenant has sent, and what it may.
pub async fn read(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let now = app.clock.now();
    let usage = usage::read(&app.database, principal.tenant(), now).await?;
    Ok(Json(json!({
        "as_of": moment(usage.as_of),
        "day": spent(Period::Day, usage.day, &usage.limits, now),
        "month": spent(Period::Month, usage.month, &usage.limits, now),
        "limits": shown(&usage.limits),
    })))
}

fn spent(period: Period, recipients: i64, limits: &Limits, now: OffsetDateTime) -> Value {
    let (start, limit) = (period.start(now), limits.of(period));
    json!({
        "starts_at": moment(start),
        "ends_at": moment(period.end(start)),
        "recipients": recipients,
        "limit": limit,
        "remaining": limit.map(|limit| (limit - recipients).max(0)),
    })
}

/// What a tenant is limited to.
pub async fn limits(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id: TenantId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    if tenants::find(&mut connection, id).await?.is_none() {
        return Err(Problem::not_found(WHAT));
    }
    Ok(Json(shown(&quotas::find(&mut connection, id).await?)))
}

/// Changes what a tenant is limited to: null takes a limit away, what is not named stays.
pub async fn set_limits(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id: TenantId = extract::id(&id, WHAT)?;
    let body = app.budget.read(&headers, body, 16 * 1024).await?;
    let mut fields = Fields::of(extract::json(&headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))?;
    let mut number = |name, least| {
        let given = fields.has(name);
        let number = fields.number(name, least..=MOST);
        given.then_some(number)
    };
    let per_second = number("per_second", 1);
    let (per_day, per_month) = (number("per_day", 0), number("per_month", 0));
    let (message_bytes, recipients) = (number("message_bytes", 1), number("recipients", 1));
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let change = |before: Limits| Limits {
        per_second: per_second.unwrap_or(before.per_second),
        per_day: per_day.unwrap_or(before.per_day),
        per_month: per_month.unwrap_or(before.per_month),
        message_bytes: message_bytes.unwrap_or(before.message_bytes),
        recipients: recipients.unwrap_or(before.recipients),
    };
    let limits = operation::set(&app.database, &principal.actor(), id, change, app.clock.now()).await?;
    limits.map(|limits| Json(shown(&limits))).ok_or_else(|| Problem::not_found(WHAT))
}
