//! Providers: who keeps a recipient's mailbox, so that figures can be told by it. Only the large ones have a
//! name of their own; the mailboxes of others are told by their domain.

/// The name of a mailbox provider.
pub type Provider = &'static str;

/// The public domains of providers, each with those that are followed by a country's own ending.
const DOMAINS: [(Provider, &[&str]); 12] = [
    ("google", &["gmail.com", "googlemail.com"]),
    ("microsoft", &["outlook.com", "hotmail.com", "live.com", "msn.com", "passport.com"]),
    ("yahoo", &["yahoo.com", "ymail.com", "rocketmail.com", "aol.com", "aim.com", "myyahoo.com"]),
    ("apple", &["icloud.com", "me.com", "mac.com"]),
    ("gmx", &["gmx.net", "gmx.de", "gmx.at", "gmx.ch", "gmx.com", "web.de", "mail.com"]),
    ("proton", &["proton.me", "protonmail.com", "pm.me"]),
    ("comcast", &["comcast.net", "xfinity.com"]),
    ("yandex", &["yandex.ru", "yandex.com", "ya.ru"]),
    ("mail.ru", &["mail.ru", "bk.ru", "inbox.ru", "list.ru"]),
    ("orange", &["orange.fr", "wanadoo.fr"]),
    ("qq", &["qq.com", "foxmail.com"]),
    ("netease", &["163.com", "126.com", "yeah.net"]),
];

/// Second-level names that providers use under many countries' endings: `yahoo.co.uk`, `hotmail.fr`.
const BRANDS: [(&str, Provider); 5] = [
    ("yahoo", "yahoo"),
    ("hotmail", "microsoft"),
    ("live", "microsoft"),
    ("outlook", "microsoft"),
    ("gmx", "gmx"),
];

/// Names below which only mail exchangers for the mailboxes of many domains stand.
const EXCHANGERS: [(&str, Provider); 14] = [
    ("l.google.com", "google"),
    ("smtp.google.com", "google"),
    ("googlemail.com", "google"),
    ("protection.outlook.com", "microsoft"),
    ("mx.microsoft", "microsoft"),
    ("yahoodns.net", "yahoo"),
    ("mail.icloud.com", "apple"),
    ("protonmail.ch", "proton"),
    ("mx.yandex.net", "yandex"),
    ("mxs.mail.ru", "mail.ru"),
    ("messagingengine.com", "fastmail"),
    ("zoho.com", "zoho"),
    ("pphosted.com", "proofpoint"),
    ("mimecast.com", "mimecast"),
];

/// The provider whose public domain this is, in lower case.
pub fn of_domain(domain: &str) -> Option<Provider> {
    let listed = DOMAINS.iter().find(|(_, domains)| domains.contains(&domain)).map(|(name, _)| *name);
    listed.or_else(|| {
        let (brand, ending) = domain.split_once('.')?;
        // A country's ending: `fr`, or `co.uk`, `com.br`.
        let country = ending.rsplit('.').next().is_some_and(|last| last.len() == 2) && ending.len() <= 6;
        BRANDS.iter().find(|(known, _)| country && *known == brand).map(|(_, provider)| *provider)
    })
}

/// The provider that a mail exchanger belongs to: whoever has it as MX keeps his mailboxes there.
pub fn of_exchanger(host: &str) -> Option<Provider> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let below =
        |zone: &str| host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    EXCHANGERS.iter().find(|(zone, _)| below(zone)).map(|(_, provider)| *provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_domains_are_their_providers() {
        for (domain, wanted) in [
            ("gmail.com", Some("google")),
            ("hotmail.fr", Some("microsoft")),
            ("yahoo.co.uk", Some("yahoo")),
            ("yahoo.com.br", Some("yahoo")),
            ("live.acme.example", None),
            ("yahoo.example", None),
            ("example.net", None),
            ("notgmail.com", None),
        ] {
            assert_eq!(of_domain(domain), wanted, "{domain}");
        }
    }

    #[test]
    fn exchangers_tell_who_keeps_the_mailboxes_and_relays_do_not() {
        for (host, wanted) in [
            ("aspmx.l.google.com", Some("google")),
            ("ALT1.ASPMX.L.GOOGLE.COM.", Some("google")),
            ("acme-example.mail.protection.outlook.com", Some("microsoft")),
            ("smtp.google.com", Some("google")),
            ("smtp-relay.gmail.com", None),
            ("smtp.office365.com", None),
            ("evil-l.google.com.example", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(of_exchanger(host), wanted, "{host}");
        }
    }
}
