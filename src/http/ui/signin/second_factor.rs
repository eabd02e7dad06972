//! `/ui/second-factor`: what is asked once the password was right.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::users::sign_in::Refused;
use crate::domain::id::UserId;
use crate::http::App;
use crate::http::extract::Query;
use crate::http::ui::page::{Refusal, page, page_with};
use crate::http::ui::session::{self, Fields, Guest, Halfway, Visiting};

use super::login::status;
use super::next;

#[derive(Template)]
#[template(path = "ui/signin/second_factor.html")]
pub(super) struct Ask<'a> {
    csrf: &'a str,
    next: &'a str,
    problem: &'a str,
    has_passkey: bool,
}

/// What is asked of somebody who is halfway in.
pub(super) async fn ask<'a>(
    app: &App,
    user: UserId,
    guest: &'a Guest,
    next: &'a str,
    problem: &'a str,
) -> Result<Ask<'a>, Refusal> {
    let has_passkey = app.users.passkeys.is_some() && !app.users.passkeys_of(user).await?.is_empty();
    Ok(Ask { csrf: &guest.csrf, next, problem, has_passkey })
}

/// `GET /ui/second-factor`.
pub async fn show(
    State(app): State<App>,
    halfway: Option<Halfway>,
    guest: Guest,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let wanted = Query::parse(query.as_deref()).text("next").unwrap_or_default();
    let Some(Halfway(user, _)) = halfway else { return Ok(Redirect::to("/login").into_response()) };
    Ok(page(&ask(&app, user, &guest, next(&wanted), "").await?))
}

/// `POST /ui/second-factor`.
pub async fn act(
    State(app): State<App>,
    halfway: Option<Halfway>,
    guest: Guest,
    Visiting(visitor): Visiting,
    fields: Fields,
) -> Result<Response, Refusal> {
    let Some(Halfway(user, proved)) = halfway else { return Ok(Redirect::to("/login").into_response()) };
    let wanted = next(fields.text("next"));
    let code = fields.text("code");
    let refused = match app.users.second_factor((user, proved), code, &visitor, app.clock.now()).await {
        Ok((_, begun)) => {
            let mut response = Redirect::to(wanted).into_response();
            session::signed_in(&app, &begun, response.headers_mut());
            return Ok(response);
        }
        Err(Refused::Store(error)) => return Err(error.into()),
        Err(refused) => refused,
    };
    let problem = match &refused {
        Refused::Wrong => "This code is not right. Codes change every 30 seconds and work once.".to_owned(),
        other => other.to_string(),
    };
    let ask = ask(&app, user, &guest, wanted, &problem).await?;
    Ok(page_with(status(&refused), &ask))
}
