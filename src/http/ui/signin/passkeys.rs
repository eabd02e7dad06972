//! `/ui/account/passkeys` and `/ui/second-factor/passkey`: adding, removing and using passkeys. The browser asks for the
//! question by a script (`ui.js`), and sends what its authenticator answers as a form.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;

use crate::account::users::passkeys::{LONGEST_NAME, PasskeyError};
use crate::account::users::sign_in::Refused;
use crate::domain::id::PasskeyId;
use crate::http::App;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::ui::form::Form;
use crate::http::ui::frame::{Failed, Page, Posted, done, refused, shown};
use crate::http::ui::page::{Refusal, page_with};
use crate::http::ui::session::{self, Fields, Guest, Halfway, Visiting};

use super::account::{self, Forms, to_prove};
use super::app::Codes;
use super::login::status;
use super::next;
use super::second_factor::ask;

/// `POST /ui/account/passkeys/options`: what her browser is asked to make a passkey of.
pub async fn offer(State(app): State<App>, page: Page) -> Result<Response, Problem> {
    if let Some(way) = to_prove(&page.who, "/ui/account") {
        return Ok(way);
    }
    let who = (page.who.user, &*page.who.email, &*page.who.name);
    let asked = app.users.offer_passkey(who, app.clock.now()).await.map_err(problem)?;
    Ok(Json(asked).into_response())
}

/// `POST /ui/account/passkeys`: what it has made.
pub async fn add(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    let Posted { page, form } = posted;
    if let Some(way) = to_prove(&page.who, "/ui/account") {
        return Ok(way);
    }
    let name: String = form.text("name").chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return again(&app, &page, form, &format!("a name has 1 to {LONGEST_NAME} characters")).await;
    }
    let (user, answer) = (page.who.user, form.raw("credential"));
    match app.users.add_passkey(user, &name, answer, &page.actor(), app.clock.now()).await {
        Ok(codes) => {
            app.letters.warn_later(&page.who.email, "A passkey was added");
            if codes.is_empty() {
                return Ok(done("/ui/account", "passkey"));
            }
            let frame = page.frame("Recovery codes", "account");
            shown(&Codes { frame, codes, what: "Your passkey is added." })
        }
        Err(error @ (PasskeyError::Unproved | PasskeyError::Known)) => {
            again(&app, &page, form, &error.to_string()).await
        }
        Err(error) => Err(problem(error).into()),
    }
}

/// The page with what was wrong; the name that was typed stays.
async fn again(app: &App, page: &Page, form: Form, wrong: &str) -> Result<Response, Failed> {
    let passkey = Some(Form::default().with("name", form.raw("name")).wrong("name", wrong));
    refused(&account::index(app, page, Forms { passkey, ..Forms::default() }).await?)
}

/// `POST /ui/account/passkeys/{id}/delete`.
pub async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    let page = posted.page;
    if let Some(way) = to_prove(&page.who, "/ui/account") {
        return Ok(way);
    }
    let id: PasskeyId = extract::id(&id, "passkey")?;
    if !app.users.remove_passkey(page.who.user, id, &page.actor(), app.clock.now()).await? {
        return Err(Problem::not_found("passkey").into());
    }
    app.letters.warn_later(&page.who.email, "A passkey was removed");
    Ok(done("/ui/account", "deleted"))
}

/// `POST /ui/second-factor/passkey/options`: what the browser of somebody who is halfway in is asked.
pub async fn question(State(app): State<App>, halfway: Option<Halfway>) -> Result<Json<Value>, Problem> {
    let Some(Halfway(user, proved)) = halfway else {
        return Err(Problem::new(Kind::Forbidden, "that took too long; sign in again"));
    };
    Ok(Json(app.users.ask_passkey((user, proved), app.clock.now()).await.map_err(problem)?))
}

/// `POST /ui/second-factor/passkey`: its answer.
pub async fn prove(
    State(app): State<App>,
    halfway: Option<Halfway>,
    guest: Guest,
    Visiting(visitor): Visiting,
    fields: Fields,
) -> Result<Response, Refusal> {
    let Some(Halfway(user, proved)) = halfway else { return Ok(Redirect::to("/login").into_response()) };
    let (wanted, answer, now) = (next(fields.text("next")), fields.raw("credential"), app.clock.now());
    let refused = match app.users.second_factor_by_passkey((user, proved), answer, &visitor, now).await {
        Ok((_, begun)) => {
            let mut response = Redirect::to(wanted).into_response();
            session::signed_in(&app, &begun, response.headers_mut());
            return Ok(response);
        }
        Err(Refused::Store(error)) => return Err(error.into()),
        Err(refused) => refused,
    };
    let problem = match &refused {
        Refused::Wrong => PasskeyError::Unproved.to_string(),
        other => other.to_string(),
    };
    let ask = ask(&app, user, &guest, wanted, &problem).await?;
    Ok(page_with(status(&refused), &ask))
}

fn problem(error: PasskeyError) -> Problem {
    match error {
        PasskeyError::Store(error) => error.into(),
        PasskeyError::NoRandomness(_) | PasskeyError::Unasked(_) => {
            tracing::error!(error = %error, "a passkey cannot be asked for");
            Problem::new(Kind::Internal, error.to_string())
        }
        PasskeyError::Unproved => Problem::new(Kind::Forbidden, error.to_string()),
        PasskeyError::NoSite | PasskeyError::TooMany | PasskeyError::None | PasskeyError::Known => {
            Problem::new(Kind::Conflict, error.to_string())
        }
    }
}
