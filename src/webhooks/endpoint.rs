//! The enabled webhooks of all tenants, in memory, and how each fares.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use time::{Duration, OffsetDateTime};
use url::Url;
use uuid::Uuid;

use crate::domain::id::{TenantId, WebhookId};
use crate::domain::webhook::WebhookSecret;
use crate::domain::webhook_format::Format;
use crate::seal::Subkey;
use crate::store::webhooks::StoredWebhook;

use super::sign::{self, Header, Posting};

/// Requests under way at once, to one webhook.
pub const MOST_POSTS: usize = 10;
/// So many failures in a row, and it gets one request at a time, until one succeeds.
const FAILING: u32 = 3;
/// The longest pause an endpoint may ask of its calls together.
const MAX_PAUSE: Duration = Duration::hours(1);

/// A webhook, ready to be posted to.
#[derive(Debug)]
pub struct Endpoint {
    /// Which.
    pub id: WebhookId,
    /// Whose.
    pub tenant: TenantId,
    /// Where it leads.
    pub url: Url,
    /// The most events in one request; 1: each alone.
    pub batch_size: i64,
    /// In whose shape.
    pub format: Format,
    secret: WebhookSecret,
    previous: Option<(WebhookSecret, OffsetDateTime)>,
    fare: Arc<Fare>,
}

/// How it fares, over all changes of it.
#[derive(Debug, Default)]
struct Fare {
    /// Failures since the last success.
    failures: AtomicU32,
    /// Nothing is posted until then, in milliseconds.
    paused_until: AtomicI64,
}

impl Endpoint {
    /// From its stored form. `None`: its secret does not open, or its URL is none; said aloud.
    pub fn open(stored: StoredWebhook, seal: &Subkey) -> Option<Endpoint> {
        let owner = stored.id.to_string();
        let open = |sealed: &[u8]| {
            seal.open(&owner, sealed).ok().and_then(|octets| WebhookSecret::from_octets(octets).ok())
        };
        let (secret, url) = (open(&stored.secret_sealed), Url::parse(&stored.url).ok());
        // One of a newer binary, during an upgrade: that one posts to it.
        let format: Format = stored.format.parse().ok()?;
        let Some((secret, url)) = secret.zip(url) else {
            tracing::error!(
                webhook.id = owner,
                "the webhook's secret does not open; nothing is posted to it"
            );
            return None;
        };
        let fare = Fare::default();
        if stored.failing_since.is_some() {
            fare.failures.store(FAILING, Ordering::Relaxed);
        }
        Some(Endpoint {
            id: stored.id,
            tenant: stored.tenant,
            url,
            batch_size: stored.batch_size.into(),
            format,
            secret,
            previous: stored.previous.and_then(|(sealed, until)| Some((open(&sealed)?, until))),
            fare: Arc::new(fare),
        })
    }

    /// What is posted: the body in the webhook's shape, and its headers with the signature.
    pub fn dress(&self, reference: &str, now: OffsetDateTime, body: Value) -> (Vec<u8>, Vec<Header>) {
        let posting = Posting { format: self.format, reference, now };
        sign::dress(posting, &self.secret, body, |octets| self.sign(reference, now, octets))
    }

    /// The signature of Standard Webhooks: one, two while a rotated secret still counts.
    fn sign(&self, reference: &str, now: OffsetDateTime, body: &[u8]) -> String {
        let timestamp = now.unix_timestamp();
        let mut signature = self.secret.sign(reference, timestamp, body);
        if let Some((previous, _)) = self.previous.as_ref().filter(|(_, until)| now < *until) {
            signature.push(' ');
            signature.push_str(&previous.sign(reference, timestamp, body));
        }
        signature
    }

    /// How many requests it may have under way.
    pub fn room(&self) -> usize {
        if self.fare.failures.load(Ordering::Relaxed) < FAILING { MOST_POSTS } else { 1 }
    }

    /// It took a request.
    pub fn fares_well(&self) {
        self.fare.failures.store(0, Ordering::Relaxed);
    }

    /// It did not.
    pub fn fares_badly(&self) {
        self.fare.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// It wants nothing for a while.
    pub fn pause(&self, now: OffsetDateTime, wait: Duration) {
        let until = millis(now + wait.min(MAX_PAUSE));
        self.fare.paused_until.fetch_max(until, Ordering::Relaxed);
    }

    /// Whether it is to be left alone now.
    pub fn is_paused(&self, now: OffsetDateTime) -> bool {
        millis(now) < self.fare.paused_until.load(Ordering::Relaxed)
    }
}

fn millis(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// All of them. Readers see either the old ones or the new ones.
#[derive(Debug, Default)]
pub struct Endpoints(RwLock<HashMap<WebhookId, Arc<Endpoint>>>);

impl Endpoints {
    /// Takes over what is stored now.
    pub fn replace(&self, stored: Vec<StoredWebhook>, seal: &Subkey) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let opened = stored.into_iter().filter_map(|webhook| {
            let mut endpoint = Endpoint::open(webhook, seal)?;
            // A new address is a new beginning; any other change is not.
            if let Some(before) = known.get(&endpoint.id).filter(|before| before.url == endpoint.url) {
                endpoint.fare = Arc::clone(&before.fare);
            }
            Some((endpoint.id, Arc::new(endpoint)))
        });
        let new = opened.collect();
        *known = new;
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// One of them.
    pub fn get(&self, id: WebhookId) -> Option<Arc<Endpoint>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Those that can be served now, without those that are.
    pub fn ready(&self, now: OffsetDateTime, served: &HashSet<WebhookId>) -> Vec<Uuid> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known
            .values()
            .filter(|endpoint| !served.contains(&endpoint.id) && !endpoint.is_paused(now))
            .map(|endpoint| endpoint.id.uuid())
            .collect()
    }
}
