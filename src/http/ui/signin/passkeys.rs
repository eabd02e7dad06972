//! Passkeys: what a script of ours carries between the browser's authenticator and `account/users/passkeys`, in JSON.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::account::users::passkeys::{PasskeyError, Passkeys};
use crate::account::users::sign_in::Refused;
use crate::domain::id::PasskeyId;
use crate::http::App;
use crate::http::error::{Kind, Problem};
use crate::http::extract::{self, Path};
use crate::http::ui::frame::{Failed, Posted, done};
use crate::http::ui::session::{self, Current, Visiting, Halfway, Proof, SignedIn};

use super::account::to_prove;
use super::login::status;

/// Octets of an authenticator's answer.
const MOST: usize = 64 * 1024;

/// An authenticator's answer.
pub struct Answer(Value);

impl FromRequest<App> for Answer {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Answer, Problem> {
        let (parts, body): (_, Body) = request.into_parts();
        let body = app.budget.read(&parts.headers, body, MOST).await?;
        extract::json(&parts.headers, &body.bytes).map(Answer)
    }
}

fn passkeys(app: &App) -> Result<&Passkeys, Problem> {
    let detail = "browsers make passkeys only for a dashboard that has a name, over TLS (POSTROAD_PUBLIC_URL)";
    app.passkeys.as_ref().ok_or_else(|| Problem::new(Kind::Conflict, detail))
}

/// `POST /ui/account/passkeys/start`: what the authenticator is asked for.
pub async fn start(
    State(app): State<App>,
    me: SignedIn,
    current: Option<Current>,
) -> Result<Json<Value>, Problem> {
    let passkeys = passkeys(&app)?;
    if me.proof == Proof::Stale {
        return Err(Problem::new(Kind::Forbidden, "prove again who you are"));
    }
    let user = current.ok_or_else(|| Problem::not_found("person"))?.user;
    Ok(Json(passkeys.ask_for_new(&app.database, &user, app.clock.now()).await?))
}

/// `POST /ui/account/passkeys`: the authenticator's new key.
pub async fn add(
    State(app): State<App>,
    me: SignedIn,
    Answer(mut answer): Answer,
) -> Result<StatusCode, Problem> {
    let passkeys = passkeys(&app)?;
    if me.proof == Proof::Stale {
        return Err(Problem::new(Kind::Forbidden, "prove again who you are"));
    }
    let name = answer["name"].as_str().map(str::trim).filter(|name| !name.is_empty()).unwrap_or("Passkey").to_owned();
    let credential = answer["credential"].take();
    passkeys.add(&app.database, me.user, (&name, credential), &me.actor(), app.clock.now()).await?;
    app.letters.warn_later(&me.email, "A passkey was added");
    Ok(StatusCode::NO_CONTENT)
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

/// `POST /ui/second-factor/passkey/start`: what the authenticator is asked to prove.
pub async fn ask(State(app): State<App>, halfway: Option<Halfway>) -> Result<Json<Value>, Problem> {
    let Halfway(user, _) = halfway.ok_or_else(out_of_time)?;
    let asked = passkeys(&app)?.ask_for_proof(&app.database, user, app.clock.now()).await?;
    asked.map(Json).ok_or_else(|| Problem::not_found("passkey"))
}

/// `POST /ui/second-factor/passkey`: the proof.
pub async fn prove(
    State(app): State<App>,
    halfway: Option<Halfway>,
    Visiting(visitor): Visiting,
    Answer(mut answer): Answer,
) -> Result<Response, Problem> {
    let Halfway(user, proved) = halfway.ok_or_else(out_of_time)?;
    let next = super::next(answer["next"].as_str().unwrap_or_default()).to_owned();
    let (credential, now) = (answer["credential"].take(), app.clock.now());
    let passkeys = passkeys(&app)?;
    match app.users.second_factor_by_passkey(passkeys, (user, proved), credential, &visitor, now).await {
        Ok(begun) => {
            let mut response = Json(json!({ "next": next })).into_response();
            session::signed_in(&app, &begun, response.headers_mut());
            Ok(response)
        }
        Err(Refused::Store(error)) => Err(error.into()),
        Err(refused) => {
            let detail = match &refused {
                Refused::Wrong => "This passkey was not taken.".to_owned(),
                other => other.to_string(),
            };
            Ok((status(&refused), Json(json!({ "detail": detail }))).into_response())
        }
    }
}

fn out_of_time() -> Problem {
    Problem::new(Kind::Forbidden, "signing in took too long; begin again")
}

impl From<PasskeyError> for Problem {
    fn from(error: PasskeyError) -> Problem {
        match error {
            PasskeyError::Store(error) => error.into(),
            other => Problem::new(Kind::Conflict, other.to_string()),
        }
    }
}
