//! Looking at addresses before they are mailed: form, records, lists, and the tenant's own history. No mailbox is
//! asked whether it is there: receivers take that for the harvesting it resembles.
//!
//! Invariant: it ends within [`PATIENCE`], whatever the DNS does.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;

use crate::dns::{Absence, LookupError, Resolver};
use crate::domain::disposable::is_disposable;
use crate::domain::id::TenantId;
use crate::domain::validation::{self, History, Reason, Verdict};
use crate::mail::{AddressError, EmailAddress};
use crate::store::{Database, StoreError, address_history};

/// The most addresses of one call.
pub const MOST: usize = 100;
/// For all lookups of one call together.
const PATIENCE: Duration = Duration::from_millis(3500);
/// Domains looked up at the same time.
const AT_ONCE: usize = 25;
/// Servers of a domain whose addresses are looked for: one that has some is enough.
const MOST_SERVERS: usize = 3;

/// What was found out of one address.
#[derive(Debug, Clone)]
pub struct Validated {
    /// As it was given.
    pub given: String,
    /// As it is written to; `None`: it is no address.
    pub address: Option<EmailAddress>,
    /// What is wrong with its form.
    pub fault: Option<String>,
    /// What is to be thought of it.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The address that was probably meant.
    pub suggestion: Option<String>,
    /// Where its domain takes mail, best first.
    pub servers: Vec<String>,
    /// What this tenant has seen of it.
    pub history: History,
}

/// Looks at addresses, in order.
///
/// # Errors
/// See [`StoreError`].
pub async fn validate(
    database: &Database,
    resolver: &Resolver,
    tenant: TenantId,
    given: Vec<String>,
) -> Result<Vec<Validated>, StoreError> {
    let parsed: Vec<_> = given.iter().map(|text| EmailAddress::parse(text.trim())).collect();
    let keys: Vec<String> = parsed.iter().flatten().map(EmailAddress::key).collect();
    let mut connection = database.serve().acquire().await?;
    let known = address_history::of(&mut connection, tenant, &keys).await?;
    drop(connection);
    let domains: HashSet<String> =
        parsed.iter().flatten().map(|address| address.domain().to_owned()).collect();
    let looked = look_up(resolver, domains).await;
    let one = |(given, parsed): (String, Result<EmailAddress, AddressError>)| match parsed {
        Ok(address) => {
            let domain = looked.get(address.domain()).cloned().unwrap_or_else(Domain::unasked);
            let history = known.get(&address.key()).cloned().unwrap_or_default();
            judged(given, address, domain, history)
        }
        Err(error) => malformed(given, &error.to_string()),
    };
    Ok(given.into_iter().zip(parsed).map(one).collect())
}

/// What a domain's records say.
#[derive(Debug, Clone)]
struct Domain {
    servers: Vec<String>,
    reason: Option<Reason>,
}

impl Domain {
    /// Time ran out.
    fn unasked() -> Domain {
        Domain { servers: Vec::new(), reason: Some(Reason::DnsUnavailable) }
    }
}

fn malformed(given: String, fault: &str) -> Validated {
    Validated {
        given,
        address: None,
        fault: Some(fault.to_owned()),
        verdict: Verdict::Undeliverable,
        reasons: vec![Reason::InvalidSyntax],
        suggestion: None,
        servers: Vec::new(),
        history: History::default(),
    }
}

fn judged(given: String, address: EmailAddress, domain: Domain, history: History) -> Validated {
    let meant = validation::suggestion(address.domain());
    let mut reasons: Vec<Reason> = domain.reason.into_iter().chain(history.reasons()).collect();
    let signs = [
        (is_disposable(address.domain()), Reason::Disposable),
        (validation::is_role(address.local()), Reason::Role),
        (meant.is_some(), Reason::Typo),
    ];
    reasons.extend(signs.into_iter().filter(|(seen, _)| *seen).map(|(_, reason)| reason));
    reasons.sort_unstable();
    reasons.dedup();
    Validated {
        given,
        fault: None,
        verdict: validation::verdict(&reasons),
        reasons,
        suggestion: meant.map(|domain| format!("{}@{domain}", address.local())),
        address: Some(address),
        servers: domain.servers,
        history,
    }
}

/// What the domains' records say, as far as there is time.
async fn look_up(resolver: &Resolver, domains: HashSet<String>) -> HashMap<String, Domain> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    futures_util::stream::iter(domains)
        .map(|domain| async move {
            let looked = tokio::time::timeout_at(deadline, of_domain(resolver, &domain)).await;
            (domain, looked.unwrap_or_else(|_| Domain::unasked()))
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn of_domain(resolver: &Resolver, domain: &str) -> Domain {
    if domain.starts_with('[') {
        return Domain { servers: vec![domain.to_owned()], reason: None };
    }
    let servers: Vec<String> = match resolver.mx(domain).await {
        Ok(answer) => answer.records.into_iter().map(|mx| mx.host).collect(),
        // RFC 5321 §5.1: without any MX the domain itself is the host.
        Err(LookupError::NotFound(Absence::Record)) => vec![domain.to_owned()],
        Err(LookupError::NotFound(Absence::Name)) => {
            return Domain { servers: Vec::new(), reason: Some(Reason::NoSuchDomain) };
        }
        Err(LookupError::Temporary(_)) => return Domain::unasked(),
    };
    if servers.iter().all(String::is_empty) {
        return Domain { servers: Vec::new(), reason: Some(Reason::NullMx) };
    }
    let reason = reachable(resolver, &servers).await;
    Domain { servers, reason }
}

/// Whether one of the servers has an address.
async fn reachable(resolver: &Resolver, servers: &[String]) -> Option<Reason> {
    let mut reason = Reason::NoMailServer;
    for server in servers.iter().filter(|server| !server.is_empty()).take(MOST_SERVERS) {
        match resolver.addresses(server).await {
            Ok(_) => return None,
            Err(LookupError::NotFound(_)) => {}
            Err(LookupError::Temporary(_)) => reason = Reason::DnsUnavailable,
        }
    }
    Some(reason)
}
