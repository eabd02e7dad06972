//! `/email`, `/email/batch`, `/email/withTemplate` and `/email/batchWithTemplates` (postmarkapp.com/developer/api/
//! email-api, …/templates-api). A batch is always answered 200, each of its mails for itself.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::submission::Submission;
use crate::http::App;
use crate::http::api::wire::moment;
use crate::http::auth::Principal;
use crate::http::compat::parts;
use crate::http::error::{Kind, Problem};
use crate::submission::{Accepted, BornState, Rejected, Request, Unit};

use super::errors::{self, Said};
use super::message::{self, Addressed};
use super::templates::{self, Known};

/// Mails in one call.
const MAX_BATCH: usize = 500;

/// `/email` and `/email/withTemplate`: a mail says by itself whether it has a template.
pub async fn one(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (mut value, _held) = parts::json(&app, &headers, body).await?;
    templates::resolve(&app, principal.tenant(), &mut value, &mut Known::new()).await?;
    let (echo, mail) = message::submission(value);
    let answers = answers(&app, &principal, vec![(echo, mail)]).await?;
    Ok(match answers.into_iter().next() {
        Some(Ok(answer)) => Json(answer).into_response(),
        Some(Err(Refused::Said(said))) => said.into_response(),
        Some(Err(Refused::Problem(problem))) => errors::refuse(&problem),
        None => return Err(Problem::new(Kind::Internal, "no answer")),
    })
}

/// `/email/batch`: a list of mails.
pub async fn batch(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (value, _held) = parts::json(&app, &headers, body).await?;
    many(&app, &principal, value).await
}

/// `/email/batchWithTemplates`: the list is below `Messages`.
pub async fn batch_with_templates(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (mut value, _held) = parts::json(&app, &headers, body).await?;
    let list = value.get_mut("Messages").map(Value::take).unwrap_or_default();
    many(&app, &principal, list).await
}

async fn many(app: &App, principal: &Principal, value: Value) -> Result<Response, Problem> {
    let Value::Array(list) = value else {
        return Ok(Said::new(402, "Received invalid JSON input.").into_response());
    };
    if list.len() > MAX_BATCH {
        let message = format!(
            "You've exceeded the maximum number of messages in a batch: {MAX_BATCH} are allowed, these are {}.",
            list.len()
        );
        return Ok(Said::new(410, message).into_response());
    }
    let mut mails = Vec::with_capacity(list.len());
    let mut known = Known::new();
    for mut mail in list {
        templates::resolve(app, principal.tenant(), &mut mail, &mut known).await?;
        mails.push(message::submission(mail));
    }
    let answers = answers(app, principal, mails).await?;
    let item = |answer| match answer {
        Ok(answer) => answer,
        Err(Refused::Said(said)) => Said::body(&said),
        Err(Refused::Problem(problem)) => errors::words(&problem).body(),
    };
    Ok(Json(answers.into_iter().map(item).collect::<Vec<Value>>()).into_response())
}

enum Refused {
    Said(Said),
    Problem(Problem),
}

type Mail = (Addressed, Result<Submission, Rejected>);

/// One answer for each mail, in their order.
async fn answers(
    app: &App,
    principal: &Principal,
    mails: Vec<Mail>,
) -> Result<Vec<Result<Value, Refused>>, Problem> {
    if mails.is_empty() {
        return Ok(Vec::new());
    }
    let (echoes, items): (Vec<_>, Vec<_>) = mails.into_iter().unzip();
    let request = Request { items, key: None, unit: Unit::Each };
    let answer = app.accept.accept(&principal.caller(), request).await?;
    let answered = echoes.into_iter().zip(answer.items).map(|(echo, item)| match item {
        Ok(accepted) => answer_to(&echo, &accepted).map_err(Refused::Said),
        Err(rejected) => Err(Refused::Problem(rejected.into())),
    });
    Ok(answered.collect())
}

fn answer_to(echo: &Addressed, accepted: &Accepted) -> Result<Value, Said> {
    let is_suppressed = |state| state == BornState::Suppressed;
    let deliveries = accepted.deliveries.iter();
    let keys: Vec<String> = deliveries
        .filter(|delivery| is_suppressed(delivery.state))
        .map(|delivery| delivery.recipient.to_lowercase())
        .collect();
    let inactive: Vec<&str> = keys.iter().map(String::as_str).collect();
    let message = match inactive.len() {
        0 => "OK".to_owned(),
        all if all == accepted.deliveries.len() => return Err(errors::inactive(&inactive)),
        _ => errors::partly_inactive(&inactive),
    };
    let mut answer = json!({
        "To": echo.to,
        "SubmittedAt": moment(accepted.id.born()),
        "MessageID": accepted.id.uuid().to_string(),
        "ErrorCode": 0,
        "Message": message,
    });
    for (name, list) in [("Cc", &echo.cc), ("Bcc", &echo.bcc)] {
        if let Some(list) = list {
            answer[name] = list.as_str().into();
        }
    }
    Ok(answer)
}
