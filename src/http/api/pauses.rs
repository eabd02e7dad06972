//! `/v1/pauses`: a tenant holds mail of its own. `/v1/site-pauses`: an operator holds whatever goes to a site or to a
//! recipient domain.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::pauses as operation;
use crate::domain::id::{PauseId, TenantId};
use crate::domain::pause::{Held, Kinds, Pause};
use crate::domain::submission::StreamName;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::http::fields::{Fields, parse_domain};
use crate::store::pauses;

use super::wire::{Page, Paging, moment};

const WHAT: &str = "pause";
/// Characters of a reason, and of a site's name.
const LONGEST: usize = 255;

fn show(pause: &Pause) -> Value {
    let mut value = json!({
        "id": pause.id.to_string(),
        "reason": pause.reason,
        "created_at": moment(pause.created_at),
    });
    match &pause.held {
        Held::Mail { stream, domain, sender, kinds, .. } => {
            value["stream"] = json!(stream);
            value["domain"] = json!(domain);
            value["sender_domain"] = json!(sender);
            value["broadcast_only"] = json!(*kinds == Kinds::Broadcast);
        }
        Held::Site(site) => {
            value["site"] = json!(site);
            value["domain"] = Value::Null;
        }
        Held::Destination(domain) => {
            value["site"] = Value::Null;
            value["domain"] = json!(domain);
        }
    }
    value
}

/// Holds mail of the tenant: of a stream, to a domain, or all of it.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut fields = fields(&app, &headers, body).await?;
    let stream = fields.parsed("stream", "invalid_stream", StreamName::parse);
    let domain =
        fields.parsed("domain", "invalid_domain", |text| parse_domain(text).ok_or("this is no domain"));
    let sender = fields
        .parsed("sender_domain", "invalid_domain", |text| parse_domain(text).ok_or("this is no domain"));
    let kinds = if fields.flag("broadcast_only") == Some(true) { Kinds::Broadcast } else { Kinds::All };
    let reason = reason(&mut fields);
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let stream = stream.map(|stream| stream.as_str().to_owned());
    make(&app, &principal, Held::Mail { tenant: principal.tenant(), stream, domain, sender, kinds }, reason)
        .await
}

/// Holds whatever goes to a site, or to a recipient domain.
pub async fn create_for_site(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut fields = fields(&app, &headers, body).await?;
    let site = fields.text("site").map(|site| site.trim().to_owned());
    let domain =
        fields.parsed("domain", "invalid_domain", |text| parse_domain(text).ok_or("this is no domain"));
    let held = match (site, domain) {
        (Some(site), None) if site.is_empty() || site.chars().count() > LONGEST => {
            fields.wrong("site", "invalid_site", "a provider, a relay or an MX host is needed");
            None
        }
        (Some(site), None) => Some(Held::Site(site)),
        (None, Some(domain)) => Some(Held::Destination(domain)),
        (Some(_), Some(_)) => {
            fields.wrong("domain", "conflict", "a pause is of a site or of a domain");
            None
        }
        (None, None) => {
            if !fields.is_wrong("site") && !fields.is_wrong("domain") {
                fields.wrong("site", "required", "a site or a domain is needed");
            }
            None
        }
    };
    let reason = reason(&mut fields);
    let errors = fields.finish();
    let (Some(held), true) = (held, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    make(&app, &principal, held, reason).await
}

async fn fields(app: &App, headers: &HeaderMap, body: Body) -> Result<Fields, Problem> {
    let body = app.budget.read(headers, body, 16 * 1024).await?;
    Fields::of(extract::json(headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))
}

fn reason(fields: &mut Fields) -> String {
    let reason = fields.text("reason").unwrap_or_default();
    if reason.chars().count() > LONGEST {
        fields.wrong("reason", "too_long", format!("at most {LONGEST} characters are allowed"));
    }
    reason
}

async fn make(
    app: &App,
    principal: &Principal,
    held: Held,
    reason: String,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (actor, by, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let pause = operation::create(&app.database, &actor, by, held, reason, now).await?;
    Ok((StatusCode::CREATED, Json(show(&pause))))
}

/// A page of the tenant's pauses.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<PauseId>,
) -> Result<Json<Page<Value>>, Problem> {
    page(&app, Some(principal.tenant()), paging).await
}

/// A page of the installation's pauses.
pub async fn list_of_sites(
    State(app): State<App>,
    paging: Paging<PauseId>,
) -> Result<Json<Page<Value>>, Problem> {
    page(&app, None, paging).await
}

async fn page(
    app: &App,
    of: Option<TenantId>,
    paging: Paging<PauseId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = pauses::list(&mut connection, of, paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |pause| pause.id, |pause| show(&pause))))
}

/// One pause.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    find(&app, Some(principal.tenant()), &id).await
}

/// One pause of the installation's.
pub async fn one_of_site(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    find(&app, None, &id).await
}

async fn find(app: &App, of: Option<TenantId>, id: &str) -> Result<Json<Value>, Problem> {
    let id: PauseId = extract::id(id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let pause = pauses::find(&mut connection, of, id).await?;
    pause.map(|pause| Json(show(&pause))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Lets mail of the tenant go on.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    resume(&app, &principal, Some(principal.tenant()), &id).await
}

/// Lets mail to a site or a domain go on.
pub async fn delete_of_site(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    resume(&app, &principal, None, &id).await
}

async fn resume(
    app: &App,
    principal: &Principal,
    of: Option<TenantId>,
    id: &str,
) -> Result<StatusCode, Problem> {
    let id: PauseId = extract::id(id, WHAT)?;
    let (actor, by, now) = (principal.actor(), principal.tenant(), app.clock.now());
    let deleted = operation::delete(&app.database, &actor, by, of, id, now).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(WHAT)) }
}
