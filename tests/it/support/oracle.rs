//! The conservation oracle: whatever breaks, no mail that was accepted is lost, none is sent twice without a
//! reason, and none is told of wrongly.
//!
//! A test sends its mails through it, each with an `X-Test-Id` of its own, lets things break, and asks for the
//! verdict. The oracle knows what each client was told, reads what the database holds, is given what the
//! receiving side took, and fails the test with everything that does not agree.
//!
//! ```ignore
//! let oracle = Oracle::new();
//! oracle.send(&app.client, mail("ann@example.net")).await.expect("accepted");
//! oracle.send_keyed(&app.client, mail("bob@example.net")).await;      // may end unknown…
//! oracle.retry_unknown(&app.client).await;                            // …and is asked again with its key
//! let verdict = oracle.check(&app.database.url, Terms::default(), || taken_by(&sink)).await;
//! assert_eq!(verdict.ended("delivered"), 2);
//! ```
//!
//! It works with any postroad that can be called, at whatever address it has after a restart, and with any
//! receiver that can say what it took. Clones share what they know, so that many tasks can send.

mod facts;
mod judge;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use super::client::{Answer, Client, text};
use super::sink::SmtpSink;

/// The header that tells mails apart.
pub const TEST_ID: &str = "X-Test-Id";

/// Sends mails and judges what became of them.
#[derive(Debug, Clone, Default)]
pub struct Oracle(Arc<Mutex<Vec<Sent>>>);

/// One mail that was sent, or tried to be.
#[derive(Debug, Clone)]
struct Sent {
    test_id: String,
    told: Told,
    /// How to ask again, if that is safe.
    again: Option<Again>,
}

/// What a client was told about a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It saw a 2xx, or a 250 after the final dot: the mail must not be lost. With its id, if it was told.
    Accepted(Option<String>),
    /// It saw a refusal: the mail must not be sent.
    Refused,
    /// It saw neither: either is right, but not both at once.
    Nothing,
}

#[derive(Debug, Clone)]
struct Again {
    key: String,
    body: Value,
}

/// A mail as the receiving side took it.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The path of RCPT. `None`, if the receiver does not tell: then every message has one recipient.
    pub recipient: Option<String>,
    /// The content, dots unstuffed.
    pub content: Vec<u8>,
}

/// What the verdict allows.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long every delivery may take to end, from now.
    pub budget: Duration,
    /// How often a process died, or was taken for dead, while it had mails in flight: so many more copies of
    /// each are forgiven.
    pub crashes: usize,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { budget: super::client::PATIENCE, crashes: 0 }
    }
}

/// What became of the mails, once nothing was found wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many deliveries ended in each way.
    pub endings: BTreeMap<String, usize>,
    /// Messages whose client was told nothing and that were stored all the same.
    pub stored_unseen: usize,
    /// The most copies that were taken of one delivery.
    pub most_copies: usize,
}

impl Verdict {
    /// How many deliveries ended so.
    pub fn ended(&self, status: &str) -> usize {
        self.endings.get(status).copied().unwrap_or(0)
    }
}

/// What a sink took, for [`Oracle::check`].
pub fn taken_by(sink: &SmtpSink) -> Vec<Copy> {
    let copies = |mail: super::sink::Mail| {
        let content = mail.text;
        let copy = move |path| Copy { recipient: Some(path), content: content.clone() };
        mail.recipients.into_iter().map(|recipient| recipient.path).map(copy).collect::<Vec<_>>()
    };
    sink.received().into_iter().flat_map(copies).collect()
}

impl Oracle {
    /// Nothing sent yet.
    pub fn new() -> Oracle {
        Oracle::default()
    }

    /// What several have sent so far, as if it were one.
    pub fn together(oracles: &[Oracle]) -> Oracle {
        let sent = oracles.iter().flat_map(|oracle| oracle.sent().clone()).collect();
        Oracle(Arc::new(Mutex::new(sent)))
    }

    /// How many of these copies are beyond the first of their mail and recipient.
    pub fn doubled(&self, copies: &[Copy]) -> usize {
        let known: HashSet<String> = self.sent().iter().map(|sent| sent.test_id.clone()).collect();
        let ours = |copy: &Copy| Some((test_id_of(&copy.content)?, copy.recipient.clone()));
        let ours: Vec<_> = copies.iter().filter_map(ours).filter(|(id, _)| known.contains(id)).collect();
        ours.len() - ours.iter().collect::<HashSet<_>>().len()
    }

    /// Sends a mail (the JSON of `POST /v1/messages`) without an Idempotency-Key. Gives its id if it was
    /// accepted.
    pub async fn send(&self, client: &Client, mail: Value) -> Option<String> {
        let (index, body) = self.begin(mail);
        let request = client.request(Method::POST, "/v1/messages").json(&body);
        self.settle(index, &client.try_send(request).await)
    }

    /// Sends a mail with an Idempotency-Key of its own, so that [`Oracle::retry_unknown`] may ask again.
    pub async fn send_keyed(&self, client: &Client, mail: Value) -> Option<String> {
        let (index, body) = self.begin(mail);
        let again = Again { key: Uuid::new_v4().to_string(), body };
        self.sent()[index].again = Some(again.clone());
        self.ask(client, index, &again).await
    }

    /// Sends mails in one batch; gives how many were accepted.
    pub async fn send_batch(&self, client: &Client, mails: Vec<Value>) -> usize {
        let (indexes, bodies): (Vec<_>, Vec<_>) = mails.into_iter().map(|mail| self.begin(mail)).unzip();
        let request = client.request(Method::POST, "/v1/messages/batch").json(&bodies);
        let answer = client.try_send(request).await;
        let told = match &answer {
            Ok(answer) if answer.status.is_success() => {
                answer.list("/data").iter().map(told_in_batch).collect()
            }
            other => vec![told(other); indexes.len()],
        };
        assert_eq!(told.len(), indexes.len(), "a batch answers for each of its mails");
        let accepted = told.iter().filter(|told| matches!(told, Told::Accepted(_))).count();
        for (index, told) in indexes.into_iter().zip(told) {
            self.sent()[index].told = told;
        }
        accepted
    }

    /// Sends raw MIME to these recipients; the test id is written before its first header.
    pub async fn send_raw(&self, client: &Client, to: &[&str], mime: &[u8]) -> Option<String> {
        let (index, test_id) = self.enter();
        let content = [format!("{TEST_ID}: {test_id}\r\n").as_bytes(), mime].concat();
        let query: Vec<_> = to.iter().map(|to| ("to", *to)).collect();
        let request = client.request(Method::POST, "/v1/messages").query(&query);
        let request = request.header("content-type", "message/rfc822").body(content);
        self.settle(index, &client.try_send(request).await)
    }

    /// Makes a test id, for a mail that is sent by another door: write it into its `X-Test-Id`, and
    /// [`Oracle::note`] what the client was told.
    pub fn new_id(&self) -> String {
        self.enter().1
    }

    /// Notes what the client of a mail with this test id was told.
    pub fn note(&self, test_id: &str, told: Told) {
        let mut sent = self.sent();
        let one = sent.iter_mut().find(|sent| sent.test_id == test_id);
        one.expect("an id that new_id made").told = told;
    }

    /// Asks again, with the same Idempotency-Key, for every mail that has one and whose client was told
    /// nothing. Gives how many are still unknown.
    pub async fn retry_unknown(&self, client: &Client) -> usize {
        let unknown = |(index, sent): (usize, &Sent)| match (&sent.told, &sent.again) {
            (Told::Nothing, Some(again)) => Some((index, again.clone())),
            _ => None,
        };
        let pending: Vec<_> = self.sent().iter().enumerate().filter_map(unknown).collect();
        let mut left = 0;
        for (index, again) in pending {
            left += usize::from(self.ask(client, index, &again).await.is_none());
        }
        left
    }

    /// Waits until every delivery has ended, compares everything, and fails the test with a list of all that
    /// is wrong. `copies` is what the receiving side took; it is asked once everything has ended.
    pub async fn check(
        &self,
        database_url: &str,
        terms: Terms,
        copies: impl FnOnce() -> Vec<Copy>,
    ) -> Verdict {
        let test_ids = self.sent().iter().map(|sent| sent.test_id.clone()).collect();
        let stored = facts::read_ended(database_url, &test_ids, terms.budget).await;
        let told = self.sent().iter().map(|sent| (sent.test_id.clone(), sent.told.clone())).collect();
        match judge::judge(&told, stored, copies(), terms.crashes) {
            Ok(verdict) => verdict,
            Err(wrong) => panic!("{} things are wrong:\n{}", wrong.len(), wrong.join("\n")),
        }
    }

    /// Enters a mail and gives it its header.
    fn begin(&self, mut mail: Value) -> (usize, Value) {
        let (index, test_id) = self.enter();
        mail["headers"][TEST_ID] = Value::String(test_id);
        (index, mail)
    }

    /// Until its client is told something, a mail counts as told nothing.
    fn enter(&self) -> (usize, String) {
        let test_id = format!("t{}", Uuid::new_v4().simple());
        let mut sent = self.sent();
        sent.push(Sent { test_id: test_id.clone(), told: Told::Nothing, again: None });
        (sent.len() - 1, test_id)
    }

    async fn ask(&self, client: &Client, index: usize, again: &Again) -> Option<String> {
        let request = client.request(Method::POST, "/v1/messages").header("idempotency-key", &again.key);
        self.settle(index, &client.try_send(request.json(&again.body)).await)
    }

    fn settle(&self, index: usize, answer: &Result<Answer, reqwest::Error>) -> Option<String> {
        let told = told(answer);
        self.sent()[index].told = told.clone();
        match told {
            Told::Accepted(id) => id,
            Told::Refused | Told::Nothing => None,
        }
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

/// A refusal is what says for certain that nothing was stored. A 409 tells of an earlier try that is still
/// under way, a 5xx of trouble in an unknown moment.
fn told(answer: &Result<Answer, reqwest::Error>) -> Told {
    match answer {
        Ok(answer) if answer.status.is_success() => {
            Told::Accepted(answer.body.pointer("/id").and_then(Value::as_str).map(str::to_owned))
        }
        Ok(answer) if answer.status.is_client_error() && answer.status != StatusCode::CONFLICT => {
            Told::Refused
        }
        Ok(_) | Err(_) => Told::Nothing,
    }
}

fn told_in_batch(item: &Value) -> Told {
    if item.get("error").is_some() { Told::Refused } else { Told::Accepted(Some(text(item, "/id"))) }
}

/// The test id of a mail, from its header section.
fn test_id_of(content: &[u8]) -> Option<String> {
    header_of(content, TEST_ID)
}

/// A header's value, if it is on one line as ours are.
fn header_of(content: &[u8], name: &str) -> Option<String> {
    let lines = content.split(|&octet| octet == b'\n').take_while(|line| !matches!(*line, b"" | b"\r"));
    lines.map(String::from_utf8_lossy).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
