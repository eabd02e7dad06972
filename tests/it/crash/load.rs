//! Clients that send mail all the time, as a patient user's would: what is refused for a reason of ours, or
//! not answered at all, is sent again with its Idempotency-Key. Every fourth mail is an impatient user's, who
//! never asks again: nobody knows what became of it, and the oracle accepts either.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use crate::support::client::{Client, mail};
use crate::support::oracle::{Oracle, TEST_ID, Told};

/// Running clients.
pub struct Load {
    oracle: Oracle,
    target: watch::Sender<Client>,
    stop: CancellationToken,
    senders: JoinSet<()>,
    seen: Arc<Mutex<Seen>>,
}

/// What the clients saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Mails accepted.
    pub accepted: usize,
    /// Answers that were no 2xx.
    pub refused: Vec<Refused>,
    /// Requests without an answer.
    pub unanswered: usize,
    /// What was said of those of them that were sent, at least in part.
    pub cut_off: Vec<String>,
    /// The longest wait for any answer.
    pub slowest: Duration,
}

/// An answer that was no 2xx.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Its status.
    pub status: StatusCode,
    /// It said when to come again.
    pub says_when: bool,
}

/// A pause before the same is asked again.
const AGAIN: Duration = Duration::from_millis(100);

impl Load {
    /// So many clients, each sending a mail every `pace`, if it is answered by then.
    pub fn start(client: &Client, senders: usize, pace: Duration) -> Load {
        let (target, at) = watch::channel(client.clone());
        let mut load = Load {
            oracle: Oracle::new(),
            target,
            stop: CancellationToken::new(),
            senders: JoinSet::new(),
            seen: Arc::default(),
        };
        for _ in 0..senders {
            let sender = Sender {
                oracle: load.oracle.clone(),
                target: at.clone(),
                stop: load.stop.clone(),
                seen: Arc::clone(&load.seen),
            };
            load.senders.spawn(sender.run(pace));
        }
        load
    }

    /// The program has started again, elsewhere.
    pub fn moved(&self, client: &Client) {
        self.target.send_replace(client.clone());
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        seen(&self.seen).clone()
    }

    /// Waits until so many mails more than now have been accepted.
    pub async fn accepts(&self, more: usize) {
        let goal = self.seen().accepted + more;
        super::eventually("mail is accepted again", PATIENCE, async || self.seen().accepted >= goal).await;
    }

    /// Waits until something was refused or went unanswered since `before`.
    pub async fn notices(&self, before: &Seen) {
        let trouble = |seen: &Seen| seen.refused.len() + seen.unanswered;
        let noticed = async || trouble(&self.seen()) > trouble(before);
        super::eventually("the clients notice", PATIENCE, noticed).await;
    }

    /// Stops sending, once every patient client has had its last mail accepted.
    pub async fn stop(mut self) -> (Oracle, Seen) {
        self.stop.cancel();
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a client does not panic");
        }
        let seen = self.seen();
        (self.oracle, seen)
    }
}

struct Sender {
    oracle: Oracle,
    target: watch::Receiver<Client>,
    stop: CancellationToken,
    seen: Arc<Mutex<Seen>>,
}

/// Whether a client asks again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Patient,
    Impatient,
}

impl Sender {
    async fn run(self, pace: Duration) {
        let mut pace = tokio::time::interval(pace);
        let mut number = 0u32;
        while !self.stop.is_cancelled() {
            pace.tick().await;
            let patience = if number % 4 == 3 { Patience::Impatient } else { Patience::Patient };
            self.send(patience).await;
            number += 1;
        }
    }

    /// Sends one mail, until it is accepted or the client gives up.
    async fn send(&self, patience: Patience) {
        let test_id = self.oracle.new_id();
        let mut body = mail("ann@example.net");
        body["headers"][TEST_ID] = test_id.clone().into();
        let began = Instant::now();
        loop {
            let told = self.ask(&test_id, &body).await;
            self.oracle.note(&test_id, told.clone());
            match (told, patience) {
                (Told::Nothing, Patience::Patient) => {}
                _ => return,
            }
            assert!(began.elapsed() < 3 * PATIENCE, "a mail is refused for ever");
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn ask(&self, key: &str, body: &Value) -> Told {
        let client = self.target.borrow().clone();
        let request = client.request(Method::POST, "/v1/messages").header("idempotency-key", key).json(body);
        let began = Instant::now();
        let answer = client.try_send(request).await;
        let mut seen = seen(&self.seen);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                seen.unanswered += 1;
                if !error.is_connect() {
                    seen.cut_off.push(format!("{error:?}"));
                }
                return Told::Nothing;
            }
        };
        seen.slowest = seen.slowest.max(began.elapsed());
        if answer.status == StatusCode::ACCEPTED {
            seen.accepted += 1;
            return Told::Accepted(Some(answer.text("/id")));
        }
        assert!(answer.status.is_server_error(), "a good mail is refused: {:#}", answer.body);
        let says_when = answer.headers.contains_key("retry-after");
        seen.refused.push(Refused { status: answer.status, says_when });
        Told::Nothing
    }
}

fn seen(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("nothing panics while it is held")
}

impl Seen {
    /// Every refusal was a 503, or, if the database has no room, a 507, that says when to come again.
    pub fn refusals_are_polite(&self) {
        for refused in &self.refused {
            let is_passing = matches!(refused.status.as_u16(), 503 | 507);
            assert!(is_passing && refused.says_when, "{refused:?}");
        }
    }

    /// None of them said that there is no room.
    pub fn there_was_room(&self) -> bool {
        self.refused.iter().all(|refused| refused.status != StatusCode::INSUFFICIENT_STORAGE)
    }
}
