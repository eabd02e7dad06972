//! The dashboard's door: pages for people, under `/ui/`, and the way in. Pages hold no logic: each calls the operations
//! that the API calls, as the person who is signed in (`session`).
//!
//! Invariant: every route here, but the ways in, demands somebody who is signed in; and nothing is changed by a request
//! that did not come from a page of ours.

pub mod assets;
mod audit;
mod content;
mod domains;
pub mod form;
pub mod frame;
mod inbound;
mod installation;
mod ips;
mod keys;
mod message;
mod messages;
mod operator;
mod overview;
pub mod page;
mod pages;
mod queue;
mod reputation;
mod samples;
pub mod session;
mod settings;
pub mod show;
mod signin;
mod stats;
mod story;
mod streams;
mod suppressions;
mod templates;
mod webhooks;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{get, post};

use super::App;
use page::Refusal;

pub use installation::Installation;
pub use session::{SignedIn, Site};

/// `GET /`.
pub async fn front() -> Redirect {
    Redirect::to("/ui/")
}

/// All pages.
pub fn router(app: &App) -> Router<App> {
    Router::new()
        .route("/login", get(signin::login::show).post(signin::login::act))
        .route("/ui/sign-out", post(signin::login::leave))
        .route("/ui/tenant", post(signin::login::choose_tenant))
        .route("/ui/setup", get(signin::setup::show).post(signin::setup::act))
        .route("/ui/second-factor", get(signin::second_factor::show).post(signin::second_factor::act))
        .route("/ui/second-factor/passkey", post(signin::passkeys::prove))
        .route("/ui/second-factor/passkey/options", post(signin::passkeys::question))
        .route("/ui/forgot", get(signin::reset::forgot).post(signin::reset::send))
        .route("/ui/reset", get(signin::reset::show).post(signin::reset::act))
        .route("/ui/invitation", get(signin::invitation::show).post(signin::invitation::act))
        .route("/ui/oidc/start", get(signin::oidc::start))
        .route("/ui/oidc/callback", get(signin::oidc::callback))
        // What a person decides about herself, and who else is here.
        .route("/ui/account", get(signin::account::show))
        .route("/ui/account/profile", post(signin::account::rename))
        .route("/ui/account/password", post(signin::account::change_password))
        .route("/ui/account/confirm", get(signin::account::ask).post(signin::account::confirm))
        .route("/ui/account/sessions/end-others", post(signin::account::end_others))
        .route("/ui/account/sessions/{id}/end", post(signin::account::end_session))
        .route("/ui/account/app", post(signin::app::offer))
        .route("/ui/account/app/confirm", post(signin::app::confirm))
        .route("/ui/account/app/remove", post(signin::app::remove))
        .route("/ui/account/codes", post(signin::app::renew))
        .route("/ui/account/passkeys", post(signin::passkeys::add))
        .route("/ui/account/passkeys/options", post(signin::passkeys::offer))
        .route("/ui/account/passkeys/{id}/delete", post(signin::passkeys::remove))
        .route("/ui/team", get(signin::team::show))
        .route("/ui/team/invitations", post(signin::team::invite))
        .route("/ui/team/invitations/{id}/delete", post(signin::team::take_back))
        .route("/ui/team/members/{id}", post(signin::team::set_role))
        .route("/ui/team/members/{id}/delete", post(signin::team::remove))
        .route("/ui", get(front))
        .route("/ui/{*rest}", get(nothing_here))
        .merge(pages::routes())
        .layer(from_fn_with_state(app.clone(), session::around))
        // The same for all: nobody need be known.
        .route("/ui/assets/{name}", get(assets::serve))
}

async fn nothing_here(_: SignedIn) -> Refusal {
    Refusal::not_found()
}
