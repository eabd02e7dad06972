//! The providers' doors: their own clients, unmodified, against the running server, with what arrived over SMTP held
//! against what was sent; and their words, on the wire.

mod brevo;
mod clients;
mod mailersend;
mod mailgun;
mod mailjet;
mod matrix;
mod moving;
mod netcore;
mod postmark;
mod resend;
mod sendgrid;
mod sendlayer;
mod ses;
mod shared;
mod smtpcom;
mod sparkpost;
mod tls;
mod webhooks;
mod words;

use reqwest::Method;
use serde_json::Value;

use crate::support::app::TestApp;

/// What a request was answered, in nobody's words but the provider's.
#[derive(Debug)]
pub struct Said {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body: JSON, or a string of whatever it is.
    pub body: Value,
}

/// Asks as a provider's client would, with these headers.
pub async fn ask(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Said {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.request(method, format!("{}{path}", app.client.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = match body {
        Value::Null => request,
        Value::String(text) => request.body(text),
        json => request.json(&json),
    };
    let response = request.send().await.expect("answered");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.expect("read");
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Said { status, headers, body }
}

/// A message's id, of the UUID that a provider's id is.
pub fn id_of(uuid: &str) -> String {
    let uuid = uuid::Uuid::parse_str(uuid).unwrap_or_else(|_| panic!("no UUID: {uuid}"));
    postroad::domain::id::MessageId::from_uuid(uuid).to_string()
}
