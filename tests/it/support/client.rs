//! A client of the API, as a user would write one; it waits for what a user would wait for.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// How long anything that happens by itself may take. Generous: test machines are slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body: JSON, or a string of whatever it is.
    pub body: Value,
}

/// Calls one postroad with one key.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    key: String,
    http: reqwest::Client,
}

impl Client {
    /// Of the postroad at `url`.
    pub fn new(url: &str, key: &str) -> Client {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Client { url: url.to_owned(), key: key.to_owned(), http }
    }

    /// The same postroad with another key.
    pub fn with_key(&self, key: &str) -> Client {
        Client { key: key.to_owned(), ..self.clone() }
    }

    /// Where postroad is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request to be filled in by the test.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// Sends a request; the connection must hold.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.try_send(request).await.expect("answered")
    }

    /// Sends a request.
    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(Answer { status, headers, body })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// PATCH of JSON.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Sends a mail, which must be accepted; gives its id.
    pub async fn send_mail(&self, body: Value) -> String {
        let answer = self.post("/v1/messages", body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
        answer.text("/id")
    }

    /// Waits until every delivery of a message has ended; gives the message.
    pub async fn ended(&self, id: &str) -> Value {
        self.until(id, |message| {
            statuses(message).iter().all(|status| !matches!(status.as_str(), "queued" | "sending"))
        })
        .await
    }

    /// Waits until a message is as `wanted`; gives it.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.get(&format!("/v1/messages/{id}")).await;
            if answer.status.is_success() && wanted(&answer.body) {
                return answer.body;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain: {:#}", answer.body);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The types of a message's events, oldest first.
    pub async fn event_types(&self, id: &str) -> Vec<String> {
        let answer = self.get(&format!("/v1/messages/{id}/events?limit=100")).await;
        let mut types: Vec<String> = answer.list("/data").iter().map(|event| text(event, "/type")).collect();
        types.reverse();
        types
    }
}

impl Answer {
    /// A text of the body.
    pub fn text(&self, pointer: &str) -> String {
        text(&self.body, pointer)
    }

    /// A list of the body.
    pub fn list(&self, pointer: &str) -> Vec<Value> {
        self.body
            .pointer(pointer)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_else(|| panic!("no list {pointer} in {:#}", self.body))
    }

    /// The `pointer` and `code` of each violation, in order.
    pub fn violations(&self) -> Vec<(String, String)> {
        self.list("/errors").iter().map(|error| (text(error, "/pointer"), text(error, "/code"))).collect()
    }
}

/// A text inside of JSON.
pub fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text {pointer} in {value:#}")).to_owned()
}

/// The statuses of a message's deliveries.
pub fn statuses(message: &Value) -> Vec<String> {
    let deliveries = message.pointer("/deliveries").and_then(Value::as_array).cloned().unwrap_or_default();
    deliveries.iter().map(|delivery| text(delivery, "/status")).collect()
}

/// A mail that is as plain as can be.
pub fn mail(to: &str) -> Value {
    json!({ "from": "Acme <hello@acme.example>", "to": to, "subject": "Hello", "text": "Some text.\n" })
}
