//! A client of the API, as a user would write one; it waits for what a user would wait for.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::openapi::validate_exchange;

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
        let (http, request) = request.build_split();
        let request = request?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = http.execute(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let answer = Answer { status, headers, body };
        check_answer(&method, &path, &answer);
        validate_exchange(method.as_str(), &path, status.as_u16(), &answer.headers, &bytes);
        Ok(answer)
    }

    /// GET of what is no JSON: its octets. It must be there.
    pub async fn download(&self, path: &str) -> Vec<u8> {
        let response = self.request(Method::GET, path).send().await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.bytes().await.expect("read").to_vec()
    }

    /// Walks a list page by page, `limit` entries each; gives all entries.
    pub async fn all_pages(&self, path: &str, limit: usize) -> Vec<Value> {
        let join = if path.contains('?') { '&' } else { '?' };
        let mut entries = Vec::new();
        let mut cursor = String::new();
        loop {
            let answer = self.get(&format!("{path}{join}limit={limit}{cursor}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {:#}", answer.body);
            let page = answer.list("/data");
            assert!(page.len() <= limit, "a page of {} where {limit} were asked for", page.len());
            entries.extend(page);
            match answer.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return entries,
            }
        }
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
            check_moment(&answer.body);
            if answer.status.is_success() && wanted(&answer.body) {
                return answer.body;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain: {:#}", answer.body);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Erases what is stored of a recipient, and waits until it is done; gives the erasure's id.
    pub async fn erase(&self, email: &str, keep_suppressed: bool) -> String {
        let body = json!({ "email": email, "keep_suppressed": keep_suppressed });
        let answer = self.post("/v1/erasures", body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{:#}", answer.body);
        let (id, began) = (answer.text("/id"), Instant::now());
        while self.get(&format!("/v1/erasures/{id}")).await.body["status"] != "done" {
            assert!(began.elapsed() < PATIENCE, "the erasure is not done");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        id
    }

    /// The types of a message's events, oldest first.
    pub async fn event_types(&self, id: &str) -> Vec<String> {
        let answer = self.get(&format!("/v1/messages/{id}/events?limit=100")).await;
        let mut types: Vec<String> = answer.list("/data").iter().map(|event| text(event, "/type")).collect();
        types.reverse();
        types
    }
}

/// What holds of every answer of the HTTP door, whatever the test is about. The one place to add more.
fn check_answer(method: &Method, path: &str, answer: &Answer) {
    let context = || format!("{method} {path}: {} {:#}", answer.status, answer.body);
    let request_id = answer.headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let request_id = request_id.unwrap_or_else(|| panic!("no X-Request-Id: {}", context()));
    let is_readiness = path == "/readyz";
    if is_readiness || !(answer.status.is_client_error() || answer.status.is_server_error()) {
        return;
    }
    // RFC 9457.
    assert_eq!(answer.content_type(), "application/problem+json", "{}", context());
    if *method == Method::HEAD {
        return;
    }
    assert_eq!(answer.body["status"], json!(answer.status.as_u16()), "{}", context());
    assert_eq!(answer.text("/request_id"), request_id, "{}", context());
    let code = answer.code();
    assert_eq!(answer.text("/type"), format!("urn:postroad:problem:{code}"), "{}", context());
    assert!(!answer.text("/title").is_empty() && !answer.text("/detail").is_empty(), "{}", context());
    if let Some(errors) = answer.body.get("errors") {
        let errors = errors.as_array().unwrap_or_else(|| panic!("{}", context()));
        let is_whole =
            |error: &Value| ["pointer", "code", "message"].iter().all(|name| error[*name].is_string());
        assert!(!errors.is_empty() && errors.iter().all(is_whole), "{}", context());
    }
}

/// A message is shown as it stood at one moment: what is being sent has no result of that attempt yet.
fn check_moment(message: &Value) {
    let deliveries = message.pointer("/deliveries").and_then(Value::as_array).into_iter().flatten();
    for delivery in deliveries.filter(|delivery| delivery["status"] == "sending") {
        let attempts = delivery["attempts"].as_array().into_iter().flatten();
        let of_now =
            attempts.filter(|attempt| attempt["result"] != "stale").map(|attempt| &attempt["attempt"]);
        for number in of_now {
            assert!(number.as_i64() < delivery["attempt_count"].as_i64(), "two moments in one: {message:#}");
        }
    }
}

impl Answer {
    /// The code of a problem.
    pub fn code(&self) -> String {
        self.text("/code")
    }

    /// Its media type as it was given; empty: none.
    pub fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The body of a problem without what differs between two equal requests.
    pub fn anonymous(&self) -> Value {
        let mut body = self.body.clone();
        if let Some(members) = body.as_object_mut() {
            members.remove("request_id");
        }
        body
    }

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
