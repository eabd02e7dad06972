//! Webhooks: what is posted, to whom, when, and what becomes of it (faults W1 to W4).

mod api;
mod batches;
mod faults;
mod log;
mod order;
mod posted;
pub mod receiver;

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp};
use crate::support::client::{Client, PATIENCE};
use crate::support::database::TestDatabase;

/// A postroad that may post to this machine.
fn app() -> Builder {
    TestApp::builder().set("POSTROAD_WEBHOOK_ALLOW", "127.0.0.0/8")
}

/// Makes a webhook, and waits until the worker knows it: gives its id and its secret.
async fn hook(client: &Client, body: Value) -> (String, String) {
    let made = client.post("/v1/webhooks", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:#}", made.body);
    (made.text("/id"), made.text("/secret"))
}

/// Only these types.
fn only(url: &str, types: &[&str]) -> Value {
    json!({ "url": url, "types": types })
}

impl TestDatabase {
    /// The next try of whatever waits for webhooks has come.
    async fn make_calls_due(&self) {
        let statement =
            "UPDATE webhook_calls SET due_at = clock_timestamp() WHERE due_at > clock_timestamp()";
        sqlx::query(statement).execute(&mut self.connect().await).await.expect("changed");
    }
}

/// What was posted to a webhook, oldest first, once it is as `wanted`.
async fn logged(client: &Client, id: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let mut posts = client.all_pages(&format!("/v1/webhooks/{id}/deliveries"), 100).await;
        posts.reverse();
        if wanted(&posts) {
            return posts;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {posts:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
