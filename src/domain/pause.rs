//! A pause: mail that is held, uncounted, until somebody lets it go on or its time runs out.

use time::OffsetDateTime;

use super::handling::Unsubscribe;
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
        /// Only from this domain, as A-labels.
        sender: Option<String>,
        /// Which kinds of it.
        kinds: Kinds,
    },
    /// Everybody's mail to a site: a provider of the table of paces, a relay (`host` or `host:port`), or an MX host.
    Site(String),
    /// Everybody's mail to this recipient domain, as A-labels.
    Destination(String),
}

/// Which kinds of mail a pause holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kinds {
    /// All.
    #[default]
    All,
    /// Mail of streams that recipients may leave.
    Broadcast,
}

/// What a pause asks of a mail.
#[derive(Debug, Clone, Copy)]
pub struct Traits<'a> {
    /// Its stream.
    pub stream: &'a str,
    /// The domain of the recipient.
    pub to: &'a str,
    /// The domain of From.
    pub from: &'a str,
    /// Of which kind it is: how its recipients may leave.
    pub unsubscribe: Unsubscribe,
}

impl Held {
    /// Whether it is about this mail: of its tenant, if it is one's.
    pub fn has_mail(&self, mail: Traits<'_>) -> bool {
        match self {
            Held::Mail { stream, domain, sender, kinds, .. } => {
                stream.as_deref().is_none_or(|stream| stream == mail.stream)
                    && domain.as_deref().is_none_or(|domain| domain.eq_ignore_ascii_case(mail.to))
                    && sender.as_deref().is_none_or(|sender| sender.eq_ignore_ascii_case(mail.from))
                    && (*kinds == Kinds::All || mail.unsubscribe == Unsubscribe::OneClick)
            }
            Held::Site(_) => false,
            Held::Destination(domain) => domain.eq_ignore_ascii_case(mail.to),
        }
    }

    /// Whether it is about a site that has these names.
    pub fn has_site<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        match self {
            Held::Mail { .. } | Held::Destination(_) => false,
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
            sender: None,
            kinds: Kinds::All,
        };
        let mail = |stream, to| Traits { stream, to, from: "me.example", unsubscribe: Unsubscribe::None };
        let cases = [
            (held(None, None), true, true),
            (held(Some("news"), None), true, false),
            (held(None, Some("a.example")), true, true),
            (held(Some("news"), Some("b.example")), false, false),
            (Held::Site("a.example".to_owned()), false, false),
            (Held::Destination("a.example".to_owned()), true, true),
            (Held::Destination("b.example".to_owned()), false, false),
        ];
        for (held, news, other) in cases {
            assert_eq!(
                (held.has_mail(mail("news", "a.example")), held.has_mail(mail("x", "A.example"))),
                (news, other),
                "{held:?}"
            );
        }
        let bulk = Held::Mail {
            tenant: TenantId::new(OffsetDateTime::UNIX_EPOCH),
            stream: None,
            domain: None,
            sender: Some("me.example".to_owned()),
            kinds: Kinds::Broadcast,
        };
        let broadcast = Traits { unsubscribe: Unsubscribe::OneClick, ..mail("news", "a.example") };
        assert!(bulk.has_mail(broadcast) && !bulk.has_mail(mail("news", "a.example")));
        assert!(!bulk.has_mail(Traits { from: "you.example", ..broadcast }));
        let site = Held::Site("Google".to_owned());
        assert!(site.has_site(["google", "aspmx.l.google.com"]) && !site.has_site(["yahoo"]));
        assert!(!held(None, None).has_site(["google"]));
        assert!(!Held::Destination("google".to_owned()).has_site(["google"]));
    }
}
