//! Sender domains, proved as their owners prove them: through the API and a DNS server.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::client::{Client, text};
use super::dns::DnsServer;

/// The records of a domain for one purpose.
pub fn records(domain: &Value, purpose: &str) -> Vec<Value> {
    let all = domain["records"].as_array().expect("records").iter();
    all.filter(|record| record["purpose"] == purpose).cloned().collect()
}

/// The required records of a domain.
pub fn required(domain: &Value) -> Vec<Value> {
    let all = domain["records"].as_array().expect("records").iter();
    all.filter(|record| record["required"] == true).cloned().collect()
}

/// Publishes a record as it is given, in place of what is there.
pub fn publish(dns: &DnsServer, record: &Value) {
    let (name, value) = (text(record, "/name"), text(record, "/value"));
    dns.clear(&name);
    match record["type"].as_str() {
        Some("TXT") => dns.txt(&name, &value),
        Some("CNAME") => dns.cname(&name, &value),
        Some("MX") => dns.mx(&name, record["priority"].as_u64().expect("a preference") as u16, &value),
        other => panic!("a record of type {other:?}"),
    };
}

/// Publishes all that a domain needs.
pub fn publish_required(dns: &DnsServer, domain: &Value) {
    required(domain).iter().for_each(|record| publish(dns, record));
}

impl Client {
    /// A domain as it was added.
    pub async fn add_domain(&self, name: &str) -> Value {
        let answer = self.post("/v1/domains", json!({ "name": name })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{:#}", answer.body);
        answer.body
    }

    /// A domain after its records were looked up.
    pub async fn verify_domain(&self, domain: &Value) -> Value {
        let answer = self.post(&format!("/v1/domains/{}/verify", text(domain, "/id")), json!({})).await;
        assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
        answer.body
    }

    /// A domain as it is now.
    pub async fn domain(&self, domain: &Value) -> Value {
        let answer = self.get(&format!("/v1/domains/{}", text(domain, "/id"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{:#}", answer.body);
        answer.body
    }

    /// A domain that is proved.
    pub async fn verified_domain(&self, dns: &DnsServer, name: &str) -> Value {
        let domain = self.add_domain(name).await;
        publish_required(dns, &domain);
        let domain = self.verify_domain(&domain).await;
        assert_eq!(domain["status"], "verified", "{domain:#}");
        domain
    }
}
