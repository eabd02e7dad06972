//! A pause: mail that is held, uncounted, until somebody lets it go on or its time runs out.

use time::OffsetDateTime;

use super::id::{PauseId, TenantId};

/// What is held, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Its name in the API.
    pub id: PauseId,
    /// What it holds.
    pub held: Held,
    /// Why, in words.
    pub reason: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// What a pause holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Mail of one tenant.
    Mail {
        /// Whose.
        tenant: TenantId,
        /// Only of this stream.
        stream: Option<String>,
        /// Only to this recipient domain, as A-labels.
        domain: Option<String>,
    },
    /// Everybody's mail to a site: a provider of the table of paces, a relay (`host` or `host:port`), or an MX host.
    Site(String),
}

impl Held {
    /// Whether it is about this mail of its tenant.
    pub fn has_mail(&self, of: &str, to: &str) -> bool {
        match self {
            Held::Mail { stream, domain, .. } => {
                stream.as_deref().is_none_or(|stream| stream == of)
                    && domain.as_deref().is_none_or(|domain| domain.eq_ignore_ascii_case(to))
            }
            Held::Site(_) => false,
        }
    }

    /// Whether it is about a site that has these names.
    pub fn has_site<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        match self {
            Held::Mail { .. } => false,
            Held::Site(site) => names.into_iter().any(|name| name.eq_ignore_ascii_case(site)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_what_it_names_and_nothing_else() {
        let held = |stream: Option<&str>, domain: Option<&str>| Held::Mail {
            tenant: TenantId::new(OffsetDateTime::UNIX_EPOCH),
            stream: stream.map(str::to_owned),
            domain: domain.map(str::to_owned),
        };
        let cases = [
            (held(None, None), true, true),
            (held(Some("news"), None), true, false),
            (held(None, Some("a.example")), true, true),
            (held(Some("news"), Some("b.example")), false, false),
            (Held::Site("a.example".to_owned()), false, false),
        ];
        for (held, news, other) in cases {
            assert_eq!(
                (held.has_mail("news", "a.example"), held.has_mail("x", "A.example")),
                (news, other),
                "{held:?}"
            );
        }
        let site = Held::Site("Google".to_owned());
        assert!(site.has_site(["google", "aspmx.l.google.com"]) && !site.has_site(["yahoo"]));
        assert!(!held(None, None).has_site(["google"]));
    }
}
