//! `/api-keys` (resend.com/docs/api-reference/api-keys).

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::keys::{self as operation, KeyError, NewKey};
use crate::domain::id::{DomainId, KeyId};
use crate::domain::key::{KeyLimits, KeyMode, Scope, Scopes};
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::http::fields::Fields;
use crate::store::keys;

const MAX_NAME: usize = 50;
const MOST: i64 = 1000;

/// `POST /api-keys`: the token is told once, here. Nobody makes a key that may do more than his own.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let name = fields.required_text("name").unwrap_or_default();
    if name.chars().count() > MAX_NAME {
        fields.wrong("name", "too_long", "API key name must be less than 50 characters");
    }
    let scopes: Scopes = match fields.text("permission").as_deref() {
        None | Some("full_access") => [Scope::Send, Scope::Read, Scope::Manage].into_iter().collect(),
        Some("sending_access") => [Scope::Send].into_iter().collect(),
        Some(_) => {
            fields.wrong(
                "permission",
                "invalid",
                "Invalid `permission` field. Use full_access or sending_access.",
            );
            Scopes::default()
        }
    };
    let domain = fields.text("domain_id");
    fields.rest();
    let wrong = fields.finish();
    if !wrong.is_empty() {
        return Err(Problem::invalid(wrong));
    }
    if !principal.scopes().covers(scopes) {
        return Err(Problem::new(Kind::Forbidden, "a key cannot make one that may do more than itself"));
    }
    let limits = KeyLimits { domains: of_domain(&app, &principal, domain).await?, ..KeyLimits::default() };
    let (tenant, mode) = (principal.tenant(), KeyMode::Live);
    let new = NewKey { tenant, name, scopes, mode, limits, smtp_networks: None };
    let made = operation::create(&app.database, &principal.actor(), new, app.clock.now()).await;
    let (key, secret) = made.map_err(|error| match error {
        KeyError::Store(error) => error.into(),
        other => Problem::new(Kind::Internal, other.to_string()),
    })?;
    let body = json!({ "id": key.id.uuid().to_string(), "token": secret.reveal() });
    Ok((StatusCode::CREATED, Json(body)))
}

async fn of_domain(
    app: &App,
    principal: &Principal,
    domain: Option<String>,
) -> Result<Option<Vec<String>>, Problem> {
    let Some(text) = domain else { return Ok(None) };
    let id = text.parse().ok().or_else(|| uuid::Uuid::parse_str(&text).ok().map(DomainId::from_uuid));
    let id = id.ok_or_else(|| Problem::new(Kind::NotFound, "Domain not found"))?;
    let view = app.domains.find(principal.tenant(), id).await?;
    Ok(Some(vec![view.domain.name]))
}

/// `GET /api-keys`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let all = keys::list(&mut connection, principal.tenant(), None, MOST).await?;
    let current = all.iter().filter(|key| key.revoked_at.is_none());
    let show = |key: &crate::domain::key::ApiKey| {
        json!({
            "id": key.id.uuid().to_string(),
            "name": key.name,
            "created_at": moment(key.created_at),
            "last_used_at": key.last_used_at.map(moment),
        })
    };
    let data: Vec<Value> = current.map(show).collect();
    Ok(Json(json!({ "object": "list", "has_more": false, "data": data })))
}

/// `DELETE /api-keys/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(given): Path<String>,
) -> Result<Json<Value>, Problem> {
    let not_found = || Problem::new(Kind::NotFound, "API key not found");
    let id = uuid::Uuid::parse_str(&given).map(KeyId::from_uuid).map_err(|_| not_found())?;
    let (tenant, now) = (principal.tenant(), app.clock.now());
    operation::revoke(&app.database, &principal.actor(), tenant, id, now).await?.ok_or_else(not_found)?;
    Ok(Json(json!({})))
}
