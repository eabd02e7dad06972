//! Templates: what they are made of, what mail is made of them, and many recipients who each get a mail of their own.

mod recipients;
mod resource;
mod sending;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Answer, Client};

/// Makes a template, which must be made.
async fn template(client: &Client, body: Value) -> Answer {
    let answer = client.post("/v1/templates", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{:#}", answer.body);
    answer
}

/// A mail without contents.
fn bare(to: &str) -> Value {
    json!({ "from": "Acme <hello@acme.example>", "to": to })
}

/// With these members instead of its own.
fn with(mut body: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

/// What is wrong with a request: 422, as pointers and codes.
async fn refused(client: &Client, path: &str, body: Value) -> Vec<(String, String)> {
    let answer = client.post(path, body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", answer.body);
    answer.violations()
}

fn wrong(found: &[(&str, &str)]) -> Vec<(String, String)> {
    found.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
}

/// A postroad that hands its mail to this port.
async fn towards(port: u16) -> TestApp {
    TestApp::builder().relay(port).start().await
}
