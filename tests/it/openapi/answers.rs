//! Whether an answer is what the contract promises. Tests of the API call this for every answer they see.
//!
//! Schemas are compiled once each, at their first use. Invariant: an answer that the contract does not name at all,
//! by path, method, status or content type, is wrong.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Draft, Validator};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{contract, resolve};

/// Holds an answer to any request against the contract: by its path as it was requested, with its headers.
///
/// # Panics
/// With everything that is not as promised.
pub fn validate_exchange(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
    let problem = answer_to(method, path, status).and_then(|answer| {
        let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
        // The answer to HEAD is that to GET without its body.
        let checked = if method == "HEAD" { Ok(()) } else { check_body(&answer, content_type, body) };
        checked.and(check_headers(&answer, headers))
    });
    if let Err(problem) = problem {
        panic!("{method} {path} answered {status}, against openapi.yaml: {problem}");
    }
}

/// Holds the answer of one operation against the contract: `path_template` is its key in `paths`.
///
/// # Panics
/// With everything that is not as promised.
pub fn validate_response(
    method: &str,
    path_template: &str,
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) {
    let checked =
        documented(method, path_template, status).and_then(|answer| check_body(&answer, content_type, body));
    if let Err(problem) = checked {
        panic!("{method} {path_template} answered {status}, against openapi.yaml: {problem}");
    }
}

/// The key in `paths` that a requested path belongs to; one without parameters goes first.
pub fn template_of(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &&String| {
        let (wanted, given) = (template.split('/'), path.split('/'));
        wanted.clone().count() == given.clone().count()
            && wanted
                .zip(given)
                .all(|(wanted, given)| wanted == given || wanted.starts_with('{') && !given.is_empty())
    };
    let paths = contract()["paths"].as_object().expect("the contract has paths");
    paths.keys().filter(fits).min_by_key(|template| template.matches('{').count()).map(String::as_str)
}

/// A response of the contract, and where it stands in it.
struct Promised {
    pointer: String,
    response: &'static Value,
}

fn answer_to(method: &str, path: &str, status: u16) -> Result<Promised, String> {
    let Some(template) = template_of(path) else { return common("NotFound", status, 404) };
    let documented_method = if method == "HEAD" { "GET" } else { method };
    if contract()["paths"][template].get(documented_method.to_ascii_lowercase()).is_none() {
        return common("MethodNotAllowed", status, 405);
    }
    documented(documented_method, template, status)
}

/// What is answered where there is no operation.
fn common(name: &str, status: u16, expected: u16) -> Result<Promised, String> {
    if status != expected {
        return Err(format!("there is no such operation, so that {expected} is due"));
    }
    promised(&format!("/components/responses/{name}"))
}

fn documented(method: &str, template: &str, status: u16) -> Result<Promised, String> {
    let path = template.replace('~', "~0").replace('/', "~1");
    promised(&format!("/paths/{path}/{}/responses/{status}", method.to_ascii_lowercase()))
        .map_err(|_| "this status is not documented for this operation".to_owned())
}

fn promised(pointer: &str) -> Result<Promised, String> {
    let found = contract().pointer(pointer).ok_or("there is no such response")?;
    match found.get("$ref").and_then(Value::as_str) {
        Some(reference) => Ok(Promised { pointer: reference[1..].to_owned(), response: resolve(found) }),
        None => Ok(Promised { pointer: pointer.to_owned(), response: found }),
    }
}

fn check_body(promised: &Promised, content_type: Option<&str>, body: &[u8]) -> Result<(), String> {
    let Some(content) = promised.response.get("content") else {
        return if body.is_empty() { Ok(()) } else { Err("no body is documented".to_owned()) };
    };
    let kind =
        content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if content.get(&kind).is_none() {
        return Err(format!("the content type {content_type:?} is not documented"));
    }
    let value = if kind == "application/json" || kind.ends_with("+json") {
        serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?
    } else {
        Value::String(String::from_utf8_lossy(body).into_owned())
    };
    let schema = format!("{}/content/{}/schema", promised.pointer, kind.replace('/', "~1"));
    check(&schema, &value).map_err(|errors| format!("the body is not of its schema:{errors}\n{value:#}"))
}

fn check_headers(promised: &Promised, headers: &HeaderMap) -> Result<(), String> {
    let documented = promised.response["headers"].as_object().into_iter().flatten();
    for (name, header) in documented {
        let pointer = match header.get("$ref").and_then(Value::as_str) {
            Some(reference) => reference[1..].to_owned(),
            None => format!("{}/headers/{name}", promised.pointer),
        };
        let header = resolve(header);
        match headers.get(name).map(|value| value.to_str().unwrap_or_default()) {
            None if header["required"] == true => return Err(format!("the header {name} is missing")),
            None => {}
            Some(text) => {
                let value = match header["schema"]["type"].as_str() {
                    Some("integer") => text.parse::<i64>().map_or(json!(text), Value::from),
                    _ => json!(text),
                };
                check(&format!("{pointer}/schema"), &value)
                    .map_err(|errors| format!("the header {name} is not of its schema:{errors}"))?;
            }
        }
    }
    Ok(())
}

/// Holds a value against the schema at a pointer of the contract; tells everything that is wrong with it.
pub fn check(pointer: &str, value: &Value) -> Result<(), String> {
    let mut report = String::new();
    for error in compiled(pointer).iter_errors(value) {
        write!(report, "\n  at {:?}: {error}", error.instance_path().to_string())
            .expect("a String takes everything");
    }
    if report.is_empty() { Ok(()) } else { Err(report) }
}

fn compiled(pointer: &str) -> Arc<Validator> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().expect("nobody panics while holding it");
    if let Some(validator) = compiled.get(pointer) {
        return Arc::clone(validator);
    }
    // The contract itself, made a schema that refers into itself: to JSON Schema its other members mean nothing.
    let mut schema = contract().clone();
    // A fragment takes no braces as they are (RFC 3986 §3.5).
    schema["$ref"] = json!(format!("#{}", pointer.replace('{', "%7B").replace('}', "%7D")));
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&schema)
        .unwrap_or_else(|error| panic!("the schema at {pointer}: {error}"));
    let validator = Arc::new(validator);
    compiled.insert(pointer.to_owned(), Arc::clone(&validator));
    validator
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const TEMPLATE: &str = "/v1/tenants/{id}";
    const JSON: Option<&str> = Some("application/json");
    const PROBLEM: Option<&str> = Some("application/problem+json");

    fn tenant() -> Value {
        json!({
            "id": "ten_06p4grm7u0000k2m4n6p8q0r2s",
            "name": "acme",
            "created_at": "2026-11-24T10:20:30.456Z",
            "suspended": false,
            "suspended_at": null, "dsn": "asked", "require_tls": false,
        })
    }

    fn problem(status: u16, code: &str) -> Value {
        json!({
            "type": format!("urn:postroad:problem:{code}"), "title": "x", "status": status, "detail": "x", "code": code,
        })
    }

    fn accepts(status: u16, content_type: Option<&str>, body: &Value) -> bool {
        let body = body.to_string();
        let checked = || validate_response("GET", TEMPLATE, status, content_type, body.as_bytes());
        catch_unwind(checked).is_ok()
    }

    #[test]
    fn what_was_promised_passes() {
        assert!(accepts(200, JSON, &tenant()));
        assert!(accepts(200, Some("application/json; charset=utf-8"), &tenant()));
        assert!(accepts(404, PROBLEM, &problem(404, "not_found")));
        validate_response("DELETE", TEMPLATE, 204, None, b"");
        validate_response("GET", "/healthz", 200, Some("text/plain; charset=utf-8"), b"ok\n");
    }

    #[test]
    fn what_was_not_promised_fails() {
        let changed = |name: &str, value: Value| {
            let mut tenant = tenant();
            tenant[name] = value;
            tenant
        };
        let mut short = tenant();
        short.as_object_mut().expect("an object").remove("suspended_at");
        let cases = [
            (200, JSON, short),
            (200, JSON, changed("more", json!(1))),
            (200, JSON, changed("id", json!("msg_06p4grm7u0000k2m4n6p8q0r2s"))),
            (200, JSON, changed("name", json!("Acme"))),
            (200, JSON, changed("created_at", json!("yesterday"))),
            (200, JSON, changed("suspended", Value::Null)),
            (200, PROBLEM, tenant()),
            (200, None, tenant()),
            (201, JSON, tenant()),
            (404, PROBLEM, problem(404, "gone")),
            (404, PROBLEM, problem(400, "not_found")),
            (404, PROBLEM, problem(403, "forbidden")),
            (404, JSON, problem(404, "not_found")),
        ];
        for (status, content_type, body) in cases {
            assert!(!accepts(status, content_type, &body), "{status} {content_type:?} {body}");
        }
        assert!(
            catch_unwind(|| validate_response("PUT", TEMPLATE, 200, JSON, b"{}")).is_err(),
            "no such method"
        );
        assert!(
            catch_unwind(|| validate_response("GET", "/v1/x", 200, JSON, b"{}")).is_err(),
            "no such path"
        );
        assert!(catch_unwind(|| validate_response("GET", TEMPLATE, 200, JSON, b"{")).is_err(), "no JSON");
        assert!(catch_unwind(|| validate_response("DELETE", TEMPLATE, 204, None, b"x")).is_err(), "a body");
    }

    #[test]
    fn a_requested_path_finds_its_operation() {
        assert_eq!(template_of("/v1/messages?limit=1"), Some("/v1/messages"));
        assert_eq!(template_of("/v1/messages/batch"), Some("/v1/messages/batch"));
        assert_eq!(template_of("/v1/messages/msg_1/events"), Some("/v1/messages/{id}/events"));
        assert_eq!(template_of("/v1/messages/"), None);
        assert_eq!(template_of("/v1/nothing"), None);
    }

    #[test]
    fn an_exchange_is_held_with_its_headers() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pairs = pairs.iter().map(|(name, value)| {
                (
                    reqwest::header::HeaderName::from_static(name),
                    reqwest::header::HeaderValue::from_static(value),
                )
            });
            pairs.collect()
        };
        let request_id = ("x-request-id", "req_1");
        let json = headers(&[request_id, ("content-type", "application/json")]);
        let refused = headers(&[request_id, ("content-type", "application/problem+json")]);
        let limited = |more: &[(&'static str, &'static str)]| {
            headers(&[&[request_id, ("content-type", "application/problem+json")], more].concat())
        };
        let path = "/v1/tenants/ten_06p4grm7u0000k2m4n6p8q0r2s";
        let passes = |method: &str, path: &str, status: u16, headers: &HeaderMap, body: &Value| {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            catch_unwind(|| validate_exchange(method, path, status, headers, body.as_bytes())).is_ok()
        };

        assert!(passes("GET", path, 200, &json, &tenant()));
        assert!(passes("HEAD", path, 200, &json, &Value::Null));
        assert!(
            !passes("GET", path, 200, &headers(&[("content-type", "application/json")]), &tenant()),
            "no id"
        );
        assert!(passes("GET", "/v1/nothing", 404, &refused, &problem(404, "not_found")));
        assert!(!passes("GET", "/v1/nothing", 200, &json, &tenant()));
        let not_allowed = problem(405, "method_not_allowed");
        assert!(passes("PUT", path, 405, &limited(&[("allow", "GET,HEAD")]), &not_allowed));
        assert!(!passes("PUT", path, 405, &refused, &not_allowed), "no Allow");
        assert!(!passes("PUT", path, 200, &json, &tenant()));
        let rate_limited = problem(429, "rate_limited");
        assert!(passes("GET", path, 429, &limited(&[("retry-after", "1")]), &rate_limited));
        assert!(!passes("GET", path, 429, &refused, &rate_limited), "no Retry-After");
        assert!(!passes("GET", path, 429, &limited(&[("retry-after", "soon")]), &rate_limited));
    }
}
