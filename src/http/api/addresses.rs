//! `/v1/addresses/validate`: whether addresses are worth mailing, and why not.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::account::addresses::{self as operation, MOST, Validated};
use crate::domain::validation::Reason;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract;
use crate::http::fields::Fields;

use super::wire::moment;

const MAX_BODY: usize = 128 * 1024;
/// Longer than any address; what is longer is not read.
const MAX_TEXT: usize = 1000;

fn show(one: &Validated) -> Value {
    let has = |reason: Reason| one.reasons.contains(&reason);
    let suppressed = |(stream, reason): &(String, crate::domain::suppression::Reason)| json!({ "stream": (!stream.is_empty()).then_some(stream), "reason": reason.as_str() });
    json!({
        "given": one.given,
        "email": one.address.as_ref().map(|address| address.as_str()),
        "verdict": one.verdict.as_str(),
        "reasons": one.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(),
        "fault": one.fault,
        "suggestion": one.suggestion,
        "role": has(Reason::Role),
        "disposable": has(Reason::Disposable),
        "needs_smtputf8": one.address.as_ref().is_some_and(|address| address.needs_smtputf8()),
        "mail_servers": one.servers,
        "history": {
            "delivered_at": one.history.delivered_at.map(moment),
            "bounced_at": one.history.bounced_at.map(moment),
            "suppressed": one.history.suppressed.iter().map(suppressed).collect::<Vec<_>>(),
        },
    })
}

/// Looks at one address, or at up to a hundred.
pub async fn validate(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let mut fields = Fields::of(extract::json(&headers, &body.bytes)?, "")
        .map_err(|violation| Problem::invalid(vec![violation]))?;
    let single = fields.text("email");
    let many = fields.texts("emails", MOST);
    match (&single, &many) {
        (Some(_), Some(_)) => fields.wrong("emails", "conflict", "give email or emails, not both"),
        (None, None) if !fields.is_wrong("email") && !fields.is_wrong("emails") => {
            fields.wrong("email", "required", "give email, or emails with up to 100 of them");
        }
        _ => {}
    }
    let alone = single.is_some();
    let given: Vec<String> = single.into_iter().chain(many.into_iter().flatten()).collect();
    if given.iter().any(|text| text.len() > MAX_TEXT) {
        let name = if alone { "email" } else { "emails" };
        fields.wrong(name, "too_long", format!("no address has more than {MAX_TEXT} octets"));
    }
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let mut found =
        operation::validate(&app.database, &app.resolver, principal.tenant(), given).await?.into_iter();
    Ok(Json(match found.next() {
        Some(only) if alone => show(&only),
        first => json!({ "data": first.into_iter().chain(found).map(|one| show(&one)).collect::<Vec<_>>() }),
    }))
}
