//! `/domains` (resend.com/docs/api-reference/domains).

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::domains::{DomainView, NewDomain, Proof, RETURN_PATH_LABEL};
use crate::domain::id::DomainId;
use crate::domain::identity::DomainName;
use crate::domain::identity::records::Purpose;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::http::fields::Fields;

const MOST: i64 = 1000;

fn id(text: &str) -> Result<DomainId, Problem> {
    let id = text.parse().ok().or_else(|| uuid::Uuid::parse_str(text).ok().map(DomainId::from_uuid));
    id.ok_or_else(|| Problem::new(Kind::NotFound, "Domain not found"))
}

/// `POST /domains`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let name = fields.parsed("name", "invalid_domain", DomainName::parse);
    if name.is_none() && !fields.is_wrong("name") {
        fields.wrong("name", "required", "it is needed");
    }
    let label = fields.text("custom_return_path").or_else(|| fields.text("customReturnPath"));
    let label = label.unwrap_or_else(|| RETURN_PATH_LABEL.to_owned()).to_ascii_lowercase();
    if DomainName::parse(&format!("{label}.acme.example")).is_err() || label.is_empty() {
        fields.wrong("custom_return_path", "invalid_label", "Invalid `custom_return_path` field.");
    }
    fields.rest();
    let wrong = fields.finish();
    let Some(name) = name.filter(|_| wrong.is_empty()) else { return Err(Problem::invalid(wrong)) };
    let new = NewDomain { name, return_path_label: label };
    let view = app.domains.create(&principal.actor(), principal.tenant(), new, app.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(with_records(&view))))
}

/// `GET /domains`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let views = app.domains.list(principal.tenant(), None, MOST).await?;
    let data: Vec<Value> = views.iter().map(show).collect();
    Ok(Json(json!({ "object": "list", "has_more": false, "data": data })))
}

/// `GET /domains/{id}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(given): Path<String>,
) -> Result<Json<Value>, Problem> {
    let view = app.domains.find(principal.tenant(), id(&given)?).await?;
    Ok(Json(with_records(&view)))
}

/// `POST /domains/{id}/verify`: looked up now.
pub async fn verify(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(given): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id(&given)?;
    let (tenant, now) = (principal.tenant(), app.clock.now());
    app.domains.verify(&principal.actor(), (tenant, id), Proof::Asked, now).await?;
    Ok(Json(json!({ "object": "domain", "id": id.uuid().to_string() })))
}

/// `DELETE /domains/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(given): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id(&given)?;
    app.domains.delete(&principal.actor(), (principal.tenant(), id), app.clock.now()).await?;
    Ok(Json(json!({ "object": "domain", "id": id.uuid().to_string(), "deleted": true })))
}

fn show(view: &DomainView) -> Value {
    let domain = &view.domain;
    json!({
        "id": domain.id.uuid().to_string(),
        "name": domain.name,
        "status": status(domain.status.as_str()),
        "created_at": moment(domain.created_at),
        "region": "us-east-1",
    })
}

fn with_records(view: &DomainView) -> Value {
    let records = view.records.iter().map(|(record, finding)| {
        let name = match record.purpose {
            Purpose::Dkim => "DKIM",
            Purpose::ReturnPath | Purpose::Spf => "SPF",
            Purpose::Dmarc => "DMARC",
            _ => "Tracking",
        };
        json!({
            "record": name,
            "name": record.name,
            "type": record.kind.as_str(),
            "ttl": "Auto",
            "status": if finding.status.as_str() == "ok" { "verified" } else { "not_started" },
            "value": record.value,
            "priority": record.priority,
        })
    });
    let mut shown = show(view);
    shown["object"] = "domain".into();
    shown["records"] = records.collect();
    shown
}

/// resend.com/docs/dashboard/domains/introduction#understand-a-domain-status.
fn status(ours: &str) -> &str {
    match ours {
        "pending" => "not_started",
        "failing" => "failed",
        other => other,
    }
}
