//! Counting how sessions fared, for TLS reporting (RFC 8460). In memory: `worker/tls_reports` writes it down now and
//! then, of domains that want to know. What a kill loses is some sessions of a statistic.
//!
//! A session counts once for each domain whose mail it was for.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use crate::domain::tls_result::{PolicyType, TlsResult, TlsSession};

use super::mx::{MxSite, Sts};
use super::transmit::{Connection, Failure, Peer, Trouble};

/// Kinds of sessions in memory. Beyond, new ones are not counted.
const MOST: usize = 20_000;

/// What has been counted since it was taken last.
#[derive(Debug, Default)]
pub struct TlsResults {
    counts: Mutex<HashMap<TlsSession, u64>>,
}

/// From where a session was made.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// The server.
    pub mx: &'a str,
    /// The address of ours.
    pub source: Option<IpAddr>,
    /// The server's.
    pub ip: Option<SocketAddr>,
}

impl TlsResults {
    /// One session more.
    pub fn count(&self, domain: &str, policy: PolicyType, result: TlsResult, ends: Ends<'_>) {
        let session = TlsSession {
            domain: domain.to_owned(),
            policy,
            result,
            mx: ends.mx.to_owned(),
            source: ends.source.map(|ip| ip.to_string()).unwrap_or_default(),
            ip: ends.ip.map(|address| address.ip().to_string()).unwrap_or_default(),
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MOST || counts.contains_key(&session) {
            *counts.entry(session).or_default() += 1;
        }
    }

    /// A connection is used for mail to a domain.
    pub fn connected(
        &self,
        domain: &str,
        exchange: &MxSite,
        connection: &Connection,
        source: Option<IpAddr>,
    ) {
        if domain.starts_with('[') {
            return;
        }
        let ends = Ends { mx: connection.host(), source, ip: Some(connection.address()) };
        let (policy, result) = of_connection(exchange, connection);
        self.count(domain, policy, result, ends);
    }

    /// A connection for mail to a domain could not be protected as it must be.
    pub fn failed(&self, domain: &str, failure: &Failure, peer: &Peer, source: Option<IpAddr>) {
        let Trouble::Unmet { status: Some(_), text, .. } = &failure.trouble else { return };
        let policy = if text.contains("DANE") {
            PolicyType::Tlsa
        } else if text.contains("MTA-STS") {
            PolicyType::Sts
        } else {
            // The sender demanded it: the domain's servers did nothing that it would want to know.
            return;
        };
        let ends = Ends { mx: peer.host.as_deref().unwrap_or_default(), source, ip: peer.address };
        self.count(domain, policy, TlsResult::of_words(text), ends);
    }

    /// A domain's policy leaves none of its servers.
    pub fn unsafe_plan(&self, domain: &str) {
        let ends = Ends { mx: "", source: None, ip: None };
        self.count(domain, PolicyType::Sts, TlsResult::ValidationFailure, ends);
    }

    /// A domain's policy could not be had.
    pub fn no_policy(&self, domain: &str, result: TlsResult) {
        self.count(domain, PolicyType::Sts, result, Ends { mx: "", source: None, ip: None });
    }

    /// Takes all that has been counted.
    pub fn take(&self) -> HashMap<TlsSession, u64> {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// By how the connection was verified: `… dane`, `… mta-sts`, `… verified`, `… unverified (why)`.
fn of_connection(exchange: &MxSite, connection: &Connection) -> (PolicyType, TlsResult) {
    let verification = connection.tls();
    match verification {
        Some(tls) if tls.ends_with(" dane") => return (PolicyType::Tlsa, TlsResult::Successful),
        Some(tls) if tls.ends_with(" mta-sts") => return (PolicyType::Sts, TlsResult::Successful),
        _ => {}
    }
    let (policy, barred) = match &exchange.security.sts {
        Sts::Tested { barred } | Sts::Enforced { barred } => (PolicyType::Sts, barred.as_slice()),
        Sts::Silent => (PolicyType::None, &[][..]),
    };
    let is_barred = barred.iter().any(|host| host == connection.host());
    let result = match verification {
        None if connection.offers_starttls() => TlsResult::ValidationFailure,
        None => TlsResult::StartTlsNotSupported,
        Some(_) if is_barred => TlsResult::ValidationFailure,
        Some(tls) if tls.ends_with(" verified") => TlsResult::Successful,
        Some(tls) => TlsResult::of_words(tls),
    };
    (policy, result)
}
