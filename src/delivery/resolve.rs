//! From a recipient's domain to the servers that take its mail, and from servers to addresses. Every answer is
//! asked for anew at each attempt; the resolver keeps it as long as it may be kept.
//!
//! Invariant: trouble with the DNS never bounces a mail. Only what is known to be absent, or refused by the
//! domain itself, does.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use time::OffsetDateTime;

use crate::dns::{Absence, Answer, LookupError, Mx, Resolver, Tlsa};
use crate::domain::handling::Transport;
use crate::domain::netguard;
use crate::mail::mta_sts::StsMode;

use super::mta_sts::Policies;
use super::mx::{self, MxSite, Nowhere, Security, Signed, Sts};
use super::site::Reach;

/// Finds the way to strangers' servers.
#[derive(Debug)]
pub struct Finder {
    /// Looks names up.
    pub resolver: Resolver,
    /// Knows what domains demand.
    pub policies: Policies,
    /// The port they listen on.
    pub port: u16,
    /// Which addresses they may have.
    pub reach: Reach,
    /// Our own name, which no mail may be handed on to.
    pub ourselves: String,
}

/// Where a domain's mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// There.
    To(MxSite),
    /// Nowhere, ever.
    Never(Refusal),
    /// Nowhere that is known. Domains are sometimes lost and found again: it is looked at once more, later.
    Absent(Refusal),
    /// Nobody knows at the moment. In words.
    Later(String),
    /// None of its servers may be given mail, by the domain's own policy. In words.
    Unsafe(String),
}

/// Why a domain gets no mail from us, as a peer would have said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reply code.
    pub code: u16,
    /// The enhanced status (RFC 3463).
    pub status: &'static str,
    /// In words.
    pub text: String,
}

/// An address of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The host, as its domain names it.
    pub host: Mx,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its name at the end of the aliases.
    pub name: String,
    /// Whether name and address are signed.
    pub signed: Signed,
}

/// Addresses tried in one attempt.
const MOST_ADDRESSES: usize = 5;
/// Of one host, while there are others.
const MOST_OF_ONE_HOST: usize = 3;
/// Hosts looked up at the same time.
const AT_ONCE: usize = 5;
/// The longest that finding addresses may take, all hosts together.
const PATIENCE: Duration = Duration::from_secs(30);

impl Finder {
    /// Where mail to `domain` goes.
    pub async fn plan(&self, domain: &str, transport: Transport, now: OffsetDateTime) -> Plan {
        match self.exchange(domain, transport, now).await {
            Ok(exchange) => Plan::To(exchange),
            Err(plan) => plan,
        }
    }

    async fn exchange(
        &self,
        domain: &str,
        transport: Transport,
        now: OffsetDateTime,
    ) -> Result<MxSite, Plan> {
        let (hosts, signed) = self.hosts(domain).await?;
        let (hosts, sts) = self.named_by_policy(domain, hosts, signed, now).await?;
        self.candidates(&hosts).await?;
        Ok(MxSite { hosts, security: Security { transport, sts, signed } })
    }

    /// What the domain's MTA-STS policy leaves of its hosts.
    async fn named_by_policy(
        &self,
        domain: &str,
        mut hosts: Vec<Mx>,
        signed: Signed,
        now: OffsetDateTime,
    ) -> Result<(Vec<Mx>, Sts), Plan> {
        if domain.starts_with('[') {
            return Ok((hosts, Sts::Silent));
        }
        let policy =
            self.policies.of(domain, now).await.map_err(|error| {
                Plan::Later(format!("what the domain demands of TLS is not known: {error}"))
            })?;
        let Some(policy) = policy else { return Ok((hosts, Sts::Silent)) };
        let strange = |mx: &Mx| !policy.names(&mx.host);
        let barred: Vec<String> = hosts.iter().filter(|mx| strange(mx)).map(|mx| mx.host.clone()).collect();
        if policy.mode == StsMode::Testing {
            return Ok((hosts, Sts::Tested { barred }));
        }
        if signed == Signed::Yes {
            return Ok((hosts, Sts::Enforced { barred }));
        }
        hosts.retain(|mx| !strange(mx));
        if hosts.is_empty() {
            // RFC 8461 §5.
            return Err(Plan::Unsafe("MTA-STS: the domain's policy names none of its servers".to_owned()));
        }
        Ok((hosts, Sts::Enforced { barred: Vec::new() }))
    }

    async fn hosts(&self, domain: &str) -> Result<(Vec<Mx>, Signed), Plan> {
        if domain.starts_with('[') {
            return Ok((mx::implicit(domain), Signed::No));
        }
        let (named, signed) = match self.resolver.mx(domain).await {
            Ok(answer) => (answer.records, Signed::from(answer.authenticated)),
            // RFC 5321 §5.1: only without any MX is the domain itself the host. If its address turns out to be
            // signed, the absence of an MX was, too: the resolver would have refused to tell it otherwise.
            Err(LookupError::NotFound(Absence::Record)) => return Ok((mx::implicit(domain), Signed::Yes)),
            Err(LookupError::NotFound(Absence::Name)) => {
                return Err(Plan::Absent(Refusal::new(
                    550,
                    "5.1.2",
                    "the recipient's domain does not exist",
                )));
            }
            Err(LookupError::Temporary(text)) => {
                return Err(Plan::Later(format!("where the domain takes mail is not known: {text}")));
            }
        };
        let hosts = mx::hosts(named, &self.ourselves);
        hosts.map(|hosts| (hosts, signed)).map_err(|nowhere| {
            Plan::Never(match nowhere {
                Nowhere::NullMx => Refusal::new(556, "5.1.10", "the domain takes no mail (null MX)"),
                Nowhere::Ourselves => {
                    Refusal::new(554, "5.4.6", "mail loop: the domain's best server is this one")
                }
            })
        })
    }

    /// Addresses to try, in this order.
    ///
    /// # Errors
    /// There is none that may be dialled; never [`Plan::To`].
    pub async fn candidates(&self, hosts: &[Mx]) -> Result<Vec<Candidate>, Plan> {
        let mut found = Found::default();
        let looking = async {
            for some in hosts.chunks(AT_ONCE) {
                let looked = join_all(some.iter().map(|host| self.addresses(&host.host))).await;
                for (host, addresses) in some.iter().zip(looked) {
                    self.take(&mut found, host, addresses, hosts.len());
                }
                if found.candidates.len() >= MOST_ADDRESSES {
                    break;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_err() {
            found.unknown = Some("its servers' names take too long to look up".to_owned());
        }
        found.verdict()
    }

    fn take(
        &self,
        found: &mut Found,
        host: &Mx,
        addresses: Result<Answer<IpAddr>, LookupError>,
        hosts: usize,
    ) {
        let Answer { records, name, authenticated } = match addresses {
            Ok(addresses) => addresses,
            Err(LookupError::Temporary(text)) => {
                found.unknown = Some(format!("{}: {text}", host.host));
                return;
            }
            Err(LookupError::NotFound(_)) => return,
        };
        let (allowed, private): (Vec<_>, Vec<_>) = mx::by_turns(records)
            .into_iter()
            .partition(|ip| self.reach == Reach::Anywhere || netguard::is_public(*ip));
        found.private |= !private.is_empty();
        let most = if hosts > 1 { MOST_OF_ONE_HOST } else { MOST_ADDRESSES };
        let room = MOST_ADDRESSES.saturating_sub(found.candidates.len()).min(most);
        let candidate = |ip| Candidate {
            host: host.clone(),
            address: SocketAddr::new(ip, self.port),
            name: name.clone(),
            signed: Signed::from(authenticated),
        };
        found.candidates.extend(allowed.into_iter().take(room).map(candidate));
    }

    async fn addresses(&self, host: &str) -> Result<Answer<IpAddr>, LookupError> {
        match mx::address_of(host) {
            Some(ip) => Ok(Answer { records: vec![ip], name: host.to_owned(), authenticated: false }),
            None => self.resolver.addresses(host).await,
        }
    }

    /// The signed TLSA records of a candidate, if its names are signed (RFC 7672 §2.2.2): of the name at the end of
    /// the aliases, or else of the host itself. `None`: DANE says nothing of it.
    ///
    /// # Errors
    /// They could not be looked up: then nothing may be sent there (RFC 7672 §2.1.1).
    pub async fn tlsa(&self, candidate: &Candidate) -> Result<Option<Vec<Tlsa>>, String> {
        if candidate.signed == Signed::No {
            return Ok(None);
        }
        let mut bases = vec![&candidate.name, &candidate.host.host];
        bases.dedup();
        for base in bases {
            match self.resolver.tlsa(&format!("_{}._tcp.{base}", self.port)).await {
                Ok(answer) if answer.authenticated => return Ok(Some(answer.records)),
                Ok(_) | Err(LookupError::NotFound(_)) => {}
                Err(LookupError::Temporary(text)) => return Err(text),
            }
        }
        Ok(None)
    }
}

#[derive(Debug, Default)]
struct Found {
    candidates: Vec<Candidate>,
    /// One at least has addresses that are not dialled.
    private: bool,
    /// One at least could not be looked up.
    unknown: Option<String>,
}

impl Found {
    fn verdict(self) -> Result<Vec<Candidate>, Plan> {
        match (self.candidates, self.unknown, self.private) {
            (candidates, _, _) if !candidates.is_empty() => Ok(candidates),
            (_, Some(text), _) => {
                Err(Plan::Later(format!("no address of the domain's servers is known: {text}")))
            }
            (_, None, true) => {
                Err(Plan::Never(Refusal::new(550, "5.4.4", "the domain's servers have no public address")))
            }
            (_, None, false) => {
                Err(Plan::Absent(Refusal::new(550, "5.4.4", "the domain's servers have no address")))
            }
        }
    }
}

impl Refusal {
    fn new(code: u16, status: &'static str, text: &str) -> Refusal {
        Refusal { code, status, text: text.to_owned() }
    }
}

/// What is left to try of an attempt's addresses, and how long each is waited for before the next is tried
/// beside it (RFC 8305 §5): an address of the same rank soon, a lower one late.
pub fn head_start(current: &Candidate, next: &Candidate) -> Duration {
    if next.host.preference == current.host.preference {
        Duration::from_secs(1)
    } else {
        Duration::from_secs(5)
    }
}

/// Candidates that no server with `preference` or a worse one is among: for when one of that rank is ourselves.
pub fn before(candidates: &mut VecDeque<Candidate>, preference: u16) {
    candidates.retain(|candidate| candidate.host.preference < preference);
}
