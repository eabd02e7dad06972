//! The providers' doors: their paths, their shapes, their words, so that a client of theirs needs another host and
//! another key, and nothing else. Every route of theirs is on this page, with the scope it demands; what they have in
//! common is in `door`.
//!
//! An adapter turns a provider's shape into a [`Submission`](crate::domain::submission::Submission) or a call of an
//! operation, and the answer into that provider's. Nothing below the door knows of any provider. What each cannot do is
//! in its folder's README, and all of it in `docs/compatibility.md`, which the tests write.

mod brevo;
mod credential;
mod dialect;
pub mod door;
mod kept;
mod lists;
mod mailersend;
mod mailgun;
mod mailjet;
mod netcore;
mod parts;
mod postmark;
mod query;
mod reading;
mod resend;
mod sendgrid;
mod sendlayer;
mod ses;
mod smtpcom;
mod sparkpost;
pub mod stored;

use axum::Router;

use crate::domain::key::Scope;

use super::App;

use door::{Door, Route};

/// Mounted at the root, and each below `/compat/<provider>/`.
pub fn doors(app: &App) -> Router<App> {
    door::mount(app, all())
}

/// Every route of every provider.
pub fn routes() -> Vec<Route> {
    all().iter().flat_map(Door::routes).cloned().collect()
}

fn all() -> Vec<Door> {
    vec![
        sendgrid(),
        mailgun(),
        postmark(),
        resend(),
        ses(),
        sparkpost(),
        brevo(),
        mailjet(),
        mailersend(),
        netcore(),
        sendlayer(),
        smtpcom(),
    ]
}

fn sendgrid() -> Door {
    use sendgrid::{account, domains, messages, send, stats, suppressions, templates};
    let (read, manage) = (Scope::Read, Scope::Manage);
    Door::new(&sendgrid::MANNER)
        .send("/v3/mail/send", send::send)
        .get("/v3/scopes", Scope::Send, account::scopes)
        .get("/v3/messages", read, messages::list)
        .get("/v3/messages/{id}", read, messages::one)
        .get("/v3/stats", read, stats::all)
        .get("/v3/categories/stats", read, stats::of_categories)
        .get("/v3/suppression/{list}", manage, suppressions::list)
        .delete("/v3/suppression/{list}", manage, suppressions::delete_many)
        .get("/v3/suppression/{list}/{email}", manage, suppressions::one)
        .delete("/v3/suppression/{list}/{email}", manage, suppressions::delete)
        .post("/v3/asm/suppressions/global", manage, suppressions::add_global)
        .get("/v3/asm/suppressions/global/{email}", manage, suppressions::global)
        .delete("/v3/asm/suppressions/global/{email}", manage, suppressions::delete_global)
        .get("/v3/asm/groups/{group}/suppressions", manage, suppressions::of_group)
        .post("/v3/asm/groups/{group}/suppressions", manage, suppressions::add_to_group)
        .delete("/v3/asm/groups/{group}/suppressions/{email}", manage, suppressions::delete_of_group)
        .get("/v3/templates", read, templates::list)
        .post("/v3/templates", manage, templates::create)
        .get("/v3/templates/{id}", read, templates::one)
        .patch("/v3/templates/{id}", manage, templates::rename)
        .delete("/v3/templates/{id}", manage, templates::delete)
        .post("/v3/templates/{id}/versions", manage, templates::add_version)
        .get("/v3/templates/{id}/versions/{version}", read, templates::version)
        .patch("/v3/templates/{id}/versions/{version}", manage, templates::change_version)
        .post("/v3/templates/{id}/versions/{version}/activate", manage, templates::activate)
        .get("/v3/whitelabel/domains", manage, domains::list)
        .post("/v3/whitelabel/domains", manage, domains::create)
        .get("/v3/whitelabel/domains/{id}", manage, domains::one)
        .post("/v3/whitelabel/domains/{id}/validate", manage, domains::validate)
        .delete("/v3/whitelabel/domains/{id}", manage, domains::delete)
}

fn mailgun() -> Door {
    use mailgun::{domains, events, send, suppressions, templates};
    let (read, manage) = (Scope::Read, Scope::Manage);
    Door::new(&mailgun::MANNER)
        .send("/v3/{domain}/messages", send::messages)
        .send("/v3/{domain}/messages.mime", send::mime)
        .get("/v3/{domain}/events", read, events::list)
        .get("/v3/{domain}/stats/total", read, events::stats)
        .get("/v3/{domain}/templates", read, templates::list)
        .post("/v3/{domain}/templates", manage, templates::create)
        .get("/v3/{domain}/templates/{name}", read, templates::one)
        .put("/v3/{domain}/templates/{name}", manage, templates::update)
        .delete("/v3/{domain}/templates/{name}", manage, templates::delete)
        .get("/v3/{domain}/templates/{name}/versions", read, templates::versions)
        .post("/v3/{domain}/templates/{name}/versions", manage, templates::add_version)
        .get("/v3/{domain}/templates/{name}/versions/{tag}", read, templates::version)
        .put("/v3/{domain}/templates/{name}/versions/{tag}", manage, templates::change_version)
        // bounces, complaints and unsubscribes.
        .get("/v3/{domain}/{list}", manage, suppressions::list)
        .post("/v3/{domain}/{list}", manage, suppressions::create)
        .delete("/v3/{domain}/{list}", manage, suppressions::delete_all)
        .get("/v3/{domain}/{list}/{address}", manage, suppressions::one)
        .delete("/v3/{domain}/{list}/{address}", manage, suppressions::delete)
        .get("/v3/domains", manage, domains::list)
        .get("/v4/domains", manage, domains::list)
        .post("/v3/domains", manage, domains::create)
        .post("/v4/domains", manage, domains::create)
        .get("/v3/domains/{name}", manage, domains::one)
        .get("/v4/domains/{name}", manage, domains::one)
        .put("/v3/domains/{name}/verify", manage, domains::verify)
        .put("/v4/domains/{name}/verify", manage, domains::verify)
        .delete("/v3/domains/{name}", manage, domains::delete)
}

fn postmark() -> Door {
    use postmark::visits::{self, Clicks, Opens};
    use postmark::{bounces, domains, messages, send, server, suppressions, templates};
    let (read, manage) = (Scope::Read, Scope::Manage);
    Door::new(&postmark::MANNER)
        .send("/email", send::one)
        .send("/email/withTemplate", send::one)
        .send("/email/batch", send::batch)
        .send("/email/batchWithTemplates", send::batch_with_templates)
        .get("/messages/outbound", read, messages::list)
        .get("/messages/outbound/{id}/details", read, messages::details)
        .get("/messages/outbound/{id}/dump", read, messages::dump)
        .get("/messages/outbound/opens", read, visits::list::<Opens>)
        .get("/messages/outbound/opens/{id}", read, visits::of::<Opens>)
        .get("/messages/outbound/clicks", read, visits::list::<Clicks>)
        .get("/messages/outbound/clicks/{id}", read, visits::of::<Clicks>)
        .get("/bounces", read, bounces::list)
        .get("/bounces/{id}", read, bounces::one)
        .put("/bounces/{id}/activate", manage, bounces::activate)
        .get("/deliverystats", read, bounces::summary)
        .get("/message-streams/{stream}/suppressions/dump", manage, suppressions::dump)
        .post("/message-streams/{stream}/suppressions", manage, suppressions::create)
        .post("/message-streams/{stream}/suppressions/delete", manage, suppressions::delete)
        .get("/templates", read, templates::list)
        .post("/templates", manage, templates::create)
        .post("/templates/validate", Scope::Send, templates::validate)
        .get("/templates/{id}", read, templates::one)
        .put("/templates/{id}", manage, templates::update)
        .delete("/templates/{id}", manage, templates::delete)
        .get("/stats/outbound", read, server::overview)
        .get("/stats/outbound/{what}", read, server::of)
        .get("/server", read, server::show)
        .get("/domains", manage, domains::list)
        .post("/domains", manage, domains::create)
        .get("/domains/{id}", manage, domains::one)
        .delete("/domains/{id}", manage, domains::delete)
        .put("/domains/{id}/verifyDkim", manage, domains::verify)
        .put("/domains/{id}/verifyDKIM", manage, domains::verify)
        .put("/domains/{id}/verifyReturnPath", manage, domains::verify)
        .post("/domains/{id}/verifyspf", manage, domains::verify)
        .post("/domains/{id}/verifySPF", manage, domains::verify)
        .post("/domains/{id}/rotateDKIM", manage, domains::rotate)
}

fn resend() -> Door {
    use resend::{api_keys, domains, emails, metrics, send, suppressions, templates};
    let (read, manage) = (Scope::Read, Scope::Manage);
    Door::new(&resend::MANNER)
        .send("/emails", send::one)
        .send("/emails/batch", send::batch)
        .get("/emails", read, emails::list)
        .get("/emails/metrics", read, metrics::show)
        .get("/emails/{id}", read, emails::one)
        .patch("/emails/{id}", Scope::Send, emails::update)
        .post("/emails/{id}/cancel", Scope::Send, emails::cancel)
        .post("/domains", manage, domains::create)
        .get("/domains", manage, domains::list)
        .get("/domains/{id}", manage, domains::one)
        .post("/domains/{id}/verify", manage, domains::verify)
        .delete("/domains/{id}", manage, domains::delete)
        .post("/api-keys", manage, api_keys::create)
        .get("/api-keys", manage, api_keys::list)
        .delete("/api-keys/{id}", manage, api_keys::delete)
        .get("/templates", read, templates::list)
        .post("/templates", manage, templates::create)
        .get("/templates/{id}", read, templates::one)
        .patch("/templates/{id}", manage, templates::update)
        .delete("/templates/{id}", manage, templates::delete)
        .post("/templates/{id}/publish", manage, templates::publish)
        .post("/templates/{id}/duplicate", manage, templates::duplicate)
        .get("/suppressions", manage, suppressions::list)
        .post("/suppressions", manage, suppressions::add)
        .post("/suppressions/batch/add", manage, suppressions::add_many)
        .post("/suppressions/batch/remove", manage, suppressions::remove_many)
        .get("/suppressions/{entry}", manage, suppressions::one)
        .delete("/suppressions/{entry}", manage, suppressions::remove)
}

fn ses() -> Door {
    use ses::{account, auth, bulk, identities, insights, query, send, suppressions, templates};
    let (read, manage) = (Scope::Read, Scope::Manage);
    Door::new(&ses::MANNER)
        .admitting(auth::admit)
        .send("/", query::act)
        .send("/v2/email/outbound-emails", send::send)
        .send("/v2/email/outbound-bulk-emails", bulk::send)
        .get("/v2/email/account", read, account::show)
        .get("/v2/email/suppression/addresses", manage, suppressions::list)
        .put("/v2/email/suppression/addresses", manage, suppressions::put)
        .get("/v2/email/suppression/addresses/{email}", manage, suppressions::one)
        .delete("/v2/email/suppression/addresses/{email}", manage, suppressions::delete)
        .get("/v2/email/identities", manage, identities::list)
        .post("/v2/email/list-identities", manage, identities::list_posted)
        .post("/v2/email/identities", manage, identities::create)
        .get("/v2/email/identities/{identity}", manage, identities::one)
        .delete("/v2/email/identities/{identity}", manage, identities::delete)
        .get("/v2/email/templates", read, templates::list)
        .post("/v2/email/templates", manage, templates::create)
        .get("/v2/email/templates/{name}", read, templates::one)
        .put("/v2/email/templates/{name}", manage, templates::update)
        .delete("/v2/email/templates/{name}", manage, templates::delete)
        .post("/v2/email/templates/{name}/render", read, templates::render)
        .get("/v2/email/insights/{id}", read, insights::message)
        .post("/v2/email/metrics/batch", read, insights::metrics)
}

fn sparkpost() -> Door {
    use sparkpost::{events, metrics, send, suppressions, transmissions};
    let (read, manage) = (Scope::Read, Scope::Manage);
    Door::new(&sparkpost::MANNER)
        .send("/api/v1/transmissions", send::send)
        .get("/api/v1/transmissions", read, transmissions::list)
        .delete("/api/v1/transmissions", Scope::Send, transmissions::cancel_campaign)
        .get("/api/v1/transmissions/{id}", read, transmissions::one)
        .delete("/api/v1/transmissions/{id}", Scope::Send, transmissions::cancel)
        .get("/api/v1/events/message", read, events::list)
        .get("/api/v1/metrics/deliverability", read, metrics::total)
        .get("/api/v1/metrics/deliverability/time-series", read, metrics::by_time)
        .get("/api/v1/suppression-list", manage, suppressions::list)
        .get("/api/v1/suppression-list/summary", manage, suppressions::summary)
        .put("/api/v1/suppression-list", manage, suppressions::put_many)
        .get("/api/v1/suppression-list/{recipient}", manage, suppressions::one)
        .put("/api/v1/suppression-list/{recipient}", manage, suppressions::put)
        .delete("/api/v1/suppression-list/{recipient}", manage, suppressions::delete)
}

fn brevo() -> Door {
    Door::new(&brevo::MANNER).send("/v3/smtp/email", brevo::send::send)
}

fn mailjet() -> Door {
    Door::new(&mailjet::MANNER).send("/v3.1/send", mailjet::send::send)
}

fn mailersend() -> Door {
    use mailersend::{messages, send, suppressions};
    let (read, manage) = (Scope::Read, Scope::Manage);
    Door::new(&mailersend::MANNER)
        .send("/v1/email", send::one)
        .send("/v1/bulk-email", send::bulk)
        .below_its_name()
        .get("/v1/bulk-email/{id}", read, messages::bulk)
        .get("/v1/messages", read, messages::list)
        .get("/v1/messages/{id}", read, messages::one)
        .get("/v1/message-schedules/{id}", read, messages::scheduled)
        .delete("/v1/message-schedules/{id}", Scope::Send, messages::cancel)
        .get("/v1/suppressions/{list}", manage, suppressions::list)
        .post("/v1/suppressions/{list}", manage, suppressions::add)
        .delete("/v1/suppressions/{list}", manage, suppressions::delete)
}

fn netcore() -> Door {
    let send = netcore::send::send;
    Door::new(&netcore::MANNER)
        .send("/v5/mail/send", send)
        .send("/v5.1/mail/send", send)
        .send("/v6/mail/send", send)
}

fn sendlayer() -> Door {
    Door::new(&sendlayer::MANNER).send("/api/v1/email", sendlayer::send::send)
}

fn smtpcom() -> Door {
    Door::new(&smtpcom::MANNER)
        .send("/v4/messages", smtpcom::send::message)
        .send("/v4/messages/mime", smtpcom::send::mime)
}
