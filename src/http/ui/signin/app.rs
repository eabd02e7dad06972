//! `/ui/account/app`: an authenticator app as second factor, and recovery codes for who loses it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use qrcode::{Color, EcLevel, QrCode};

use crate::account::users::factors::FactorError;
use crate::domain::totp::TotpSecret;
use crate::http::App;
use crate::http::error::{Kind, Problem};
use crate::http::ui::form::Form;
use crate::http::ui::frame::{Failed, Frame, Page, Posted, done, refused, shown};

use super::account::to_prove;

#[derive(Template)]
#[template(path = "ui/signin/app.html")]
struct Offer {
    frame: Frame,
    form: Form,
    /// The way of a pen that draws the picture; empty: it cannot be drawn.
    path: String,
    /// Its width and height.
    size: usize,
    secret: String,
}

#[derive(Template)]
#[template(path = "ui/signin/codes.html")]
pub(super) struct Codes {
    pub(super) frame: Frame,
    pub(super) codes: Vec<String>,
    /// What has just been done; empty: they alone are new.
    pub(super) what: &'static str,
}

/// `POST /ui/account/app`: offers the secret of a new app.
pub async fn offer(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    let page = posted.page;
    if let Some(way) = to_prove(&page.who, "/ui/account") {
        return Ok(way);
    }
    match app.users.offer_app(page.who.user, app.clock.now()).await {
        Ok(secret) => shown(&draw(&page, &secret, Form::default())),
        Err(error) => Err(problem(error).into()),
    }
}

/// `POST /ui/account/app/confirm`: a first code proves that the app works.
pub async fn confirm(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    let Posted { page, form } = posted;
    let (user, code) = (page.who.user, form.text("code"));
    match app.users.confirm_app(user, code, &page.actor(), app.clock.now()).await {
        Ok(codes) => {
            app.letters.warn_later(&page.who.email, "An authenticator app was added");
            let frame = page.frame("Recovery codes", "account");
            shown(&Codes { frame, codes, what: "Your app is added." })
        }
        Err(FactorError::WrongCode) => match app.users.offered_app(user).await {
            Ok(Some(secret)) => {
                refused(&draw(&page, &secret, form.wrong("code", FactorError::WrongCode.to_string())))
            }
            Ok(None) => Ok(done("/ui/account", "saved")),
            Err(error) => Err(problem(error).into()),
        },
        Err(error) => Err(problem(error).into()),
    }
}

/// `POST /ui/account/app/remove`.
pub async fn remove(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    let page = posted.page;
    if let Some(way) = to_prove(&page.who, "/ui/account") {
        return Ok(way);
    }
    if app.users.remove_app(page.who.user, &page.actor(), app.clock.now()).await? {
        app.letters.warn_later(&page.who.email, "Your authenticator app was removed");
    }
    Ok(done("/ui/account", "deleted"))
}

/// `POST /ui/account/codes`: new recovery codes.
pub async fn renew(State(app): State<App>, posted: Posted) -> Result<Response, Failed> {
    let page = posted.page;
    if let Some(way) = to_prove(&page.who, "/ui/account") {
        return Ok(way);
    }
    match app.users.renew_codes(page.who.user, &page.actor(), app.clock.now()).await {
        Ok(codes) => {
            app.letters.warn_later(&page.who.email, "New recovery codes were made");
            shown(&Codes { frame: page.frame("Recovery codes", "account"), codes, what: "" })
        }
        Err(error) => Err(problem(error).into()),
    }
}

fn problem(error: FactorError) -> Problem {
    match error {
        FactorError::Store(error) => error.into(),
        FactorError::AppAlready | FactorError::WrongCode => Problem::new(Kind::Conflict, error.to_string()),
        FactorError::DoesNotOpen | FactorError::NoRandomness(_) => {
            tracing::error!(error = %error, "an authenticator app cannot be set up");
            Problem::new(Kind::Internal, error.to_string())
        }
    }
}

fn draw(page: &Page, secret: &TotpSecret, form: Form) -> Offer {
    let (path, size) = picture(&secret.uri(&page.who.email, "postroad")).unwrap_or_default();
    let text = secret.to_base32();
    let groups: Vec<&str> =
        text.as_bytes().chunks(4).filter_map(|four| std::str::from_utf8(four).ok()).collect();
    let frame = page.frame("Authenticator app", "account");
    Offer { frame, form, path, size, secret: groups.join(" ") }
}

/// A QR code as one SVG path, a unit square for each dark module; and its size with the quiet zone around it.
fn picture(text: &str) -> Option<(String, usize)> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let dark = code.to_colors().into_iter().enumerate().filter(|(_, color)| *color == Color::Dark);
    let squares = dark.map(|(at, _)| format!("M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET));
    Some((squares.collect(), width + 2 * QUIET))
}

/// Modules around the code that stay white (ISO/IEC 18004 §5.3.8).
const QUIET: usize = 4;

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn a_secret_can_be_drawn() {
        let (path, size) =
            picture("otpauth://totp/postroad:ann%40acme%2Eexample?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
                .expect("drawn");
        assert!(path.starts_with("M4 4h1v1h-1z"), "the corner is dark: {path}");
        assert!((29..100).contains(&size), "{size}");
    }
}
