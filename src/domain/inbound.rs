//! Inbound routes: which mail that comes in is whose, and what is done with it. Not the mail itself, and not the
//! addresses of this installation's own (return paths, postmaster).
//!
//! Invariant: a recipient has at most one route, the same on every node: the lowest priority, then the longest
//! pattern, then the oldest.

use crate::mail::EmailAddress;

use super::filter::Filter;
use super::id::{InboundRouteId, TenantId};
use super::webhook::WebhookSecret;

/// Where a route stands when its owner does not say.
pub const DEFAULT_PRIORITY: i32 = 100;
/// The longest pattern of a local part.
const MAX_PATTERN: usize = 64;

/// A tenant's wish about mail that comes in.
#[derive(Debug, Clone)]
pub struct InboundRoute {
    /// Its name in the API.
    pub id: InboundRouteId,
    /// Whose it is.
    pub tenant: TenantId,
    /// For which recipients.
    pub pattern: Pattern,
    /// Before or after others.
    pub priority: i32,
    /// What is done.
    pub action: Action,
    /// What its mail is looked at for, after the tenant's own filters.
    pub filters: Vec<Filter>,
}

/// What is done with a mail.
#[derive(Debug, Clone)]
pub enum Action {
    /// It is kept, and posted to a URL.
    Webhook {
        /// Where.
        url: String,
        /// Signs it.
        secret: WebhookSecret,
    },
    /// It is kept, to be read.
    Store,
    /// It is kept, and passed on to another address.
    Forward(EmailAddress),
    /// It is refused.
    Reject,
}

impl Action {
    /// As the database and the API have it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Action::Webhook { .. } => "webhook",
            Action::Store => "store",
            Action::Forward(_) => "forward",
            Action::Reject => "reject",
        }
    }
}

/// Recipients: a local part, in which `*` stands for any characters, at one domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    local: String,
    domain: String,
}

/// Not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is an address such as *@in.acme.example or help+*@acme.example, or a domain")]
pub struct BadPattern;

impl Pattern {
    /// Reads `local@domain`, with `*` in the local part, or a domain alone, which means all of it.
    ///
    /// # Errors
    /// [`BadPattern`] tells the form.
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        let (local, domain) = text.rsplit_once('@').unwrap_or(("*", text));
        let domain = EmailAddress::parse(&format!("x@{domain}")).map_err(|_| BadPattern)?;
        let is_plain = |c: char| c == '*' || c.is_alphanumeric() || "!#$&'+-/=?^_`{|}~.".contains(c);
        let fits = (1..=MAX_PATTERN).contains(&local.len()) && local.chars().all(is_plain);
        if !fits || domain.domain().starts_with('[') {
            return Err(BadPattern);
        }
        Ok(Pattern { local: local.to_ascii_lowercase(), domain: domain.domain().to_owned() })
    }

    /// The local part, in lower case.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain, in lower-case A-labels.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether it is for this recipient.
    pub fn matches(&self, address: &EmailAddress) -> bool {
        address.domain() == self.domain
            && fits(self.local.as_bytes(), address.local().to_ascii_lowercase().as_bytes())
    }

    /// How exact it is: characters that are no star.
    fn exactness(&self) -> usize {
        self.local.chars().filter(|c| *c != '*').count()
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Whether a pattern with stars fits a text, octet for octet. Each star gives back one octet at a time, and only the last one
/// does: the time is bounded by the product of the lengths.
pub(super) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|octet| *octet == b'*')
}

/// The route for a recipient, if there is one.
pub fn choose<'a>(
    routes: impl IntoIterator<Item = &'a InboundRoute>,
    address: &EmailAddress,
) -> Option<&'a InboundRoute> {
    routes
        .into_iter()
        .filter(|route| route.pattern.matches(address))
        .min_by_key(|route| (route.priority, std::cmp::Reverse(route.pattern.exactness()), route.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).expect("an address")
    }

    #[test]
    fn patterns_match_as_written_in_any_case() {
        let cases = [
            ("*@in.acme.example", "anyone@IN.acme.example", true),
            ("in.acme.example", "a+b@in.acme.example", true),
            ("*@in.acme.example", "anyone@acme.example", false),
            ("*@in.acme.example", "anyone@x.in.acme.example", false),
            ("help@acme.example", "HELP@acme.example", true),
            ("help@acme.example", "helper@acme.example", false),
            ("help+*@acme.example", "help+42@acme.example", true),
            ("help+*@acme.example", "help@acme.example", false),
            ("*-*-x@acme.example", "a-b-c-x@acme.example", true),
            ("*-*-x@acme.example", "a-x@acme.example", false),
            ("a**@acme.example", "a@acme.example", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(
                Pattern::parse(pattern).expect("a pattern").matches(&address(text)),
                expected,
                "{pattern} {text}"
            );
        }
        for bad in
            ["", "@", "*", "*@", "a b@acme.example", "*@*.example", "a%b@acme.example", "x@[127.0.0.1]"]
        {
            assert_eq!(Pattern::parse(bad), Err(BadPattern), "{bad}");
        }
    }

    #[test]
    fn the_lowest_priority_then_the_longest_pattern_wins() {
        let route = |pattern: &str, priority| InboundRoute {
            id: InboundRouteId::new(datetime!(2026-11-25 10:00 UTC)),
            tenant: TenantId::new(datetime!(2026-11-25 10:00 UTC)),
            pattern: Pattern::parse(pattern).expect("a pattern"),
            priority,
            action: Action::Store,
            filters: Vec::new(),
        };
        let routes = [route("*@a.example", 100), route("help*@a.example", 100), route("help@a.example", 200)];
        let chosen = |text: &str| choose(&routes, &address(text)).map(|route| route.pattern.to_string());
        assert_eq!(chosen("help@a.example").as_deref(), Some("help*@a.example"));
        assert_eq!(chosen("ann@a.example").as_deref(), Some("*@a.example"));
        assert_eq!(chosen("ann@b.example"), None);
    }
}
