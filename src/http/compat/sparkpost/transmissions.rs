//! What became of transmissions, and taking them back (developers.sparkpost.com, "Transmissions").

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::delivery::control::{self, Canceled};
use crate::domain::delivery::{DeliveryStatus, Ending};
use crate::domain::id::MessageId;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::store::messages::{self, DeliveryRow, MessageFilter, MessageRow};

/// Transmissions of a list, and of a campaign that is canceled in one call.
const MOST: usize = 1000;

fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "resource not found")
}

fn show(row: &MessageRow, deliveries: &[DeliveryRow]) -> Value {
    let waits = deliveries.iter().any(|delivery| delivery.ended_at.is_none());
    let is_canceled =
        deliveries.iter().all(|delivery| delivery.status == DeliveryStatus::Ended(Ending::Canceled));
    let state = match row.send_at {
        _ if is_canceled => "Canceled",
        Some(_) if waits => "submitted",
        _ if waits => "Generating",
        _ => "Success",
    };
    let begun = row.send_at.unwrap_or_else(|| row.id().born());
    json!({
        "id": row.id().to_string(),
        "state": state,
        "campaign_id": row.tags.first().cloned().unwrap_or_default(),
        "description": "",
        "metadata": row.metadata,
        "content": { "subject": row.subject, "from": row.addresses.get("from") },
        "num_rcpts": deliveries.len(),
        "rcp_list_total_chunks": 1,
        "num_generated": deliveries.len(),
        "num_failed_gen": 0,
        "num_invalid_recipients": 0,
        "generation_start_time": moment(begun),
        "generation_end_time": moment(begun),
    })
}

/// `GET /api/v1/transmissions?campaign_id=`: newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let filter =
        MessageFilter { tag: asked.text("campaign_id").map(str::to_owned), ..MessageFilter::default() };
    let tenant = principal.tenant();
    let mut connection = app.database.serve().acquire().await?;
    let page =
        messages::list(&mut connection, tenant, &filter, None, asked.number("limit", 100, MOST)).await?;
    let mut shown = Vec::with_capacity(page.messages.len());
    for row in &page.messages {
        let deliveries = messages::deliveries(&mut connection, tenant, row.id()).await?;
        shown.push(show(row, &deliveries));
    }
    Ok(Json(json!({ "results": shown })))
}

/// `GET /api/v1/transmissions/{id}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (id, tenant) = (parts::message_id(&id).ok_or_else(not_found)?, principal.tenant());
    let mut connection = app.database.snapshot().await?;
    let row = messages::find(&mut connection, tenant, id).await?.ok_or_else(not_found)?;
    let deliveries = messages::deliveries(&mut connection, tenant, id).await?;
    Ok(Json(json!({ "results": { "transmission": show(&row, &deliveries) } })))
}

/// `DELETE /api/v1/transmissions/{id}`.
pub async fn cancel(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = parts::message_id(&id).ok_or_else(not_found)?;
    match take_back(&app, &principal, id).await? {
        Canceled::NotFound => Err(not_found()),
        Canceled::TooLate => Err(Problem::new(Kind::Conflict, "the transmission is sent already")),
        Canceled::Now { .. } => Ok(StatusCode::NO_CONTENT),
    }
}

async fn take_back(app: &App, principal: &Principal, id: MessageId) -> Result<Canceled, Problem> {
    let (actor, tenant) = (principal.actor(), principal.tenant());
    Ok(control::cancel(&app.database, &actor, tenant, id, app.clock.now()).await?)
}

/// `DELETE /api/v1/transmissions?campaign_id=`: what of it is still to be sent.
pub async fn cancel_campaign(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    let asked = Asked::parse(query.as_deref());
    let campaign = asked.text("campaign_id").map(str::to_owned);
    if campaign.is_none() {
        return Err(Problem::field("/campaign_id", "required", "it is needed"));
    }
    let filter =
        MessageFilter { tag: campaign, status: Some(DeliveryStatus::Queued), ..MessageFilter::default() };
    let mut connection = app.database.serve().acquire().await?;
    let page = messages::list(&mut connection, principal.tenant(), &filter, None, MOST).await?;
    drop(connection);
    for row in &page.messages {
        // What is sent meanwhile is sent.
        take_back(&app, &principal, row.id()).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
