//! `/ui/second-factor`: what is asked once the password was right.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::users::sign_in::Refused;
use crate::http::App;
use crate::http::extract::Query;
use crate::http::ui::page::{Refusal, page, page_with};
use crate::http::ui::session::{self, Fields, Guest, Halfway, Visiting};

use super::login::status;
use super::next;

#[derive(Template)]
#[template(path = "ui/signin/second_factor.html")]
struct Ask<'a> {
    csrf: &'a str,
    next: &'a str,
    problem: &'a str,
}

/// `GET /ui/second-factor`.
pub async fn show(halfway: Option<Halfway>, guest: Guest, RawQuery(query): RawQuery) -> Response {
    let wanted = Query::parse(query.as_deref()).text("next").unwrap_or_default();
    if halfway.is_none() {
        return Redirect::to("/login").into_response();
    }
    page(&Ask { csrf: &guest.csrf, next: next(&wanted), problem: "" })
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
    Ok(page_with(status(&refused), &Ask { csrf: &guest.csrf, next: wanted, problem: &problem }))
}
