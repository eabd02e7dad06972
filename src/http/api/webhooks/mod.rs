//! `/v1/webhooks`: where a tenant has its events posted.

mod decode;
mod log;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::account::webhooks::{self as operation, WebhookError};
use crate::domain::id::{TenantId, WebhookId};
use crate::domain::webhook::WebhookSecret;
use crate::domain::webhook_format::Format;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;
use crate::seal::NoRandomness;
use crate::store::webhooks::{self, StoredWebhook};
use crate::webhooks::verification_key;

use super::wire::{Page, Paging, moment};

pub use decode::{change as decode_change, new as decode};
pub use log::{deliveries, replay, test};

const WHAT: &str = "webhook";
const MAX_BODY: usize = 64 * 1024;
/// How long a rotated secret still signs, unless the caller says.
const OVERLAP: i64 = 24 * 3600;
const MAX_OVERLAP: i64 = 7 * 24 * 3600;

/// A webhook without its secret.
fn show(webhook: &StoredWebhook, now: OffsetDateTime) -> Value {
    let previous = webhook.previous.as_ref().map(|(_, until)| *until).filter(|until| now < *until);
    json!({
        "id": webhook.id.to_string(),
        "url": webhook.url,
        "description": webhook.description,
        "format": webhook.format,
        "types": webhook.types,
        "streams": webhook.streams,
        "tags": webhook.tags,
        "batch_size": webhook.batch_size,
        "enabled": webhook.disabled.is_none(),
        "disabled_at": webhook.disabled.as_ref().map(|(at, _)| moment(*at)),
        "disabled_because": webhook.disabled.as_ref().map(|(_, because)| because),
        "failing_since": webhook.failing_since.map(moment),
        "previous_secret_until": previous.map(moment),
        "created_at": moment(webhook.created_at),
    })
}

/// A webhook with its secret, which is told once; and, in SendGrid's shape, the key that its receivers verify with.
fn with_secret(webhook: &StoredWebhook, secret: &WebhookSecret, now: OffsetDateTime) -> Value {
    let mut shown = show(webhook, now);
    shown["secret"] = secret.reveal().into();
    if webhook.format == Format::SendGrid.as_str() {
        shown["verification_key"] = verification_key(secret).into();
    }
    shown
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Problem {
        match error {
            WebhookError::NoRandomness(error) => no_randomness(error),
            WebhookError::Store(error) => error.into(),
        }
    }
}

fn no_randomness(error: NoRandomness) -> Problem {
    Problem::new(Kind::Internal, error.to_string())
}

async fn body(app: &App, headers: &HeaderMap, body: Body) -> Result<Fields, Problem> {
    let body = app.budget.read(headers, body, MAX_BODY).await?;
    // A call that needs no field needs no body.
    let value = if body.bytes.is_empty() { json!({}) } else { extract::json(headers, &body.bytes)? };
    Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))
}

async fn find(app: &App, tenant: TenantId, id: &str) -> Result<StoredWebhook, Problem> {
    let id: WebhookId = extract::id(id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    webhooks::find(&mut connection, tenant, id).await?.ok_or_else(|| Problem::not_found(WHAT))
}

/// Makes a webhook; its secret is told once.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let (wishes, secret) = decode::new(&app, extract::json(&headers, &body.bytes)?).await?;
    let secret = secret.map_or_else(WebhookSecret::generate, Ok).map_err(no_randomness)?;
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let made = operation::create(&app.database, &app.seal, &actor, tenant, wishes, &secret, now).await?;
    Ok((StatusCode::CREATED, Json(with_secret(&made, &secret, now))))
}

/// A page of the tenant's webhooks.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<WebhookId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = webhooks::list(&mut connection, principal.tenant(), paging.from, paging.wanted()).await?;
    let now = app.clock.now();
    Ok(Json(paging.page(rows, |webhook| webhook.id, |webhook| show(&webhook, now))))
}

/// One webhook.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let webhook = find(&app, principal.tenant(), &id).await?;
    Ok(Json(show(&webhook, app.clock.now())))
}

/// Changes what is given, and leaves the rest.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let known = find(&app, principal.tenant(), &id).await?;
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let change = decode::change(&app, extract::json(&headers, &body.bytes)?).await?;
    let (actor, tenant, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let changed =
        operation::update(&app.database, &actor, tenant, known.id, |before| change.apply(before), now)
            .await?;
    changed.map(|webhook| Json(show(&webhook, now))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Deletes a webhook.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: WebhookId = extract::id(&id, WHAT)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let deleted = operation::delete(&app.database, &actor, tenant, id, app.clock.now()).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(WHAT)) }
}

/// Gives a webhook another secret, told once.
pub async fn rotate(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let known = find(&app, principal.tenant(), &id).await?;
    let mut fields = self::body(&app, &headers, body).await?;
    let overlap = fields.number("overlap_seconds", 0..=MAX_OVERLAP).unwrap_or(OVERLAP);
    let secret = fields.parsed("secret", "invalid_secret", WebhookSecret::parse);
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let secret = secret.map_or_else(WebhookSecret::generate, Ok).map_err(no_randomness)?;
    let (actor, now) = (principal.actor(), app.clock.now());
    let new = (&secret, Duration::seconds(overlap));
    let whose = (principal.tenant(), known.id);
    let rotated = operation::rotate(&app.database, &app.seal, &actor, whose, new, now).await?;
    let rotated = rotated.ok_or_else(|| Problem::not_found(WHAT))?;
    Ok(Json(with_secret(&rotated, &secret, now)))
}
