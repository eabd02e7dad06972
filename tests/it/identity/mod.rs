//! Sending as somebody: who may, and what receivers can prove of it. Against a real DNS server, over real SMTP, and
//! judged by verifiers that nobody here wrote.

mod policy;
mod signatures;
mod strangers;

use serde_json::Value;

use crate::support::app::{Builder, TestApp};
use crate::support::dns::DnsServer;
use crate::support::sink::SmtpSink;

/// A postroad that lets only verified senders send, through a sink.
async fn begin() -> (DnsServer, SmtpSink, TestApp) {
    begin_with(|builder| builder).await
}

async fn begin_with(change: impl FnOnce(Builder) -> Builder) -> (DnsServer, SmtpSink, TestApp) {
    let (dns, sink) = (DnsServer::start().await, SmtpSink::builder().start().await);
    let builder = TestApp::builder()
        .dns(&dns)
        .relay(sink.address().port())
        .set("POSTROAD_BOUNCE_DOMAIN", "bounce.postroad.test")
        .set("POSTROAD_SENDER_POLICY", "verified");
    let app = change(builder).start().await;
    (dns, sink, app)
}

/// The values of a field, from the top, without white space.
fn values(raw: &[u8], name: &str) -> Vec<String> {
    let fields = crate::support::captured::fields(raw).into_iter();
    fields
        .filter(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.split_whitespace().collect())
        .collect()
}

/// A tag of a signature.
fn tag<'a>(signature: &'a str, name: &str) -> &'a str {
    signature.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

/// The texts that a domain publishes, as a resolver would give them.
fn zone(domain: &Value) -> Value {
    let keys = crate::support::domains::records(domain, "dkim").into_iter();
    keys.map(|record| (record["name"].as_str().expect("a name").to_owned(), record["value"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
