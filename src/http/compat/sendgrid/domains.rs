//! `/v3/whitelabel/domains` (docs.sendgrid.com/api-reference/domain-authentication).

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::account::domains::{DomainView, NewDomain, Proof, RETURN_PATH_LABEL};
use crate::domain::identity::DomainName;
use crate::domain::identity::records::{Need, Purpose};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::Problem;
use crate::http::extract::Path;
use crate::webhooks::number;

const MOST: i64 = 1000;

fn show(view: &DomainView) -> Value {
    let domain = &view.domain;
    let subdomain = domain.return_path.split('.').next().unwrap_or_default();
    let mut dns = Map::new();
    for (name, record, is_well) in records(view) {
        dns.insert(name, json!({ "valid": is_well, "type": record.0, "host": record.1, "data": record.2 }));
    }
    json!({
        "id": number(domain.id.uuid()),
        "user_id": 0,
        "subdomain": subdomain,
        "domain": domain.name,
        "username": "",
        "ips": [],
        "custom_spf": false,
        "default": false,
        "legacy": false,
        "automatic_security": true,
        "valid": domain.status.is_held(),
        "dns": dns,
    })
}

/// The required records by the names they have there, each with type, name and value, and whether it is published.
fn records(view: &DomainView) -> Vec<(String, (&'static str, String, String), bool)> {
    let mut keys = 0;
    let mut named = Vec::new();
    for (record, finding) in view.records.iter().filter(|(record, _)| record.need == Need::Required) {
        let name = match record.purpose {
            Purpose::Dkim => {
                keys += 1;
                format!("dkim{keys}")
            }
            Purpose::ReturnPath => format!("mail_{}", record.kind.as_str().to_ascii_lowercase()),
            other => other.as_str().to_owned(),
        };
        let shown = (record.kind.as_str(), record.name.clone(), record.value.clone());
        named.push((name, shown, finding.status.as_str() == "ok"));
    }
    named
}

async fn find(app: &App, principal: &Principal, id: i64) -> Result<DomainView, Problem> {
    let all = app.domains.list(principal.tenant(), None, MOST).await?;
    let found = all.into_iter().find(|view| number(view.domain.id.uuid()) == id);
    found.ok_or_else(|| Problem::not_found("domain"))
}

/// `GET /v3/whitelabel/domains`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let all = app.domains.list(principal.tenant(), None, MOST).await?;
    Ok(Json(all.iter().map(show).collect()))
}

/// `POST /v3/whitelabel/domains`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let bad = |field: &str| Problem::field(field, "invalid_domain", "domain must be a valid domain name");
    let name = DomainName::parse(text("domain").unwrap_or_default()).map_err(|_| bad("/domain"))?;
    let label = text("subdomain").unwrap_or(RETURN_PATH_LABEL).to_ascii_lowercase();
    DomainName::parse(&format!("{label}.{}", name.as_str())).map_err(|_| bad("/subdomain"))?;
    let new = NewDomain { name, return_path_label: label };
    let view = app.domains.create(&principal.actor(), principal.tenant(), new, app.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(show(&view))))
}

/// `GET /v3/whitelabel/domains/{id}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(show(&find(&app, &principal, id).await?)))
}

/// `POST /v3/whitelabel/domains/{id}/validate`: looked up now.
pub async fn validate(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Problem> {
    let known = find(&app, &principal, id).await?.domain.id;
    let (tenant, now) = (principal.tenant(), app.clock.now());
    app.domains.verify(&principal.actor(), (tenant, known), Proof::Asked, now).await?;
    let view = app.domains.find(tenant, known).await?;
    let results = records(&view).into_iter().map(|(name, record, is_well)| {
        let reason =
            (!is_well).then(|| format!("Expected {} for \"{}\" to be \"{}\".", record.0, record.1, record.2));
        (name, json!({ "valid": is_well, "reason": reason }))
    });
    let results: Map<String, Value> = results.collect();
    Ok(Json(json!({ "id": id, "valid": view.domain.status.is_held(), "validation_results": results })))
}

/// `DELETE /v3/whitelabel/domains/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let known = find(&app, &principal, id).await?.domain.id;
    app.domains.delete(&principal.actor(), (principal.tenant(), known), app.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
