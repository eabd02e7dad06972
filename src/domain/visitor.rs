//! Who opens mail and follows links: people with their programs, and machines that look at mail before them.
//!
//! Told from what a request says of itself, so never certain. Where it is in doubt whether somebody has seen the
//! mail, it is a machine: figures about people should not be too high.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use woothee::parser::Parser;

/// What may be kept of a visitor's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptAddress {
    /// All of it.
    Full,
    /// Its network: 24 bits of IPv4, 48 of IPv6.
    Truncated,
    /// Nothing.
    Off,
}

impl KeptAddress {
    /// What is kept.
    pub fn of(self, address: IpAddr) -> Option<IpAddr> {
        match (self, address) {
            (KeptAddress::Off, _) => None,
            (KeptAddress::Full, address) => Some(address),
            (KeptAddress::Truncated, IpAddr::V4(v4)) => {
                Some(Ipv4Addr::from_bits(v4.to_bits() & !0xff).into())
            }
            (KeptAddress::Truncated, IpAddr::V6(v6)) => {
                Some(Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into())
            }
        }
    }
}

impl std::str::FromStr for KeptAddress {
    type Err = UnknownKeptAddress;

    fn from_str(text: &str) -> Result<KeptAddress, UnknownKeptAddress> {
        match text {
            "full" => Ok(KeptAddress::Full),
            "truncated" => Ok(KeptAddress::Truncated),
            "off" => Ok(KeptAddress::Off),
            _ => Err(UnknownKeptAddress),
        }
    }
}

/// Not a way to keep addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("full, truncated or off is needed")]
pub struct UnknownKeptAddress;

/// What looked at a mail without a person behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Apple's Mail Privacy Protection, which loads every picture of every mail.
    ApplePrivacy,
    /// Gmail's picture proxy: a person may or may not be behind it.
    GmailProxy,
    /// Yahoo's.
    YahooProxy,
    /// A security scanner, a crawler, a link preview, or a program.
    Scanner,
    /// It only asked for the head.
    Head,
}

impl Machine {
    /// As events have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Machine::ApplePrivacy => "apple_privacy",
            Machine::GmailProxy => "gmail_proxy",
            Machine::YahooProxy => "yahoo_proxy",
            Machine::Scanner => "scanner",
            Machine::Head => "head",
        }
    }
}

/// Words in the names of what is no browser.
const SCANNERS: [&str; 30] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "preview",
    "scan",
    "curl/",
    "wget/",
    "python",
    "java/",
    "go-http-client",
    "okhttp",
    "libwww",
    "httpclient",
    "axios",
    "node-fetch",
    "headless",
    "phantomjs",
    "barracuda",
    "mimecast",
    "proofpoint",
    "safelinks",
    "symantec",
    "trendmicro",
    "sophos",
    "fortigate",
    "ironport",
    "messagelabs",
    "cloudmark",
    "linkcheck",
];

/// The machine that a request comes from; `None`: nothing says that it is one.
pub fn machine(user_agent: &str, address: IpAddr) -> Option<Machine> {
    let agent = user_agent.trim();
    let lower = agent.to_ascii_lowercase();
    if lower.contains("googleimageproxy") {
        return Some(Machine::GmailProxy);
    }
    if lower.contains("yahoomailproxy") {
        return Some(Machine::YahooProxy);
    }
    // Apple's proxies say this and no more; 17.0.0.0/8 is Apple's.
    let is_apple = matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 17);
    if agent == "Mozilla/5.0" || is_apple {
        return Some(Machine::ApplePrivacy);
    }
    let is_scanner = agent.is_empty() || SCANNERS.iter().any(|word| lower.contains(word));
    let is_crawler = || client(agent).is_some_and(|client| client.device == "crawler");
    (is_scanner || is_crawler()).then_some(Machine::Scanner)
}

/// What a person reads mail with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The program.
    pub name: String,
    /// The operating system.
    pub os: String,
    /// `pc`, `smartphone`, `mobilephone`, `appliance`, `crawler` or `misc`.
    pub device: String,
}

/// What the user agent says of it; `None`: nothing that is known.
pub fn client(user_agent: &str) -> Option<Client> {
    let found = Parser::new().parse(user_agent)?;
    Some(Client {
        name: found.name.to_string(),
        os: found.os.to_string(),
        device: found.category.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";

    #[test]
    fn machines_are_told_from_people() {
        for (agent, address, wanted) in [
            (FIREFOX, "192.0.2.1", None),
            (IPHONE, "192.0.2.1", None),
            ("Mozilla/5.0", "192.0.2.1", Some(Machine::ApplePrivacy)),
            (IPHONE, "17.58.1.1", Some(Machine::ApplePrivacy)),
            (
                "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
                "192.0.2.1",
                Some(Machine::GmailProxy),
            ),
            ("YahooMailProxy; https://help.yahoo.com/", "192.0.2.1", Some(Machine::YahooProxy)),
            ("Mozilla/5.0 (compatible; Googlebot/2.1)", "192.0.2.1", Some(Machine::Scanner)),
            ("python-requests/2.31", "192.0.2.1", Some(Machine::Scanner)),
            ("", "2001:db8::1", Some(Machine::Scanner)),
        ] {
            assert_eq!(machine(agent, address.parse().expect("an address")), wanted, "{agent}");
        }
        let client = client(FIREFOX).expect("it is known");
        assert_eq!(
            (client.name.as_str(), client.os.as_str(), client.device.as_str()),
            ("Firefox", "Linux", "pc")
        );
    }

    #[test]
    fn addresses_are_kept_as_far_as_is_wanted() {
        for (kept, address, wanted) in [
            ("full", "192.0.2.77", Some("192.0.2.77")),
            ("truncated", "192.0.2.77", Some("192.0.2.0")),
            ("truncated", "2001:db8:1:2::3", Some("2001:db8:1::")),
            ("off", "192.0.2.77", None),
        ] {
            let kept = kept.parse::<KeptAddress>().expect("a way");
            let found = kept.of(address.parse().expect("an address")).map(|ip| ip.to_string());
            assert_eq!(found.as_deref(), wanted);
        }
    }
}
