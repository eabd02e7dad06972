//! The providers' doors: their paths, their shapes, their words, so that a client of theirs needs another host and
//! another key, and nothing else. Every route of theirs is on this page, with the scope it demands; what they have in
//! common is in `door`.
//!
//! An adapter turns a provider's shape into a [`Submission`](crate::domain::submission::Submission) or a call of an
//! operation, and the answer into that provider's. Nothing below the door knows of any provider. What each cannot do is
//! in its folder's README, and all of it in `docs/compatibility.md`, which the tests write.

mod credential;
pub mod door;
mod parts;
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
    vec![sendgrid()]
}

fn sendgrid() -> Door {
    Door::new(&sendgrid::MANNER).send("/v3/mail/send", sendgrid::send::send).get(
        "/v3/scopes",
        Scope::Send,
        sendgrid::account::scopes,
    )
}
