//! The providers' doors: their paths, their shapes, their words, so that a client of theirs needs another host and
//! another key, and nothing else. Every route of theirs is on this page, with the scope it demands; what they have in
//! common is in `door`.
//!
//! An adapter turns a provider's shape into a [`Submission`](crate::domain::submission::Submission) or a call of an
//! operation, and the answer into that provider's. Nothing below the door knows of any provider. What each cannot do is
//! in its folder's README, and all of it in `docs/compatibility.md`, which the tests write.

mod credential;
pub mod door;
mod mailgun;
mod parts;
mod postmark;
mod resend;
mod sendgrid;

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
    vec![sendgrid(), mailgun(), postmark(), resend()]
}

fn sendgrid() -> Door {
    Door::new(&sendgrid::MANNER).send("/v3/mail/send", sendgrid::send::send).get(
        "/v3/scopes",
        Scope::Send,
        sendgrid::account::scopes,
    )
}

fn mailgun() -> Door {
    Door::new(&mailgun::MANNER)
        .send("/v3/{domain}/messages", mailgun::send::messages)
        .send("/v3/{domain}/messages.mime", mailgun::send::mime)
}

fn postmark() -> Door {
    Door::new(&postmark::MANNER)
        .send("/email", postmark::send::one)
        .send("/email/withTemplate", postmark::send::one)
        .send("/email/batch", postmark::send::batch)
        .send("/email/batchWithTemplates", postmark::send::batch_with_templates)
}

fn resend() -> Door {
    Door::new(&resend::MANNER)
        .send("/emails", resend::send::one)
        .send("/emails/batch", resend::send::batch)
        .get("/emails", Scope::Read, resend::emails::list)
        .get("/emails/{id}", Scope::Read, resend::emails::one)
        .patch("/emails/{id}", Scope::Send, resend::emails::update)
        .post("/emails/{id}/cancel", Scope::Send, resend::emails::cancel)
        .post("/domains", Scope::Manage, resend::domains::create)
        .get("/domains", Scope::Manage, resend::domains::list)
        .get("/domains/{id}", Scope::Manage, resend::domains::one)
        .post("/domains/{id}/verify", Scope::Manage, resend::domains::verify)
        .delete("/domains/{id}", Scope::Manage, resend::domains::delete)
        .post("/api-keys", Scope::Manage, resend::api_keys::create)
        .get("/api-keys", Scope::Manage, resend::api_keys::list)
        .delete("/api-keys/{id}", Scope::Manage, resend::api_keys::delete)
}
