//! A reader of server-sent events (HTML standard, §9.2), as far as a test needs one.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::client::{Client, PATIENCE};

/// An open stream of events.
pub struct EventStream {
    response: reqwest::Response,
    unread: String,
}

/// One event as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// To be given as `Last-Event-ID`.
    pub id: String,
    /// Its type.
    pub event: String,
    /// The event itself.
    pub data: Value,
}

impl EventStream {
    /// Opens `/v1/events/stream` with this query, after the event with the id `last`.
    pub async fn open(client: &Client, query: &str, last: Option<&str>) -> EventStream {
        let mut request = client.request(Method::GET, &format!("/v1/events/stream{query}"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        EventStream { response, unread: String::new() }
    }

    /// The next event; `None`: the server has ended the stream.
    pub async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                match parse(&block) {
                    Some(sent) => return Some(sent),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("waited in vain");
            let chunk = chunk.expect("the connection holds")?;
            self.unread.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<Sent> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            taken.push(self.next().await.expect("the stream goes on"));
        }
        taken
    }
}

/// `None`: a comment, which keeps the connection alive.
fn parse(block: &str) -> Option<Sent> {
    let value = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Sent {
        data: serde_json::from_str(value("data")?).expect("JSON"),
        id: value("id").expect("an id").to_owned(),
        event: value("event").expect("a type").to_owned(),
    })
}
