//! `/v1/domains`: whom a tenant may send as, and what it must publish for that.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::domains::{
    Changes, DomainError, DomainView, NewDomain, Proof, RETURN_PATH_LABEL, Selector,
};
use crate::domain::handling::{Tracking, Transport};
use crate::domain::id::DomainId;
use crate::domain::identity::DomainName;
use crate::domain::identity::judge::Finding;
use crate::domain::identity::records::{Need, Record};
use crate::domain::identity::senders::Standing;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::Fields;
use crate::seal::Secret;
use crate::store::domain_keys::StoredKey;
use crate::store::domains::Note;

use super::wire::{Page, Paging, moment};

const WHAT: &str = "domain";
const MOST_OCTETS: usize = 64 * 1024;

impl From<DomainError> for Problem {
    fn from(error: DomainError) -> Problem {
        match error {
            DomainError::NotFound => Problem::not_found(WHAT),
            DomainError::NameTaken | DomainError::TooMany | DomainError::KeysPending => {
                Problem::new(Kind::Conflict, error.to_string())
            }
            DomainError::SelectorTaken => {
                Problem::field("/selector", "selector_taken", DomainError::SelectorTaken.to_string())
            }
            DomainError::BadKey(bad) => Problem::field("/private_key", "invalid_key", bad.to_string()),
            DomainError::NoRandomness(error) => Problem::new(Kind::Internal, error.to_string()),
            DomainError::Store(error) => error.into(),
        }
    }
}

fn show(view: &DomainView) -> Value {
    let domain = &view.domain;
    json!({
        "id": domain.id.to_string(),
        "name": domain.name,
        "status": domain.status.as_str(),
        "paused": domain.paused_at.is_some(),
        "require_tls": domain.transport.is_required(),
        "tracking": { "opens": domain.tracking.opens, "clicks": domain.tracking.clicks },
        "return_path": { "name": domain.return_path, "in_use": domain.returns && domain.status.is_held() },
        "records": view.records.iter().map(show_record).collect::<Vec<_>>(),
        "keys": view.keys.iter().map(show_key).collect::<Vec<_>>(),
        "created_at": moment(domain.created_at),
        "verified_at": domain.verified_at.map(moment),
        "failing_since": domain.failing_since.map(moment),
        "checked_at": domain.checked_at.map(moment),
        "next_check_at": domain.check_due_at.map(moment),
    })
}

fn show_record((record, finding): &(Record, Finding)) -> Value {
    json!({
        "purpose": record.purpose.as_str(),
        "type": record.kind.as_str(),
        "name": record.name,
        "value": record.value,
        "priority": record.priority,
        "required": record.need == Need::Required,
        "status": finding.status.as_str(),
        "found": finding.found,
        "advice": finding.advice,
    })
}

fn show_key(key: &StoredKey) -> Value {
    json!({
        "id": key.id.to_string(),
        "selector": key.facts.selector,
        "algorithm": key.facts.algorithm.as_str(),
        "origin": key.origin.as_str(),
        "state": key.facts.state.as_str(),
        "published": key.published,
        "created_at": moment(key.created_at),
        "active_at": key.active_at.map(moment),
        "retired_at": key.retired_at.map(moment),
    })
}

fn show_note(note: &Note) -> Value {
    json!({ "at": moment(note.at), "kind": note.kind, "message": note.message })
}

/// Makes a domain.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = app.budget.read(&headers, body, MOST_OCTETS).await?;
    let new = decode(extract::json(&headers, &body.bytes)?)?;
    let view = app.domains.create(&principal.actor(), principal.tenant(), new, app.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(show(&view))))
}

/// Reads a new domain.
///
/// # Errors
/// Every field that cannot be used.
pub fn decode(value: Value) -> Result<NewDomain, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let name = fields.required_text("name");
    let name = name.and_then(|text| match DomainName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            fields.wrong("name", "invalid_domain", error.to_string());
            None
        }
    });
    let label = fields.text("return_path").unwrap_or_else(|| RETURN_PATH_LABEL.to_owned());
    let above = name.as_ref().map_or("acme.example", DomainName::as_str);
    let return_path = DomainName::parse(&format!("{label}.{above}"));
    if return_path.is_err() || label.ends_with('.') || label.is_empty() {
        let message = "a label is needed that stands before the domain's name, such as bounce";
        fields.wrong("return_path", "invalid_label", message);
    }
    let errors = fields.finish();
    match name {
        Some(name) if errors.is_empty() => {
            Ok(NewDomain { name, return_path_label: label.to_ascii_lowercase() })
        }
        _ => Err(Problem::invalid(errors)),
    }
}

/// A page of the tenant's domains.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<DomainId>,
) -> Result<Json<Page<Value>>, Problem> {
    let rows = app.domains.list(principal.tenant(), paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |view| view.domain.id, |view| show(&view))))
}

/// One domain, with its history.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: DomainId = extract::id(&id, WHAT)?;
    let view = app.domains.find(principal.tenant(), id).await?;
    Ok(Json(with_history(&app, &view).await?))
}

async fn with_history(app: &App, view: &DomainView) -> Result<Value, Problem> {
    let notes = app.domains.history(view.domain.tenant, view.domain.id).await?;
    let mut shown = show(view);
    shown["history"] = notes.iter().map(show_note).collect();
    Ok(shown)
}

/// Stops a domain, or lets it go on; decides how the way of its mail is protected, and what is watched of it.
pub async fn update(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id: DomainId = extract::id(&id, WHAT)?;
    let body = app.budget.read(&headers, body, MOST_OCTETS).await?;
    let value = extract::json(&headers, &body.bytes)?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let standing =
        fields.flag("paused").map(|paused| if paused { Standing::Paused } else { Standing::Active });
    let transport = fields.flag("require_tls").map(Transport::required);
    let tracking = fields.object("tracking").map(|mut object| {
        let tracking = Tracking {
            opens: object.flag("opens").unwrap_or_default(),
            clicks: object.flag("clicks").unwrap_or_default(),
        };
        fields.absorb(object);
        tracking
    });
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let (actor, place, now) = (principal.actor(), (principal.tenant(), id), app.clock.now());
    if let Some(tracking) = tracking {
        app.domains.set_tracking(&actor, place, tracking, now).await?;
    }
    let view = app.domains.update(&actor, place, Changes { standing, transport }, now).await?;
    Ok(Json(with_history(&app, &view).await?))
}

/// Looks a domain's records up now.
pub async fn verify(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let place = (principal.tenant(), extract::id(&id, WHAT)?);
    app.domains.verify(&principal.actor(), place, Proof::Asked, app.clock.now()).await?;
    let view = app.domains.find(place.0, place.1).await?;
    Ok(Json(with_history(&app, &view).await?))
}

/// Makes the next keys of a domain.
pub async fn rotate(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let place = (principal.tenant(), extract::id(&id, WHAT)?);
    let view = app.domains.rotate(&principal.actor(), place, app.clock.now()).await?;
    Ok(Json(with_history(&app, &view).await?))
}

/// Takes a key that its owner brings.
pub async fn import_key(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id: DomainId = extract::id(&id, WHAT)?;
    // What is not there is said before what is wrong with the request for it.
    app.domains.find(principal.tenant(), id).await?;
    let body = app.budget.read(&headers, body, MOST_OCTETS).await?;
    let value = extract::json(&headers, &body.bytes)?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let selector = fields.required_text("selector");
    let selector = selector.and_then(|text| match Selector::parse(&text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            fields.wrong("selector", "invalid_selector", error);
            None
        }
    });
    let key = fields.required_text("private_key").map(Secret::new);
    let errors = fields.finish();
    let Some((selector, key)) = selector.zip(key).filter(|_| errors.is_empty()) else {
        return Err(Problem::invalid(errors));
    };
    let place = (principal.tenant(), id);
    let view = app.domains.import_key(&principal.actor(), place, selector, &key, app.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(with_history(&app, &view).await?)))
}

/// Deletes a domain. Mail that waits to be sent as it waits on.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let place = (principal.tenant(), extract::id(&id, WHAT)?);
    app.domains.delete(&principal.actor(), place, app.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
