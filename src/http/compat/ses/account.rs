//! `GET /v2/email/account` ("GetAccount"): what may be sent, and what was.

use axum::Json;
use axum::extract::{Extension, State};
use serde_json::{Value, json};
use time::Duration;

use crate::domain::stats::{Counter, Dimension, Grain};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::reporting::figures::{self, Question};

/// Requests a second, where a key has no rate of its own: clients divide by it.
const USUAL_RATE: u32 = 500;

/// What may be sent: no day has a bound here, which is written as -1.
pub struct Quota {
    /// In a day.
    pub most: f64,
    /// In a second.
    pub rate: f64,
    /// In the last day.
    pub sent: f64,
}

/// Of the caller.
///
/// # Errors
/// The database does not answer.
pub async fn quota(app: &App, principal: &Principal) -> Result<Quota, Problem> {
    let now = app.clock.now();
    let question = Question {
        from: now - Duration::DAY,
        to: now,
        grain: Grain::Hour,
        dimension: Dimension::All,
        values: Vec::new(),
        limit: 1,
    };
    let figures = figures::answer(&app.database, principal.tenant(), &question, now).await?;
    let sent: i64 = figures.rows.iter().map(|(_, _, cell)| cell.counts.get(Counter::Accepted)).sum();
    let rate = principal.caller().limits.rate_per_second.unwrap_or(USUAL_RATE);
    Ok(Quota { most: -1.0, rate: f64::from(rate), sent: sent as f64 })
}

/// Shows it.
pub async fn show(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let quota = quota(&app, &principal).await?;
    Ok(Json(json!({
        "DedicatedIpAutoWarmupEnabled": false,
        "EnforcementStatus": "HEALTHY",
        "ProductionAccessEnabled": true,
        "SendingEnabled": true,
        "SendQuota": { "Max24HourSend": quota.most, "MaxSendRate": quota.rate, "SentLast24Hours": quota.sent },
        "SuppressionAttributes": { "SuppressedReasons": ["BOUNCE", "COMPLAINT"] },
    })))
}
