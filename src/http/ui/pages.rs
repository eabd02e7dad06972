//! Every page that shows and changes what a tenant has, and the operator's pages, with its path. The ways in are
//! elsewhere (`signin`).

use axum::Router;
use axum::routing::{get, post};

use crate::http::App;

use super::{
    audit, content, domains, inbound, ips, keys, message, messages, operator, overview, queue, reputation,
    settings, stats, streams, suppressions, templates, webhooks,
};

/// The pages; who looks at them is found out around them.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/ui/", get(overview::overview))
        .route("/ui/live", get(overview::live))
        // Messages.
        .route("/ui/messages", get(messages::list))
        .route("/ui/messages/{id}", get(message::one))
        .route("/ui/messages/{id}/stories", get(message::stories))
        .route("/ui/messages/{id}/html", get(content::html))
        .route("/ui/messages/{id}/source", get(content::source))
        .route("/ui/messages/{id}/files/{number}", get(content::file))
        .route("/ui/messages/{id}/cancel", post(message::cancel))
        .route("/ui/messages/{id}/resend", post(message::resend))
        .route("/ui/messages/{id}/suppress", post(message::suppress))
        .route("/ui/stats", get(stats::read))
        .route("/ui/stats.csv", get(stats::csv))
        .route("/ui/reputation", get(reputation::own))
        // Mail that comes in.
        .route("/ui/inbound", get(inbound::list))
        .route("/ui/inbound/routes", post(inbound::create))
        .route("/ui/inbound/routes/{id}/delete", post(inbound::delete))
        .route("/ui/inbound/{id}", get(inbound::one))
        .route("/ui/inbound/{id}/html", get(inbound::html))
        .route("/ui/inbound/{id}/source", get(inbound::source))
        .route("/ui/inbound/{id}/files/{number}", get(inbound::file))
        // What sending needs.
        .route("/ui/domains", get(domains::list).post(domains::create))
        .route("/ui/domains/{id}", get(domains::one))
        .route("/ui/domains/{id}/verify", post(domains::verify))
        .route("/ui/domains/{id}/rotate", post(domains::rotate))
        .route("/ui/domains/{id}/pause", post(domains::pause))
        .route("/ui/domains/{id}/delete", post(domains::delete))
        .route("/ui/keys", get(keys::list).post(keys::create))
        .route("/ui/keys/{id}/revoke", post(keys::revoke))
        .route("/ui/templates", get(templates::list).post(templates::create))
        .route("/ui/templates/new", get(templates::new))
        .route("/ui/templates/preview", post(templates::preview))
        .route("/ui/templates/{id}", get(templates::one).post(templates::update))
        .route("/ui/templates/{id}/publish", post(templates::publish))
        .route("/ui/templates/{id}/test", post(templates::send_test))
        .route("/ui/templates/{id}/delete", post(templates::delete))
        .route("/ui/streams", get(streams::list).post(streams::create))
        .route("/ui/streams/policy", post(streams::set_policy))
        .route("/ui/streams/{id}", get(streams::edit).post(streams::update))
        .route("/ui/streams/{id}/delete", post(streams::delete))
        .route("/ui/suppressions", get(suppressions::list).post(suppressions::create))
        .route("/ui/suppressions/import", post(suppressions::import))
        .route("/ui/suppressions/export", get(suppressions::export))
        .route("/ui/suppressions/{id}/delete", post(suppressions::delete))
        .route("/ui/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/ui/webhooks/{id}", get(webhooks::one).post(webhooks::update))
        .route("/ui/webhooks/{id}/test", post(webhooks::test))
        .route("/ui/webhooks/{id}/rotate", post(webhooks::rotate))
        .route("/ui/webhooks/{id}/replay", post(webhooks::replay))
        .route("/ui/webhooks/{id}/delete", post(webhooks::delete))
        // The account.
        .route("/ui/audit", get(audit::list))
        .route("/ui/settings", get(settings::show))
        .route("/ui/settings/notices", post(settings::notices))
        .route("/ui/settings/pauses", post(settings::pause))
        .route("/ui/settings/pauses/{id}/delete", post(settings::resume))
        // The installation.
        .route("/ui/operator/tenants", get(operator::list_tenants).post(operator::create_tenant))
        .route("/ui/operator/tenants/{id}/standing", post(operator::suspend))
        .route("/ui/operator/queue", get(queue::show))
        .route("/ui/operator/queue/retry", post(queue::retry))
        .route("/ui/operator/queue/hold", post(queue::hold))
        .route("/ui/operator/queue/release", post(queue::let_go))
        .route("/ui/operator/queue/purge", post(queue::purge))
        .route("/ui/operator/queue/pauses", post(queue::pause))
        .route("/ui/operator/queue/pauses/{id}/delete", post(queue::release))
        .route("/ui/operator/queue/lift", post(queue::lift))
        .route("/ui/operator/ips", get(ips::list).post(ips::create))
        .route("/ui/operator/ips/{id}", get(ips::one).post(ips::update))
        .route("/ui/operator/ips/{id}/delete", post(ips::delete))
        .route("/ui/operator/ip-rules", post(ips::create_rule))
        .route("/ui/operator/ip-rules/{id}/delete", post(ips::delete_rule))
        .route("/ui/operator/reputation", get(reputation::all))
        .route("/ui/operator/nodes", get(operator::list_nodes))
}
