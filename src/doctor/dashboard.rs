//! How people reach the dashboard: their cookies are only as safe as the way there.

use url::{Host, Url};

use crate::config::Config;

use super::{Finding, doubtful, good};

const SUBJECT: &str = "dashboard";

/// Whether cookies can be bound to this host, and cannot be read on the way.
pub(super) fn examine(config: &Config) -> Finding {
    let local = || format!("http://{}", config.http_addr);
    let url = config.public_url.clone().unwrap_or_else(local);
    if url.starts_with("https://") {
        return good(SUBJECT, format!("{url}/ui/, with cookies of this host alone"));
    }
    if is_of_this_machine(&url) {
        let text = format!(
            "{url}/ui/, for this machine alone; before others use it, put TLS before it and set POSTROAD_PUBLIC_URL to its https:// address"
        );
        return good(SUBJECT, text);
    }
    let text = format!(
        "{url}/ui/ is reached without TLS: passwords and cookies can be read on the way, and there are no passkeys; put TLS \
         before it and set POSTROAD_PUBLIC_URL to its https:// address"
    );
    doubtful(SUBJECT, text)
}

fn is_of_this_machine(url: &str) -> bool {
    match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_dashboard_without_tls_is_told() {
        let verdict = |url: &str| {
            let environment = [("POSTROAD_PUBLIC_URL".to_owned(), url.to_owned())];
            examine(&Config::read(environment, None).expect("usable")).verdict
        };
        assert_eq!(verdict("https://mail.acme.example"), Verdict::Good);
        assert_eq!(verdict("http://localhost:8080"), Verdict::Good);
        assert_eq!(verdict(""), Verdict::Good);
        assert_eq!(verdict("http://mail.acme.example"), Verdict::Doubtful);
        assert_eq!(verdict("http://192.0.2.1:8080"), Verdict::Doubtful);
    }
}
