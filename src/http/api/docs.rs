//! The contract and its readable form.

use std::sync::OnceLock;

use askama::Template;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;

use crate::http::error::{Kind, Problem};

/// The contract, as it lies in the repository.
pub const OPENAPI: &str = include_str!("../../../openapi.yaml");

/// `GET /openapi.yaml`.
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], OPENAPI).into_response()
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Reference {
    title: String,
    introduction: Vec<String>,
    groups: Vec<Group>,
    problems: Vec<ProblemKind>,
}

struct Group {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    method: String,
    path: String,
    summary: String,
    description: String,
    scope: String,
    answers: Vec<(String, String)>,
}

struct ProblemKind {
    status: u16,
    code: &'static str,
    title: &'static str,
}

/// `GET /docs`: the contract for people.
pub async fn reference() -> Result<Html<&'static str>, Problem> {
    static PAGE: OnceLock<Option<String>> = OnceLock::new();
    let page = PAGE.get_or_init(|| render().inspect_err(|error| tracing::error!(error, "no reference")).ok());
    page.as_deref().map(Html).ok_or_else(|| Problem::new(Kind::Internal, "the reference cannot be shown"))
}

fn render() -> Result<String, String> {
    let contract: Value = serde_yaml_ng::from_str(OPENAPI).map_err(|error| error.to_string())?;
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut groups: Vec<Group> = Vec::new();
    for (path, item) in contract.get("paths").and_then(Value::as_object).into_iter().flatten() {
        for method in ["get", "post", "patch", "put", "delete"] {
            let Some(operation) = item.get(method) else { continue };
            let tag = operation.pointer("/tags/0").and_then(Value::as_str).unwrap_or("Other").to_owned();
            let operation = Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                summary: text(operation, "summary"),
                description: text(operation, "description"),
                scope: text(operation, "x-scope"),
                answers: answers(&contract, operation),
            };
            match groups.iter_mut().find(|group| group.name == tag) {
                Some(group) => group.operations.push(operation),
                None => groups.push(Group { name: tag, operations: vec![operation] }),
            }
        }
    }
    // As the contract lists them: what most readers come for first.
    let order: Vec<String> =
        contract["tags"].as_array().into_iter().flatten().map(|tag| text(tag, "name")).collect();
    groups.sort_by_key(|group| order.iter().position(|name| *name == group.name).unwrap_or(order.len()));
    let problems = Kind::ALL.into_iter().map(Kind::parts);
    let reference = Reference {
        title: text(&contract["info"], "title"),
        introduction: text(&contract["info"], "description").lines().map(str::to_owned).collect(),
        groups,
        problems: problems.map(|(status, code, title)| ProblemKind { status, code, title }).collect(),
    };
    reference.render().map_err(|error| error.to_string())
}

fn answers(contract: &Value, operation: &Value) -> Vec<(String, String)> {
    let responses = operation.get("responses").and_then(Value::as_object).into_iter().flatten();
    let described = responses.map(|(status, response)| {
        let referred =
            response.get("$ref").and_then(Value::as_str).and_then(|r| contract.pointer(r.strip_prefix('#')?));
        let response = referred.unwrap_or(response);
        (status.clone(), response.get("description").and_then(Value::as_str).unwrap_or_default().to_owned())
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_shows_every_operation() {
        let page = render().expect("the contract can be shown");
        for path in ["/v1/messages", "/v1/events/stream", "/v1/keys/{id}"] {
            assert!(page.contains(path), "{path}");
        }
        let at = |heading: &str| page.find(heading).expect("a heading");
        assert!(at("<h2>Messages") < at("<h2>Events") && at("<h2>Events") < at("<h2>Service"));
    }
}
