//! HTTP to where a tenant says: the one client that webhooks of every kind go through. It connects only to
//! addresses that the guard (`domain/netguard`) admits, follows no redirect, uses no proxy, reads little of the
//! answer and waits shortly for it. It knows nothing of what it carries.
//!
//! Invariant: what is connected to has been checked by the very lookup that led there, so that a name which
//! leads elsewhere the second time (DNS rebinding) gains nothing. Literals never come to a lookup and are
//! checked from the URL.

pub mod acme;
mod lookup;
pub mod rspamd;

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Client;
use url::{Host, Url};

use crate::domain::netguard::{Forbidden, Netguard, Range};

pub use lookup::Lookup;

use lookup::Guarded;

/// From the first octet sent to the last one read.
pub const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a look at a host's addresses may take before a URL is saved.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// The most that is read of an answer.
pub const ANSWER_LIMIT: usize = 64 * 1024;
const IDLE_PER_HOST: usize = 32;
const IDLE: Duration = Duration::from_secs(30);

/// Posts to where tenants say. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    guard: Arc<Netguard>,
    lookup: Lookup,
    /// For the ports of HTTP.
    public: Client,
    /// For all other ports, which only allowed networks may have.
    allowed: Client,
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `Retry-After`, as it was.
    pub retry_after: Option<String>,
    /// The first [`ANSWER_LIMIT`] octets of its body.
    pub body: Vec<u8>,
    /// How long it took.
    pub duration: Duration,
}

/// Why nothing came back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// It may not be connected to.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// [`TIMEOUT`] passed.
    #[error("no whole answer within {} seconds", TIMEOUT.as_secs())]
    TimedOut,
    /// There is no connection: name, network or TLS.
    #[error("no connection: {0}")]
    NoConnection(String),
    /// The connection or its HTTP broke.
    #[error("the exchange broke off: {0}")]
    Broken(String),
}

/// Why a URL is not even tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not a URL with http or https and a host.
    #[error("an absolute http or https URL is needed")]
    Form,
    /// It names a user.
    #[error("a URL with a user name or password is not used")]
    Userinfo,
    /// It leads where nobody may.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}

impl Outbound {
    /// A client behind a guard.
    ///
    /// # Errors
    /// The HTTP client cannot be built: no trusted roots.
    pub fn new(guard: Netguard, lookup: Lookup) -> Result<Outbound, reqwest::Error> {
        let guard = Arc::new(guard);
        let client = |range: Range| {
            Client::builder()
                .user_agent(concat!("postroad/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_max_idle_per_host(IDLE_PER_HOST)
                .pool_idle_timeout(IDLE)
                .dns_resolver(Guarded { guard: Arc::clone(&guard), lookup: lookup.clone(), range })
                .build()
        };
        let (public, allowed) = (client(Range::Public)?, client(Range::AllowedOnly)?);
        Ok(Outbound { guard, lookup, public, allowed })
    }

    /// Reads a URL and looks where it leads, before it is saved. A name that cannot be looked up now passes:
    /// it is checked again whenever it is connected to.
    ///
    /// # Errors
    /// See [`BadUrl`].
    pub async fn check(&self, text: &str) -> Result<Url, BadUrl> {
        let url = Url::parse(text).map_err(|_| BadUrl::Form)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadUrl::Form);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadUrl::Userinfo);
        }
        let range = self.check_literal(&url).map_err(|error| error.map_or(BadUrl::Form, BadUrl::from))?;
        if let Some(Host::Domain(name)) = url.host() {
            let found = tokio::time::timeout(CHECK_TIMEOUT, self.lookup.addresses(name)).await;
            match found {
                Ok(Ok(addresses)) => drop(self.guard.admit(&addresses, range)?),
                // Wherever it leads, the port is none that it may have.
                _ if range == Range::AllowedOnly && self.guard.allows_nothing() => {
                    return Err(Forbidden::Port.into());
                }
                _ => {}
            }
        }
        Ok(url)
    }

    /// How far the URL's port reaches, once its host, if it is an address, is admitted. `None`: it has no host.
    fn check_literal(&self, url: &Url) -> Result<Range, Option<Forbidden>> {
        let range = self.guard.range(url.port_or_known_default().ok_or(None::<Forbidden>)?);
        let literal = match url.host().ok_or(None::<Forbidden>)? {
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
            Host::Domain(_) => return Ok(range),
        };
        self.guard.admit(&[literal], range)?;
        Ok(range)
    }

    /// Posts a body and reads the answer, all within [`TIMEOUT`].
    ///
    /// # Errors
    /// See [`Failure`]. Any status is an answer.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, Failure> {
        let mut request = self.client(url)?.post(url.clone()).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        exchange(request).await
    }

    /// Asks for what is at a URL, and reads the answer, all within [`TIMEOUT`].
    ///
    /// # Errors
    /// See [`Failure`]. Any status is an answer.
    pub async fn get(&self, url: &Url) -> Result<Answer, Failure> {
        exchange(self.client(url)?.get(url.clone())).await
    }

    /// The client that may connect to the URL's port.
    fn client(&self, url: &Url) -> Result<&Client, Failure> {
        let range = self.check_literal(url).map_err(|error| match error {
            Some(forbidden) => Failure::Forbidden(forbidden),
            None => Failure::NoConnection("the URL has no host".to_owned()),
        })?;
        Ok(match range {
            Range::Public => &self.public,
            Range::AllowedOnly => &self.allowed,
        })
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
    let began = Instant::now();
    let exchange = async {
        let response = request.send().await.map_err(failure)?;
        read(response, began).await
    };
    tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(Failure::TimedOut))
}

async fn read(mut response: reqwest::Response, began: Instant) -> Result<Answer, Failure> {
    let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() < ANSWER_LIMIT {
        let Some(chunk) = response.chunk().await.map_err(failure)? else { break };
        let room = ANSWER_LIMIT - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(Answer { status, retry_after, body, duration: began.elapsed() })
}

fn failure(error: reqwest::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(forbidden) = cause.downcast_ref::<Forbidden>() {
            return Failure::Forbidden(*forbidden);
        }
        source = cause.source();
    }
    let text = innermost(&error);
    match error {
        error if error.is_timeout() => Failure::TimedOut,
        error if error.is_connect() => Failure::NoConnection(text),
        _ => Failure::Broken(text),
    }
}

/// The last cause says what happened; what is above it says where in the client.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
