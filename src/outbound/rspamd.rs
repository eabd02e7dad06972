//! The operator's scanner: rspamd over its HTTP API (rspamd.com/doc/developers/protocol.html, `/checkv2`).
//!
//! Not behind the guard of [`Outbound`](super::Outbound): the operator says where it is, and that is next door.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use url::Url;

/// How long it may take. A client waits ten minutes for the reply to its text.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is read of an answer.
const ANSWER_LIMIT: usize = 1 << 20;

/// Asks a scanner. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rspamd {
    client: Client,
    url: Url,
}

/// What is known of a mail's envelope.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// From where it came.
    pub peer: IpAddr,
    /// What the client called itself.
    pub helo: &'a str,
    /// MAIL FROM; empty: the null path.
    pub sender: &'a str,
    /// RCPT TO.
    pub recipient: &'a str,
}

/// What the scanner thinks.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// How many points.
    pub score: f64,
    /// What it would do: `no action`, `greylist`, `add header`, `rewrite subject`, `soft reject` or `reject`.
    pub action: String,
}

impl Scan {
    /// Whether it takes the mail for spam.
    pub fn is_spam(&self) -> bool {
        matches!(self.action.as_str(), "add header" | "rewrite subject" | "reject")
    }
}

impl Rspamd {
    /// A scanner whose normal worker is at `base` (by default it listens on port 11333).
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(base: &Url) -> Result<Rspamd, reqwest::Error> {
        let client =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
        let mut url = base.clone();
        url.set_path("/checkv2");
        Ok(Rspamd { client: client.build()?, url })
    }

    /// Has a mail looked at.
    ///
    /// # Errors
    /// Why there is no answer, for people.
    pub async fn scan(&self, envelope: Envelope<'_>, raw: Vec<u8>) -> Result<Scan, String> {
        let mut request = self.client.post(self.url.clone()).body(raw);
        let peer = envelope.peer.to_canonical().to_string();
        let headers = [
            ("IP", peer.as_str()),
            ("Helo", envelope.helo),
            ("From", envelope.sender),
            ("Rcpt", envelope.recipient),
        ];
        for (name, value) in headers {
            // What no header can hold, rspamd does without.
            if let Ok(value) = reqwest::header::HeaderValue::from_str(value) {
                request = request.header(name, value);
            }
        }
        let mut response = request.send().await.map_err(|error| error.without_url().to_string())?;
        if !response.status().is_success() {
            return Err(format!("the answer was {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_LIMIT {
                return Err("the answer is too long".to_owned());
            }
        }
        let answer: Value = serde_json::from_slice(&body).map_err(|_| "the answer is no JSON".to_owned())?;
        let (score, action) = (answer["score"].as_f64(), answer["action"].as_str());
        let (score, action) = score.zip(action).ok_or("the answer has no score and action")?;
        Ok(Scan { score, action: action.to_owned() })
    }
}
