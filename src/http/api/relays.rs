//! `/v1/relays`: a tenant's own routes.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::account::relays::{self as operation, NewRelay, RelayError};
use crate::domain::handling::Transport;
use crate::domain::id::RelayId;
use crate::domain::relay::{Auth, DEFAULT_CONNECTIONS, Endpoint, Grant, Hop, OAuth, TlsMode};
use crate::domain::submission::StreamName;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::fields::{Fields, parse_domain};
use crate::seal::Secret;
use crate::store::relays::{self, StoredRelay};

use super::wire::{Page, Paging, moment};

const WHAT: &str = "relay";

/// A relay without its secrets: whether it has credentials is all that is told of them.
fn show(relay: &StoredRelay) -> Value {
    let through = (relay.route != operation::DIRECT).then_some(relay);
    json!({
        "id": relay.id.to_string(),
        "name": relay.name,
        "route": relay.route,
        "host": through.map(|relay| &relay.host),
        "port": through.map(|relay| relay.port),
        "tls": relay.tls,
        "has_credentials": relay.auth_sealed.is_some(),
        "match": { "stream": relay.match_stream, "domain": relay.match_domain },
        "max_connections": through.map(|relay| relay.max_connections),
        "created_at": moment(relay.created_at),
    })
}

/// Makes a relay.
pub async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = app.budget.read(&headers, body, 64 * 1024).await?;
    let new = decode(extract::json(&headers, &body.bytes)?)?;
    let (actor, tenant) = (principal.actor(), principal.tenant());
    let made = operation::create(&app.database, &app.seal, &actor, tenant, new, app.clock.now()).await;
    let relay = made.map_err(|error| match error {
        RelayError::Conflict => Problem::new(Kind::Conflict, error.to_string()),
        RelayError::NoRandomness(error) => Problem::new(Kind::Internal, error.to_string()),
        RelayError::Store(error) => error.into(),
    })?;
    Ok((StatusCode::CREATED, Json(show(&relay))))
}

fn decode(value: Value) -> Result<NewRelay, Problem> {
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    let name = fields.text("name").unwrap_or_default();
    let hop = match fields.text("route").as_deref() {
        None | Some(operation::SMTP) => Hop::Relay(endpoint(&mut fields)),
        Some(operation::DIRECT) => Hop::Direct(directly(&mut fields)),
        Some(_) => {
            fields.wrong("route", "invalid_route", "route is smtp or direct");
            Hop::Direct(Transport::AsOffered)
        }
    };
    let (match_stream, match_domain) = matches(&mut fields);
    let errors = fields.finish();
    if errors.is_empty() {
        Ok(NewRelay { name, hop, match_stream, match_domain })
    } else {
        Err(Problem::invalid(errors))
    }
}

fn endpoint(fields: &mut Fields) -> Endpoint {
    let host = fields.required_text("host").unwrap_or_default();
    if !is_host(&host) {
        fields.wrong("host", "invalid_host", "a host name or an address is needed");
    }
    let auth = auth(fields);
    let safe = if auth == Auth::None { TlsMode::Opportunistic } else { TlsMode::Required };
    let modes = "tls is none, opportunistic, required or implicit";
    let tls = fields.parsed("tls", "invalid_tls", |text| TlsMode::parse(text).ok_or(modes)).unwrap_or(safe);
    let default_port = if tls == TlsMode::Implicit { 465 } else { 587 };
    let port = fields.number("port", 1..=65_535).unwrap_or(default_port);
    let connections = fields.number("max_connections", 1..=1000).unwrap_or(DEFAULT_CONNECTIONS.into());
    let endpoint = Endpoint {
        host,
        port: u16::try_from(port).unwrap_or_default(),
        tls,
        auth,
        max_connections: u16::try_from(connections).unwrap_or(DEFAULT_CONNECTIONS),
    };
    if let Err(error) = endpoint.check() {
        fields.wrong("auth", "unsafe", error.to_string());
    }
    endpoint
}

/// The recipient's own servers are named by its domain, and want no credentials.
fn directly(fields: &mut Fields) -> Transport {
    for name in ["host", "port", "auth", "max_connections"] {
        if fields.take(name).is_some() {
            fields.wrong(name, "not_with_direct", "a direct route has none: the recipient's domain says it");
        }
    }
    let read = |text: &str| match text {
        "opportunistic" => Ok(Transport::AsOffered),
        "required" => Ok(Transport::RequireTls),
        _ => Err("tls of a direct route is opportunistic or required"),
    };
    fields.parsed("tls", "invalid_tls", read).unwrap_or_default()
}

fn is_host(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok() || parse_domain(host).is_some()
}

fn matches(fields: &mut Fields) -> (Option<String>, Option<String>) {
    let Some(mut object) = fields.object("match") else { return (None, None) };
    let stream = object.parsed("stream", "invalid_stream", StreamName::parse);
    let domain =
        object.parsed("domain", "invalid_domain", |text| parse_domain(text).ok_or("this is no domain"));
    fields.absorb(object);
    (stream.map(|stream| stream.as_str().to_owned()), domain)
}

fn auth(fields: &mut Fields) -> Auth {
    let Some(mut object) = fields.object("auth") else { return Auth::None };
    let auth = match object.required_text("type").as_deref() {
        Some("password") => {
            let (username, password) = (object.required_text("username"), object.required_text("password"));
            username
                .zip(password)
                .map(|(username, password)| Auth::Password { username, password: Secret::new(password) })
        }
        Some("xoauth2") => oauth(&mut object).map(Auth::XOAuth2),
        Some(_) => {
            object.wrong("type", "invalid_type", "type is password or xoauth2");
            None
        }
        None => None,
    };
    fields.absorb(object);
    auth.unwrap_or(Auth::None)
}

fn oauth(object: &mut Fields) -> Option<OAuth> {
    let (username, token_url) = (object.required_text("username"), object.required_text("token_url"));
    let scope = object.text("scope");
    let grant = match object.object("service_account") {
        Some(mut account) => {
            let (email, key) = (account.required_text("email"), account.required_text("private_key"));
            object.absorb(account);
            email.zip(key).map(|(email, key)| Grant::ServiceAccount { email, private_key: Secret::new(key) })
        }
        None => client_grant(object),
    };
    Some(OAuth { username: username?, token_url: token_url?, scope, grant: grant? })
}

fn client_grant(object: &mut Fields) -> Option<Grant> {
    let (client_id, client_secret) =
        (object.required_text("client_id"), object.required_text("client_secret"));
    let refresh_token = object.text("refresh_token").map(Secret::new);
    let (client_id, client_secret) = client_id.zip(client_secret.map(Secret::new))?;
    Some(match refresh_token {
        Some(refresh_token) => Grant::RefreshToken { client_id, client_secret, refresh_token },
        None => Grant::ClientCredentials { client_id, client_secret },
    })
}

/// A page of the tenant's relays.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<RelayId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = relays::list(&mut connection, principal.tenant(), paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |relay| relay.id, |relay| show(&relay))))
}

/// One relay.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id: RelayId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let relay = relays::find(&mut connection, principal.tenant(), id).await?;
    relay.map(|relay| Json(show(&relay))).ok_or_else(|| Problem::not_found(WHAT))
}

/// Deletes a relay; mail that waits for it goes the installation's own way.
pub async fn delete(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: RelayId = extract::id(&id, WHAT)?;
    let deleted =
        operation::delete(&app.database, &principal.actor(), principal.tenant(), id, app.clock.now()).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found(WHAT)) }
}
