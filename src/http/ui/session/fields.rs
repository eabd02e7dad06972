//! Forms as they were sent, and the token each must bear. The one place that reads them first, so that no route can
//! forget to look: a form without its token never comes to a handler.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;

use crate::http::App;
use crate::http::extract::media_type;

use super::Refusal;
use super::token::equal;

/// Octets of a form: a template's sources and what their encoding adds.
const MOST: usize = 6 << 20;
const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form.
#[derive(Debug, Clone, Default)]
pub struct Fields(Arc<BTreeMap<String, Vec<String>>>);

impl Fields {
    fn parse(octets: &[u8]) -> Fields {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(octets) {
            values.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Fields(Arc::new(values))
    }

    /// A value as it was sent; empty: none was.
    pub fn raw(&self, name: &str) -> &str {
        self.0.get(name).and_then(|values| values.first()).map_or("", String::as_str)
    }

    /// A value without blanks around it; empty: none was given.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }
}

impl FromRequestParts<App> for Fields {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Fields, Refusal> {
        Ok(parts.extensions.get::<Fields>().cloned().unwrap_or_default())
    }
}

/// Reads a form and checks that it bears one of these tokens, in its field `csrf` or in `X-CSRF-Token`; what is sent in
/// another form needs the header.
///
/// # Errors
/// It does not; or it is too large, too slow or broken.
pub(super) async fn check<'a>(
    app: &App,
    request: Request,
    tokens: impl Iterator<Item = &'a str>,
) -> Result<Request, Refusal> {
    let (mut parts, body) = request.into_parts();
    let header = parts.headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if media_type(&parts.headers).as_deref() != Some(FORM) {
        let given = header.unwrap_or_default();
        return if is_among(&given, tokens) {
            Ok(Request::from_parts(parts, body))
        } else {
            Err(Refusal::not_ours())
        };
    }
    let held = app.budget.read(&parts.headers, body, MOST).await?;
    let fields = Fields::parse(&held.bytes);
    let given = header.unwrap_or_else(|| fields.raw("csrf").to_owned());
    if !is_among(&given, tokens) {
        return Err(Refusal::not_ours());
    }
    parts.extensions.insert(fields);
    let bytes: Bytes = held.bytes;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn is_among<'a>(given: &str, mut tokens: impl Iterator<Item = &'a str>) -> bool {
    tokens.any(|token| equal(token, given))
}
