//! `/ui/oidc/start` leads to the OpenID provider, `/ui/oidc/callback` takes whoever comes back.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::users::oidc::{Away, Back, NotKnown};
use crate::http::App;
use crate::http::extract::Query;
use crate::http::ui::page::Refusal;
use crate::http::ui::session::{self, Jar, Visiting};

use super::next;

/// A link and not a form: a form may lead to this site alone (`form-action`).
pub async fn start(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let oidc = app.oidc.as_ref().ok_or_else(Refusal::not_found)?;
    let wanted = Query::parse(query.as_deref()).text("next").unwrap_or_default();
    let (url, away) = oidc.begin(next(&wanted), app.clock.now()).await?;
    let mut jar = Jar::of(&HeaderMap::new(), app.site.is_https());
    jar.set_away(app.site.seal(&away.to_text())?);
    let mut response = Redirect::to(url.as_str()).into_response();
    jar.write(response.headers_mut());
    Ok(response)
}

/// Back from the provider.
pub async fn callback(
    State(app): State<App>,
    Visiting(visitor): Visiting,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let oidc = app.oidc.as_ref().ok_or_else(Refusal::not_found)?;
    let jar = Jar::of(&headers, app.site.is_https());
    let away = jar.away().and_then(|sealed| app.site.open(sealed)).and_then(|text| Away::parse(&text));
    let away = away.ok_or(NotKnown::Stray)?;
    let mut query = Query::parse(query.as_deref());
    let mut text = |name: &str| query.text(name).unwrap_or_default();
    let back = Back { code: text("code"), state: text("state"), issuer: text("iss"), error: text("error") };
    let now = app.clock.now();
    let identity = oidc.finish(&away, &back, now).await?;
    let begun = app.users.sign_in_as(oidc.issuer(), &identity, &visitor, now).await?;
    let mut response = Redirect::to(next(away.next())).into_response();
    session::signed_in(&app, &begun, response.headers_mut());
    Ok(response)
}

impl From<NotKnown> for Refusal {
    fn from(error: NotKnown) -> Refusal {
        let (status, title) = match error {
            NotKnown::Refused(refused) => return refused.into(),
            NotKnown::Provider(_) => (StatusCode::BAD_GATEWAY, "Signing in there did not work"),
            NotKnown::Denied(_) | NotKnown::NoAccount => (StatusCode::FORBIDDEN, "You were not let in"),
            NotKnown::Stray => (StatusCode::BAD_REQUEST, "Try again"),
        };
        tracing::warn!(error = %error, "nobody was let in by the OpenID provider");
        Refusal::new(status, title, error.to_string())
    }
}
