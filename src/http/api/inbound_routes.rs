//! `/v1/inbound-routes`: what a tenant wants done with mail that comes in.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::inbound_routes::{self as operation, InboundRouteError, Means, NewInboundRoute};
use crate::domain::id::InboundRouteId;
use crate::domain::inbound::{Action, DEFAULT_PRIORITY, Pattern};
use crate::domain::webhook::{MAX_URL, WebhookSecret};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path, Query};
use crate::http::fields::Fields;
use crate::store::inbound_routes::{self, StoredInboundRoute};

use super::wire::{Page, moment};

const WHAT: &str = "inbound route";

fn show(route: &StoredInboundRoute) -> Value {
    json!({
        "id": route.id.to_string(),
        "match": format!("{}@{}", route.local_pattern, route.domain),
        "priority": route.priority,
        "action": route.action,
        "url": route.url,
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
    let body = app.budget.read(&headers, body, 64 * 1024).await?;
    let new = decode(&app, extract::json(&headers, &body.bytes)?).await?;
    let secret = match &new.action {
        Action::Webhook { secret, .. } => Some(secret.reveal()),
        _ => None,
    };
    let means = Means { database: &app.database, seal: &app.seal, policy: app.accept.limits.sender_policy };
    let made = operation::create(means, &principal.actor(), principal.tenant(), new, app.clock.now()).await;
    let route = made.map_err(problem)?;
    let mut shown = show(&route);
    shown["secret"] = secret.into();
    Ok((StatusCode::CREATED, Json(shown)))
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

/// Reads a new route.
///
/// # Errors
/// Every field that cannot be used.
pub async fn decode(app: &App, value: Value) -> Result<NewInboundRoute, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let pattern = fields.required_text("match").and_then(|text| match Pattern::parse(&text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            fields.wrong("match", "invalid_match", error.to_string());
            None
        }
    });
    let priority = fields.number("priority", 0..=10_000).unwrap_or(DEFAULT_PRIORITY.into());
    let action = action(app, &mut fields).await;
    let errors = fields.finish();
    match (pattern, action) {
        (Some(pattern), Some(action)) if errors.is_empty() => Ok(NewInboundRoute {
            pattern,
            priority: i32::try_from(priority).unwrap_or(DEFAULT_PRIORITY),
            action,
        }),
        _ => Err(Problem::invalid(errors)),
    }
}

async fn action(app: &App, fields: &mut Fields) -> Option<Action> {
    match fields.required_text("action").as_deref() {
        Some("webhook") => webhook(app, fields).await,
        Some("store") => Some(Action::Store),
        Some("reject") => Some(Action::Reject),
        Some("forward") => {
            fields.wrong("action", "not_available_yet", "this version cannot forward mail that comes in yet");
            None
        }
        Some(_) => {
            fields.wrong("action", "invalid_action", "action is webhook, store or reject");
            None
        }
        None => None,
    }
}

async fn webhook(app: &App, fields: &mut Fields) -> Option<Action> {
    let url = fields.required_text("url")?;
    if url.len() > MAX_URL {
        fields.wrong("url", "too_long", format!("at most {MAX_URL} octets are allowed"));
        return None;
    }
    if let Err(error) = app.outbound.check(&url).await {
        fields.wrong("url", "invalid_url", error.to_string());
        return None;
    }
    match WebhookSecret::generate() {
        Ok(secret) => Some(Action::Webhook { url, secret }),
        Err(error) => {
            fields.wrong("url", "no_secret", error.to_string());
            None
        }
    }
}

/// A page of the tenant's routes.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let (limit, after) = (query.limit(), query.cursor());
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let rows = inbound_routes::list(&mut connection, principal.tenant(), after, limit as i64 + 1).await?;
    Ok(Json(Page::of(rows, limit, |route| route.id.to_string(), |route| show(&route))))
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
