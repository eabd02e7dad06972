//! `/ui/account`: what a person decides about herself: name, password, second factors, and where she is signed in.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::users::factors::{Factors, Has};
use crate::account::users::passwords::Password;
use crate::account::users::reset::{self, ChangeError};
use crate::account::users::sessions;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::http::App;
use crate::http::error::{Kind, Problem};
use crate::http::extract::Path;
use crate::http::ui::form::Form;
use crate::http::ui::frame::{Failed, Frame, Page, Posted, done, refused, shown};
use crate::http::ui::session::{Proof, SignedIn, Visiting};
use crate::http::ui::show::{self, At};
use crate::store::passkeys::StoredPasskey;
use crate::store::sessions::{self as rows, SignIn};

/// Tries to sign in that are shown.
const LOGGED: i64 = 30;

#[derive(Template)]
#[template(path = "ui/signin/account.html")]
pub(super) struct Account {
    frame: Frame,
    profile: Form,
    password: Form,
    has_password: bool,
    has_app: bool,
    codes_left: i64,
    /// The form of a new passkey; `None`: browsers make none for where the dashboard is.
    passkey: Option<Form>,
    passkeys: Vec<Key>,
    sessions: Vec<Browser>,
    log: Vec<Line>,
}

/// A passkey.
struct Key {
    id: String,
    name: String,
    since: At,
    used: Option<At>,
}

/// A browser that is signed in.
struct Browser {
    id: String,
    agent: String,
    ip: String,
    method: String,
    since: At,
    seen: At,
    is_this: bool,
}

/// A try to sign in.
struct Line {
    at: At,
    what: String,
    is_good: bool,
    ip: String,
    agent: String,
}

/// Forms with what was wrong with them.
#[derive(Default)]
pub(super) struct Forms {
    pub(super) profile: Option<Form>,
    pub(super) password: Option<Form>,
    pub(super) passkey: Option<Form>,
}

/// The page with these forms.
pub(super) async fn index(app: &App, page: &Page, forms: Forms) -> Result<Account, Failed> {
    let (user, now) = (page.who.user, app.clock.now());
    let Factors { app: has_app, codes_left } = app.users.factors(user).await?;
    let passkeys = app.users.passkeys_of(user).await?;
    let mut connection = app.database.serve().acquire().await?;
    let known = crate::store::users::find(&mut connection, user).await?;
    let held = rows::of_user(&mut connection, user, now).await?;
    let log = rows::log_of_user(&mut connection, user, LOGGED).await?;
    Ok(Account {
        frame: page.frame("Your account", "account"),
        profile: forms.profile.unwrap_or_else(|| Form::default().with("name", &page.who.name)),
        password: forms.password.unwrap_or_default(),
        has_password: known.is_some_and(|known| known.password.is_some()),
        has_app: has_app == Has::Yes,
        codes_left,
        passkey: app.users.passkeys.as_ref().map(|_| forms.passkey.unwrap_or_default()),
        passkeys: passkeys.into_iter().map(key).collect(),
        sessions: held.into_iter().map(|session| browser(session, page.who.session)).collect(),
        log: log.into_iter().map(line).collect(),
    })
}

fn key(stored: StoredPasskey) -> Key {
    Key {
        id: stored.id.to_string(),
        name: stored.name,
        since: show::ago(stored.created_at),
        used: stored.last_used_at.map(show::ago),
    }
}

fn browser(session: Session, own: SessionId) -> Browser {
    Browser {
        id: session.id.to_string(),
        agent: agent(&session.user_agent),
        ip: session.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        method: method(&session.method),
        since: show::ago(session.created_at),
        seen: show::ago(session.seen_at),
        is_this: session.id == own,
    }
}

fn line(tried: SignIn) -> Line {
    let what = match (tried.method.as_str(), tried.outcome.as_str()) {
        ("reset", "asked") => "A link for a new password was asked for".to_owned(),
        ("reset", _) => "A new password was set by a link".to_owned(),
        (by, "signed_in") => format!("Signed in by {}", method(by)),
        (by, _) => format!("Refused: {} was wrong", method(by)),
    };
    Line {
        at: show::ago(tried.id.born()),
        what,
        is_good: tried.outcome != "refused",
        ip: tried.ip.unwrap_or_default(),
        agent: agent(&tried.user_agent),
    }
}

/// As it is told.
fn method(stored: &str) -> String {
    match stored {
        "password" => "password",
        "password+app" => "password and authenticator app",
        "password+passkey" => "password and passkey",
        "password+recovery" => "password and recovery code",
        "code" => "the code",
        "passkey" => "the passkey",
        "confirm" => "the password",
        "oidc" => "single sign-on",
        other => other,
    }
    .to_owned()
}

/// Browser and system, as far as a user agent tells; all of it where it does not.
fn agent(text: &str) -> String {
    let among = |names: &[(&'static str, &'static str)]| {
        names.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
    };
    let browser = among(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = among(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS X", "macOS"),
        ("Windows", "Windows"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        _ if text.is_empty() => "a program without a name".to_owned(),
        _ => text.chars().take(60).collect(),
    }
}

/// `GET /ui/account`.
pub async fn show(State(app): State<App>, page: Page) -> Result<Response, Failed> {
    shown(&index(&app, &page, Forms::default()).await?)
}

/// `POST /ui/account/profile`.
pub async fn rename(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    let Posted { page, form } = posted;
    let name: String = form.text("name").chars().filter(|c| !c.is_control()).collect();
    if name.chars().count() > 200 {
        let profile = Some(form.wrong("name", "a name has at most 200 characters"));
        return refused(&index(&app, &page, Forms { profile, ..Forms::default() }).await?);
    }
    app.users.rename(page.who.user, &name, &page.actor(), app.clock.now()).await?;
    Ok(done("/ui/account", "saved"))
}

/// `POST /ui/account/password`.
pub async fn change_password(
    State(app): State<App>,
    Visiting(visitor): Visiting,
    posted: Posted,
) -> Result<Response, Failed> {
    let Posted { page, form } = posted;
    // Who has no password yet gives none; her sign-in must then be recent.
    if form.raw("present").is_empty()
        && let Some(way) = to_prove(&page.who, "/ui/account")
    {
        return Ok(way);
    }
    let present = Password::given(form.raw("present"));
    let wrong = match Password::chosen(form.raw("password"), &page.who.email) {
        Err(error) => ("password", error.to_string()),
        Ok(chosen) => {
            let (who, now) = ((page.who.user, page.who.session), app.clock.now());
            match reset::by_present(&app.users, who, (present, chosen), &visitor, now).await {
                Ok(()) => {
                    app.letters.warn_later(&page.who.email, "Your password was changed");
                    return Ok(done("/ui/account", "password"));
                }
                Err(ChangeError::Store(error)) => return Err(error.into()),
                Err(ChangeError::NoHash(error)) => {
                    return Err(Problem::new(Kind::Overloaded, error.to_string()).into());
                }
                Err(error) => ("present", error.to_string()),
            }
        }
    };
    // Passwords are not given back.
    let password = Some(Form::default().wrong(wrong.0, wrong.1));
    refused(&index(&app, &page, Forms { password, ..Forms::default() }).await?)
}

/// `POST /ui/account/sessions/{id}/end`.
pub async fn end_session(
    State(app): State<App>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Failed> {
    let who = &posted.page.who;
    let id: SessionId = id.parse().map_err(|_| Problem::not_found("session"))?;
    if !sessions::end(&app.database, who.user, id, app.clock.now()).await? {
        return Err(Problem::not_found("session").into());
    }
    Ok(done("/ui/account", "ended"))
}

/// `POST /ui/account/sessions/end-others`.
pub async fn end_others(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    let who = &posted.page.who;
    sessions::end_others(&app.database, who.user, who.session, app.clock.now()).await?;
    Ok(done("/ui/account", "ended"))
}

#[derive(Template)]
#[template(path = "ui/signin/confirm.html")]
struct Confirm {
    frame: Frame,
    form: Form,
    next: String,
}

/// Whoever wants something dangerous and has not proved lately who she is does that first: the way there, which comes
/// back to `next`. `None`: she has.
pub fn to_prove(who: &SignedIn, next: &str) -> Option<Response> {
    match who.proof {
        Proof::Fresh => None,
        Proof::Stale => {
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
            Some(Redirect::to(&format!("/ui/account/confirm?{query}")).into_response())
        }
    }
}

/// `GET /ui/account/confirm`.
pub async fn ask(
    page: Page,
    axum::extract::RawQuery(query): axum::extract::RawQuery,
) -> Result<Response, Failed> {
    let next = crate::http::extract::Query::parse(query.as_deref()).text("next").unwrap_or_default();
    let next = super::next(&next).to_owned();
    shown(&Confirm { frame: page.frame("Is it you?", "account"), form: Form::default(), next })
}

/// `POST /ui/account/confirm`.
pub async fn confirm(
    State(app): State<App>,
    Visiting(visitor): Visiting,
    posted: Posted,
) -> Result<Response, Failed> {
    let Posted { page, form } = posted;
    let (next, now) = (super::next(form.text("next")).to_owned(), app.clock.now());
    let given = Password::given(form.raw("password"));
    match app.users.prove(page.who.user, page.who.session, given, &visitor, now).await {
        Ok(()) => Ok(Redirect::to(&next).into_response()),
        Err(ChangeError::Store(error)) => Err(error.into()),
        Err(ChangeError::NoHash(error)) => Err(Problem::new(Kind::Overloaded, error.to_string()).into()),
        Err(error) => {
            let form = Form::default().wrong("password", error.to_string());
            refused(&Confirm { frame: page.frame("Is it you?", "account"), form, next })
        }
    }
}
