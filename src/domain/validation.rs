//! Whether an address is worth mailing, by what is known of it: its form, its domain's records, lists, and what this
//! tenant has seen of it. Not whether somebody lives there: only a delivery tells.
//!
//! Invariant: an address is called undeliverable only on evidence; what could not be asked makes it unknown.

use time::OffsetDateTime;

use super::suppression::Reason as Suppressed;

/// What is to be thought of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Deliverable,
    /// It can be mailed, and something speaks against doing so.
    Risky,
    /// Mail to it will come back.
    Undeliverable,
    /// What must be known could not be asked.
    Unknown,
}

impl Verdict {
    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Deliverable => "deliverable",
            Verdict::Risky => "risky",
            Verdict::Undeliverable => "undeliverable",
            Verdict::Unknown => "unknown",
        }
    }
}

/// What speaks against an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is no address.
    InvalidSyntax,
    /// Its domain does not exist.
    NoSuchDomain,
    /// Its domain says that it takes no mail (RFC 7505).
    NullMx,
    /// Its domain has no server for mail.
    NoMailServer,
    /// Nobody answers for its domain at the moment.
    DnsUnavailable,
    /// Mail to it came back for good, and nothing has arrived since.
    Bounced,
    /// Its owner called this tenant's mail spam.
    Complained,
    /// Its owner has left this tenant's mail.
    Unsubscribed,
    /// The tenant itself does not mail it.
    Suppressed,
    /// Its domain's mailboxes are thrown away.
    Disposable,
    /// It is an office, not a person.
    Role,
    /// Its domain is nearly a well-known one.
    Typo,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 12] = [
        Reason::InvalidSyntax,
        Reason::NoSuchDomain,
        Reason::NullMx,
        Reason::NoMailServer,
        Reason::DnsUnavailable,
        Reason::Bounced,
        Reason::Complained,
        Reason::Unsubscribed,
        Reason::Suppressed,
        Reason::Disposable,
        Reason::Role,
        Reason::Typo,
    ];

    /// As the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidSyntax => "invalid_syntax",
            Reason::NoSuchDomain => "no_such_domain",
            Reason::NullMx => "null_mx",
            Reason::NoMailServer => "no_mail_server",
            Reason::DnsUnavailable => "dns_unavailable",
            Reason::Bounced => "bounced",
            Reason::Complained => "complained",
            Reason::Unsubscribed => "unsubscribed",
            Reason::Suppressed => "suppressed",
            Reason::Disposable => "disposable",
            Reason::Role => "role",
            Reason::Typo => "typo",
        }
    }

    /// What it makes of an address that has nothing else.
    const fn verdict(self) -> Verdict {
        match self {
            Reason::InvalidSyntax
            | Reason::NoSuchDomain
            | Reason::NullMx
            | Reason::NoMailServer
            | Reason::Bounced => Verdict::Undeliverable,
            Reason::DnsUnavailable => Verdict::Unknown,
            _ => Verdict::Risky,
        }
    }
}

/// The verdict on these reasons: the gravest of theirs.
pub fn verdict(reasons: &[Reason]) -> Verdict {
    let is = |wanted: Verdict| reasons.iter().any(|reason| reason.verdict() == wanted);
    [Verdict::Undeliverable, Verdict::Unknown, Verdict::Risky]
        .into_iter()
        .find(|wanted| is(*wanted))
        .unwrap_or(Verdict::Deliverable)
}

/// What a tenant has seen of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When a mail to it last arrived.
    pub delivered_at: Option<OffsetDateTime>,
    /// When a mail to it last came back for good.
    pub bounced_at: Option<OffsetDateTime>,
    /// Why it is not mailed, by stream (empty: all).
    pub suppressed: Vec<(String, Suppressed)>,
}

impl History {
    /// What speaks against the address.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = self
            .suppressed
            .iter()
            .map(|(_, reason)| match reason {
                Suppressed::Bounce => Reason::Bounced,
                Suppressed::Complaint => Reason::Complained,
                Suppressed::Unsubscribe => Reason::Unsubscribed,
                Suppressed::Manual => Reason::Suppressed,
            })
            .collect();
        if self.bounced_at.is_some() && self.bounced_at > self.delivered_at {
            reasons.push(Reason::Bounced);
        }
        reasons
    }
}

/// RFC 2142's names, and what else stands for an office.
const ROLES: [&str; 40] = [
    "abuse",
    "accounting",
    "accounts",
    "admin",
    "administrator",
    "all",
    "billing",
    "careers",
    "contact",
    "enquiries",
    "everyone",
    "feedback",
    "finance",
    "hello",
    "help",
    "helpdesk",
    "hostmaster",
    "hr",
    "info",
    "jobs",
    "legal",
    "mail",
    "mailer-daemon",
    "marketing",
    "newsletter",
    "no-reply",
    "noc",
    "noreply",
    "office",
    "orders",
    "postmaster",
    "press",
    "privacy",
    "root",
    "sales",
    "security",
    "service",
    "support",
    "team",
    "webmaster",
];

/// Whether a local part stands for an office; what follows a `+` does not count.
pub fn is_role(local: &str) -> bool {
    let plain = local.split('+').next().unwrap_or_default().to_ascii_lowercase();
    ROLES.binary_search(&plain.as_str()).is_ok()
}

/// Domains that people mean when they write something very near.
const WELL_KNOWN: [&str; 34] = [
    "aol.com",
    "bigpond.com",
    "bluewin.ch",
    "btinternet.com",
    "comcast.net",
    "fastmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.fr",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.ru",
    "msn.com",
    "orange.fr",
    "outlook.com",
    "proton.me",
    "protonmail.com",
    "t-online.de",
    "web.de",
    "yahoo.co.uk",
    "yahoo.com",
    "yandex.ru",
];

/// Domains that are very near one of those, and meant.
const APART: [&str; 4] = ["email.com", "gmx.us", "mail.com", "ymail.com"];

/// The well-known domain that was probably meant; `None`: this one is well known, or near to none or to several.
pub fn suggestion(domain: &str) -> Option<&'static str> {
    let is_meant = WELL_KNOWN.contains(&domain) || APART.contains(&domain);
    if is_meant || super::provider::of_domain(domain).is_some() {
        return None;
    }
    let reach = |known: &str| if known.len() > 8 { 2 } else { 1 };
    let mut near: Vec<(usize, &str)> = WELL_KNOWN
        .into_iter()
        .map(|known| (distance(domain, known), known))
        .filter(|(steps, known)| *steps <= reach(known))
        .collect();
    near.sort_unstable();
    match near.as_slice() {
        [] => None,
        [(first, _), (second, _), ..] if first == second => None,
        [(_, known), ..] => Some(known),
    }
}

/// How many letters must be put in, left out, exchanged, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = exchanged.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_gravest_reason_decides() {
        let cases: [(&[Reason], Verdict); 6] = [
            (&[], Verdict::Deliverable),
            (&[Reason::Role, Reason::Typo], Verdict::Risky),
            (&[Reason::Role, Reason::DnsUnavailable], Verdict::Unknown),
            (&[Reason::DnsUnavailable, Reason::Bounced], Verdict::Undeliverable),
            (&[Reason::NullMx], Verdict::Undeliverable),
            (&[Reason::Unsubscribed], Verdict::Risky),
        ];
        for (reasons, expected) in cases {
            assert_eq!(verdict(reasons), expected, "{reasons:?}");
        }
    }

    #[test]
    fn a_bounce_counts_until_something_arrives() {
        let (early, late) = (datetime!(2026-11-01 0:00 UTC), datetime!(2026-11-02 0:00 UTC));
        let history = |delivered_at, bounced_at| History { delivered_at, bounced_at, suppressed: Vec::new() };
        assert_eq!(history(None, Some(early)).reasons(), [Reason::Bounced]);
        assert_eq!(history(Some(early), Some(late)).reasons(), [Reason::Bounced]);
        assert_eq!(history(Some(late), Some(early)).reasons(), []);
        assert_eq!(history(Some(late), None).reasons(), []);
    }

    #[test]
    fn offices_are_known_whatever_their_case_and_label() {
        assert!(ROLES.is_sorted(), "they are searched by halves");
        for role in ["info", "Postmaster", "sales+shop", "no-reply"] {
            assert!(is_role(role), "{role}");
        }
        for person in ["ann", "information", "infos", ""] {
            assert!(!is_role(person), "{person}");
        }
    }

    #[test]
    fn a_slip_is_told_from_another_domain() {
        let cases = [
            ("gmial.com", Some("gmail.com")),
            ("gmail.co", Some("gmail.com")),
            ("gmail.con", Some("gmail.com")),
            ("hotmial.com", Some("hotmail.com")),
            ("outlok.com", Some("outlook.com")),
            ("yaho.com", Some("yahoo.com")),
            ("gmail.com", None),
            ("googlemail.com", None),
            ("yahoo.fr", None),
            ("email.com", None),
            ("acme.example", None),
            ("gmx.dk", None),
        ];
        for (domain, expected) in cases {
            assert_eq!(suggestion(domain), expected, "{domain}");
        }
    }
}
