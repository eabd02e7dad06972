//! Refusals in SparkPost's words: `{"errors": [{"message", "description", "code"}]}`
//! (support.sparkpost.com, "Extended error codes").

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::error::{Kind, Problem};
use crate::submission::Violation;

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let (status, message) = match (problem.kind(), problem.violations()) {
        (Kind::Invalid | Kind::Forbidden | Kind::TooLarge, [first, ..]) => {
            let status = told(first).status;
            let errors: Vec<Value> = problem.violations().iter().map(|one| told(one).view()).collect();
            return answer(status, errors);
        }
        (Kind::InvalidJson, _) => {
            let error = Told {
                status: 400,
                message: "invalid data format/type",
                code: "1300",
                description: problem.detail().to_owned(),
            };
            return answer(400, vec![error.view()]);
        }
        (Kind::Unauthorized, _) => (401, "Unauthorized."),
        (Kind::Forbidden | Kind::Suspended, _) => (403, "Forbidden."),
        (Kind::NotFound, _) => (404, "resource not found"),
        (Kind::MethodNotAllowed, _) => (405, "method not allowed"),
        (Kind::Conflict, _) => {
            let error = Told {
                status: 409,
                message: "resource conflict",
                code: "1602",
                description: problem.detail().to_owned(),
            };
            return answer(409, vec![error.view()]);
        }
        (Kind::TooLarge, _) => (413, "request entity too large"),
        (Kind::RateLimited, _) => (429, "Too many requests"),
        (kind, _) => (kind.parts().0, "internal error"),
    };
    answer(status, vec![json!({ "message": message })])
}

fn answer(status: u16, errors: Vec<Value>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "errors": errors }))).into_response()
}

/// One error, and the status that goes with it.
struct Told {
    status: u16,
    message: &'static str,
    code: &'static str,
    description: String,
}

impl Told {
    fn view(&self) -> Value {
        json!({ "message": self.message, "description": self.description, "code": self.code })
    }
}

/// The table of extended codes.
fn told(violation: &Violation) -> Told {
    let at = |status, message, code, description: String| Told { status, message, code, description };
    let field = field(&violation.pointer);
    match violation.code.as_str() {
        "required" if field == "recipients" => {
            at(422, "required field is missing", "1400", "recipients or list_id required".to_owned())
        }
        "required" if field == "content" => {
            at(422, "required field is missing", "1400", "content object or template_id required".to_owned())
        }
        "required" => at(422, "required field is missing", "1400", format!("{field} is required")),
        "wrong_type" => {
            at(422, "invalid data format/type", "1300", format!("{field}: {}", violation.message))
        }
        "content_conflict" => at(
            422,
            "inconsistent data",
            "1301",
            "Both content object and template_id are specified".to_owned(),
        ),
        "no_recipient" => {
            at(400, "invalid data format/type", "5005", "At least one valid recipient is required".to_owned())
        }
        "invalid_address" if field.starts_with("content.from") => {
            at(400, "Invalid header", "1307", format!("{field}: {}", violation.message))
        }
        "sender_not_verified" | "domain_not_allowed" | "domain_paused" => at(
            400,
            "Invalid domain",
            "7001",
            violation
                .message
                .split_whitespace()
                .next()
                .map_or_else(String::new, |domain| format!("Unconfigured Sending Domain <{domain}>")),
        ),
        "unknown_template" | "not_published" => {
            at(422, "Subresource not found", "1603", "template for use in transmission not found".to_owned())
        }
        "invalid_template" | "syntax" | "missing_variable" => at(
            422,
            "substitution language syntax error in template content",
            "3000",
            format!("{field}: {}", violation.message),
        ),
        "too_large" => at(422, "message too large", "1304", violation.message.clone()),
        _ => at(422, "invalid data format/type", "1300", format!("{field}: {}", violation.message)),
    }
}

/// `content.from.email`; what accept refuses has our names.
fn field(pointer: &str) -> String {
    let named = match pointer {
        "/to" => "/recipients",
        "/from" => "/content/from",
        "/subject" | "/text" | "/html" | "/headers" | "/attachments" | "/reply_to" => {
            return format!("content.{}", &pointer[1..]);
        }
        "/send_at" => "/options/start_time",
        "/tags" => "/campaign_id",
        "/template/id" => "/content/template_id",
        pointer if pointer.starts_with("/template/variables") || pointer.starts_with("/variables") => {
            "/substitution_data"
        }
        pointer => pointer,
    };
    named.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_sparkposts_code_and_status() {
        let of_domain = "nowhere.example is not a verified domain of this tenant";
        for (pointer, code, message, wanted) in [
            ("/recipients", "required", "", (422, "1400", "recipients or list_id required")),
            ("/content", "required", "", (422, "1400", "content object or template_id required")),
            (
                "/content",
                "content_conflict",
                "",
                (422, "1301", "Both content object and template_id are specified"),
            ),
            (
                "/from",
                "sender_not_verified",
                of_domain,
                (400, "7001", "Unconfigured Sending Domain <nowhere.example>"),
            ),
            ("/recipients", "no_recipient", "", (400, "5005", "At least one valid recipient is required")),
            ("/html", "invalid_template", "{{x", (422, "3000", "content.html: {{x")),
        ] {
            let told = told(&Violation::new(pointer, code, message));
            assert_eq!((told.status, told.code, told.description.as_str()), wanted, "{pointer}");
        }
    }
}
