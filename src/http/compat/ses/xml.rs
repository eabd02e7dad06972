//! What the older API answers: XML (docs.aws.amazon.com/ses/latest/APIReference).

use std::fmt::Write;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::error::Problem;
use crate::http::request_id;

use super::errors;
use super::sigv4::Unsigned;

const NAMESPACE: &str = "http://ses.amazonaws.com/doc/2010-12-01/";

/// An element and what is in it.
#[derive(Debug, Clone)]
pub enum Element {
    /// Text.
    Text(&'static str, String),
    /// Others.
    Parent(&'static str, Vec<Element>),
}

impl Element {
    fn write(&self, out: &mut String) {
        // Writing to a text cannot fail.
        let _ = match self {
            Element::Text(name, text) => write!(out, "<{name}>{}</{name}>", escape(text)),
            Element::Parent(name, children) => {
                let _ = write!(out, "<{name}>");
                children.iter().for_each(|child| child.write(out));
                write!(out, "</{name}>")
            }
        };
    }
}

/// What an action answers.
pub fn answer(action: &str, result: &[Element]) -> Response {
    let mut inner = String::new();
    result.iter().for_each(|element| element.write(&mut inner));
    let id = escape(&request_id::current().unwrap_or_default());
    let body = format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{inner}</{action}Result>\
         <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{action}Response>"
    );
    xml(StatusCode::OK, body)
}

/// A refusal.
pub fn refuse(problem: &Problem) -> Response {
    let told = errors::told(problem);
    let code = match told.name {
        "UnrecognizedClientException" => "InvalidClientTokenId",
        "BadRequestException" => "InvalidParameterValue",
        "AccessDeniedException" => "AccessDenied",
        "NotFoundException" => "TemplateDoesNotExist",
        "TooManyRequestsException" => "Throttling",
        "AccountSuspendedException" => "AccountSendingPaused",
        other => other.strip_suffix("Exception").unwrap_or(other),
    };
    // Whatever is wrong with a request is 400 there.
    let status = if told.status == 404 || told.status == 429 { 400 } else { told.status };
    error(status, code, &told.message)
}

/// A request that is not well signed.
pub fn unsigned(unsigned: &Unsigned) -> Response {
    let code = match unsigned {
        Unsigned::Missing => "MissingAuthenticationToken",
        Unsigned::Malformed(_) => "IncompleteSignature",
        Unsigned::Expired { .. } | Unsigned::Early { .. } => "RequestExpired",
        Unsigned::Mismatch => "SignatureDoesNotMatch",
    };
    error(403, code, &unsigned.to_string())
}

/// An error by its code.
pub fn error(status: u16, code: &str, message: &str) -> Response {
    let kind = if status < 500 { "Sender" } else { "Receiver" };
    let id = escape(&request_id::current().unwrap_or_default());
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{id}</RequestId></ErrorResponse>",
        escape(code),
        escape(message)
    );
    xml(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
}

fn xml(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0 §2.2 has no other control characters.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut out = String::new();
        Element::Parent("a", vec![Element::Text("b", "<&>\"\u{1}x".to_owned())]).write(&mut out);
        assert_eq!(out, "<a><b>&lt;&amp;&gt;&quot;\u{fffd}x</b></a>");
    }
}
