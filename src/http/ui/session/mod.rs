//! Who is at the dashboard, and whether what she sends came from a page of ours.
//!
//! A browser shows a token that lasts for minutes (`token`), and counts for nothing without the session's row; when it
//! has run out, a second cookie gets it the next one. What surrounds every page is `around`: it finds the session, holds
//! the rules of `origin` and the forms' tokens, and adds headers and cookies. Pages take [`SignedIn`].

mod cookies;
mod fields;
mod headers;
mod origin;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use time::OffsetDateTime;
use url::form_urlencoded;

use crate::account::Actor;
use crate::account::users::sessions::{self, Begun, Present, Shown};
use crate::domain::id::{SessionId, TenantId, UserId};
use crate::domain::key::{KeyLimits, KeyMode, Scopes};
use crate::domain::session::Visitor;
use crate::domain::ticket::Ticket;
use crate::domain::user::{Act, Reach, Role, User};
use crate::http::App;
use crate::http::auth::client_ip;
use crate::store::StoreError;
use crate::submission::{By, Caller};

use super::page::Refusal;

pub use cookies::Jar;
pub use fields::Fields;
pub use token::Site;

/// Somebody who is signed in, and the tenant whose dashboard she sees. Every page takes it.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub user: UserId,
    /// What she signs in with.
    pub email: String,
    /// What she is called; may be empty.
    pub name: String,
    /// Whose dashboard she sees.
    pub tenant: TenantId,
    /// What that tenant is called.
    pub tenant_name: String,
    /// All her tenants, by name.
    pub tenants: Vec<(TenantId, String)>,
    /// What she is in this tenant.
    pub role: Role,
    /// Whether she runs the installation.
    pub reach: Reach,
    /// At which browser.
    pub session: SessionId,
    /// What every form of hers must bear in its field `csrf` (or a script in `X-CSRF-Token`).
    pub csrf: String,
    /// From where.
    pub ip: IpAddr,
    /// Whether she has proved lately who she is: what is dangerous wants that.
    pub proof: Proof,
}

/// How recent a proof is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Recent enough for everything.
    Fresh,
    /// To be renewed before anything dangerous.
    Stale,
}

impl SignedIn {
    /// Whether she may do something here.
    pub fn may(&self, act: Act) -> bool {
        match act {
            Act::Operate => self.reach == Reach::Installation,
            act => self.role.may(act),
        }
    }

    /// Stops who may not.
    ///
    /// # Errors
    /// The page that says so.
    pub fn require(&self, act: Act) -> Result<(), Refusal> {
        if self.may(act) {
            return Ok(());
        }
        let whom = match act {
            Act::Operate => "who runs this installation",
            Act::Owners => "an owner of this tenant",
            Act::Audit | Act::People => "an admin or owner of this tenant",
            _ => "a developer, admin or owner of this tenant",
        };
        Err(Refusal::forbidden(format!("You are {} here; ask {whom}.", self.role.as_str())))
    }

    /// As the audit log names her.
    pub fn actor(&self) -> Actor {
        Actor::user(self.user, self.ip)
    }

    /// What a key with her rights could do.
    pub fn scopes(&self) -> Scopes {
        self.role.scopes(self.reach)
    }

    /// As accept knows her.
    pub fn caller(&self) -> Caller {
        let (by, mode, limits) = (By::Person(self.user), KeyMode::Live, KeyLimits::default());
        Caller { tenant: self.tenant, by, mode, limits }
    }

    fn new(app: &App, present: &Present, ip: IpAddr) -> Option<SignedIn> {
        let place = present.place()?.clone();
        let (session, user) = (&present.session, &present.session.user);
        let is_fresh = session.is_fresh(app.clock.now());
        Some(SignedIn {
            user: user.id,
            email: user.email.as_str().to_owned(),
            name: user.name.clone(),
            tenant: place.tenant,
            tenant_name: place.name,
            tenants: present.places.iter().map(|place| (place.tenant, place.name.clone())).collect(),
            role: place.role,
            reach: user.reach,
            session: session.id,
            csrf: app.site.form_token(&session.id.to_string()),
            ip,
            proof: if is_fresh { Proof::Fresh } else { Proof::Stale },
        })
    }
}

/// What `around` found out about a request, for what comes after.
#[derive(Debug, Clone)]
struct Found {
    present: Option<Arc<Present>>,
    guest: Guest,
    visitor: Visitor,
}

/// Whoever is at the browser, signed in or not: for the ways in.
#[derive(Debug, Clone)]
pub struct Guest {
    /// What forms must bear that are shown before anybody is signed in.
    pub csrf: String,
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<SignedIn, Response> {
        let found = parts.extensions.get::<Found>();
        let Some((present, ip)) = found.and_then(|it| Some((it.present.clone()?, it.visitor.ip))) else {
            return Err(to_login(parts));
        };
        SignedIn::new(app, &present, ip).ok_or_else(|| {
            let detail = "You are not a member of any tenant here any more; ask who invited you.";
            Refusal::forbidden(detail).into_response()
        })
    }
}

impl FromRequestParts<App> for Guest {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Guest, Refusal> {
        parts.extensions.get::<Found>().map(|found| found.guest.clone()).ok_or_else(Refusal::not_ours)
    }
}

/// Somebody who is signed in, whether or not she is a member of any tenant.
#[derive(Debug, Clone)]
pub struct Current {
    /// Who.
    pub user: User,
    /// At which browser.
    pub session: SessionId,
    /// What forms of hers must bear.
    pub csrf: String,
}

impl OptionalFromRequestParts<App> for Current {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Current>, Self::Rejection> {
        let present = parts.extensions.get::<Found>().and_then(|found| found.present.clone());
        Ok(present.map(|present| Current {
            user: present.session.user.clone(),
            session: present.session.id,
            csrf: app.site.form_token(&present.session.id.to_string()),
        }))
    }
}

/// Somebody whose password was right, and when; she has more to prove.
#[derive(Debug, Clone, Copy)]
pub struct Halfway(pub UserId, pub OffsetDateTime);

impl OptionalFromRequestParts<App> for Halfway {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Halfway>, Self::Rejection> {
        let jar = Jar::of(&parts.headers, app.site.is_https());
        let known = jar.halfway().and_then(|token| app.site.halfway(token, app.clock.now()));
        Ok(known.map(|(user, proved)| Halfway(user, proved)))
    }
}

/// Somebody who is signed in, if anybody is.
pub struct Maybe(pub Option<SignedIn>);

impl FromRequestParts<App> for Maybe {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Maybe, Self::Rejection> {
        Ok(Maybe(SignedIn::from_request_parts(parts, app).await.ok()))
    }
}

/// Where a request comes from.
pub struct Visiting(pub Visitor);

impl FromRequestParts<App> for Visiting {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Visiting, Refusal> {
        parts.extensions.get::<Found>().map(|it| Visiting(it.visitor.clone())).ok_or_else(Refusal::not_ours)
    }
}

/// Who is not signed in is asked to be, and comes back to the page she wanted.
fn to_login(parts: &Parts) -> Response {
    let wanted = parts.uri.path_and_query().map_or("/ui/", |path| path.as_str());
    let is_page = parts.method == axum::http::Method::GET;
    let next: String = form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
    let path = if is_page { format!("/login?next={next}") } else { "/login".to_owned() };
    let asks_for_a_page = parts.headers.get("hx-request").is_none()
        && !parts
            .headers
            .get(header::ACCEPT)
            .is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
    if asks_for_a_page {
        return Redirect::to(&path).into_response();
    }
    // A script cannot see where a redirect leads; htmx goes where this header says.
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    response.headers_mut().insert("hx-redirect", HeaderValue::from_static("/login"));
    response
}

/// What surrounds every page.
pub async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut jar = Jar::of(request.headers(), app.site.is_https());
    let mut response = match admit(&app, request, &mut jar).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    headers::secure(response.headers_mut(), app.site.is_https());
    jar.write(response.headers_mut());
    response
}

/// Finds out who is there, and turns away what no page of ours has sent.
async fn admit(app: &App, request: Request, jar: &mut Jar) -> Result<Request, Refusal> {
    let is_safe = request.method().is_safe();
    if !is_safe {
        origin::check(request.headers(), request.uri(), app.site.origin())?;
    }
    let visitor = visitor(app, &request);
    let present = identify(app, jar).await?.map(Arc::new);
    let guest = Guest { csrf: app.site.form_token(&jar.form_key()?) };
    let own = present.as_ref().map(|present| app.site.form_token(&present.session.id.to_string()));
    let found = Found { present, guest, visitor };
    let mut request = if is_safe {
        request
    } else {
        let tokens = [own.as_deref(), Some(found.guest.csrf.as_str())];
        fields::check(app, request, tokens.into_iter().flatten()).await?
    };
    request.extensions_mut().insert(found);
    Ok(request)
}

fn visitor(app: &App, request: &Request) -> Visitor {
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Visitor::new(client_ip(request, &app.trusted_proxies), agent.unwrap_or_default())
}

/// The session that the browser's cookies name, if it holds; a browser whose token has run out gets the next.
async fn identify(app: &App, jar: &mut Jar) -> Result<Option<Present>, StoreError> {
    let now = app.clock.now();
    if let Some(id) = jar.token().and_then(|token| app.site.session_of(token, now)) {
        return sessions::resume(&app.database, &Shown::Token(id), now).await;
    }
    let Some(renewal) = jar.renewal().and_then(Ticket::given) else { return Ok(None) };
    let present = sessions::resume(&app.database, &Shown::Renewal(renewal), now).await?;
    if let Some(present) = &present {
        jar.set_token(app.site.token(present.session.id, now));
    }
    Ok(present)
}

/// The cookies of a session that has just begun.
pub fn signed_in(app: &App, begun: &Begun, headers: &mut HeaderMap) {
    let mut jar = Jar::of(&HeaderMap::new(), app.site.is_https());
    jar.set_token(app.site.token(begun.session.id, app.clock.now()));
    jar.set_renewal(begun.renewal.reveal());
    jar.write(headers);
}

/// The browser forgets who was signed in.
pub fn signed_out(app: &App, headers: &mut HeaderMap) {
    let mut jar = Jar::of(&HeaderMap::new(), app.site.is_https());
    jar.forget();
    jar.write(headers);
}
