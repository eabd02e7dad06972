//! What is asked of us at a site: the limits of each provider, and what its replies mean for the pace. The
//! figures are a table (`assets/pacing.toml`), over which an operator lays his own. Pure; what a site does with
//! them is `delivery/pace`.

mod read;

use std::sync::{Arc, OnceLock};

use regex::{RegexSet, RegexSetBuilder};
use time::Duration;

use crate::domain::pacing::{Effect, Limits};
use crate::mail::reply::SmtpReply;

pub use read::BadPacing;

/// An MX host without a name in the table, and a relay without.
const DEFAULT: &str = "default";
const RELAY: &str = "relay";

/// What holds at one site.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The provider's name in the table; `default` or `relay` if it has none.
    pub provider: String,
    /// How much, and how fast.
    pub limits: Limits,
    /// What replies change.
    pub feedback: Arc<Feedback>,
    /// How many mails an address that is warmed up may send there on each of its days, all processes together.
    pub warmup: Arc<[u32]>,
}

/// What replies change, first match first.
#[derive(Debug)]
pub struct Feedback {
    /// Compiled at the first negative reply: all of them together have some megabytes.
    patterns: OnceLock<RegexSet>,
    rules: Vec<Rule>,
}

/// One kind of reply, and what it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The regular expression that finds it.
    pub reply: String,
    /// What it changes.
    pub effect: Effect,
    /// Only when so many came…
    pub after: usize,
    /// …within so long.
    pub within: Duration,
}

impl Policy {
    /// Whether the table has a name for the provider.
    pub fn is_named(&self) -> bool {
        !matches!(self.provider.as_str(), DEFAULT | RELAY)
    }
}

impl Feedback {
    /// Of these rules.
    ///
    /// # Errors
    /// One of them is no regular expression.
    pub fn new(rules: Vec<Rule>) -> Result<Feedback, regex::Error> {
        compile(&rules)?;
        Ok(Feedback { patterns: OnceLock::new(), rules })
    }

    /// The first rule that a negative reply matches, with its number.
    pub fn on(&self, reply: &SmtpReply) -> Option<(usize, &Rule)> {
        if self.rules.is_empty() || reply.is_positive() {
            return None;
        }
        // `new` has compiled them once.
        let patterns =
            self.patterns.get_or_init(|| compile(&self.rules).unwrap_or_else(|_| RegexSet::empty()));
        let index = patterns.matches(&reply.to_string()).iter().next()?;
        Some((index, &self.rules[index]))
    }
}

fn compile(rules: &[Rule]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(rules.iter().map(|rule| &rule.reply)).case_insensitive(true).build()
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Policies {
    default: Policy,
    relay: Policy,
    providers: Vec<Provider>,
}

/// A provider, and how it is recognised.
#[derive(Debug, Clone)]
struct Provider {
    domains: Vec<String>,
    relays: Vec<String>,
    mx: Vec<String>,
    /// At an MX host, where what is not named is as for all MX hosts.
    as_mx: Policy,
    /// At a relay, where what is not named is as for all relays.
    as_relay: Policy,
    /// It names a number of connections.
    names_connections: bool,
}

impl Policies {
    /// The table that comes with the program.
    pub fn shipped() -> Policies {
        read::read(None).expect("a test reads the table that comes with the program")
    }

    /// The same with the operator's own laid over it.
    ///
    /// # Errors
    /// A sentence that names what is wrong, and where.
    pub fn with(own: &str) -> Result<Policies, BadPacing> {
        read::read(Some(own))
    }

    /// How many days a warm-up lasts, wherever it lasts longest.
    pub fn warmup_days(&self) -> usize {
        let providers = self.providers.iter().map(|provider| provider.as_mx.warmup.len());
        providers.max().unwrap_or(0).max(self.default.warmup.len())
    }

    /// At a relay that may have so many connections by its owner's word.
    pub fn of_relay(&self, host: &str, port: u16, connections: u32) -> Policy {
        let named = format!("{host}:{port}");
        let found = best(&self.providers, |provider| {
            let exact = provider.relays.iter().any(|relay| relay.eq_ignore_ascii_case(&named));
            if exact { Some(usize::MAX) } else { longest(&provider.relays, host) }
        });
        let mut policy = found.map_or_else(|| self.relay.clone(), |provider| provider.as_relay.clone());
        let named = found.is_some_and(|provider| provider.names_connections);
        policy.limits.connections =
            if named { connections.min(policy.limits.connections) } else { connections };
        policy.limits.start =
            if named { policy.limits.start.min(policy.limits.connections) } else { connections };
        policy
    }

    /// The provider that a recipient's domain belongs to by its own name.
    pub fn of_domain(&self, domain: &str) -> Option<&str> {
        best(&self.providers, |provider| longest(&provider.domains, domain))
            .map(|provider| provider.as_mx.provider.as_str())
    }

    /// At these MX hosts, for mail to `domain` if it is for one alone.
    pub fn of_mx(&self, hosts: &[String], domain: Option<&str>) -> Policy {
        let by_domain = |provider: &Provider| longest(&provider.domains, domain?);
        let by_host = |provider: &Provider| hosts.iter().filter_map(|host| longest(&provider.mx, host)).max();
        let found = best(&self.providers, by_domain).or_else(|| best(&self.providers, by_host));
        found.map_or_else(|| self.default.clone(), |provider| provider.as_mx.clone())
    }
}

/// The provider with the most specific match.
fn best(providers: &[Provider], rank: impl Fn(&Provider) -> Option<usize>) -> Option<&Provider> {
    let ranked = providers.iter().filter_map(|provider| Some((rank(provider)?, provider)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, provider)| provider)
}

/// The length of the longest of these names that a host is, or is below.
fn longest(names: &[String], host: &str) -> Option<usize> {
    let host = host.trim_end_matches('.');
    let covers = |name: &str| {
        let Some(at) = host.len().checked_sub(name.len()) else { return false };
        host.is_char_boundary(at)
            && host[at..].eq_ignore_ascii_case(name)
            && (at == 0 || host.as_bytes()[at - 1] == b'.')
    };
    names.iter().filter(|name| covers(name)).map(String::len).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pacing::Rate;

    fn provider(policies: &Policies, host: &str) -> (String, u32, u32) {
        let policy = policies.of_mx(&[host.to_owned()], None);
        (policy.provider, policy.limits.connections, policy.limits.mails_per_connection)
    }

    #[test]
    fn providers_are_known_by_their_mx_hosts() {
        let shipped = Policies::shipped();
        let cases = [
            ("gmail-smtp-in.l.google.com", "google", 5, 50),
            ("ASPMX.L.GOOGLE.COM.", "google", 5, 50),
            ("mta5.am0.yahoodns.net", "yahoo", 10, 20),
            ("hotmail-com.olc.protection.outlook.com", "outlook", 5, 50),
            ("acme-example.mail.protection.outlook.com", "office365", 5, 50),
            ("mx01.mail.icloud.com", "apple", 10, 5),
            ("mx1.comcast.net", "comcast", 25, 1000),
            ("smtp-in.orange.fr", "orange", 2, 100),
            ("mx-ha03.web.de", "gmx", 4, 20),
            ("mx1.mail.yahoo.co.jp", "yahoo_jp", 2, 20),
            ("mx.acme.example", "default", 10, 100),
            ("notgoogle.com", "default", 10, 100),
            ("google.com.evil.example", "default", 10, 100),
        ];
        for (host, name, connections, mails) in cases {
            assert_eq!(provider(&shipped, host), (name.to_owned(), connections, mails), "{host}");
        }
    }

    #[test]
    fn a_relay_is_limited_by_its_owners_word_and_its_providers() {
        let shipped = Policies::shipped();
        let own = shipped.of_relay("smtp.acme.example", 587, 16);
        assert_eq!((own.provider.as_str(), own.limits.connections, own.limits.start), ("relay", 16, 16));
        assert_eq!((own.limits.mails, own.limits.dials, own.limits.mails_per_connection), (None, None, 100));
        let mailgun = shipped.of_relay("smtp.mailgun.org", 587, 16);
        assert_eq!((mailgun.limits.connections, mailgun.limits.mails_per_connection), (16, 3));
        assert_eq!(shipped.of_relay("smtp.mailgun.org", 587, 9000).limits.connections, 7000);
    }

    #[test]
    fn the_operators_table_is_laid_over_and_the_most_specific_match_counts() {
        let own = Policies::with(
            r#"
            [default]
            connections = 7
            [provider.google]
            connections = 1
            [provider.corner]
            domains = ["corner.example"]
            relays = ["127.0.0.1", "127.0.0.1:2525"]
            mails = "2/min"
            connections = 3
            [provider.inner]
            mx = ["inner.google.com"]
            "#,
        )
        .expect("a table");
        assert_eq!(provider(&own, "mx.acme.example").1, 7);
        assert_eq!(
            provider(&own, "aspmx.l.google.com"),
            ("google".into(), 1, 50),
            "what it does not name stays"
        );
        assert_eq!(provider(&own, "mx.inner.google.com").0, "inner");
        let google = ["aspmx.l.google.com".to_owned()];
        assert_eq!(
            own.of_mx(&google, Some("mail.corner.example")).provider,
            "corner",
            "a domain before a host"
        );
        let corner = own.of_relay("127.0.0.1", 25, 16);
        assert_eq!((corner.limits.connections, corner.limits.mails), (3, "2/min".parse::<Rate>().ok()));
        assert_eq!(own.of_relay("127.0.0.2", 25, 16).provider, "relay");
    }

    fn effect(host: &str, line: &str) -> Option<Effect> {
        let policy = Policies::shipped().of_mx(&[host.to_owned()], None);
        let (code, text) = line.split_at(3);
        let reply = SmtpReply::from_lines(code.parse().expect("three digits"), [text]);
        policy.feedback.on(&reply).map(|(_, rule)| rule.effect)
    }

    #[test]
    fn replies_slow_or_suspend_as_their_provider_means_them() {
        let hours = |hours| Some(Effect::Suspend { lasting: Duration::hours(hours) });
        let rate = |text: &str| text.parse().ok();
        let slow = |mails, connections, minutes| {
            Some(Effect::Slow { mails, connections, lasting: Duration::minutes(minutes) })
        };
        let (yahoo, google, outlook) =
            ("mta5.am0.yahoodns.net", "aspmx.l.google.com", "x.olc.protection.outlook.com");
        let cases = [
            (yahoo, "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", hours(2)),
            (yahoo, "421 4.7.1 [TSS05] Messages from 192.0.2.1 deferred", hours(4)),
            (yahoo, "553 5.7.1 [BL21] Connections not accepted", hours(2)),
            (
                google,
                "421 4.7.28 Our system has detected an unusual rate of unsolicited mail",
                slow(rate("10/min"), None, 30),
            ),
            (google, "550 5.1.1 The email account that you tried to reach does not exist", None),
            (
                outlook,
                "451 4.7.650 The mail server has been temporarily rate limited (S775)",
                slow(rate("1/min"), Some(1), 90),
            ),
            (outlook, "451 4.7.500 Server busy. Please try again later", slow(rate("1/min"), Some(1), 90)),
            (outlook, "550 5.7.1 part of their network is on our block list (S3150)", hours(2)),
            (outlook, "421 RP-001 (IB007)", slow(None, Some(1), 60)),
            ("mx01.mail.icloud.com", "554 5.7.1 rejected, listed on DBL", hours(4)),
            ("mx.acme.example", "451 4.7.1 Greylisting in action", None),
            ("mx.acme.example", "421 4.3.2 Too many connections", slow(rate("1/min"), Some(1), 90)),
            ("mx.acme.example", "250 2.0.0 slow down", None),
        ];
        for (host, line, expected) in cases {
            assert_eq!(effect(host, line), expected, "{host}: {line}");
        }
    }
}
