//! The settings of the guard of reputation.

use crate::account::standing::Lists;
use crate::domain::identity::DomainName;
use crate::domain::relay::DefaultRoute;
use crate::domain::reputation::{BadPercent, Percent, Thresholds};

use super::Source;

/// Lists that may be asked for free by who sends little, and that say so when they are asked too much.
const OF_IPS: &str = "zen.spamhaus.org, bl.spamcop.net, psbl.surriel.com";
const OF_DOMAINS: &str = "dbl.spamhaus.org, multi.surbl.org";

impl Source {
    pub(super) fn thresholds(&mut self) -> Thresholds {
        let mut percent = |key: &str, default: &str| self.parsed(key, default, percent_or_off).flatten();
        Thresholds {
            complaint_warn: percent("COMPLAINT_WARN", "0.08"),
            complaint_hold: percent("COMPLAINT_HOLD", "0.3"),
            bounce_warn: percent("BOUNCE_WARN", "5"),
            bounce_hold: percent("BOUNCE_HOLD", "10"),
            least_mails: self.number("GUARD_MIN_MAILS", 1000, 1..=1_000_000_000) as i64,
        }
    }

    /// Nobody is asked unless mail leaves from here, or somebody names lists.
    pub(super) fn lists(&mut self, route: Option<&DefaultRoute>) -> Lists {
        let sends = route == Some(&DefaultRoute::Direct);
        let mut zones = |key: &str, default: &str| {
            self.parsed(key, if sends { default } else { "off" }, zones).unwrap_or_default()
        };
        Lists { of_ips: zones("DNSBL_IPS", OF_IPS), of_domains: zones("DNSBL_DOMAINS", OF_DOMAINS) }
    }
}

fn percent_or_off(text: &str) -> Result<Option<Percent>, BadPercent> {
    if text == "off" { Ok(None) } else { text.parse().map(Some) }
}

fn zones(text: &str) -> Result<Vec<DomainName>, String> {
    if text == "off" {
        return Ok(Vec::new());
    }
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| DomainName::parse(part).map_err(|error| format!("{part:?}: {error}"))).collect()
}
