//! Pages as answers: a rendered template, and the page that says why there is none.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::account::users::UserError;
use crate::account::users::sign_in::Refused;
use crate::domain::key::NoRandomness;
use crate::http::error::{Kind, Problem};
use crate::http::request_id;
use crate::store::StoreError;

/// A page.
pub fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

/// A page with another status.
pub fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "a page cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong on our side; try again.").into_response()
        }
    }
}

/// Why there is no page.
#[derive(Debug, Clone)]
pub struct Refusal {
    status: StatusCode,
    title: &'static str,
    detail: String,
}

#[derive(Template)]
#[template(path = "ui/refusal.html")]
struct Page<'a> {
    title: &'a str,
    detail: &'a str,
    request_id: &'a str,
}

impl Refusal {
    /// Any other.
    pub fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Refusal {
        Refusal { status, title, detail: detail.into() }
    }

    /// There is nothing at this path, or nothing for this person.
    pub fn not_found() -> Refusal {
        Refusal {
            status: StatusCode::NOT_FOUND,
            title: "There is no such page",
            detail: "It may have been deleted, or belong to another tenant.".to_owned(),
        }
    }

    /// She may not do that.
    pub fn forbidden(detail: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::FORBIDDEN, title: "You may not do that", detail: detail.into() }
    }

    /// What was sent did not come from a page of ours, or from one that is too old.
    pub fn not_ours() -> Refusal {
        Refusal {
            status: StatusCode::FORBIDDEN,
            title: "This form has run out",
            detail: "It was opened before you signed in, or did not come from here. Go back, reload the page, and try again."
                .to_owned(),
        }
    }

    /// A link that does not work.
    pub fn gone(detail: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::GONE, title: "This link does not work any more", detail: detail.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let request_id = request_id::current().unwrap_or_default();
        let page = Page { title: self.title, detail: &self.detail, request_id: &request_id };
        page_with(self.status, &page)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        let (status, _, title) = problem.kind().parts();
        Refusal {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            title,
            detail: problem.detail().to_owned(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Problem::from(error).into()
    }
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Refusal {
        match error {
            UserError::Store(error) => error.into(),
            UserError::NoRandomness(error) => error.into(),
            UserError::NoHash(_) => Problem::new(Kind::Overloaded, error.to_string()).into(),
            UserError::EmailTaken | UserError::NoSuchTenant => {
                Problem::new(Kind::Conflict, error.to_string()).into()
            }
        }
    }
}

impl From<Refused> for Refusal {
    fn from(error: Refused) -> Refusal {
        match error {
            Refused::Store(error) => error.into(),
            Refused::NoRandomness(error) => error.into(),
            Refused::NoHash(_) => Problem::new(Kind::Overloaded, error.to_string()).into(),
            Refused::Wrong => Problem::new(Kind::Forbidden, error.to_string()).into(),
            Refused::TooMany(_) => Problem::new(Kind::RateLimited, error.to_string()).into(),
        }
    }
}

impl From<NoRandomness> for Refusal {
    fn from(error: NoRandomness) -> Refusal {
        tracing::error!(error = %error, "no randomness");
        Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            title: "Something is wrong on our side",
            detail: "Try again.".to_owned(),
        }
    }
}
