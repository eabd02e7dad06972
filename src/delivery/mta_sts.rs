//! Policies of recipient domains (MTA-STS, RFC 8461): found by their record, fetched over verified HTTPS, kept in
//! the database as long as they say.
//!
//! Invariant: a policy that was once fetched is kept until it ends, whatever becomes of record and web server: who
//! could cut us off from both could else end it (§5.1).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration as StdDuration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::dns::Resolver;
use crate::domain::netguard;
use crate::domain::tls_result::TlsResult;
use crate::mail::mta_sts::{StsMode, StsPolicy, policy_id};
use crate::store::mta_sts::{self, StoredPolicy};
use crate::store::{Database, StoreError};

use super::site::Reach;
use super::tls_results::TlsResults;

/// Finds policies.
#[derive(Debug)]
pub struct Policies {
    resolver: Resolver,
    database: Database,
    client: reqwest::Client,
    port: u16,
    results: Arc<TlsResults>,
    known: Mutex<HashMap<String, Known>>,
}

/// What this process knows of a domain.
#[derive(Debug, Clone)]
struct Known {
    stored: Option<StoredPolicy>,
    /// Not before this is it fetched again after a failure.
    fetch_after: OffsetDateTime,
    /// Until then the database is not asked again.
    until: OffsetDateTime,
}

/// The longest a fetch may take (RFC 8461 §3.3 suggests a minute for what nobody waits for; here mail does).
const FETCH_TIMEOUT: StdDuration = StdDuration::from_secs(20);
/// The most that is read of a policy (RFC 8461 §3.3 suggests 64 KiB).
const LONGEST_POLICY: usize = 64 * 1024;
/// Between fetches that failed (RFC 8461 §3.3: five minutes or longer).
const FETCH_PAUSE: Duration = Duration::minutes(5);
/// How long another node's fetch may go unnoticed.
const KNOWN_FOR: Duration = Duration::minutes(5);
/// What is said of something else than a policy.
const NO_POLICY: &str = "it is no policy";
/// Domains in memory.
const ROOM: usize = 50_000;

impl Policies {
    /// With `extra` roots besides the machine's; `port` is where policies are served.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(
        resolver: Resolver,
        database: Database,
        reach: Reach,
        extra: &[CertificateDer<'static>],
        port: u16,
    ) -> Result<Policies, reqwest::Error> {
        let extra = extra.iter().map(|root| reqwest::Certificate::from_der(root));
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            // RFC 8461 §3.3: redirects are not followed.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .https_only(true)
            .tls_certs_merge(extra.collect::<Result<Vec<_>, _>>()?)
            .dns_resolver(Guarded { resolver: resolver.clone(), reach })
            .build()?;
        let (results, known) = (Arc::default(), Mutex::default());
        Ok(Policies { resolver, database, client, port, results, known })
    }

    /// The same; what cannot be fetched is counted there.
    #[must_use]
    pub fn counting(self, results: Arc<TlsResults>) -> Policies {
        Policies { results, ..self }
    }

    /// The policy that holds for a domain now; `None`: none does.
    ///
    /// # Errors
    /// The database is away: whether there is one is not known.
    pub async fn of(&self, domain: &str, now: OffsetDateTime) -> Result<Option<StsPolicy>, StoreError> {
        let record = self.resolver.txt(&format!("_mta-sts.{domain}")).await;
        let published = record.ok().and_then(|answer| policy_id(&answer.records));
        let mut known = self.known(domain, now).await?;
        if let Some(id) = published.filter(|id| known.wants(id, now)) {
            match self.fetch(domain).await {
                Ok(policy) => {
                    let stored = StoredPolicy::fetched(id, policy, now);
                    let mut connection = self.database.serve().acquire().await?;
                    mta_sts::put(&mut connection, domain, &stored, now).await?;
                    known.stored = Some(stored);
                }
                Err(reason) => {
                    tracing::info!(reason, "an MTA-STS policy could not be fetched");
                    let is_none = reason == NO_POLICY;
                    let result = if is_none { TlsResult::StsInvalid } else { TlsResult::StsFetchError };
                    self.results.no_policy(domain, result);
                    known.fetch_after = now + FETCH_PAUSE;
                }
            }
            self.remember(domain, known.clone(), now);
        }
        let holds = known.stored.filter(|stored| stored.expires_at > now).map(|stored| stored.policy);
        Ok(holds.filter(|policy| policy.mode != StsMode::None))
    }

    async fn known(&self, domain: &str, now: OffsetDateTime) -> Result<Known, StoreError> {
        let remembered = self.memory().get(domain).filter(|known| known.until > now).cloned();
        if let Some(known) = remembered {
            return Ok(known);
        }
        let mut connection = self.database.serve().acquire().await?;
        let stored = mta_sts::find(&mut connection, domain, now).await?;
        let known = Known { stored, fetch_after: now, until: now + KNOWN_FOR };
        self.remember(domain, known.clone(), now);
        Ok(known)
    }

    fn remember(&self, domain: &str, known: Known, now: OffsetDateTime) {
        let mut memory = self.memory();
        if memory.len() >= ROOM {
            memory.retain(|_, known| known.until > now);
        }
        if memory.len() >= ROOM {
            memory.clear();
        }
        memory.insert(domain.to_owned(), known);
    }

    /// RFC 8461 §3.3.
    async fn fetch(&self, domain: &str) -> Result<StsPolicy, &'static str> {
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let url = format!("https://mta-sts.{domain}{port}/.well-known/mta-sts.txt");
        let unreachable = |_| "its server cannot be reached, or does not prove itself";
        let mut answer = self.client.get(url).send().await.map_err(unreachable)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err("its server answers something else than 200");
        }
        let kind = answer.headers().get(reqwest::header::CONTENT_TYPE);
        if !kind.is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/plain")) {
            return Err("what its server has is no plain text");
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            text.extend_from_slice(&chunk);
            if text.len() > LONGEST_POLICY {
                return Err("it is too long");
            }
        }
        let text = std::str::from_utf8(&text).map_err(|_| NO_POLICY)?;
        StsPolicy::parse(text).ok_or(NO_POLICY)
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Nothing in here panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether the policy that a domain publishes under this id is to be fetched.
    fn wants(&self, id: &str, now: OffsetDateTime) -> bool {
        let has = self.stored.as_ref().is_some_and(|stored| stored.id == id && stored.expires_at > now);
        !has && self.fetch_after <= now
    }
}

/// Names are looked up by our own resolver, and lead to public addresses only (security 5.9).
#[derive(Debug)]
struct Guarded {
    resolver: Resolver,
    reach: Reach,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, reach) = (self.resolver.clone(), self.reach);
        Box::pin(async move {
            let found = resolver.addresses(name.as_str()).await?.records;
            let allowed = found.into_iter().filter(|ip| reach == Reach::Anywhere || netguard::is_public(*ip));
            let addresses: Vec<SocketAddr> = allowed.map(|ip| SocketAddr::new(ip, 0)).collect();
            if addresses.is_empty() {
                return Err("the name leads to no public address".into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
