//! Templates: how they are named, and what they hold for each language. Not how they are rendered (`render`).

use std::collections::BTreeMap;

use crate::render::{Bodies, Part};

use super::id::TemplateId;

/// A name that its owner gives a template, unique among the tenant's: 1 to 64 of `a-z 0-9 _ -`, and no id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alias(String);

/// Not the form of an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an alias is 1 to 64 of a-z, 0-9, '_' and '-', begins with a letter or a digit, and not with tpl_")]
pub struct BadAlias;

impl Alias {
    /// Checks the form.
    ///
    /// # Errors
    /// [`BadAlias`] tells the form.
    pub fn parse(text: &str) -> Result<Alias, BadAlias> {
        let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-');
        let begins = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if text.len() <= 64 && begins && text.bytes().all(good) && !text.starts_with("tpl_") {
            Ok(Alias(text.to_owned()))
        } else {
            Err(BadAlias)
        }
    }

    /// The alias that is like a name from elsewhere: in lower case, with `-` for dots and spaces. Imported templates are
    /// known by it. `None`: there is none.
    pub fn like(text: &str) -> Option<Alias> {
        Alias::parse(&text.trim().to_ascii_lowercase().replace(['.', ' '], "-")).ok()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a caller names a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TemplateName {
    /// By its id.
    Id(TemplateId),
    /// By its alias.
    Alias(Alias),
}

impl TemplateName {
    /// An id or an alias; `None`: nothing has such a name.
    pub fn parse(text: &str) -> Option<TemplateName> {
        let id = text.parse::<TemplateId>().ok().map(TemplateName::Id);
        id.or_else(|| Alias::parse(text).ok().map(TemplateName::Alias))
    }

    /// The id, if it is one.
    pub fn id(&self) -> Option<TemplateId> {
        match self {
            TemplateName::Id(id) => Some(*id),
            TemplateName::Alias(_) => None,
        }
    }

    /// The alias, if it is one.
    pub fn alias(&self) -> Option<&str> {
        match self {
            TemplateName::Id(_) => None,
            TemplateName::Alias(alias) => Some(alias.as_str()),
        }
    }
}

/// A language, perhaps of a region: the form of BCP 47 (RFC 5646 §2.1), in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locale(String);

/// Not the form of a locale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a locale is a language tag such as de or de-AT (BCP 47)")]
pub struct BadLocale;

impl Locale {
    /// Checks the form; `_` is taken for `-`.
    ///
    /// # Errors
    /// [`BadLocale`].
    pub fn parse(text: &str) -> Result<Locale, BadLocale> {
        let tag = text.replace('_', "-").to_ascii_lowercase();
        let mut subtags = tag.split('-');
        let language = subtags.next().unwrap_or_default();
        let is_language =
            (2..=3).contains(&language.len()) && language.bytes().all(|c| c.is_ascii_lowercase());
        let others =
            subtags.all(|it| (2..=8).contains(&it.len()) && it.bytes().all(|c| c.is_ascii_alphanumeric()));
        if is_language && others && tag.len() <= 35 { Ok(Locale(tag)) } else { Err(BadLocale) }
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This tag and the more general ones, the most particular first (RFC 4647 §3.4): `de-at`, `de`.
    fn lookup(&self) -> impl Iterator<Item = Locale> {
        std::iter::successors(Some(self.clone()), |tag| {
            tag.0.rsplit_once('-').map(|(general, _)| Locale(general.to_owned()))
        })
    }
}

/// What one version of a template holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// For every language that has none of its own.
    pub common: Bodies,
    /// For a language: what it has of its own.
    pub locales: BTreeMap<Locale, Bodies>,
}

impl Contents {
    /// What a reader of this language gets: each part as the most particular tag has it. HTML and MJML are one
    /// part: who has either has no other.
    pub fn in_locale(&self, locale: Option<&Locale>) -> Bodies {
        let mut bodies = self.common.clone();
        let tags: Vec<Locale> = locale.into_iter().flat_map(Locale::lookup).collect();
        for own in tags.iter().rev().filter_map(|tag| self.locales.get(tag)) {
            if own.html.is_some() || own.mjml.is_some() {
                bodies.html = None;
                bodies.mjml = None;
            }
            for part in Part::ALL {
                if let Some(text) = own.get(part) {
                    *bodies.get_mut(part) = Some(text.to_owned());
                }
            }
        }
        bodies
    }

    /// All sources together, in octets.
    pub fn size(&self) -> usize {
        self.common.len() + self.locales.values().map(Bodies::len).sum::<usize>()
    }
}

/// Which template a mail is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// Whose.
    pub name: TemplateName,
    /// Which of its versions; `None`: the published one.
    pub version: Option<i32>,
    /// For readers of which language.
    pub locale: Option<Locale>,
}

/// The most a version of a template may have over all its parts and languages, in octets.
pub const MAX_TEMPLATE: usize = 2 << 20;
/// Languages of one template.
pub const MAX_LOCALES: usize = 50;
/// Characters of a template's name.
pub const MAX_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_named_by_its_alias_or_its_id() {
        for good in ["a", "welcome", "order-2_b", "7"] {
            assert!(matches!(TemplateName::parse(good), Some(TemplateName::Alias(_))), "{good}");
        }
        let id = TemplateId::new(time::OffsetDateTime::UNIX_EPOCH);
        assert_eq!(TemplateName::parse(&id.to_string()), Some(TemplateName::Id(id)));
        for bad in ["", "-a", "_a", "Welcome", "a b", "tpl_x", "a/b", "é", &"a".repeat(65)] {
            assert_eq!(TemplateName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_most_particular_language_has_the_word_part_by_part() {
        let bodies = |subject: Option<&str>, html: Option<&str>, mjml: Option<&str>| Bodies {
            subject: subject.map(str::to_owned),
            html: html.map(str::to_owned),
            mjml: mjml.map(str::to_owned),
            ..Bodies::default()
        };
        let locale = |tag: &str| Locale::parse(tag).expect("a locale");
        let contents = Contents {
            common: bodies(Some("Hello"), None, Some("<mjml>")),
            locales: BTreeMap::from([
                (locale("de"), bodies(Some("Hallo"), Some("<p>"), None)),
                (locale("de-AT"), bodies(Some("Servus"), None, None)),
            ]),
        };
        for (tag, wanted) in [
            (Some("de_at"), bodies(Some("Servus"), Some("<p>"), None)),
            (Some("de-CH"), bodies(Some("Hallo"), Some("<p>"), None)),
            (Some("fr"), bodies(Some("Hello"), None, Some("<mjml>"))),
            (None, bodies(Some("Hello"), None, Some("<mjml>"))),
        ] {
            assert_eq!(contents.in_locale(tag.map(locale).as_ref()), wanted, "{tag:?}");
        }
        for bad in ["", "d", "deutsch", "de-", "de-a", "1e", "de--at"] {
            assert_eq!(Locale::parse(bad), Err(BadLocale), "{bad}");
        }
    }
}
