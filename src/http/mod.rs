//! The HTTP door. Every route is on this page, with the scope it demands.

mod acme;
pub mod api;
pub mod auth;
mod cells;
pub mod compat;
pub mod error;
pub mod extract;
pub mod fields;
#[cfg(fuzzing)]
pub mod fuzzing;
mod headers;
mod patience;
pub mod request_id;
pub mod serve;
mod strict_json;
pub mod tracking;
pub mod ui;
mod unsubscribe;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use futures_util::FutureExt;
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::account::credentials::Keys;
use crate::account::domains::Domains;
use crate::account::rates::Rates;
use crate::account::users::Users;
use crate::account::users::letters::Letters;
use crate::account::users::oidc::Oidc;
use crate::clock::Clock;
use crate::dns::Resolver;
use crate::domain::id::TenantId;
use crate::domain::key::Scope;
use crate::domain::unsubscribe_link::UnsubscribeLinks;
use crate::live::Live;
use crate::outbound::Outbound;
use crate::seal::Subkey;
use crate::store::Database;
use crate::submission::Accept;

use api::{
    addresses, audit, captured, dmarc, docs, domains, erasures, events, export, health, inbound,
    inbound_filters, inbound_routes, ips, keys, messages, notices, pauses, queue, relays, reputation, stats,
    streams, suppressions, templates, tenants, usage, webhooks,
};
use auth::{Demand, Patience, guard};
use error::{Kind, Problem};
use extract::Budget;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(pub Arc<AppParts>);

/// The parts of [`App`].
pub struct AppParts {
    /// Accepts mail.
    pub accept: Accept,
    /// For reading.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Knows keys.
    pub keys: Arc<Keys>,
    /// Counts requests.
    pub limits: Arc<Rates>,
    /// Memory for bodies.
    pub budget: Budget,
    /// Seals relays' credentials.
    pub seal: Subkey,
    /// Works on sender domains.
    pub domains: Domains,
    /// Reads the links by which recipients leave.
    pub unsubscribes: UnsubscribeLinks,
    /// Looks where tenants' URLs lead, and posts there.
    pub outbound: Outbound,
    /// Looks names up.
    pub resolver: Resolver,
    /// Events as they happen.
    pub live: Live,
    /// People who use the dashboard.
    pub users: Users,
    /// Writes to them.
    pub letters: Letters,
    /// The OpenID provider by which they may sign in.
    pub oidc: Option<Oidc>,
    /// Where the dashboard is.
    pub site: ui::Site,
    /// What pages tell of the installation.
    pub installation: ui::Installation,
    /// The tenant that exists from the first start.
    pub first_tenant: TenantId,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// What this process does.
    pub roles: Roles,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The process drains.
    pub stopping: CancellationToken,
    /// Opens and clicks.
    pub tracking: tracking::Tracking,
    /// When the queue was last counted.
    pub depth_counted: Mutex<Option<Instant>>,
}

impl std::ops::Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

impl App {
    fn max_message_bytes(&self) -> usize {
        self.accept.limits.max_message_bytes
    }

    /// Base 64 makes four octets of three; the rest is for names and punctuation.
    fn max_json_bytes(&self) -> usize {
        self.max_message_bytes() / 3 * 4 + (1 << 20)
    }

    /// A batch may be twice as large as one mail.
    fn max_batch_bytes(&self) -> usize {
        2 * self.max_json_bytes()
    }

    /// Whether counts older than `age` should be taken again; whoever is told so takes them.
    fn depth_is_due(&self, age: Duration) -> bool {
        let mut counted = self.depth_counted.lock().unwrap_or_else(PoisonError::into_inner);
        let due = counted.is_none_or(|at| at.elapsed() >= age);
        if due {
            *counted = Some(Instant::now());
        }
        due
    }
}

/// What this process does, and whether it still does it.
#[derive(Debug, Clone, Default)]
pub struct Roles(Vec<(&'static str, CancellationToken)>);

impl Roles {
    /// Adds a role; cancelling the token says that it is down.
    pub fn add(&mut self, name: &'static str, down: CancellationToken) {
        self.0.push((name, down));
    }

    /// The token that says that a role is down.
    pub fn token(&self, name: &str) -> Option<CancellationToken> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, down)| down.clone())
    }

    /// All roles.
    pub fn all(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    /// Those that are down.
    pub fn down(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, down)| down.is_cancelled()).map(|(name, _)| *name).collect()
    }
}

/// All routes.
pub fn router(app: App) -> Router {
    let on = |scope: Scope, route: MethodRouter<App>| guarded(&app, scope, Patience::Short, route);
    let upload = |scope: Scope, route: MethodRouter<App>| guarded(&app, scope, Patience::Upload, route);
    let (send, read, manage, operate) = (Scope::Send, Scope::Read, Scope::Manage, Scope::Operate);
    Router::new()
        // Open to all.
        .route("/", get(ui::front))
        .route("/docs", get(docs::reference))
        .route("/openapi.yaml", get(docs::openapi))
        .route("/assets/docs.css", get(headers::docs_css))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/.well-known/acme-challenge/{token}", get(acme::answer))
        // Where the pixels and links of mail lead.
        .route("/t/o/{file}", get(tracking::open))
        .route("/t/c/{token}", get(tracking::click))
        .route("/u/{token}", get(unsubscribe::show).post(unsubscribe::act))
        // Messages.
        .route(
            "/v1/messages",
            upload(send, post(messages::create::create)).merge(on(read, get(messages::read::list))),
        )
        .route("/v1/messages/batch", upload(send, post(messages::create::batch)))
        .route(
            "/v1/messages/{id}",
            on(read, get(messages::read::one)).merge(on(send, patch(messages::cancel::reschedule))),
        )
        .route("/v1/messages/{id}/events", on(read, get(events::of_message)))
        .route("/v1/messages/{id}/raw", on(read, get(messages::read::raw)))
        .route("/v1/messages/{id}/cancel", on(send, post(messages::cancel::cancel)))
        .route("/v1/messages/{id}/resend", on(send, post(messages::resend::resend)))
        // Events.
        .route("/v1/events", on(read, get(events::list)))
        .route("/v1/events/stream", on(read, get(events::stream)))
        .route("/v1/events/export", on(read, get(export::export)))
        // Figures.
        .route("/v1/stats", on(read, get(stats::read)))
        .route("/v1/reputation", on(read, get(reputation::read)))
        .route("/v1/usage", on(read, get(usage::read)))
        // What the capture route kept.
        .route("/v1/captured", on(read, get(captured::list)))
        .route("/v1/captured/{id}/raw", on(read, get(captured::raw)))
        .route("/v1/addresses/validate", on(read, post(addresses::validate)))
        // The tenant's own affairs.
        .route("/v1/keys", on(manage, post(keys::create).get(keys::list)))
        .route("/v1/keys/{id}", on(manage, get(keys::one).delete(keys::revoke)))
        .route("/v1/domains", on(manage, post(domains::create).get(domains::list)))
        .route(
            "/v1/domains/{id}",
            on(manage, get(domains::one).patch(domains::update)).merge(on(manage, delete(domains::delete))),
        )
        .route("/v1/domains/{id}/verify", on(manage, post(domains::verify)))
        .route("/v1/domains/{id}/dmarc", on(manage, get(dmarc::summary)))
        .route("/v1/domains/{id}/rotate", on(manage, post(domains::rotate)))
        .route("/v1/domains/{id}/keys", on(manage, post(domains::import_key)))
        .route("/v1/notices", on(manage, get(notices::list)))
        .route("/v1/notices/read", on(manage, post(notices::read_all)))
        .route("/v1/notices/settings", on(manage, get(notices::settings).patch(notices::set_settings)))
        .route("/v1/notices/{id}/read", on(manage, post(notices::read)))
        .route("/v1/erasures", on(manage, post(erasures::create).get(erasures::list)))
        .route("/v1/erasures/{id}", on(manage, get(erasures::one)))
        .route("/v1/audit", on(manage, get(audit::list)))
        .route("/v1/relays", on(manage, post(relays::create).get(relays::list)))
        .route("/v1/relays/{id}", on(manage, get(relays::one).delete(relays::delete)))
        .route("/v1/pauses", on(manage, post(pauses::create).get(pauses::list)))
        .route("/v1/pauses/{id}", on(manage, get(pauses::one).delete(pauses::delete)))
        // Mail that comes in.
        .route("/v1/inbound", on(read, get(inbound::list)))
        .route("/v1/inbound/{id}", on(read, get(inbound::one)))
        .route("/v1/inbound/{id}/raw", on(read, get(inbound::raw)))
        .route("/v1/inbound-routes", on(manage, post(inbound_routes::create).get(inbound_routes::list)))
        .route(
            "/v1/inbound-routes/{id}",
            on(manage, get(inbound_routes::one).patch(inbound_routes::update).delete(inbound_routes::delete)),
        )
        .route("/v1/inbound-filters", on(manage, get(inbound_filters::read).patch(inbound_filters::set)))
        .route("/v1/streams", on(manage, post(streams::create).get(streams::list)))
        .route("/v1/streams/policy", on(manage, get(streams::policy).patch(streams::set_policy)))
        .route(
            "/v1/streams/{id}",
            on(manage, get(streams::one).patch(streams::update).delete(streams::delete)),
        )
        .route("/v1/suppressions", on(manage, post(suppressions::create).get(suppressions::list)))
        .route("/v1/suppressions/batch", on(manage, post(suppressions::create_many)))
        .route("/v1/suppressions/delete", on(manage, post(suppressions::delete_many)))
        .route("/v1/suppressions/import", upload(manage, post(suppressions::import)))
        .route("/v1/suppressions/export", upload(manage, get(suppressions::export)))
        .route("/v1/suppressions/{id}", on(manage, get(suppressions::one).delete(suppressions::delete)))
        .route("/v1/webhooks", on(manage, post(webhooks::create).get(webhooks::list)))
        .route(
            "/v1/webhooks/{id}",
            on(manage, get(webhooks::one).patch(webhooks::update).delete(webhooks::delete)),
        )
        .route("/v1/webhooks/{id}/test", upload(manage, post(webhooks::test)))
        .route("/v1/webhooks/{id}/rotate", on(manage, post(webhooks::rotate)))
        .route("/v1/webhooks/{id}/deliveries", on(manage, get(webhooks::deliveries)))
        .route("/v1/webhooks/{id}/replay", on(manage, post(webhooks::replay)))
        .route("/v1/templates", on(manage, post(templates::create)).merge(on(read, get(templates::list))))
        .route(
            "/v1/templates/{id}",
            on(read, get(templates::one))
                .merge(on(manage, patch(templates::update).delete(templates::delete))),
        )
        .route("/v1/templates/{id}/versions", on(read, get(templates::versions)))
        .route("/v1/templates/{id}/publish", on(manage, post(templates::publish)))
        .route("/v1/templates/{id}/render", on(send, post(templates::render)))
        // The installation.
        .route("/v1/tenants", on(operate, post(tenants::create).get(tenants::list)))
        .route(
            "/v1/tenants/{id}",
            on(operate, get(tenants::one).patch(tenants::update)).merge(on(operate, delete(tenants::delete))),
        )
        .route("/v1/ips", on(operate, post(ips::create).get(ips::list)))
        .route(
            "/v1/ips/{id}",
            on(operate, get(ips::one).patch(ips::update)).merge(on(operate, delete(ips::delete))),
        )
        .route("/v1/ip-rules", on(operate, post(ips::create_rule).get(ips::list_rules)))
        .route("/v1/ip-rules/{id}", on(operate, get(ips::one_rule).delete(ips::delete_rule)))
        .route("/v1/tenants/{id}/limits", on(operate, get(usage::limits).patch(usage::set_limits)))
        .route("/v1/queue", on(operate, get(queue::destinations)))
        .route("/v1/sites", on(operate, get(queue::sites)))
        .route("/v1/queue/retry", on(operate, post(queue::retry)))
        .route("/v1/queue/purge", on(operate, post(queue::purge)))
        .route("/v1/sites/resume", on(operate, post(queue::resume)))
        .route("/v1/site-pauses", on(operate, post(pauses::create_for_site).get(pauses::list_of_sites)))
        .route("/v1/site-pauses/{id}", on(operate, get(pauses::one_of_site).delete(pauses::delete_of_site)))
        // The providers' own paths.
        .merge(compat::doors(&app))
        // The dashboard.
        .merge(ui::router(&app))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_with_this_method)
        .layer(from_fn(around))
        .with_state(app.clone())
}

fn guarded(app: &App, scope: Scope, patience: Patience, route: MethodRouter<App>) -> MethodRouter<App> {
    route.route_layer(from_fn_with_state((app.clone(), Demand { scope, patience }), guard))
}

async fn nothing_here() -> Problem {
    Problem::new(Kind::NotFound, "there is nothing at this path; /docs lists what there is")
}

async fn not_with_this_method() -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "this path exists, but not with this method; /docs lists what there is",
    )
}

/// What surrounds every request: its id and log lines, the headers that every answer bears, and the net for bugs of
/// ours. One layer, since each costs an allocation and a move of the whole request.
async fn around(request: Request, next: Next) -> Response {
    request_id::with(request, async |request| {
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let mut response = answered.unwrap_or_else(|panic| panicked(&*panic));
        headers::secure(response.headers_mut());
        response
    })
    .await
}

/// A bug of ours: the caller gets a problem, the log the reason, and the process goes on.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Response {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("?"), "a request panicked");
    Problem::new(Kind::Internal, "the request could not be carried out").into_response()
}
