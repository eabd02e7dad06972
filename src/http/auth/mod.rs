//! Who calls, and whether he may: by the key that the request bears, which `account/credentials` knows.

mod client;
pub mod limit;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::account::credentials::NotAdmitted;
use crate::account::{Actor, keys};
use crate::domain::access_key::AccessKeyId;
use crate::domain::id::{KeyId, TenantId};
use crate::domain::key::{KeyName, KeySecret, Scope, Scopes};
use crate::seal::Secret;
use crate::store::keys::Credential;
use crate::submission::{By, Caller};

use super::App;
use super::error::{Kind, Problem};

pub use client::{ClientAddr, client_ip};

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Principal {
    credential: Arc<Credential>,
    /// Where the request came from.
    pub ip: IpAddr,
}

impl Principal {
    /// Whose requests these are.
    pub fn tenant(&self) -> TenantId {
        self.credential.key.tenant
    }

    /// With which key.
    pub fn key(&self) -> KeyId {
        self.credential.key.id
    }

    /// What it may do.
    pub fn scopes(&self) -> Scopes {
        self.credential.key.scopes
    }

    /// As the audit log names it.
    pub fn actor(&self) -> Actor {
        Actor { name: self.key().to_string(), ip: Some(self.ip) }
    }

    /// As accept knows it.
    pub fn caller(&self) -> Caller {
        let key = &self.credential.key;
        Caller { tenant: key.tenant, by: By::Key(key.id), mode: key.mode, limits: key.limits.clone() }
    }
}

/// What a route demands of its caller.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// The scope.
    pub scope: Scope,
    /// How long answering may take.
    pub patience: Patience,
}

/// How long answering may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Within five seconds.
    Short,
    /// As long as an upload takes; its parts have their own deadlines.
    Upload,
}

const SHORT: std::time::Duration = std::time::Duration::from_millis(4800);

/// Lets a request pass whose caller may do what the route does.
pub async fn guard(
    State((app, demand)): State<(App, Demand)>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let secret = bearer(request.headers());
    pass(&app, demand, secret, request, next).await
}

/// Lets a request pass that bears this key, however it bears it.
///
/// # Errors
/// It bears none, one that is not known, or one that may not do what the route does.
pub async fn pass(
    app: &App,
    demand: Demand,
    secret: Option<KeySecret>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let ip = client_ip(&request, &app.trusted_proxies);
    let principal = authenticate(app, secret, ip).await?;
    enter(app, demand, principal, request, next).await
}

/// Lets a request of this caller pass.
///
/// # Errors
/// He may not do what the route does.
pub async fn enter(
    app: &App,
    demand: Demand,
    principal: Principal,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !principal.scopes().has(demand.scope) {
        let detail = format!("this key does not have the scope {}", demand.scope.as_str());
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let allowance = app.limits.check(principal.key(), principal.credential.key.limits.rate_per_second);
    let allowance = match allowance {
        Ok(allowance) => allowance,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    request.extensions_mut().insert(principal);
    let mut response = match demand.patience {
        Patience::Upload => next.run(request).await,
        Patience::Short => tokio::time::timeout(SHORT, next.run(request)).await.unwrap_or_else(|_| {
            Problem::new(Kind::Unavailable, "it took too long; try again").into_response()
        }),
    };
    // What a limit of the tenant says stands over what the key's own says.
    if let Some(allowance) = allowance.filter(|_| !response.headers().contains_key(limit::LEFT)) {
        limit::tell(response.headers_mut(), allowance);
    }
    Ok(response)
}

/// What is said to a request that shows no key at all.
pub const NO_KEY: &str = "send Authorization: Bearer <key>";

async fn authenticate(app: &App, secret: Option<KeySecret>, ip: IpAddr) -> Result<Principal, Problem> {
    let secret = secret.ok_or_else(|| Problem::new(Kind::Unauthorized, NO_KEY))?;
    let credential = app.keys.admit(&KeyName::Shown(secret.hash()), ip, app.clock.now()).await?;
    Ok(Principal { credential, ip })
}

/// The caller whose key has this public half, and its other half: whether the request was signed with it is for the
/// door to see.
///
/// # Errors
/// There is no such key, or it may not be used from there.
pub async fn signer(app: &App, id: AccessKeyId, ip: IpAddr) -> Result<(Principal, Secret), Problem> {
    let credential = app.keys.admit(&KeyName::Signing(id), ip, app.clock.now()).await?;
    let secret = keys::open_secret(&app.seal, &credential);
    let secret = secret.ok_or_else(|| Problem::new(Kind::Unauthorized, NotAdmitted::Unknown.to_string()))?;
    Ok((Principal { credential, ip }, secret))
}

impl From<NotAdmitted> for Problem {
    fn from(error: NotAdmitted) -> Problem {
        let kind = match error {
            NotAdmitted::Unknown => Kind::Unauthorized,
            NotAdmitted::Address => Kind::Forbidden,
            NotAdmitted::Suspended => Kind::Suspended,
            NotAdmitted::Store(error) => return error.into(),
        };
        Problem::new(kind, error.to_string())
    }
}

/// RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1).
pub fn bearer(headers: &HeaderMap) -> Option<KeySecret> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then(|| KeySecret::given(secret))
}
