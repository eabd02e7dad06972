//! How single settings are read: each either fits or says what is needed.

use std::net::SocketAddr;

use ipnet::IpNet;

use crate::account::domains::Selector;
use crate::delivery::policy::Policies;
use crate::dns;
use crate::mail::EmailAddress;
use crate::seal::Secret;
use crate::submission::SenderPolicy;

use super::LogFormat;

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an address with a port is needed, such as 127.0.0.1:8080")
}

pub(super) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    if text == "off" { Ok(None) } else { address(text).map(Some) }
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parse = |part: &str| {
        let net = part.parse().ok().or_else(|| part.parse::<std::net::IpAddr>().ok().map(IpNet::from));
        net.ok_or_else(|| format!("{part:?} is no network, such as 10.0.0.0/8"))
    };
    parts.map(parse).collect()
}

pub(super) fn pacing(path: &str) -> Result<Policies, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    Policies::with(&text).map_err(|error| format!("{path}: {error}"))
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("true or false is needed"),
    }
}

pub(super) fn sender_policy(text: &str) -> Result<SenderPolicy, &'static str> {
    match text {
        "any" => Ok(SenderPolicy::Any),
        "verified" => Ok(SenderPolicy::Verified),
        _ => Err("any or verified is needed"),
    }
}

pub(super) fn selector(text: &str) -> Result<String, &'static str> {
    Selector::parse(text).map(|selector| selector.as_str().to_owned())
}

pub(super) fn feedback_sender(text: &str) -> Result<String, &'static str> {
    let fits = (5..=15).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    if fits { Ok(text.to_owned()) } else { Err("5 to 15 letters, digits and hyphens are needed") }
}

pub(super) fn dns_trust(text: &str) -> Result<dns::Trust, &'static str> {
    match text {
        "loopback" => Ok(dns::Trust::Loopback),
        "always" => Ok(dns::Trust::Always),
        "never" => Ok(dns::Trust::Never),
        _ => Err("loopback, always or never is needed"),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json is needed"),
    }
}

pub(super) fn api_key(text: &str) -> Result<Secret, &'static str> {
    if text.chars().count() >= 8 { Ok(Secret::new(text)) } else { Err("8 characters or more are needed") }
}

pub(super) fn public_url(text: &str) -> Result<String, &'static str> {
    let wanted = "a URL is needed, such as https://mail.acme.example";
    let url = url::Url::parse(text).map_err(|_| wanted)?;
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host();
    if fits { Ok(text.trim_end_matches('/').to_owned()) } else { Err(wanted) }
}

/// What the machine calls itself; a name that RFC 5321 does not allow is replaced.
pub(super) fn system_hostname() -> String {
    let name = nix::sys::utsname::uname().ok().and_then(|names| names.nodename().to_str().map(str::to_owned));
    let usable = |name: &String| EmailAddress::parse(&format!("x@{name}")).is_ok();
    name.map(|name| name.to_ascii_lowercase()).filter(usable).unwrap_or_else(|| "localhost".to_owned())
}
