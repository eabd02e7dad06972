//! `/v2/email/identities` ("CreateEmailIdentity" and the others): sender domains. An address is a sender if its domain
//! is one.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::account::domains::{DomainView, NewDomain, RETURN_PATH_LABEL};
use crate::domain::id::TenantId;
use crate::domain::identity::DomainName;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::http::fields::Fields;

const MOST: i64 = 1000;

/// The tenant's domain that a name, or the address's domain, is.
///
/// # Errors
/// There is none.
pub async fn find(app: &App, tenant: TenantId, identity: &str) -> Result<DomainView, Problem> {
    let name = identity.rsplit_once('@').map_or(identity, |(_, domain)| domain);
    let name = crate::http::fields::parse_domain(name);
    let all = app.domains.list(tenant, None, MOST).await?;
    let found = name.and_then(|name| all.into_iter().find(|view| view.domain.name == name));
    found.ok_or_else(|| Problem::new(Kind::NotFound, format!("Email identity {identity} does not exist.")))
}

fn is_verified(view: &DomainView) -> bool {
    matches!(view.domain.status.as_str(), "verified" | "failing")
}

/// Of its records.
pub fn status(view: &DomainView) -> &'static str {
    match view.domain.status.as_str() {
        "verified" => "SUCCESS",
        "failing" => "TEMPORARY_FAILURE",
        _ => "PENDING",
    }
}

/// Tokens are selectors: the records themselves are to be had at `/v1/domains`.
fn dkim(view: &DomainView) -> Value {
    let tokens: Vec<&str> = view.keys.iter().map(|key| key.facts.selector.as_str()).collect();
    json!({
        "SigningEnabled": true,
        "Status": status(view),
        "Tokens": tokens,
        "SigningAttributesOrigin": "AWS_SES",
    })
}

/// The domain of a name, made unless it is there.
///
/// # Errors
/// It is no name of a domain.
pub async fn made(app: &App, principal: &Principal, name: &str) -> Result<DomainView, Problem> {
    if let Ok(view) = find(app, principal.tenant(), name).await {
        return Ok(view);
    }
    let name = DomainName::parse(name)
        .map_err(|error| Problem::field("/Domain", "invalid_domain", error.to_string()))?;
    let new = NewDomain { name, return_path_label: RETURN_PATH_LABEL.to_owned() };
    Ok(app.domains.create(&principal.actor(), principal.tenant(), new, app.clock.now()).await?)
}

/// `POST /v2/email/identities`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let name = fields.required_text("EmailIdentity");
    if name.as_deref().is_some_and(|name| name.contains('@')) {
        let message = "identities are domains here: add the domain of the address";
        fields.wrong("EmailIdentity", "not_supported", message);
    }
    let name =
        name.filter(|_| !fields.is_wrong("EmailIdentity")).and_then(|name| match DomainName::parse(&name) {
            Ok(name) => Some(name),
            Err(error) => {
                fields.wrong("EmailIdentity", "invalid_domain", error.to_string());
                None
            }
        });
    fields.rest();
    let wrong = fields.finish();
    let Some(name) = name.filter(|_| wrong.is_empty()) else { return Err(Problem::invalid(wrong)) };
    let new = NewDomain { name, return_path_label: RETURN_PATH_LABEL.to_owned() };
    let view = app.domains.create(&principal.actor(), principal.tenant(), new, app.clock.now()).await?;
    Ok(Json(json!({
        "IdentityType": "DOMAIN",
        "VerifiedForSendingStatus": is_verified(&view),
        "DkimAttributes": dkim(&view),
    })))
}

/// `GET /v2/email/identities`, as clients of earlier years ask.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let limit = asked.number("PageSize", MOST as usize, MOST as usize);
    page(&app, principal.tenant(), asked.number("NextToken", 0, MOST as usize), limit).await
}

/// `POST /v2/email/list-identities`.
pub async fn list_posted(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let limit = value.get("PageSize").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
    let offset = value.get("NextToken").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let limit = limit.unwrap_or(MOST as usize).min(MOST as usize);
    page(&app, principal.tenant(), offset.unwrap_or(0), limit).await
}

async fn page(app: &App, tenant: TenantId, offset: usize, limit: usize) -> Result<Json<Value>, Problem> {
    let all = app.domains.list(tenant, None, MOST).await?;
    let next = (all.len() > offset.saturating_add(limit)).then(|| (offset + limit).to_string());
    let shown: Vec<Value> = all.iter().skip(offset).take(limit).map(summary).collect();
    Ok(Json(json!({ "EmailIdentities": shown, "NextToken": next })))
}

fn summary(view: &DomainView) -> Value {
    json!({
        "IdentityType": "DOMAIN",
        "IdentityName": view.domain.name,
        "SendingEnabled": is_verified(view),
        "VerificationStatus": status(view),
    })
}

/// `GET /v2/email/identities/{EmailIdentity}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(identity): Path<String>,
) -> Result<Json<Value>, Problem> {
    let view = find(&app, principal.tenant(), &identity).await?;
    let kind = if identity.contains('@') { "EMAIL_ADDRESS" } else { "DOMAIN" };
    Ok(Json(json!({
        "IdentityType": kind,
        "FeedbackForwardingStatus": false,
        "VerifiedForSendingStatus": is_verified(&view),
        "VerificationStatus": status(&view),
        "DkimAttributes": dkim(&view),
        "MailFromAttributes": {
            "MailFromDomain": view.domain.return_path,
            "MailFromDomainStatus": status(&view),
            "BehaviorOnMxFailure": "USE_DEFAULT_VALUE",
        },
        "Policies": {},
        "Tags": [],
    })))
}

/// `DELETE /v2/email/identities/{EmailIdentity}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(identity): Path<String>,
) -> Result<Json<Value>, Problem> {
    let view = find(&app, principal.tenant(), &identity).await?;
    app.domains.delete(&principal.actor(), (principal.tenant(), view.domain.id), app.clock.now()).await?;
    Ok(Json(json!({})))
}
