//! `/v1/inbound-routes`: what a tenant wants done with mail that comes in.

pub mod decode;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::inbound_routes::{self as operation, InboundRouteError, Means};
use crate::domain::id::InboundRouteId;
use crate::domain::inbound::Action;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::store::filters::filters_value;
use crate::store::inbound_routes::{self, StoredInboundRoute};

use super::wire::{Page, Paging, moment};

const WHAT: &str = "inbound route";
const MAX_BODY: usize = 64 * 1024;

fn show(route: &StoredInboundRoute) -> Value {
    json!({
        "id": route.id.to_string(),
        "match": format!("{}@{}", route.local_pattern, route.domain),
        "priority": route.priority,
        "action": route.action,
        "url": route.url,
        "to": route.forward_to,
        "filters": filters_value(&route.filters),
        "created_at": moment(route.created_at),
    })
}

/// Makes a route. The secret of a webhook is told here and never again.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let new = decode::new(&app, extract::json(&headers, &body.bytes)?).await?;
    let secret = secret_of(Some(&new.action));
    let made =
        operation::create(means(&app), &principal.actor(), principal.tenant(), new, app.clock.now()).await;
    let route = made.map_err(problem)?;
    let mut shown = show(&route);
    shown["secret"] = secret.into();
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Changes what is given, and leaves the rest. Who gives the action of a webhook gets a new secret with it.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id: InboundRouteId = extract::id(&id, WHAT)?;
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let change = decode::change(&app, extract::json(&headers, &body.bytes)?).await?;
    let secret = secret_of(change.action.as_ref());
    let (actor, whose) = (principal.actor(), (principal.tenant(), id));
    let changed = operation::update(means(&app), &actor, whose, change, app.clock.now()).await;
    let route = changed.map_err(problem)?.ok_or_else(|| Problem::not_found(WHAT))?;
    let mut shown = show(&route);
    shown["secret"] = secret.into();
    Ok(Json(shown))
}

fn secret_of(action: Option<&Action>) -> Option<String> {
    match action {
        Some(Action::Webhook { secret, .. }) => Some(secret.reveal()),
        _ => None,
    }
}

fn means(app: &App) -> Means<'_> {
    Means { database: &app.database, seal: &app.seal, policy: app.accept.limits.sender_policy }
}

/// What a route that was not made is refused with.
pub fn problem(error: InboundRouteError) -> Problem {
    match error {
        InboundRouteError::Exists => Problem::new(Kind::Conflict, error.to_string()),
        InboundRouteError::NotHeld => Problem::field("/match", "domain_not_verified", error.to_string()),
        InboundRouteError::NoRandomness(error) => Problem::new(Kind::Internal, error.to_string()),
        InboundRouteError::Store(error) => error.into(),
    }
}

/// A page of the tenant's routes.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<InboundRouteId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows =
        inbound_routes::list(&mut connection, principal.tenant(), paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |route| route.id, |route| show(&route))))
}

/// One route.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: InboundRouteId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let route = inbound_routes::find(&mut connection, principal.tenant(), id).await?;
    route.map(|route| Json(show(&route))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Deletes a route.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: InboundRouteId = extract::id(&id, WHAT)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let done = operation::delete(&app.database, &actor, tenant, id, app.clock.now()).await?;
    if done { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(WHAT)) }
}
