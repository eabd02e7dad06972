//! The only reader of the environment. Every key: its meaning, unit and default. A TOML file may hold the same
//! keys in lower case without the prefix; the environment wins.
//!
//! Everything that is wrong is told at once. A misspelt key in the file stops the start; a `POSTROAD_` variable
//! that means nothing to this version is told as a warning, since an environment may be meant for several.

mod acme;
mod people;
mod reputation;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::account::standing::Lists;
use crate::account::users::oidc;
use crate::delivery::policy::Policies;
use crate::delivery::transmit::Deadlines;
use crate::dns;
use crate::domain::access_key::{AccessKey, AccessKeyId};
use crate::domain::identity::{DomainName, self_and_above};
use crate::domain::relay::DefaultRoute;
use crate::domain::reputation::Thresholds;
use crate::domain::visitor::KeptAddress;
use crate::mail::EmailAddress;
use crate::seal::{MasterKey, Secret};
use crate::submission::{SenderPolicy, intake};

pub use acme::Acme;
pub use people::Admin;

use values::{
    address, address_or_off, api_key, dns_trust, feedback_sender, log_format, networks, pacing, public_url,
    selector, sender_policy, system_hostname, yes_or_no,
};

/// How this process runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL`: Postgres. Unset: a private one under the data directory.
    pub database_url: Option<Secret>,
    /// `POSTROAD_DATA_DIR` (`./data`): the private database, the generated master key, this node's identity.
    pub data_dir: PathBuf,
    /// `POSTROAD_HTTP_ADDR` (`127.0.0.1:8080`): API and reference. Port 0: any free one.
    pub http_addr: SocketAddr,
    /// `POSTROAD_HTTPS_ADDR` (`off`): the same over TLS.
    pub https_addr: Option<SocketAddr>,
    /// `POSTROAD_SUBMISSION_ADDR` (`127.0.0.1:2587`): mail from our own users by SMTP with STARTTLS; `None`: off.
    pub submission_addr: Option<SocketAddr>,
    /// `POSTROAD_SUBMISSIONS_ADDR` (`127.0.0.1:2465`): the same over TLS from the first octet; `None`: off.
    pub submissions_addr: Option<SocketAddr>,
    /// `POSTROAD_TLS_CERT` and `POSTROAD_TLS_KEY` (made for development): PEM files, read again when they change.
    pub tls_files: Option<TlsFiles>,
    /// `POSTROAD_ACME` (`off`): certificates for the host name, the host of the public URL and tenants' tracking hosts are
    /// got by ACME; the address is whom the authority writes to. Port 80 of those names must lead to
    /// `POSTROAD_HTTP_ADDR` of any node. `POSTROAD_ACME_DIRECTORY` (Let's Encrypt): of which authority.
    pub acme: Option<Acme>,
    /// `POSTROAD_MX_ADDR` (`127.0.0.1:2525`): mail from the world; `off`: none is taken. Port 0: any free one.
    pub mx_addr: Option<SocketAddr>,
    /// `POSTROAD_TRUSTED_PROXIES` (none): networks whose `X-Forwarded-For`, and PROXY header before SMTP, is believed,
    /// separated by commas.
    pub trusted_proxies: Vec<IpNet>,
    /// `POSTROAD_ROUTE` (`capture`): `capture`, `direct`, `smtp://…` or `smtps://…`.
    pub route: DefaultRoute,
    /// `POSTROAD_DIRECT_PORT` (`25`): the port of `direct`.
    pub direct_port: u16,
    /// `POSTROAD_ALLOW_PRIVATE` (`false`): `direct` and tenants' relays may be at private addresses.
    pub allow_private: bool,
    /// `POSTROAD_PACING` (unset): a TOML file that is laid over the table of paces, `assets/pacing.toml`.
    pub pacing: Policies,
    /// `POSTROAD_COMPLAINT_WARN` (`0.08`), `POSTROAD_COMPLAINT_HOLD` (`0.3`), `POSTROAD_BOUNCE_WARN` (`5`),
    /// `POSTROAD_BOUNCE_HOLD` (`10`): percentages of a week's mail, or `off`; below `POSTROAD_GUARD_MIN_MAILS` (`1000`)
    /// nothing is concluded.
    pub thresholds: Thresholds,
    /// `POSTROAD_DNSBL_IPS` and `POSTROAD_DNSBL_DOMAINS` (well-known ones with `direct`, else `off`): blocklists that are
    /// asked daily about the addresses that mail leaves from, and about verified domains, separated by commas.
    pub lists: Lists,
    /// `POSTROAD_WEBHOOK_ALLOW` (none): networks that webhooks may reach although private, separated by commas.
    pub webhook_allow: Vec<IpNet>,
    /// `POSTROAD_RSPAMD_URL` (unset): the operator's scanner, for filters of mail that comes in:
    /// `http://127.0.0.1:11333`.
    pub rspamd_url: Option<url::Url>,
    /// `POSTROAD_DNS_SERVER` (the system's): resolvers, `address[:port]`, separated by commas; and
    /// `POSTROAD_DNS_TRUST` (`loopback`): whose word about signatures (DNSSEC) is taken: `loopback`, `always`, `never`.
    pub dns: dns::Settings,
    /// `POSTROAD_MTA_STS_PORT` (`443`): where domains serve their policies (RFC 8461: 443; another one for tests).
    pub mta_sts_port: u16,
    /// `POSTROAD_TLS_ROOTS` (none): a PEM file with certificates trusted besides the machine's.
    pub tls_roots: Option<PathBuf>,
    /// `POSTROAD_SENDER_POLICY` (`any` with `capture`, else `verified`).
    pub sender_policy: SenderPolicy,
    /// `POSTROAD_DOMAIN_GRACE_HOURS` (`72`): how long a domain none of whose keys is published may still send.
    pub domain_grace: time::Duration,
    /// `POSTROAD_DKIM_DOMAIN`, `POSTROAD_DKIM_SELECTOR` (`postroad`), `POSTROAD_DKIM_KEY` (a file, PEM): everything that
    /// is signed is signed a second time with this key.
    pub platform_key: Option<PlatformKey>,
    /// `POSTROAD_FEEDBACK_SENDER` (`postroad`): the last part of `Feedback-ID`, 5 to 15 characters.
    pub feedback_sender: String,
    /// `POSTROAD_CFBL_ADDRESS` (unset): where receivers send complaints (RFC 9477). It must be at or below
    /// `POSTROAD_DKIM_DOMAIN`, whose signature vouches for it.
    pub complaints_to: Option<EmailAddress>,
    /// `POSTROAD_API_KEY` (unset): this key exists with every scope in the tenant `default`; 8 characters or more.
    pub api_key: Option<Secret>,
    /// `POSTROAD_AWS_ACCESS_KEY_ID`, `POSTROAD_AWS_SECRET_ACCESS_KEY` (unset): this access key, for clients that sign
    /// their requests (SigV4), exists with every scope in the tenant `default`; each has 8 characters or more.
    pub access_key: Option<AccessKey>,
    /// `POSTROAD_ADMIN_EMAIL` and `POSTROAD_ADMIN_PASSWORD` (unset: a set-up link is printed): the first person of the
    /// dashboard. Once she is there, they change nothing.
    pub admin: Option<Admin>,
    /// `POSTROAD_OIDC_ISSUER`, `POSTROAD_OIDC_CLIENT_ID` and `POSTROAD_OIDC_CLIENT_SECRET` (unset): an OpenID provider by
    /// which people sign in to the dashboard; the secret may be left out for a public client.
    pub oidc: Option<oidc::Settings>,
    /// `POSTROAD_KEY_RATE` (unset: no limit): requests a second that a key without a rate of its own may make.
    pub key_rate: Option<NonZeroU32>,
    /// `POSTROAD_PUBLIC_URL` (`http://` and the HTTP address): where the world reaches this installation.
    pub public_url: Option<String>,
    /// `POSTROAD_HOSTNAME` (the system's): EHLO, and the host of last resort in Message-IDs.
    pub hostname: String,
    /// `POSTROAD_BOUNCE_DOMAIN` (the host name): the domain of return paths.
    pub bounce_domain: String,
    /// `POSTROAD_DRAIN_SECS` (`30`): the longest drain.
    pub drain: Duration,
    /// `POSTROAD_MASTER_KEY` (generated in the data directory): 32 bytes, base 64 or hexadecimal.
    pub master_key: Option<MasterKey>,
    /// `POSTROAD_MAX_MESSAGE_BYTES` (`26214400`): the largest mail.
    pub max_message_bytes: usize,
    /// `POSTROAD_RETENTION_DAYS` (`45`): how long history is kept.
    pub retention: time::Duration,
    /// `POSTROAD_CONTENT_DAYS` (`45`): how long content is kept.
    pub content: time::Duration,
    /// `POSTROAD_STATS_DAYS` (`400`): how long daily figures are kept; hourly ones as long as history.
    pub figures: time::Duration,
    /// `POSTROAD_TRACKING_IP` (`truncated`): what is kept of the addresses of those who open and click.
    pub tracking_ip: KeptAddress,
    /// `POSTROAD_GEOIP` (unset): a MaxMind database of countries.
    pub geoip: Option<PathBuf>,
    /// `POSTROAD_LANES` (`16`): lanes in use, 1 to 4096.
    pub lanes: u16,
    /// `POSTROAD_ACCEPT_WRITERS` (`2`): group-commit writers.
    pub accept_writers: usize,
    /// `POSTROAD_RECORD_WRITERS` (`1`): result writers.
    pub record_writers: usize,
    /// `POSTROAD_LOG` (`info`): a filter as `tracing` has it.
    pub log: String,
    /// `POSTROAD_LOG_FORMAT` (`text`): `text` or `json`.
    pub log_format: LogFormat,
    /// How long each step of delivery may take. No key: they are the RFC's.
    pub deadlines: Deadlines,
    /// What was set and has no effect, a sentence each.
    pub warnings: Vec<String>,
}

/// The key of the installation's own domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformKey {
    /// The `d=` of its signatures.
    pub domain: DomainName,
    /// The `s=` of its signatures.
    pub selector: String,
    /// Where its private half is.
    pub file: PathBuf,
}

/// A certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of this host first, then those between it and its root.
    pub certificate: PathBuf,
    /// The key of the first.
    pub key: PathBuf,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Everything that is wrong with the configuration, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:\n  {}", .0.join("\n  "))]
pub struct BadConfig(pub Vec<String>);

const PREFIX: &str = "POSTROAD_";

impl Config {
    /// Where links in mail lead, without a slash at the end: the public URL, or else where HTTP listens.
    pub fn base_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            // Listening everywhere is nowhere to lead to.
            None if self.http_addr.ip().is_unspecified() => {
                format!("http://{}:{}", self.hostname, self.http_addr.port())
            }
            None => format!("http://{}", self.http_addr),
        }
    }

    /// Reads environment and file.
    ///
    /// # Errors
    /// [`BadConfig`] names everything that is wrong.
    pub fn read(
        environment: impl IntoIterator<Item = (String, String)>,
        file: Option<&str>,
    ) -> Result<Config, BadConfig> {
        let mut source = Source::new(environment, file);
        let route = source.parsed("ROUTE", "capture", DefaultRoute::parse);
        let hostname = source.text("HOSTNAME").unwrap_or_else(system_hostname);
        source.check_domain("HOSTNAME", &hostname);
        let bounce_domain = source.text("BOUNCE_DOMAIN").unwrap_or_else(|| hostname.clone());
        source.check_domain("BOUNCE_DOMAIN", &bounce_domain);
        let platform_key = source.platform_key();
        let config = Config {
            database_url: source.database_url.take(),
            data_dir: source.text("DATA_DIR").unwrap_or_else(|| "./data".to_owned()).into(),
            http_addr: source.parsed("HTTP_ADDR", "127.0.0.1:8080", address).unwrap_or(NOWHERE),
            https_addr: source.parsed("HTTPS_ADDR", "off", address_or_off).flatten(),
            submission_addr: source.parsed("SUBMISSION_ADDR", "127.0.0.1:2587", address_or_off).flatten(),
            submissions_addr: source.parsed("SUBMISSIONS_ADDR", "127.0.0.1:2465", address_or_off).flatten(),
            tls_files: source.tls_files(),
            acme: acme::read(&mut source),
            mx_addr: source.parsed("MX_ADDR", "127.0.0.1:2525", address_or_off).unwrap_or(None),
            trusted_proxies: source.parsed("TRUSTED_PROXIES", "", networks).unwrap_or_default(),
            direct_port: source.number("DIRECT_PORT", 25, 1..=65_535) as u16,
            dns: dns::Settings {
                servers: source.parsed("DNS_SERVER", "", dns::Servers::parse).unwrap_or_default(),
                trust: source.parsed("DNS_TRUST", "loopback", dns_trust).unwrap_or_default(),
                ..dns::Settings::default()
            },
            mta_sts_port: source.number("MTA_STS_PORT", 443, 1..=65_535) as u16,
            tls_roots: source.text("TLS_ROOTS").map(PathBuf::from),
            allow_private: source.parsed("ALLOW_PRIVATE", "false", yes_or_no).unwrap_or_default(),
            pacing: source.optional("PACING", pacing).unwrap_or_else(Policies::shipped),
            webhook_allow: source.parsed("WEBHOOK_ALLOW", "", networks).unwrap_or_default(),
            thresholds: source.thresholds(),
            lists: source.lists(route.as_ref()),
            rspamd_url: source.optional("RSPAMD_URL", acme::http_url),
            sender_policy: source.sender_policy(route.as_ref()),
            route: route.unwrap_or(DefaultRoute::Capture),
            domain_grace: time::Duration::hours(source.number("DOMAIN_GRACE_HOURS", 72, 1..=8760) as i64),
            complaints_to: source.complaints_to(platform_key.as_ref()),
            platform_key,
            feedback_sender: source
                .parsed("FEEDBACK_SENDER", "postroad", feedback_sender)
                .unwrap_or_default(),
            api_key: source.optional("API_KEY", api_key),
            access_key: source.access_key(),
            admin: source.admin(),
            oidc: source.oidc(),
            key_rate: source
                .optional("KEY_RATE", |text| text.parse().map_err(|_| "a number above 0 is needed")),
            public_url: source.optional("PUBLIC_URL", public_url),
            hostname,
            bounce_domain,
            drain: Duration::from_secs(source.number("DRAIN_SECS", 30, 0..=3600)),
            master_key: source.optional("MASTER_KEY", MasterKey::parse),
            max_message_bytes: source.number("MAX_MESSAGE_BYTES", 26_214_400, 1024..=268_435_456) as usize,
            retention: time::Duration::days(source.number("RETENTION_DAYS", 45, 1..=3650) as i64),
            content: time::Duration::days(source.number("CONTENT_DAYS", 45, 1..=3650) as i64),
            figures: time::Duration::days(source.number("STATS_DAYS", 400, 1..=3650) as i64),
            tracking_ip: source
                .parsed("TRACKING_IP", "truncated", str::parse)
                .unwrap_or(KeptAddress::Truncated),
            geoip: source.text("GEOIP").map(PathBuf::from),
            lanes: source.number("LANES", 16, 1..=4096) as u16,
            accept_writers: source.number("ACCEPT_WRITERS", intake::DEFAULT_WRITERS as u64, 1..=16) as usize,
            record_writers: source.number("RECORD_WRITERS", 1, 1..=16) as usize,
            log: source.text("LOG").unwrap_or_else(|| "info".to_owned()),
            log_format: source.parsed("LOG_FORMAT", "text", log_format).unwrap_or(LogFormat::Text),
            deadlines: Deadlines::default(),
            warnings: Vec::new(),
        };
        source.finish(config)
    }

    /// From the process's own environment, and the file named on the command line.
    ///
    /// # Errors
    /// As [`Config::read`]; or the file cannot be read.
    pub fn from_process(file: Option<&std::path::Path>) -> Result<Config, BadConfig> {
        let text = file.map(|path| {
            let unreadable = |error| BadConfig(vec![format!("{} cannot be read: {error}", path.display())]);
            std::fs::read_to_string(path).map_err(unreadable)
        });
        Config::read(std::env::vars(), text.transpose()?.as_deref())
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Values by key, and what is wrong with them.
struct Source {
    values: BTreeMap<String, String>,
    /// Keys that came from the file.
    from_file: BTreeSet<String>,
    database_url: Option<Secret>,
    wrong: Vec<String>,
}

impl Source {
    fn new(environment: impl IntoIterator<Item = (String, String)>, file: Option<&str>) -> Source {
        let mut source = Source {
            values: BTreeMap::new(),
            from_file: BTreeSet::new(),
            database_url: None,
            wrong: Vec::new(),
        };
        if let Some(text) = file {
            source.read_file(text);
        }
        for (name, value) in environment {
            // An empty variable is an unset one: compose files pass them so.
            if name == "DATABASE_URL" && !value.is_empty() {
                source.database_url = Some(Secret::new(value));
            } else if let Some(key) = name.strip_prefix(PREFIX).filter(|_| !value.is_empty()) {
                source.values.insert(key.to_owned(), value);
            }
        }
        source
    }

    fn read_file(&mut self, text: &str) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => return self.wrong.push(format!("the file is no TOML: {}", error.message())),
        };
        for (key, value) in table {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => {
                    self.wrong.push(format!("{key}: a text, a number, or true or false is needed"));
                    continue;
                }
            };
            if key == "database_url" {
                self.database_url = Some(Secret::new(text));
            } else {
                let key = key.to_ascii_uppercase();
                self.from_file.insert(key.clone());
                self.values.insert(key, text);
            }
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.values.remove(key)
    }

    fn optional<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|error| self.wrong.push(format!("{PREFIX}{key}: {error}"))).ok()
    }

    fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.values.contains_key(key) {
            return parse(default).ok();
        }
        self.optional(key, parse)
    }

    fn number(&mut self, key: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> u64 {
        let parse = |text: &str| {
            let number = u64::from_str(text).ok().filter(|number| bounds.contains(number));
            number.ok_or_else(|| format!("a number from {} to {} is needed", bounds.start(), bounds.end()))
        };
        if self.values.contains_key(key) { self.optional(key, parse).unwrap_or(default) } else { default }
    }

    fn sender_policy(&mut self, route: Option<&DefaultRoute>) -> SenderPolicy {
        let default = if route == Some(&DefaultRoute::Capture) { "any" } else { "verified" };
        self.parsed("SENDER_POLICY", default, sender_policy).unwrap_or(SenderPolicy::Verified)
    }

    /// All three or none.
    fn platform_key(&mut self) -> Option<PlatformKey> {
        let domain = self.optional("DKIM_DOMAIN", DomainName::parse);
        let selector = self.optional("DKIM_SELECTOR", selector).unwrap_or_else(|| "postroad".to_owned());
        let file = self.text("DKIM_KEY").map(PathBuf::from);
        match (domain, file) {
            (Some(domain), Some(file)) => Some(PlatformKey { domain, selector, file }),
            (None, None) => None,
            _ => {
                self.wrong.push(
                    "POSTROAD_DKIM_DOMAIN and POSTROAD_DKIM_KEY: both are needed, or neither".to_owned(),
                );
                None
            }
        }
    }

    /// Both halves or none.
    fn access_key(&mut self) -> Option<AccessKey> {
        const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let given = KEYS.map(|key| self.values.contains_key(key));
        let (id, secret) = (self.optional(KEYS[0], AccessKeyId::parse), self.optional(KEYS[1], api_key));
        if given[0] != given[1] {
            self.wrong.push(format!("{PREFIX}{} and {PREFIX}{} need each other", KEYS[0], KEYS[1]));
        }
        Some(AccessKey { id: id?, secret: secret? })
    }

    fn tls_files(&mut self) -> Option<TlsFiles> {
        match (self.text("TLS_CERT"), self.text("TLS_KEY")) {
            (Some(certificate), Some(key)) => {
                Some(TlsFiles { certificate: certificate.into(), key: key.into() })
            }
            (None, None) => None,
            _ => {
                self.wrong.push(format!("{PREFIX}TLS_CERT and {PREFIX}TLS_KEY need each other"));
                None
            }
        }
    }

    fn complaints_to(&mut self, platform: Option<&PlatformKey>) -> Option<EmailAddress> {
        let address = self.optional("CFBL_ADDRESS", EmailAddress::parse)?;
        // RFC 9477 §3.1: a signature of the address's domain must cover it.
        let vouched = platform
            .is_some_and(|key| self_and_above(address.domain()).any(|domain| domain == key.domain.as_str()));
        if !vouched {
            self.wrong.push("POSTROAD_CFBL_ADDRESS: it must be at or below POSTROAD_DKIM_DOMAIN".to_owned());
        }
        Some(address)
    }

    fn check_domain(&mut self, key: &str, domain: &str) {
        if let Err(error) = EmailAddress::parse(&format!("x@{domain}")) {
            self.wrong.push(format!("{PREFIX}{key}: {domain:?} is no host name: {error}"));
        }
    }

    fn finish(mut self, mut config: Config) -> Result<Config, BadConfig> {
        for key in std::mem::take(&mut self.values).keys() {
            if self.from_file.contains(key) {
                self.wrong
                    .push(format!("{}: there is no such setting in this version", key.to_ascii_lowercase()));
            } else {
                config.warnings.push(format!("{PREFIX}{key} means nothing to this version"));
            }
        }
        if self.wrong.is_empty() { Ok(config) } else { Err(BadConfig(self.wrong)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], file: Option<&str>) -> Result<Config, BadConfig> {
        Config::read(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), file)
    }

    #[test]
    fn nothing_set_gives_a_machine_that_captures() {
        let config = read(&[("PATH", "/bin"), ("POSTROAD_LOG", "")], None).expect("the defaults are fine");
        assert_eq!(config.route, DefaultRoute::Capture);
        assert_eq!(config.sender_policy, SenderPolicy::Any);
        assert_eq!(config.http_addr.to_string(), "127.0.0.1:8080");
        assert_eq!(config.https_addr, None);
        assert_eq!(config.submission_addr.map(|address| address.port()), Some(2587));
        assert_eq!(config.submissions_addr.map(|address| address.port()), Some(2465));
        assert_eq!(config.drain, Duration::from_secs(30));
        assert_eq!(config.log, "info");
    }

    #[test]
    fn doors_can_be_closed_and_a_certificate_needs_its_key() {
        let off = [("POSTROAD_SUBMISSION_ADDR", "off"), ("POSTROAD_SUBMISSIONS_ADDR", "off")];
        let config = read(&off, None).expect("fine");
        assert_eq!((config.submission_addr, config.submissions_addr), (None, None));
        let pair = [("POSTROAD_TLS_CERT", "/c.pem"), ("POSTROAD_TLS_KEY", "/k.pem")];
        let files = TlsFiles { certificate: "/c.pem".into(), key: "/k.pem".into() };
        assert_eq!(read(&pair, None).expect("fine").tls_files, Some(files));
        assert!(
            read(&pair[..1], None)
                .is_err_and(|bad| bad.0 == ["POSTROAD_TLS_CERT and POSTROAD_TLS_KEY need each other"])
        );
    }

    #[test]
    fn an_access_key_has_two_halves() {
        let pair =
            [("POSTROAD_AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("POSTROAD_AWS_SECRET_ACCESS_KEY", "hunter2-x")];
        let key = read(&pair, None).expect("fine").access_key.expect("an access key");
        assert_eq!((key.id.as_str(), key.secret.reveal()), ("AKIAEXAMPLE", "hunter2-x"));
        for half in pair {
            assert!(read(&[half], None).is_err(), "{half:?}");
        }
        assert!(read(&[("POSTROAD_AWS_ACCESS_KEY_ID", "a,b"), pair[1]], None).is_err());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = "drain_secs = 5\nroute = 'smtp://127.0.0.1:2500'\nallow_private = true\n";
        let config = read(&[("POSTROAD_DRAIN_SECS", "7")], Some(file)).expect("fine");
        assert_eq!(config.drain, Duration::from_secs(7));
        assert!(config.allow_private);
        assert_eq!(config.sender_policy, SenderPolicy::Verified, "mail that leaves needs a verified sender");
    }

    #[test]
    fn a_table_of_paces_is_laid_over_and_a_bad_one_stops_the_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pacing.toml");
        let read_with = |table: &str| {
            std::fs::write(&path, table).expect("written");
            read(&[("POSTROAD_PACING", path.to_str().expect("UTF-8"))], None)
        };
        let config = read_with("[default]\nconnections = 2").expect("a table");
        assert_eq!(config.pacing.of_mx(&["mx.example".to_owned()], None).limits.connections, 2);
        let error = read_with("[default]\nconections = 2").expect_err("misspelt").to_string();
        assert!(error.contains("POSTROAD_PACING") && error.contains("conections"), "{error}");
        assert!(read(&[("POSTROAD_PACING", "/nowhere/at/all")], None).is_err());
    }

    #[test]
    fn a_variable_that_means_nothing_is_told() {
        let config = read(&[("POSTROAD_DRIAN_SECS", "3")], None).expect("no reason not to start");
        assert_eq!(config.warnings, ["POSTROAD_DRIAN_SECS means nothing to this version"]);
    }

    #[test]
    fn everything_wrong_is_told_at_once_and_no_secret_is() {
        let pairs = [
            ("POSTROAD_ROUTE", "smtp://user:hunter2@host?tls=none"),
            ("POSTROAD_HTTP_ADDR", "here"),
            ("POSTROAD_API_KEY", "short"),
            ("POSTROAD_MASTER_KEY", "hunter2"),
            ("POSTROAD_HOSTNAME", "no good"),
            ("POSTROAD_LANES", "0"),
        ];
        let BadConfig(wrong) = read(&pairs, Some("retention_day = 3")).expect_err("much is wrong");
        for key in ["ROUTE", "HTTP_ADDR", "API_KEY", "MASTER_KEY", "HOSTNAME", "LANES"] {
            assert!(
                wrong.iter().any(|line| line.starts_with(&format!("POSTROAD_{key}:"))),
                "{key}: {wrong:?}"
            );
        }
        assert!(wrong.iter().any(|line| line.starts_with("retention_day:")), "{wrong:?}");
        assert!(!wrong.join(" ").contains("hunter2"), "{wrong:?}");
    }
}
