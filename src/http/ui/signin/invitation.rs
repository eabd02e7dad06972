//! `/ui/invitation`: the link in an invitation. Who is new enters herself; who has an account signs in and joins.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::Actor;
use crate::account::users::invitations::{self, JoinError, Offer};
use crate::account::users::passwords::Password;
use crate::account::users::sessions;
use crate::account::users::sign_in::{Entry, Refused};
use crate::domain::ticket::Ticket;
use crate::domain::user::User;
use crate::http::App;
use crate::http::extract::Query;
use crate::http::ui::page::{Refusal, page, page_with};
use crate::http::ui::session::{self, Current, Fields, Guest, Visiting};

const GONE: &str = "An invitation works once, for seven days. Ask who invited you for another one.";

#[derive(Template)]
#[template(path = "ui/signin/invitation.html")]
struct Page<'a> {
    csrf: &'a str,
    ticket: &'a str,
    tenant: &'a str,
    role: &'a str,
    meaning: &'a str,
    email: &'a str,
    name: &'a str,
    problem: &'a str,
    way: Way<'a>,
}

/// What whoever opens the link is to do.
enum Way<'a> {
    /// Enter herself.
    Enter,
    /// Say yes.
    Join,
    /// Sign in, and come back.
    SignIn { next: String },
    /// Sign out: somebody else is signed in.
    SignOut { as_whom: &'a str, csrf: &'a str },
}

/// `GET /ui/invitation`.
pub async fn show(
    State(app): State<App>,
    current: Option<Current>,
    guest: Guest,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let text = Query::parse(query.as_deref()).text("token").unwrap_or_default();
    let offer = offer(&app, &text).await?;
    Ok(draw(&offer, current.as_ref(), &guest, (&text, "", "")))
}

async fn offer(app: &App, ticket: &str) -> Result<Offer, Refusal> {
    let ticket = Ticket::given(ticket).ok_or_else(|| Refusal::gone(GONE))?;
    let offer = invitations::offer(&app.database, &ticket, app.clock.now()).await?;
    offer.ok_or_else(|| Refusal::gone(GONE))
}

fn draw(
    offer: &Offer,
    current: Option<&Current>,
    guest: &Guest,
    (ticket, name, problem): (&str, &str, &str),
) -> Response {
    let invitation = &offer.invitation;
    let way = match (current, &offer.known) {
        (Some(Current { user, .. }), _) if user.email == invitation.email => Way::Join,
        (Some(Current { user, csrf, .. }), _) => Way::SignOut { as_whom: user.email.as_str(), csrf },
        (None, Some(_)) => {
            let back = format!("/ui/invitation?token={ticket}");
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("next", &back).finish();
            Way::SignIn { next: format!("/login?{query}") }
        }
        (None, None) => Way::Enter,
    };
    let shown = Page {
        csrf: current.map_or(guest.csrf.as_str(), |current| current.csrf.as_str()),
        ticket,
        tenant: &invitation.tenant_name,
        role: invitation.role.as_str(),
        meaning: invitation.role.meaning(),
        email: invitation.email.as_str(),
        name,
        problem,
        way,
    };
    if problem.is_empty() { page(&shown) } else { page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown) }
}

/// `POST /ui/invitation`.
pub async fn act(
    State(app): State<App>,
    current: Option<Current>,
    guest: Guest,
    Visiting(visitor): Visiting,
    fields: Fields,
) -> Result<Response, Refusal> {
    let text = fields.text("token");
    let offer = offer(&app, text).await?;
    let ticket = Ticket::given(text).ok_or_else(|| Refusal::gone(GONE))?;
    let actor = |user: &User| Actor::user(user.id, visitor.ip);
    let now = app.clock.now();
    if let Some(current) = &current {
        let user = &current.user;
        return match invitations::join(&app.database, &ticket, user, &actor(user), now).await {
            Ok(joined) => {
                sessions::choose(&app.database, user.id, current.session, joined.tenant).await?;
                Ok(Redirect::to("/ui/").into_response())
            }
            Err(JoinError::SignInFirst) => Ok(draw(&offer, Some(current), &guest, (text, "", ""))),
            Err(error) => Err(error.into()),
        };
    }
    let (name, email) = (clean(fields.text("name")), offer.invitation.email.as_str());
    let password = match Password::chosen(fields.raw("password"), email) {
        Ok(password) => password,
        Err(error) => return Ok(draw(&offer, None, &guest, (text, &name, &error.to_string()))),
    };
    let newcomer = Actor { name: format!("invitation {}", offer.invitation.id), ip: Some(visitor.ip) };
    match invitations::enter_and_join(&app.users, &ticket, (name, password.clone()), &newcomer, now).await {
        Ok(_) => {}
        Err(JoinError::SignInFirst) => return Ok(draw(&offer, None, &guest, (text, "", ""))),
        Err(error) => return Err(error.into()),
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

fn clean(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Refusal {
        match error {
            JoinError::Gone => Refusal::gone(GONE),
            JoinError::SignInFirst => Refusal::forbidden(error.to_string()),
            JoinError::NoHash(error) => Refused::NoHash(error).into(),
            JoinError::User(error) => error.into(),
            JoinError::Store(error) => error.into(),
        }
    }
}
