//! `/ui/forgot` sends a link, `/ui/reset` takes it: choosing a new password.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::account::users::passwords::Password;
use crate::account::users::reset;
use crate::domain::ticket::Ticket;
use crate::domain::user::Login;
use crate::http::App;
use crate::http::extract::Query;
use crate::http::ui::page::{Refusal, page, page_with};
use crate::http::ui::session::{self, Fields, Guest, Visiting};

const GONE: &str = "A link to choose a password works once, and not for long. Ask for another one.";

#[derive(Template)]
#[template(path = "ui/signin/forgot.html")]
struct Forgot<'a> {
    csrf: &'a str,
    email: &'a str,
    problem: &'a str,
    sent: bool,
}

#[derive(Template)]
#[template(path = "ui/signin/reset.html")]
struct Reset<'a> {
    csrf: &'a str,
    ticket: &'a str,
    email: &'a str,
    problem: &'a str,
    done: bool,
}

/// `GET /ui/forgot`.
pub async fn forgot(guest: Guest) -> Response {
    page(&Forgot { csrf: &guest.csrf, email: "", problem: "", sent: false })
}

/// `POST /ui/forgot`: the same answer, as fast, whether anybody has the address.
pub async fn send(
    State(app): State<App>,
    guest: Guest,
    Visiting(visitor): Visiting,
    fields: Fields,
) -> Response {
    let email = fields.text("email").to_owned();
    let login = match Login::parse(&email) {
        Ok(login) => login,
        Err(error) => {
            let problem = error.to_string();
            let again = Forgot { csrf: &guest.csrf, email: &email, problem: &problem, sent: false };
            return page_with(StatusCode::UNPROCESSABLE_ENTITY, &again);
        }
    };
    tokio::spawn(async move {
        let now = app.clock.now();
        if let Err(error) = reset::send_link(&app.users, &app.letters, &login, &visitor, now).await {
            tracing::warn!(error = %error, "a link to choose a password was not sent");
        }
    });
    page(&Forgot { csrf: &guest.csrf, email: &email, problem: "", sent: true })
}

/// `GET /ui/reset`.
pub async fn show(
    State(app): State<App>,
    guest: Guest,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let text = Query::parse(query.as_deref()).text("token").unwrap_or_default();
    let ticket = Ticket::given(&text).ok_or_else(|| Refusal::gone(GONE))?;
    let owner = reset::owner(&app.database, &ticket, app.clock.now()).await?;
    let owner = owner.ok_or_else(|| Refusal::gone(GONE))?;
    let email = owner.email.as_str();
    Ok(page(&Reset { csrf: &guest.csrf, ticket: &text, email, problem: "", done: false }))
}

/// `POST /ui/reset`. She signs in afterwards: who has the link need not have her second factor.
pub async fn act(
    State(app): State<App>,
    guest: Guest,
    Visiting(visitor): Visiting,
    fields: Fields,
) -> Result<Response, Refusal> {
    let ticket = Ticket::given(fields.text("token")).ok_or_else(|| Refusal::gone(GONE))?;
    let now = app.clock.now();
    let owner = reset::owner(&app.database, &ticket, now).await?.ok_or_else(|| Refusal::gone(GONE))?;
    let email = owner.email.as_str();
    let password = match Password::chosen(fields.raw("password"), email) {
        Ok(password) => password,
        Err(error) => {
            let problem = error.to_string();
            let again =
                Reset { csrf: &guest.csrf, ticket: ticket.reveal(), email, problem: &problem, done: false };
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &again));
        }
    };
    reset::by_link(&app.users, &ticket, password, &visitor, now).await?.ok_or_else(|| Refusal::gone(GONE))?;
    let done = Reset { csrf: &guest.csrf, ticket: "", email, problem: "", done: true };
    let mut response = page(&done).into_response();
    // Whoever was signed in at this browser is not any more.
    session::signed_out(&app, response.headers_mut());
    Ok(response)
}
