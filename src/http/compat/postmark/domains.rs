//! `/domains`, with the account token there and any key here (postmarkapp.com/developer/api/domains-api). A domain's
//! number is made of its id.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::account::domains::{DomainError, DomainView, NewDomain, Proof, RETURN_PATH_LABEL};
use crate::domain::id::DomainId;
use crate::domain::identity::DomainName;
use crate::domain::identity::judge::{Finding, RecordStatus};
use crate::domain::identity::records::{Purpose, Record};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::compat::query::Asked;
use crate::http::error::Problem;
use crate::http::extract::Path;
use crate::webhooks::number;

use super::errors::Said;

const MOST: i64 = 1000;

fn of(view: &DomainView, purpose: Purpose) -> impl Iterator<Item = &(Record, Finding)> {
    view.records.iter().filter(move |(record, _)| record.purpose == purpose)
}

/// Whether there are records for this, and all of them are published.
fn is_published(view: &DomainView, purpose: Purpose) -> bool {
    let mut found = of(view, purpose).peekable();
    found.peek().is_some() && found.all(|(_, finding)| finding.status == RecordStatus::Ok)
}

fn show(view: &DomainView) -> Value {
    let returns = is_published(view, Purpose::ReturnPath);
    json!({
        "ID": number(view.domain.id.uuid()),
        "Name": view.domain.name,
        // Bounces go to the return-path domain: that is where SPF is looked for.
        "SPFVerified": returns,
        "DKIMVerified": is_published(view, Purpose::Dkim),
        "WeakDKIM": false,
        "ReturnPathDomainVerified": returns,
    })
}

/// There they have one key: of ours the first that waits is shown as pending, the first that is found as in use.
fn whole(view: &DomainView) -> Value {
    let mut shown = show(view);
    let keys =
        of(view, Purpose::Dkim).partition::<Vec<_>, _>(|(_, finding)| finding.status == RecordStatus::Ok);
    let record = |keys: &[&(Record, Finding)]| {
        keys.first().map(|(record, _)| (record.name.clone(), record.value.clone())).unwrap_or_default()
    };
    let (host, value) = record(&keys.0);
    let (pending_host, pending_value) = record(&keys.1);
    shown["DKIMHost"] = host.into();
    shown["DKIMTextValue"] = value.into();
    shown["DKIMPendingHost"] = pending_host.into();
    shown["DKIMPendingTextValue"] = pending_value.into();
    shown["DKIMRevokedHost"] = "".into();
    shown["DKIMRevokedTextValue"] = "".into();
    shown["SafeToRemoveRevokedKeyFromDNS"] = false.into();
    shown["DKIMUpdateStatus"] = if keys.1.is_empty() { "Verified" } else { "Pending" }.into();
    let returns = of(view, Purpose::ReturnPath).next();
    shown["ReturnPathDomain"] = view.domain.return_path.as_str().into();
    shown["ReturnPathDomainCNAMEValue"] = returns.map_or("", |(record, _)| record.value.as_str()).into();
    shown["SPFHost"] = view.domain.return_path.as_str().into();
    let spf = of(view, Purpose::Spf).next();
    shown["SPFTextValue"] = spf.map_or("", |(record, _)| record.value.as_str()).into();
    shown
}

fn nowhere() -> Response {
    Said::new(510, "This domain was not found.").into_response()
}

async fn find(app: &App, principal: &Principal, text: &str) -> Result<Option<DomainId>, Problem> {
    let Ok(wanted) = text.parse::<i64>() else { return Ok(None) };
    let all = app.domains.list(principal.tenant(), None, MOST).await?;
    Ok(all.iter().map(|view| view.domain.id).find(|id| number(id.uuid()) == wanted))
}

/// `GET /domains?count=&offset=`.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::parse(query.as_deref());
    let (offset, count) = (asked.number("offset", 0, MOST as usize), asked.number("count", 100, 500));
    let all = app.domains.list(principal.tenant(), None, MOST).await?;
    let page: Vec<Value> = all.iter().skip(offset).take(count).map(show).collect();
    Ok(Json(json!({ "TotalCount": all.len(), "Domains": page })))
}

/// `POST /domains`.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Ok(name) = DomainName::parse(text("Name").unwrap_or_default()) else {
        return Ok(Said::new(503, "The 'Name' is not a valid domain.").into_response());
    };
    let below = text("ReturnPathDomain").map(str::to_ascii_lowercase);
    let label = match &below {
        Some(host) => host.strip_suffix(&format!(".{}", name.as_str())).unwrap_or_default(),
        None => RETURN_PATH_LABEL,
    };
    if label.is_empty() || DomainName::parse(&format!("{label}.{}", name.as_str())).is_err() {
        return Ok(
            Said::new(505, "The 'ReturnPathDomain' must be a subdomain of the domain.").into_response()
        );
    }
    let new = NewDomain { name, return_path_label: label.to_owned() };
    match app.domains.create(&principal.actor(), principal.tenant(), new, app.clock.now()).await {
        Ok(view) => Ok(Json(whole(&view)).into_response()),
        Err(DomainError::NameTaken) => Ok(Said::new(504, "This domain already exists.").into_response()),
        Err(error) => Err(error.into()),
    }
}

/// `GET /domains/{id}`.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let Some(id) = find(&app, &principal, &id).await? else { return Ok(nowhere()) };
    Ok(Json(whole(&app.domains.find(principal.tenant(), id).await?)).into_response())
}

/// `PUT /domains/{id}/verifyDkim` and its like: all records are looked up now.
pub async fn verify(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let Some(id) = find(&app, &principal, &id).await? else { return Ok(nowhere()) };
    let (tenant, now) = (principal.tenant(), app.clock.now());
    app.domains.verify(&principal.actor(), (tenant, id), Proof::Asked, now).await?;
    Ok(Json(whole(&app.domains.find(tenant, id).await?)).into_response())
}

/// `POST /domains/{id}/rotateDKIM`: new keys, which sign once they are found.
pub async fn rotate(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let Some(id) = find(&app, &principal, &id).await? else { return Ok(nowhere()) };
    let place = (principal.tenant(), id);
    match app.domains.rotate(&principal.actor(), place, app.clock.now()).await {
        Ok(view) => Ok(Json(whole(&view)).into_response()),
        Err(DomainError::KeysPending) => {
            Ok(Said::new(520, "The DKIM key is already being renewed: publish its record first.")
                .into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// `DELETE /domains/{id}`.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let Some(id) = find(&app, &principal, &id).await? else { return Ok(nowhere()) };
    let place = (principal.tenant(), id);
    app.domains.delete(&principal.actor(), place, app.clock.now()).await?;
    Ok(Json(json!({ "ErrorCode": 0, "Message": "Domain was deleted." })).into_response())
}
