//! The resolver: one question, one answer, within its time.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::ResolverOpts;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::answer::{Looked, Records, absent, failed, read, temporary};
use super::cache::Cache;
use super::{Absence, Answer, LookupError, Mx, Settings, Tlsa};

/// Looks names up. Clones share what is known.
///
/// Names are given in ASCII (A-labels), and always complete: the machine's search list and its hosts file are
/// not for the world's mail.
#[derive(Clone)]
pub struct Resolver {
    pool: NameServerPool<TokioRuntimeProvider>,
    cache: Arc<Cache>,
    patience: Duration,
    trusted: bool,
    memory: Memory,
}

/// Whether what is known already will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Used,
    PassedOver,
}

/// Tries within the patience: one server that is down, or one packet that is lost, is no failure.
const TRIES: u32 = 2;

impl Resolver {
    /// With these settings.
    ///
    /// # Errors
    /// The library cannot be set up.
    pub fn new(settings: &Settings) -> Result<Resolver, NetError> {
        let servers = settings.servers.configs();
        let mut options = ResolverOpts::default();
        options.timeout = settings.patience / TRIES;
        options.attempts = 1;
        options.cache_size = 0;
        let trusted = settings.trust.covers(&servers);
        let context = Arc::new(PoolContext::new(options, TlsConfig::new()?));
        Ok(Resolver {
            pool: NameServerPool::from_config(servers, context, TokioRuntimeProvider::default()),
            cache: Arc::default(),
            patience: settings.patience,
            trusted,
            memory: Memory::Used,
        })
    }

    /// The same, but asks anew even where an answer is known: for people who have just changed a record.
    pub fn fresh(&self) -> Resolver {
        Resolver { memory: Memory::PassedOver, ..self.clone() }
    }

    /// Whether answers are ever taken for authenticated.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Where a domain takes mail: MX alone, sorted by preference, without the fallback to addresses.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn mx(&self, domain: &str) -> Result<Answer<Mx>, LookupError> {
        let asked = self.ask(domain, RecordType::MX, |data| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, host: text_of(&mx.exchange) }),
            _ => None,
        });
        let mut answer = asked.await?;
        answer.records.sort();
        Ok(answer)
    }

    /// IPv4 and IPv6 addresses. What one family has is used although the other could not be asked for.
    ///
    /// # Errors
    /// [`LookupError`]: neither has any.
    pub async fn addresses(&self, host: &str) -> Result<Answer<IpAddr>, LookupError> {
        let of = |data: &RData| match data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        };
        let (v6, v4) = tokio::join!(self.ask(host, RecordType::AAAA, of), self.ask(host, RecordType::A, of));
        match (v6, v4) {
            (Ok(mut both), Ok(v4)) => {
                both.records.extend(v4.records);
                both.authenticated &= v4.authenticated;
                Ok(both)
            }
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(temporary @ LookupError::Temporary(_)), Err(_))
            | (Err(_), Err(temporary @ LookupError::Temporary(_))) => Err(temporary),
            (Err(LookupError::NotFound(Absence::Name)), Err(_)) => Err(LookupError::NotFound(Absence::Name)),
            (Err(_), Err(absent)) => Err(absent),
        }
    }

    /// Texts, the strings of each record joined (as RFC 7208 §3.3 and RFC 6376 §3.6.2.2 have it).
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn txt(&self, name: &str) -> Result<Answer<String>, LookupError> {
        self.ask(name, RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        })
        .await
    }

    /// What a name is an alias of: one step, not the end of the chain.
    ///
    /// # Errors
    /// [`LookupError`]; [`Absence::Record`]: it is no alias.
    pub async fn cname(&self, name: &str) -> Result<Answer<String>, LookupError> {
        self.ask(name, RecordType::CNAME, |data| match data {
            RData::CNAME(target) => Some(text_of(&target.0)),
            _ => None,
        })
        .await
    }

    /// The names of an address.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn ptr(&self, ip: IpAddr) -> Result<Answer<String>, LookupError> {
        self.ask_name(Name::from(ip), RecordType::PTR, |data| match data {
            RData::PTR(target) => Some(text_of(&target.0)),
            _ => None,
        })
        .await
    }

    /// Which certificates a service has (`_25._tcp.mx.example`).
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn tlsa(&self, name: &str) -> Result<Answer<Tlsa>, LookupError> {
        self.ask(name, RecordType::TLSA, |data| match data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                association: tlsa.cert_data.clone(),
            }),
            _ => None,
        })
        .await
    }

    async fn ask<T>(
        &self,
        name: &str,
        wanted: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, LookupError> {
        // What is no name, or too long for one, cannot be there.
        let name = Name::from_ascii(name).map_err(|_| LookupError::NotFound(Absence::Name))?;
        self.ask_name(name, wanted, of).await
    }

    async fn ask_name<T>(
        &self,
        mut name: Name,
        wanted: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, LookupError> {
        name.set_fqdn(true);
        let question = (name.to_lowercase(), wanted);
        let found = match self.known(&question) {
            Some(known) => known,
            None => {
                let looked = self.look(&question.0, wanted).await;
                self.cache.put(question, &looked);
                looked.result
            }
        };
        let Records { data, name, authenticated } = found?;
        let records = data.iter().filter_map(of).collect();
        Ok(Answer { records, name: text_of(&name), authenticated: authenticated && self.trusted })
    }

    fn known(&self, question: &(Name, RecordType)) -> Option<Result<Records, LookupError>> {
        match self.memory {
            Memory::Used => self.cache.get(question),
            Memory::PassedOver => None,
        }
    }

    async fn look(&self, name: &Name, wanted: RecordType) -> Looked {
        let tries = async {
            let mut edns = Edns::Spoken;
            for _ in 1..TRIES {
                match self.send(name, wanted, edns).await {
                    Ok(response) => return understood(&response, name, wanted),
                    // RFC 6891 §7: a server that does not know EDNS is asked without.
                    Err(NetError::Dns(DnsError::ResponseCode(
                        ResponseCode::FormErr | ResponseCode::NotImp,
                    ))) => edns = Edns::Avoided,
                    Err(error @ NetError::Dns(_)) => return failed(&error),
                    Err(_) => {}
                }
            }
            match self.send(name, wanted, edns).await {
                Ok(response) => understood(&response, name, wanted),
                Err(error) => failed(&error),
            }
        };
        match tokio::time::timeout(self.patience, tries).await {
            Ok(looked) => looked,
            Err(_) => temporary("the resolver does not answer"),
        }
    }

    async fn send(&self, name: &Name, wanted: RecordType, edns: Edns) -> Result<DnsResponse, NetError> {
        let mut options = DnsRequestOptions::default();
        options.use_edns = edns == Edns::Spoken;
        // RFC 6840 §5.7: who wants to see the AD bit says so by DO, or by AD.
        options.edns_set_dnssec_ok = self.trusted && edns == Edns::Spoken;
        let query = Query::query(name.clone(), wanted);
        let (mut message, options) = DnsRequest::from_query(query, options).into_parts();
        message.metadata.authentic_data = self.trusted;
        self.pool.send(DnsRequest::new(message, options)).first_answer().await
    }
}

/// Whether EDNS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edns {
    Spoken,
    Avoided,
}

fn understood(response: &DnsResponse, name: &Name, wanted: RecordType) -> Looked {
    match response.metadata.response_code {
        ResponseCode::NoError => read(response, name, wanted),
        // An alias to a name that is not there.
        ResponseCode::NXDomain => absent(ResponseCode::NXDomain, response.negative_ttl().unwrap_or(0)),
        code => failed(&NetError::Dns(DnsError::ResponseCode(code))),
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// In lower case, without the final dot.
fn text_of(name: &Name) -> String {
    let mut text = name.to_lowercase().to_ascii();
    if text.ends_with('.') {
        text.pop();
    }
    text
}
