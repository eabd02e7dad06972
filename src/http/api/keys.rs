//! `/v1/keys`: a tenant's API keys.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::account::keys::{self as operation, KeyError, NewKey};
use crate::domain::access_key::AccessKeyId;
use crate::domain::id::{KeyId, TenantId};
use crate::domain::key::{ApiKey, KeyLimits, KeyMode, Scope, Scopes};
use crate::domain::submission::StreamName;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::{Fields, parse_domain};
use crate::store::keys;
use crate::submission::Violation;

use super::wire::{Page, Paging, moment};

const WHAT: &str = "key";
const MAX_NAME: usize = 100;
const MAX_LIST: usize = 100;
const NETWORK: &str = "a network is written as 192.0.2.0/24 or 2001:db8::/32";

fn show(key: &ApiKey) -> Value {
    let scopes: Vec<&str> = key.scopes.iter().map(Scope::as_str).collect();
    let texts = |nets: &Vec<IpNet>| nets.iter().map(IpNet::to_string).collect::<Vec<_>>();
    let nets = key.limits.allow_ips.as_ref().map(texts);
    json!({
        "id": key.id.to_string(),
        "name": key.name,
        "hint": key.hint,
        "scopes": scopes,
        "test": key.mode == KeyMode::Test,
        "domains": key.limits.domains,
        "streams": key.limits.streams,
        "allow_ips": nets,
        "rate_per_second": key.limits.rate_per_second,
        "access_key_id": key.access_key_id.as_ref().map(AccessKeyId::as_str),
        "smtp_networks": key.smtp_networks.as_ref().map(texts),
        "created_at": moment(key.created_at),
        "expires_at": key.limits.expires_at.map(moment),
        "last_used_at": key.last_used_at.map(moment),
        "revoked_at": key.revoked_at.map(moment),
    })
}

/// Makes a key; its secret is in the answer, and nowhere else ever again.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = app.budget.read(&headers, body, 64 * 1024).await?;
    let (new, kind) = decode(extract::json(&headers, &body.bytes)?, principal.tenant(), principal.scopes())?;
    let (actor, now) = (principal.actor(), app.clock.now());
    let view = match kind {
        KeyKind::Shown => {
            let (key, secret) = operation::create(&app.database, &actor, new, now).await?;
            let mut view = show(&key);
            view["key"] = secret.reveal().into();
            view
        }
        KeyKind::Access => {
            let made = operation::create_access_key(&app.database, &app.seal, &actor, new, now).await;
            let (key, access_key) = made?;
            let mut view = show(&key);
            view["secret_access_key"] = access_key.secret.reveal().into();
            view
        }
    };
    Ok((StatusCode::CREATED, Json(view)))
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Problem {
        match error {
            KeyError::Conflict => Problem::field("/tenant_id", "not_found", "there is no such tenant"),
            KeyError::NetworkTaken(_) => Problem::field("/smtp_networks", "network_taken", error.to_string()),
            KeyError::NoRandomness(error) => Problem::new(Kind::Internal, error.to_string()),
            KeyError::Store(error) => error.into(),
        }
    }
}

/// How a key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// It is shown.
    Shown,
    /// It signs requests.
    Access,
}

/// Reads a key that somebody of this tenant with these scopes wants, and how it is to be used.
///
/// # Errors
/// Every field that cannot be used, or what nobody may give who has not got it.
pub fn decode(value: Value, own: TenantId, has: Scopes) -> Result<(NewKey, KeyKind), Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let name = name(&mut fields);
    let scopes = scopes(&mut fields);
    let mode = if fields.flag("test") == Some(true) { KeyMode::Test } else { KeyMode::Live };
    let kind = if fields.flag("aws") == Some(true) { KeyKind::Access } else { KeyKind::Shown };
    let smtp_networks = each(&mut fields, "smtp_networks", "invalid_network", NETWORK, network);
    let limits = KeyLimits {
        expires_at: fields.moment("expires_at"),
        domains: each(&mut fields, "domains", "invalid_domain", "this is no domain", parse_domain),
        streams: each(
            &mut fields,
            "streams",
            "invalid_stream",
            "a stream has 1 to 64 of a-z 0-9 _ -",
            stream,
        ),
        allow_ips: each(&mut fields, "allow_ips", "invalid_network", NETWORK, network),
        rate_per_second: fields
            .number("rate_per_second", 1..=1_000_000)
            .and_then(|rate| u32::try_from(rate).ok()),
    };
    let tenant = fields.parsed("tenant_id", "invalid_id", |text| {
        text.parse::<TenantId>().map_err(|_| "this is not the id of a tenant")
    });
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    if !has.covers(scopes) {
        return Err(Problem::new(Kind::Forbidden, "nobody can give a key more scopes than his own has"));
    }
    let foreign = tenant.is_some_and(|tenant| tenant != own);
    if foreign && !has.has(Scope::Operate) {
        return Err(Problem::new(Kind::Forbidden, "keys for other tenants need the scope operate"));
    }
    // Whose mail it is that comes from a network is the installation's question.
    if smtp_networks.is_some() && !has.has(Scope::Operate) {
        return Err(Problem::new(Kind::Forbidden, "networks without a login need the scope operate"));
    }
    let tenant = tenant.unwrap_or(own);
    Ok((NewKey { tenant, name, scopes, mode, limits, smtp_networks }, kind))
}

fn name(fields: &mut Fields) -> String {
    let name = fields.required_text("name").unwrap_or_default();
    let missing = name.is_empty() && !fields.is_wrong("name");
    if missing || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        fields.wrong("name", "invalid_name", format!("a name has 1 to {MAX_NAME} characters"));
    }
    name
}

fn scopes(fields: &mut Fields) -> Scopes {
    let texts = fields.texts("scopes", MAX_LIST);
    let Some(texts) = texts.filter(|texts| !texts.is_empty()) else {
        if !fields.is_wrong("scopes") {
            fields.wrong("scopes", "required", "at least one of send, read, manage, operate is needed");
        }
        return Scopes::default();
    };
    let pointer = fields.pointer("scopes");
    let read = texts.iter().enumerate().filter_map(|(index, text)| match text.parse::<Scope>() {
        Ok(scope) => Some(scope),
        Err(error) => {
            fields.wrong_at(Violation::new(format!("{pointer}/{index}"), "invalid_scope", error.to_string()));
            None
        }
    });
    read.collect()
}

/// A list whose entries `parse` understands; a missing one is `None`.
fn each<T>(
    fields: &mut Fields,
    name: &str,
    code: &str,
    message: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    let texts = fields.texts(name, MAX_LIST)?;
    let pointer = fields.pointer(name);
    let read = texts.iter().enumerate().filter_map(|(index, text)| {
        let entry = parse(text);
        if entry.is_none() {
            fields.wrong_at(Violation::new(format!("{pointer}/{index}"), code, message));
        }
        entry
    });
    Some(read.collect())
}

fn stream(text: &str) -> Option<String> {
    StreamName::parse(text).ok().map(|stream| stream.as_str().to_owned())
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| ip.into()))
}

/// A page of the tenant's keys.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<KeyId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = keys::list(&mut connection, principal.tenant(), paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |key| key.id, |key| show(&key))))
}

/// One key.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: KeyId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let key = keys::find(&mut connection, principal.tenant(), id).await?;
    key.map(|key| Json(show(&key))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Revokes a key. A revoked one is gone for the caller, however often he asks.
pub async fn revoke(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: KeyId = extract::id(&id, WHAT)?;
    let now = app.clock.now();
    let revoked = operation::revoke(&app.database, &principal.actor(), principal.tenant(), id, now).await?;
    revoked.map(|_| StatusCode::NO_CONTENT).ok_or_else(|| Problem::not_found(WHAT))
}
