//! `POST /v1/messages/{id}/cancel` and `PATCH /v1/messages/{id}`: what may still be changed.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::delivery::control::{self, Canceled, Rescheduled};
use crate::domain::id::MessageId;
use crate::domain::submission::MAX_AHEAD;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;

use super::{read, show};

const WHAT: &str = "message";

/// Takes a message back, as far as it is not on the wire.
pub async fn cancel(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: MessageId = extract::id(&id, WHAT)?;
    match control::cancel(&app.database, &principal.actor(), principal.tenant(), id, app.clock.now()).await? {
        Canceled::NotFound => Err(Problem::not_found(WHAT)),
        Canceled::TooLate => Err(Problem::new(Kind::Conflict, "every delivery of this message has ended")),
        Canceled::Now { deliveries, stopping } => {
            let view = |delivery| {
                let mut view = show::state(delivery);
                view["cancel_requested"] = stopping.contains(&delivery.id).into();
                view
            };
            let deliveries: Vec<Value> = deliveries.iter().map(view).collect();
            Ok(Json(json!({ "id": id.to_string(), "deliveries": deliveries })))
        }
    }
}

/// Moves a scheduled message to another time.
pub async fn reschedule(
    state: State<App>,
    principal: Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let message: MessageId = extract::id(&id, WHAT)?;
    let body = state.budget.read(&headers, body, 4096).await?;
    let invalid = |violation| Problem::invalid(vec![violation]);
    let mut fields = Fields::of(extract::json(&headers, &body.bytes)?, "").map_err(invalid)?;
    let send_at = fields.moment("send_at");
    let now = state.clock.now();
    match send_at {
        None if fields.is_wrong("send_at") => {}
        None => fields.wrong("send_at", "required", "a time is needed"),
        Some(at) if at > now + MAX_AHEAD => {
            fields.wrong("send_at", "too_far_ahead", "mail can be scheduled up to 30 days ahead");
        }
        Some(_) => {}
    }
    let errors = fields.finish();
    let Some(send_at) = send_at.filter(|_| errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let (actor, place) = (principal.actor(), (principal.tenant(), message));
    match control::reschedule(&state.database, &actor, place, send_at.max(now), now).await? {
        Rescheduled::NotFound => Err(Problem::not_found(WHAT)),
        Rescheduled::TooLate => {
            Err(Problem::new(Kind::Conflict, "this message has been tried already, or has ended"))
        }
        Rescheduled::Done => read::one(state, principal, Path(id)).await,
    }
}
