//! What the world does to deliveries: peers that are slow, rude, broken, old or gone; and that no mail is lost,
//! doubled or told of wrongly all the same. Every claim of that kind goes through the oracle.
//!
//! The ids in the comments (S1, T4…) name rows of the fault matrix.

mod connections;
mod drops;
mod fairness;
mod idle;
mod old_peers;
mod peers;
mod refusals;
mod simulator;
mod slow;
mod smuggling;
mod tls;

use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::app::{Builder, TestApp};
use crate::support::client::{PATIENCE, mail, text};
use crate::support::oracle::{Oracle, Terms, Verdict, taken_by};
use crate::support::sink::{SinkBuilder, SmtpSink};

/// Longer than any test: for what must not happen within one.
const FOREVER: Duration = Duration::from_secs(3600);

/// A postroad that hands its mail to one scripted server, and the oracle that watches.
struct Scene {
    app: TestApp,
    sink: SmtpSink,
    oracle: Oracle,
}

impl Scene {
    async fn of(sink: SinkBuilder) -> Scene {
        Scene::with(sink, |app| app).await
    }

    /// With a postroad that is set up otherwise, but for its route.
    async fn with(sink: SinkBuilder, change: impl FnOnce(Builder) -> Builder) -> Scene {
        let sink = sink.start().await;
        let app = change(TestApp::builder().set("POSTROAD_ROUTE", &route(&sink))).start().await;
        Scene { app, sink, oracle: Oracle::new() }
    }

    /// Over one connection at a time.
    async fn narrow(sink: SinkBuilder) -> Scene {
        let sink = sink.start().await;
        let app = TestApp::builder().set("POSTROAD_ROUTE", &narrow(&sink)).start().await;
        Scene { app, sink, oracle: Oracle::new() }
    }

    /// Sends a plain mail, which must be accepted; gives its id.
    async fn send(&self, to: &str) -> String {
        self.oracle.send(&self.app.client, mail(to)).await.expect("accepted")
    }

    /// The message, once its first delivery has been tried so often.
    async fn tried(&self, id: &str, times: usize) -> Value {
        self.app.client.until(id, |message| attempts(message).len() >= times).await
    }

    /// The message, once its deliveries have ended.
    async fn ended(&self, id: &str) -> Value {
        self.app.client.ended(id).await
    }

    /// Everything has ended, nothing was lost.
    async fn verdict(&self) -> Verdict {
        self.oracle.check(&self.app.database.url, Terms::default(), || taken_by(&self.sink)).await
    }

    /// The verdict, and the end.
    async fn end(self) -> Verdict {
        let verdict = self.verdict().await;
        self.app.stop().await;
        verdict
    }
}

/// A route to a sink, in clear.
fn route(sink: &SmtpSink) -> String {
    format!("smtp://{}?tls=none", sink.address())
}

/// The same, over one connection at a time.
fn narrow(sink: &SmtpSink) -> String {
    format!("{}&connections=1", route(sink))
}

/// The attempts on a message's first delivery.
pub fn attempts(message: &Value) -> Vec<Value> {
    message.pointer("/deliveries/0/attempts").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// What an attempt came to, in a line: result, class, step, code, enhanced code.
pub fn told(attempt: &Value) -> String {
    let word = |pointer: &&str| match attempt.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    };
    ["/result", "/class", "/smtp/step", "/smtp/code", "/smtp/enhanced"]
        .iter()
        .map(word)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The same of a message's last attempt.
pub fn last_told(message: &Value) -> String {
    told(attempts(message).last().expect("an attempt"))
}

/// What an attempt says in words.
pub fn words(attempt: &Value) -> String {
    text(attempt, "/smtp/text")
}

/// How long after its last attempt a message's first delivery is tried again.
pub fn wait_after_last(message: &Value) -> Duration {
    let began = moment(attempts(message).last().expect("an attempt"), "/started_at");
    let next = moment(message, "/deliveries/0/next_attempt_at");
    (next - began).try_into().expect("the next attempt comes after the last one")
}

fn moment(value: &Value, pointer: &str) -> OffsetDateTime {
    OffsetDateTime::parse(&text(value, pointer), &Rfc3339).expect("a moment")
}

/// Fails unless a wait is the scheduled one, up to its spread of a tenth and what the attempt itself took.
pub fn assert_about(wait: Duration, minutes: u64) {
    let scheduled = Duration::from_secs(60 * minutes);
    let range = scheduled * 9 / 10..scheduled * 11 / 10 + PATIENCE;
    assert!(range.contains(&wait), "{wait:?} instead of about {minutes} minutes");
}
