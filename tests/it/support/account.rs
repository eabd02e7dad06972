//! Tenants and keys, made through the API as an operator makes them.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::app::TestApp;
use super::client::Client;

/// A tenant, and a client with a key of its own.
#[derive(Debug, Clone)]
pub struct Account {
    /// The tenant's id.
    pub tenant: String,
    /// Calls with a key of the tenant that has every scope but `operate`.
    pub client: Client,
}

/// A key that was made, and a client that uses it.
#[derive(Debug, Clone)]
pub struct MadeKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Calls with it.
    pub client: Client,
}

impl TestApp {
    /// A new tenant with a key.
    pub async fn account(&self, name: &str) -> Account {
        let answer = self.client.post("/v1/tenants", json!({ "name": name })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{:#}", answer.body);
        let tenant = answer.text("/id");
        let scopes = ["send", "read", "manage"];
        let key = self.key(json!({ "name": "all", "scopes": scopes, "tenant_id": tenant })).await;
        Account { tenant, client: key.client }
    }

    /// A key as `body` describes it.
    pub async fn key(&self, body: Value) -> MadeKey {
        self.client.make_key(body).await
    }
}

impl Client {
    /// A key as `body` describes it, made with this client's key.
    pub async fn make_key(&self, body: Value) -> MadeKey {
        let answer = self.post("/v1/keys", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{:#}", answer.body);
        let (id, secret) = (answer.text("/id"), answer.text("/key"));
        MadeKey { client: self.with_key(&secret), id, secret }
    }
}
