//! Every route under `/v1`, for tests that must hold for each of them. A test compares this page with the router's
//! own text, so that a new route is missed by no one.

use postroad::domain::key::Scope;

/// A route and what it demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// As it is written in a request.
    pub method: &'static str,
    /// With `{id}` where an id stands.
    pub path: &'static str,
    /// What a key needs for it.
    pub scope: Scope,
    /// What the id names.
    pub id: Option<Named>,
}

/// What an id in a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// A message.
    Message,
    /// A captured mail.
    Captured,
    /// A key.
    Key,
    /// A relay.
    Relay,
    /// A template.
    Template,
    /// A sender domain.
    Domain,
    /// A pause of a tenant's mail.
    Pause,
    /// A pause of a site.
    SitePause,
    /// An address that mail leaves from.
    Ip,
    /// A rule of which addresses mail uses.
    IpRule,
    /// A mail that came in.
    Inbound,
    /// An inbound route.
    InboundRoute,
    /// A suppression.
    Suppression,
    /// A webhook.
    Webhook,
    /// A stream.
    Stream,
    /// A notice about an account.
    Notice,
    /// A request to erase a recipient's data.
    Erasure,
    /// A tenant.
    Tenant,
}

const fn route(method: &'static str, path: &'static str, scope: Scope, id: Option<Named>) -> Route {
    Route { method, path, scope, id }
}

/// All of them.
pub const ROUTES: [Route; 115] = [
    route("POST", "/v1/messages", Scope::Send, None),
    route("GET", "/v1/messages", Scope::Read, None),
    route("POST", "/v1/messages/batch", Scope::Send, None),
    route("GET", "/v1/messages/{id}", Scope::Read, Some(Named::Message)),
    route("PATCH", "/v1/messages/{id}", Scope::Send, Some(Named::Message)),
    route("GET", "/v1/messages/{id}/events", Scope::Read, Some(Named::Message)),
    route("GET", "/v1/messages/{id}/raw", Scope::Read, Some(Named::Message)),
    route("POST", "/v1/messages/{id}/cancel", Scope::Send, Some(Named::Message)),
    route("POST", "/v1/messages/{id}/resend", Scope::Send, Some(Named::Message)),
    route("GET", "/v1/events", Scope::Read, None),
    route("GET", "/v1/events/stream", Scope::Read, None),
    route("GET", "/v1/events/export", Scope::Read, None),
    route("GET", "/v1/stats", Scope::Read, None),
    route("GET", "/v1/reputation", Scope::Read, None),
    route("GET", "/v1/usage", Scope::Read, None),
    route("GET", "/v1/tenants/{id}/limits", Scope::Operate, Some(Named::Tenant)),
    route("PATCH", "/v1/tenants/{id}/limits", Scope::Operate, Some(Named::Tenant)),
    route("GET", "/v1/captured", Scope::Read, None),
    route("GET", "/v1/captured/{id}/raw", Scope::Read, Some(Named::Captured)),
    route("POST", "/v1/keys", Scope::Manage, None),
    route("GET", "/v1/keys", Scope::Manage, None),
    route("GET", "/v1/keys/{id}", Scope::Manage, Some(Named::Key)),
    route("DELETE", "/v1/keys/{id}", Scope::Manage, Some(Named::Key)),
    route("POST", "/v1/domains", Scope::Manage, None),
    route("GET", "/v1/domains", Scope::Manage, None),
    route("GET", "/v1/domains/{id}", Scope::Manage, Some(Named::Domain)),
    route("PATCH", "/v1/domains/{id}", Scope::Manage, Some(Named::Domain)),
    route("DELETE", "/v1/domains/{id}", Scope::Manage, Some(Named::Domain)),
    route("POST", "/v1/domains/{id}/verify", Scope::Manage, Some(Named::Domain)),
    route("GET", "/v1/domains/{id}/dmarc", Scope::Manage, Some(Named::Domain)),
    route("POST", "/v1/domains/{id}/rotate", Scope::Manage, Some(Named::Domain)),
    route("POST", "/v1/domains/{id}/keys", Scope::Manage, Some(Named::Domain)),
    route("POST", "/v1/addresses/validate", Scope::Read, None),
    route("GET", "/v1/notices", Scope::Manage, None),
    route("POST", "/v1/notices/read", Scope::Manage, None),
    route("GET", "/v1/notices/settings", Scope::Manage, None),
    route("PATCH", "/v1/notices/settings", Scope::Manage, None),
    route("POST", "/v1/notices/{id}/read", Scope::Manage, Some(Named::Notice)),
    route("POST", "/v1/erasures", Scope::Manage, None),
    route("GET", "/v1/erasures", Scope::Manage, None),
    route("GET", "/v1/erasures/{id}", Scope::Manage, Some(Named::Erasure)),
    route("GET", "/v1/audit", Scope::Manage, None),
    route("POST", "/v1/relays", Scope::Manage, None),
    route("GET", "/v1/relays", Scope::Manage, None),
    route("GET", "/v1/relays/{id}", Scope::Manage, Some(Named::Relay)),
    route("DELETE", "/v1/relays/{id}", Scope::Manage, Some(Named::Relay)),
    route("POST", "/v1/pauses", Scope::Manage, None),
    route("GET", "/v1/pauses", Scope::Manage, None),
    route("GET", "/v1/pauses/{id}", Scope::Manage, Some(Named::Pause)),
    route("DELETE", "/v1/pauses/{id}", Scope::Manage, Some(Named::Pause)),
    route("POST", "/v1/ips", Scope::Operate, None),
    route("GET", "/v1/ips", Scope::Operate, None),
    route("GET", "/v1/ips/{id}", Scope::Operate, Some(Named::Ip)),
    route("PATCH", "/v1/ips/{id}", Scope::Operate, Some(Named::Ip)),
    route("DELETE", "/v1/ips/{id}", Scope::Operate, Some(Named::Ip)),
    route("POST", "/v1/ip-rules", Scope::Operate, None),
    route("GET", "/v1/ip-rules", Scope::Operate, None),
    route("GET", "/v1/ip-rules/{id}", Scope::Operate, Some(Named::IpRule)),
    route("DELETE", "/v1/ip-rules/{id}", Scope::Operate, Some(Named::IpRule)),
    route("GET", "/v1/queue", Scope::Operate, None),
    route("POST", "/v1/queue/retry", Scope::Operate, None),
    route("POST", "/v1/queue/purge", Scope::Operate, None),
    route("GET", "/v1/sites", Scope::Operate, None),
    route("POST", "/v1/sites/resume", Scope::Operate, None),
    route("POST", "/v1/site-pauses", Scope::Operate, None),
    route("GET", "/v1/site-pauses", Scope::Operate, None),
    route("GET", "/v1/site-pauses/{id}", Scope::Operate, Some(Named::SitePause)),
    route("DELETE", "/v1/site-pauses/{id}", Scope::Operate, Some(Named::SitePause)),
    route("GET", "/v1/inbound", Scope::Read, None),
    route("GET", "/v1/inbound/{id}", Scope::Read, Some(Named::Inbound)),
    route("GET", "/v1/inbound/{id}/raw", Scope::Read, Some(Named::Inbound)),
    route("POST", "/v1/inbound-routes", Scope::Manage, None),
    route("GET", "/v1/inbound-routes", Scope::Manage, None),
    route("GET", "/v1/inbound-routes/{id}", Scope::Manage, Some(Named::InboundRoute)),
    route("PATCH", "/v1/inbound-routes/{id}", Scope::Manage, Some(Named::InboundRoute)),
    route("DELETE", "/v1/inbound-routes/{id}", Scope::Manage, Some(Named::InboundRoute)),
    route("GET", "/v1/inbound-filters", Scope::Manage, None),
    route("PATCH", "/v1/inbound-filters", Scope::Manage, None),
    route("POST", "/v1/suppressions", Scope::Manage, None),
    route("GET", "/v1/suppressions", Scope::Manage, None),
    route("POST", "/v1/suppressions/batch", Scope::Manage, None),
    route("POST", "/v1/suppressions/delete", Scope::Manage, None),
    route("POST", "/v1/suppressions/import", Scope::Manage, None),
    route("GET", "/v1/suppressions/export", Scope::Manage, None),
    route("GET", "/v1/suppressions/{id}", Scope::Manage, Some(Named::Suppression)),
    route("DELETE", "/v1/suppressions/{id}", Scope::Manage, Some(Named::Suppression)),
    route("POST", "/v1/webhooks", Scope::Manage, None),
    route("GET", "/v1/webhooks", Scope::Manage, None),
    route("GET", "/v1/webhooks/{id}", Scope::Manage, Some(Named::Webhook)),
    route("PATCH", "/v1/webhooks/{id}", Scope::Manage, Some(Named::Webhook)),
    route("DELETE", "/v1/webhooks/{id}", Scope::Manage, Some(Named::Webhook)),
    route("POST", "/v1/webhooks/{id}/test", Scope::Manage, Some(Named::Webhook)),
    route("POST", "/v1/webhooks/{id}/rotate", Scope::Manage, Some(Named::Webhook)),
    route("GET", "/v1/webhooks/{id}/deliveries", Scope::Manage, Some(Named::Webhook)),
    route("POST", "/v1/webhooks/{id}/replay", Scope::Manage, Some(Named::Webhook)),
    route("POST", "/v1/streams", Scope::Manage, None),
    route("GET", "/v1/streams", Scope::Manage, None),
    route("GET", "/v1/streams/policy", Scope::Manage, None),
    route("PATCH", "/v1/streams/policy", Scope::Manage, None),
    route("GET", "/v1/streams/{id}", Scope::Manage, Some(Named::Stream)),
    route("PATCH", "/v1/streams/{id}", Scope::Manage, Some(Named::Stream)),
    route("DELETE", "/v1/streams/{id}", Scope::Manage, Some(Named::Stream)),
    route("POST", "/v1/templates", Scope::Manage, None),
    route("GET", "/v1/templates", Scope::Read, None),
    route("GET", "/v1/templates/{id}", Scope::Read, Some(Named::Template)),
    route("PATCH", "/v1/templates/{id}", Scope::Manage, Some(Named::Template)),
    route("DELETE", "/v1/templates/{id}", Scope::Manage, Some(Named::Template)),
    route("GET", "/v1/templates/{id}/versions", Scope::Read, Some(Named::Template)),
    route("POST", "/v1/templates/{id}/publish", Scope::Manage, Some(Named::Template)),
    route("POST", "/v1/templates/{id}/render", Scope::Send, Some(Named::Template)),
    route("POST", "/v1/tenants", Scope::Operate, None),
    route("GET", "/v1/tenants", Scope::Operate, None),
    route("GET", "/v1/tenants/{id}", Scope::Operate, Some(Named::Tenant)),
    route("PATCH", "/v1/tenants/{id}", Scope::Operate, Some(Named::Tenant)),
    route("DELETE", "/v1/tenants/{id}", Scope::Operate, Some(Named::Tenant)),
];

impl Route {
    /// The path with an id in it.
    pub fn with(&self, id: &str) -> String {
        self.path.replace("{id}", id)
    }

    /// The method, as reqwest has it.
    pub fn method(&self) -> reqwest::Method {
        self.method.parse().expect("a method")
    }
}

#[test]
fn no_route_is_missing_from_this_page() {
    let router = include_str!("../../../src/http/mod.rs");
    let router = &router[router.find("pub fn router").expect("the router")..];
    let router = &router[..router.find(".fallback(").expect("its end")];
    let mut routed = Vec::new();
    for route in router.split(".route(").skip(1) {
        let path = route.split('"').nth(1).expect("a path");
        routed.extend(guarded_methods(route).into_iter().map(|(method, scope)| (method, path, scope)));
    }
    let mut known: Vec<_> = ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), route.path, route.scope.as_str().to_owned()))
        .collect();
    routed.retain(|(_, path, _)| path.starts_with("/v1"));
    routed.sort();
    known.sort();
    assert_eq!(routed, known);
}

/// The methods of one `.route(…)`, each with the scope it is guarded by: `on(read, get(…))`.
fn guarded_methods(route: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut scope = String::new();
    let mut word = String::new();
    for c in route.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        match (word.as_str(), c) {
            ("send" | "read" | "manage" | "operate", ',') => scope = word.clone(),
            ("get" | "post" | "patch" | "delete" | "put", '(') => {
                found.push((word.to_uppercase(), scope.clone()))
            }
            _ => {}
        }
        word.clear();
    }
    found
}
