//! `/v1/tenants`: operators' work.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::tenants::{self as operation, Changes, Standing, TenantError};
use crate::domain::handling::Transport;
use crate::domain::id::TenantId;
use crate::domain::notice::DsnPolicy;
use crate::domain::tenant::{Tenant, TenantName};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;
use crate::store::tenants;

use super::wire::{Page, Paging, moment};

const WHAT: &str = "tenant";

fn show(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id.to_string(),
        "name": tenant.name.as_str(),
        "created_at": moment(tenant.created_at),
        "suspended": tenant.suspended_at.is_some(),
        "suspended_at": tenant.suspended_at.map(moment),
        "dsn": tenant.dsn.as_str(),
        "require_tls": tenant.transport.is_required(),
    })
}

impl From<TenantError> for Problem {
    fn from(error: TenantError) -> Problem {
        match error {
            TenantError::NotFound => Problem::not_found(WHAT),
            TenantError::NameTaken => Problem::new(Kind::Conflict, "another tenant has this name"),
            TenantError::HasMail => Problem::new(
                Kind::Conflict,
                "mail of this tenant is still queued; suspend it and cancel its mail first",
            ),
            TenantError::Store(error) => error.into(),
        }
    }
}

/// Makes a tenant.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut fields = fields(&app, &headers, body).await?;
    let name = fields.required_text("name").map(|text| (TenantName::parse(&text), text));
    let name = match name {
        Some((Ok(name), _)) => Some(name),
        Some((Err(error), _)) => {
            fields.wrong("name", "invalid_name", error.to_string());
            None
        }
        None => None,
    };
    let errors = fields.finish();
    let Some(name) = name.filter(|_| errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let tenant = operation::create(&app.database, &principal.actor(), name, app.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(show(&tenant))))
}

/// Renames, suspends or reinstates a tenant, or chooses its notices.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id: TenantId = extract::id(&id, WHAT)?;
    let mut fields = fields(&app, &headers, body).await?;
    let name = fields.parsed("name", "invalid_name", TenantName::parse);
    let standing =
        fields.flag("suspended").map(|flag| if flag { Standing::Suspended } else { Standing::Active });
    let dsn = fields.parsed("dsn", "invalid_dsn", str::parse::<DsnPolicy>);
    let transport = fields.flag("require_tls").map(Transport::required);
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let changes = Changes { name, standing, dsn, transport };
    let tenant = operation::update(&app.database, &principal.actor(), id, changes, app.clock.now()).await?;
    Ok(Json(show(&tenant)))
}

async fn fields(app: &App, headers: &HeaderMap, body: Body) -> Result<Fields, Problem> {
    let body = app.budget.read(headers, body, 16 * 1024).await?;
    Fields::of(extract::json(headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))
}

/// A page of tenants.
pub async fn list(State(app): State<App>, paging: Paging<TenantId>) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = tenants::list(&mut connection, paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |tenant| tenant.id, |tenant| show(&tenant))))
}

/// One tenant.
pub async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id: TenantId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let tenant = tenants::find(&mut connection, id).await?;
    tenant.map(|tenant| Json(show(&tenant))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Deletes a tenant that has no mail queued.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: TenantId = extract::id(&id, WHAT)?;
    if id == principal.tenant() {
        return Err(Problem::new(Kind::Conflict, "a key cannot delete its own tenant"));
    }
    operation::delete(&app.database, &principal.actor(), id, app.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
