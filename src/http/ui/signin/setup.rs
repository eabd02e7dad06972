//! `/ui/setup`: the first person enters herself, by the link that a start without anybody prints.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::Actor;
use crate::account::users::first::{self, SetupError};
use crate::account::users::passwords::Password;
use crate::account::users::sign_in::{Entry, Refused};
use crate::domain::ticket::Ticket;
use crate::domain::user::Login;
use crate::http::App;
use crate::http::extract::Query;
use crate::http::ui::page::{Refusal, page, page_with};
use crate::http::ui::session::{self, Fields, Guest, Visiting};

const GONE: &str = "A set-up link works once, while nobody has an account yet. postroad prints a new one at each start \
                    until then; afterwards, sign in or be invited.";

#[derive(Template)]
#[template(path = "ui/signin/setup.html")]
struct Setup<'a> {
    csrf: &'a str,
    ticket: &'a str,
    email: &'a str,
    name: &'a str,
    email_error: &'a str,
    password_error: &'a str,
}

/// `GET /ui/setup`.
pub async fn show(
    State(app): State<App>,
    guest: Guest,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let text = Query::parse(query.as_deref()).text("token").unwrap_or_default();
    let ticket = Ticket::given(&text).ok_or_else(|| Refusal::gone(GONE))?;
    if !first::setup_works(&app.database, &ticket, app.clock.now()).await? {
        return Err(Refusal::gone(GONE));
    }
    let empty =
        Setup { csrf: &guest.csrf, ticket: &text, email: "", name: "", email_error: "", password_error: "" };
    Ok(page(&empty))
}

/// `POST /ui/setup`.
pub async fn act(
    State(app): State<App>,
    guest: Guest,
    Visiting(visitor): Visiting,
    fields: Fields,
) -> Result<Response, Refusal> {
    let (email, name) = (fields.text("email"), fields.text("name"));
    let ticket = Ticket::given(fields.text("token")).ok_or_else(|| Refusal::gone(GONE))?;
    let login = Login::parse(email);
    let password = Password::chosen(fields.raw("password"), email);
    let (login, password) = match (login, password) {
        (Ok(login), Ok(password)) => (login, password),
        (login, password) => {
            let told = |error: Option<String>| error.unwrap_or_default();
            let again = Setup {
                csrf: &guest.csrf,
                ticket: ticket.reveal(),
                email,
                name,
                email_error: &told(login.err().map(|error| error.to_string())),
                password_error: &told(password.err().map(|error| error.to_string())),
            };
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &again));
        }
    };
    let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    let actor = Actor { name: "setup".to_owned(), ip: Some(visitor.ip) };
    let now = app.clock.now();
    let who = (login, name, password.clone());
    match first::set_up(&app.users, app.first_tenant, &ticket, who, &actor, now).await {
        Ok(_) => {}
        Err(SetupError::Gone) => return Err(Refusal::gone(GONE)),
        Err(SetupError::User(error)) => return Err(error.into()),
    }
    match app.users.sign_in(email, password, &visitor, now).await {
        Ok(Entry::In(begun)) => {
            let mut response = Redirect::to("/ui/").into_response();
            session::signed_in(&app, &begun, response.headers_mut());
            Ok(response)
        }
        Ok(Entry::More(_)) | Err(Refused::Wrong | Refused::TooMany(_)) => {
            Ok(Redirect::to("/login").into_response())
        }
        Err(error) => Err(error.into()),
    }
}
