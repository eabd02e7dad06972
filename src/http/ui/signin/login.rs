//! `/login`: by address and password. And out again.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::users::passwords::Password;
use crate::account::users::sessions;
use crate::account::users::sign_in::{Entry, Refused};
use crate::http::App;
use crate::http::extract::Query;
use crate::http::ui::page::{Refusal, page, page_with};
use crate::http::ui::session::{self, Fields, Guest, Jar, Maybe, SignedIn, Visiting};

use super::next;

#[derive(Template)]
#[template(path = "ui/signin/login.html")]
struct Login<'a> {
    csrf: &'a str,
    next: &'a str,
    email: &'a str,
    problem: &'a str,
    /// The OpenID provider; empty: there is none.
    provider: &'a str,
    /// How to get there.
    provider_path: String,
}

impl<'a> Login<'a> {
    fn new(app: &'a App, guest: &'a Guest, next: &'a str, (email, problem): (&'a str, &'a str)) -> Login<'a> {
        let provider = app.oidc.as_ref().map_or("", |oidc| oidc.name());
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let provider_path = format!("/ui/oidc/start?{query}");
        Login { csrf: &guest.csrf, next, email, problem, provider, provider_path }
    }
}

/// `GET /login`.
pub async fn show(
    State(app): State<App>,
    Maybe(me): Maybe,
    guest: Guest,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = Query::parse(query.as_deref()).text("next").unwrap_or_default();
    let wanted = next(&wanted);
    if me.is_some() {
        return Redirect::to(wanted).into_response();
    }
    page(&Login::new(&app, &guest, wanted, ("", "")))
}

/// `POST /login`.
pub async fn act(
    State(app): State<App>,
    guest: Guest,
    Visiting(visitor): Visiting,
    fields: Fields,
) -> Result<Response, Refusal> {
    let (email, wanted) = (fields.text("email"), next(fields.text("next")));
    let password = Password::given(fields.raw("password"));
    let refused = match app.users.sign_in(email, password, &visitor, app.clock.now()).await {
        Ok(Entry::In(begun)) => {
            let mut response = Redirect::to(wanted).into_response();
            session::signed_in(&app, &begun, response.headers_mut());
            return Ok(response);
        }
        Ok(Entry::More(user)) => {
            let mut jar = Jar::of(&axum::http::HeaderMap::new(), app.site.is_https());
            jar.set_halfway(app.site.halfway_token(user.id, app.clock.now()));
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("next", wanted).finish();
            let mut response = Redirect::to(&format!("/ui/second-factor?{query}")).into_response();
            jar.write(response.headers_mut());
            return Ok(response);
        }
        Err(Refused::Store(error)) => return Err(error.into()),
        Err(refused) => refused,
    };
    let status = status(&refused);
    let problem = refused.to_string();
    Ok(page_with(status, &Login::new(&app, &guest, wanted, (email, &problem))))
}

/// How a refusal is answered.
pub(super) fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Wrong => StatusCode::UNAUTHORIZED,
        Refused::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        Refused::NoHash(_) | Refused::NoRandomness(_) | Refused::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// `POST /ui/sign-out`.
pub async fn leave(State(app): State<App>, me: SignedIn) -> Result<Response, Refusal> {
    sessions::end(&app.database, me.user, me.session, app.clock.now()).await?;
    let mut response = Redirect::to("/login").into_response();
    session::signed_out(&app, response.headers_mut());
    Ok(response)
}

/// `POST /ui/tenant`: shows another tenant's dashboard.
pub async fn choose_tenant(
    State(app): State<App>,
    me: SignedIn,
    fields: Fields,
) -> Result<Redirect, Refusal> {
    let tenant = fields.text("tenant").parse().map_err(|_| Refusal::not_found())?;
    if sessions::choose(&app.database, me.user, me.session, tenant).await? {
        Ok(Redirect::to("/ui/"))
    } else {
        Err(Refusal::not_found())
    }
}
