//! Looking at mail before a route takes it: what its filters find, and what is done for it.
//!
//! Invariants: a filter that cannot be asked holds against nobody, and that is noted; whatever is asked is asked once
//! for each mail, however many recipients and filters want to know.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dns::{LookupError, Resolver};
use crate::domain::filter::{Facts, Filter, Measure, Test, listed_name};
use crate::outbound::rspamd::{Envelope, Rspamd, Scan};

use super::inbox::Examined;

/// For one question to a blocklist.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most of a note.
const MAX_NOTE: usize = 300;

/// Asks what filters want to know.
#[derive(Clone)]
pub struct Screen {
    /// Asks blocklists.
    pub resolver: Resolver,
    /// Scans; `None`: the operator has no scanner.
    pub rspamd: Option<Rspamd>,
}

/// What is done with a mail for one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Screened {
    /// Reject or drop; `None`: it goes its way.
    pub(super) fate: Option<Measure>,
    /// Filters that held, and those that could not be asked; empty: none.
    pub(super) notes: Vec<Value>,
    /// What the mail is marked with.
    tags: Vec<String>,
}

impl Screened {
    /// As it is stored; `None`: there is nothing to say.
    pub(super) fn stored(&self) -> Option<Value> {
        (!self.notes.is_empty()).then(|| self.notes.clone().into())
    }

    /// A field for each filter that marked the mail. Names of filters are a line of ASCII, or were made one.
    pub(super) fn fields(&self) -> String {
        self.tags.iter().map(|tag| format!("X-Filter-Tag: {tag}\r\n")).collect()
    }
}

/// What has been asked about a mail.
pub(super) struct Questions<'a> {
    screen: &'a Screen,
    mail: &'a Examined<'a>,
    lists: HashMap<String, Result<bool, String>>,
    scan: Option<Result<Scan, String>>,
}

impl Screen {
    /// About one mail.
    pub(super) fn about<'a>(&'a self, mail: &'a Examined<'a>) -> Questions<'a> {
        Questions { screen: self, mail, lists: HashMap::new(), scan: None }
    }

    async fn is_listed(&self, peer: IpAddr, zone: &str) -> Result<bool, String> {
        let name = listed_name(peer, zone);
        let asked = tokio::time::timeout(PATIENCE, self.resolver.addresses(&name)).await;
        match asked.map_err(|_| "no answer in time".to_owned())? {
            // RFC 5782 §2.1: entries are in 127.0.0.0/8. Lists tell there, too, that they do not serve who asks.
            Ok(answer) => match answer.records.iter().find(|ip| is_refusal(**ip)) {
                Some(ip) => Err(format!("the list refuses to answer ({ip})")),
                None => Ok(answer.records.iter().any(IpAddr::is_loopback)),
            },
            Err(LookupError::NotFound(_)) => Ok(false),
            Err(LookupError::Temporary(error)) => Err(error),
        }
    }
}

/// 127.255.255.0/24: "not from here, not so often" (spamhaus.org, "DNSBL error codes").
fn is_refusal(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == [127, 255, 255])
}

impl Questions<'_> {
    /// What these filters find for a recipient. The first that refuses or drops ends it.
    pub(super) async fn answer(&mut self, filters: &[Filter], recipient: &str) -> Screened {
        let mut screened = Screened::default();
        for filter in filters {
            let (name, measure) = (filter.test.name(), filter.measure);
            match self.holds(&filter.test, recipient).await {
                Ok(false) => {}
                Ok(true) => {
                    screened.notes.push(json!({ "filter": name, "then": measure.as_str(), "note": null }));
                    match measure {
                        Measure::Tag => screened.tags.push(plain(&name)),
                        Measure::Reject | Measure::Drop => {
                            screened.fate = Some(measure);
                            return screened;
                        }
                    }
                }
                Err(why) => {
                    let note: String = why.chars().take(MAX_NOTE).collect();
                    tracing::warn!(
                        filter = name,
                        error = note,
                        "a filter could not be asked; the mail passes it"
                    );
                    screened.notes.push(json!({ "filter": name, "then": null, "note": note }));
                }
            }
        }
        screened
    }

    async fn holds(&mut self, test: &Test, recipient: &str) -> Result<bool, String> {
        let mail = self.mail.mail;
        let facts = Facts { peer: mail.peer, raw: mail.raw, verdicts: &self.mail.verdicts.json };
        match test {
            Test::Blocklist(zone) => {
                if let Some(known) = self.lists.get(zone) {
                    return known.clone();
                }
                let listed = self.screen.is_listed(mail.peer, zone).await;
                self.lists.insert(zone.clone(), listed.clone());
                listed
            }
            Test::Rspamd(least) => {
                let scan = self.scanned(recipient).await?;
                Ok(least.map_or_else(|| scan.is_spam(), |least| scan.score >= least))
            }
            known => Ok(known.holds(facts).unwrap_or(false)),
        }
    }

    async fn scanned(&mut self, recipient: &str) -> Result<Scan, String> {
        if let Some(known) = &self.scan {
            return known.clone();
        }
        let mail = self.mail.mail;
        let scan = match &self.screen.rspamd {
            Some(rspamd) => {
                let envelope = Envelope { peer: mail.peer, helo: mail.helo, sender: mail.sender, recipient };
                rspamd.scan(envelope, mail.raw.to_vec()).await
            }
            None => Err("this installation has no rspamd (POSTROAD_RSPAMD_URL)".to_owned()),
        };
        self.scan = Some(scan.clone());
        scan
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
