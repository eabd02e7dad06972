//! `/v3/domains` and `/v4/domains` (documentation.mailgun.com/docs/mailgun/api-reference/openapi-final/tag/Domains).

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::account::domains::{DomainView, NewDomain, Proof, RETURN_PATH_LABEL};
use crate::domain::identity::DomainName;
use crate::domain::identity::records::Purpose;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;

use super::form::Form;
use super::suppressions::rfc_2822;

const MOST: i64 = 1000;

fn show(view: &DomainView) -> Value {
    let domain = &view.domain;
    json!({
        "id": domain.id.uuid().to_string(),
        "name": domain.name,
        "state": if domain.status.is_held() { "active" } else { "unverified" },
        "type": "custom",
        "created_at": rfc_2822(domain.created_at),
        "is_disabled": domain.paused_at.is_some(),
        "require_tls": false,
        "skip_verification": false,
        "spam_action": "disabled",
        "wildcard": false,
        "web_scheme": "https",
        "web_prefix": "email",
        "smtp_login": "",
    })
}

fn whole(view: &DomainView, message: Option<&str>) -> Value {
    let mut sending = Vec::new();
    let mut receiving = Vec::new();
    for (record, finding) in &view.records {
        let shown = json!({
            "record_type": record.kind.as_str(),
            "name": record.name,
            "value": record.value,
            "priority": record.priority.map(|priority| priority.to_string()),
            "valid": if finding.status.as_str() == "ok" { "valid" } else { "unknown" },
            "is_active": true,
            "cached": finding.found,
        });
        if record.purpose == Purpose::Mx { receiving.push(shown) } else { sending.push(shown) }
    }
    let mut shown = json!({
        "domain": show(view),
        "sending_dns_records": sending,
        "receiving_dns_records": receiving,
    });
    if let Some(message) = message {
        shown["message"] = message.into();
    }
    shown
}

async fn find(app: &App, principal: &Principal, name: &str) -> Result<DomainView, Problem> {
    let all = app.domains.list(principal.tenant(), None, MOST).await?;
    let found = all.into_iter().find(|view| view.domain.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Problem::new(Kind::NotFound, "Domain not found"))
}

/// `GET /v4/domains`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let all = app.domains.list(principal.tenant(), None, MOST).await?;
    let items: Vec<Value> = all.iter().map(show).collect();
    Ok(Json(json!({ "total_count": items.len(), "items": items })))
}

/// `GET /v4/domains/{name}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(whole(&find(&app, &principal, &name).await?, None)))
}

/// `POST /v4/domains`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let held = app.budget.read(&headers, body, 64 * 1024).await?;
    let form = Form::read(&headers, held.bytes.clone()).await?;
    let bad = |_| Problem::field("/name", "invalid_domain", "'name' parameter is not a valid domain name");
    let name = DomainName::parse(form.one("name").unwrap_or_default()).map_err(bad)?;
    let new = NewDomain { name, return_path_label: RETURN_PATH_LABEL.to_owned() };
    let view = app.domains.create(&principal.actor(), principal.tenant(), new, app.clock.now()).await?;
    Ok(Json(whole(&view, Some("Domain has been created"))))
}

/// `PUT /v4/domains/{name}/verify`: looked up now.
pub async fn verify(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = find(&app, &principal, &name).await?.domain.id;
    let (tenant, now) = (principal.tenant(), app.clock.now());
    app.domains.verify(&principal.actor(), (tenant, id), Proof::Asked, now).await?;
    let view = app.domains.find(tenant, id).await?;
    Ok(Json(whole(&view, Some("Domain DNS records have been updated"))))
}

/// `DELETE /v3/domains/{name}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = find(&app, &principal, &name).await?.domain.id;
    app.domains.delete(&principal.actor(), (principal.tenant(), id), app.clock.now()).await?;
    Ok(Json(json!({ "message": "Domain has been deleted" })))
}
