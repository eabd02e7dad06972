//! The paths of an SMTP envelope: where mail comes from and where it goes (RFC 5321 §4.1.2).
//!
//! Not the addresses of a header: no display names, comments or folding. Invariant: a [`Mailbox`] holds exactly
//! what the client wrote between the brackets, grammatical and within the length limits, so that no reader has
//! to guess where its domain begins: `"a@b"@example.org` keeps its quotes.

use std::net::{Ipv4Addr, Ipv6Addr};

// RFC 5321 §4.5.3.1.1 to §4.5.3.1.3, in octets; a path's 256 include its two brackets.
const MAX_LOCAL_PART: usize = 64;
const MAX_DOMAIN: usize = 255;
const MAX_MAILBOX: usize = 254;
/// RFC 1035 §2.3.4.
const MAX_LABEL: usize = 63;

/// `local-part@domain`, as written; the domain may be an address literal, either side may be UTF-8 (RFC 6531).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: Box<str>,
    at: usize,
}

/// The argument of `MAIL FROM:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: the mail is a notice that must not be answered by another (RFC 5321 §4.5.5).
    Null,
    /// Where notices about the mail go.
    Mailbox(Mailbox),
}

/// The argument of `RCPT TO:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain: whoever runs the receiving host (RFC 5321 §4.5.1).
    Postmaster,
    /// The mailbox that is to have the mail.
    Mailbox(Mailbox),
}

/// The text is no path by RFC 5321 §4.1.2, or longer than §4.5.3.1 allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path of RFC 5321")]
pub struct BadPath;

impl Mailbox {
    /// The whole mailbox as written, without brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the last `@`, quotes included. Only the owner of the domain may interpret it.
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain or address literal (`[192.0.2.1]`, `[IPv6:2001:db8::1]`) as written, case kept.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

impl std::str::FromStr for Mailbox {
    type Err = BadPath;

    /// Reads a mailbox that stands alone, without brackets.
    fn from_str(text: &str) -> Result<Self, BadPath> {
        let at = local_part_len(text)?;
        let domain = text[at..].strip_prefix('@').ok_or(BadPath)?;
        if at > MAX_LOCAL_PART || text.len() > MAX_MAILBOX || !is_domain_or_literal(domain) {
            return Err(BadPath);
        }
        Ok(Self { text: text.into(), at })
    }
}

impl ReversePath {
    /// The mailbox as written; empty for the null path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// Reads `<…>` at the start of `input` and returns it with what follows the closing bracket.
    pub(super) fn read(input: &str) -> Result<(Self, &str), BadPath> {
        if let Some(rest) = input.strip_prefix("<>") {
            return Ok((Self::Null, rest));
        }
        let (inner, rest) = bracketed(input)?;
        Ok((Self::Mailbox(inner.parse()?), rest))
    }
}

impl ForwardPath {
    /// The mailbox as written, or `postmaster`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Postmaster => "postmaster",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// Reads `<…>` at the start of `input` and returns it with what follows the closing bracket.
    pub(super) fn read(input: &str) -> Result<(Self, &str), BadPath> {
        let (inner, rest) = bracketed(input)?;
        if inner.eq_ignore_ascii_case("postmaster") {
            return Ok((Self::Postmaster, rest));
        }
        Ok((Self::Mailbox(inner.parse()?), rest))
    }
}

/// Splits `<[source route] mailbox>rest` into mailbox and rest. The closing bracket is searched outside quotes.
fn bracketed(input: &str) -> Result<(&str, &str), BadPath> {
    let inner = without_source_route(input.strip_prefix('<').ok_or(BadPath)?)?;
    // A quoted local part may hold `>`, so the search begins after the local part.
    let local = local_part_len(inner)?;
    let end = local + inner[local..].find('>').ok_or(BadPath)?;
    Ok((&inner[..end], &inner[end + 1..]))
}

/// RFC 5321 §4.1.1.3 and appendix C: a source route (`@a,@b:`) is accepted and ignored.
fn without_source_route(input: &str) -> Result<&str, BadPath> {
    if !input.starts_with('@') {
        return Ok(input);
    }
    let (route, mailbox) = input.split_once(':').ok_or(BadPath)?;
    let is_route = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
    if is_route { Ok(mailbox) } else { Err(BadPath) }
}

/// The length of the local part at the start of `text`: a dot-string or a quoted string, never empty.
fn local_part_len(text: &str) -> Result<usize, BadPath> {
    if text.starts_with('"') {
        return quoted_string_len(text);
    }
    let end = text.bytes().position(|byte| !is_atext(byte) && byte != b'.').unwrap_or(text.len());
    if text[..end].split('.').any(str::is_empty) { Err(BadPath) } else { Ok(end) }
}

/// The length of a quoted string, both quotes included. `""` is a legal, if odd, local part.
fn quoted_string_len(text: &str) -> Result<usize, BadPath> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            // quoted-pairSMTP covers %d32-126 only, qtextSMTP the same and UTF-8 (RFC 6531 §3.3).
            0..=31 | 127 => return Err(BadPath),
            _ if escaped && !byte.is_ascii() => return Err(BadPath),
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok(at + 1),
            _ => {}
        }
    }
    Err(BadPath)
}

fn is_domain_or_literal(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|literal| literal.strip_suffix(']')) {
        // RFC 5321 §4.1.3. No tag but IPv6 was ever registered.
        Some(literal) => match literal.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => literal[5..].parse::<Ipv6Addr>().is_ok(),
            _ => literal.parse::<Ipv4Addr>().is_ok(),
        },
        None => is_domain(text),
    }
}

/// Labels of letters, digits and inner hyphens (RFC 5321 §2.3.5), or UTF-8 (RFC 6531 §3.3).
fn is_domain(text: &str) -> bool {
    text.len() <= MAX_DOMAIN && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=MAX_LABEL).contains(&bytes.len())
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-' || !byte.is_ascii())
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// RFC 5322 §3.2.3, and UTF-8 by RFC 6531 §3.3.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte) || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(input: &str) -> Result<(String, &str), BadPath> {
        ForwardPath::read(input).map(|(path, rest)| (path.as_str().to_owned(), rest))
    }

    #[test]
    fn grammatical_paths_are_kept_as_written() {
        let long_local = "l".repeat(64);
        let cases = [
            ("<a@example.org>", "a@example.org"),
            ("<A.b+c@Example.ORG>", "A.b+c@Example.ORG"),
            ("<\"a@b\"@example.org>", "\"a@b\"@example.org"),
            ("<\"a>b\\\" c\"@example.org>", "\"a>b\\\" c\"@example.org"),
            ("<\"\"@example.org>", "\"\"@example.org"),
            ("<a%b@example.org>", "a%b@example.org"),
            ("<b!a@example.org>", "b!a@example.org"),
            ("<a@[127.0.0.1]>", "a@[127.0.0.1]"),
            ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
            ("<pelé@exämple.org>", "pelé@exämple.org"),
            ("<@hop.example,@hop2.example:a@example.org>", "a@example.org"),
            ("<PostMaster>", "postmaster"),
            ("<postmaster@example.org>", "postmaster@example.org"),
            (&format!("<{long_local}@example.org>"), &format!("{long_local}@example.org")),
        ];
        for (input, expected) in cases {
            assert_eq!(forward(input), Ok((expected.to_owned(), "")), "{input}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long_local = format!("<{}@example.org>", "l".repeat(65));
        let long_label = format!("<a@{}.org>", "l".repeat(64));
        let long_path = format!("<{}@{}org>", "l".repeat(60), "label.".repeat(35));
        let cases = [
            "",
            "<>",
            "a@example.org",
            "<a@example.org",
            "<a>",
            "<a@>",
            "<@example.org>",
            "<a@b@c>",
            "<a..b@example.org>",
            "<.a@example.org>",
            "<a.@example.org>",
            "<a b@example.org>",
            "<\"a@example.org>",
            "<\"a\"b@example.org>",
            "<a@-b.org>",
            "<a@b-.org>",
            "<a@b..org>",
            "<a@b.org.>",
            "<a@b_c.org>",
            "<a@[1.2.3]>",
            "<a@[IPv6:zz]>",
            "<a@[x-tag:1]>",
            "<@hop.example a@b.org>",
            "<@:a@b.org>",
            "<hop:a@b.org>",
            "<a\u{7f}@b.org>",
            "<\"\u{1}\"@b.org>",
            "<a(c)@example.org>",
            &long_local,
            &long_label,
            &long_path,
        ];
        for input in cases {
            assert_eq!(forward(input), Err(BadPath), "{input}");
        }
    }

    #[test]
    fn the_null_path_is_only_a_reverse_path() {
        assert_eq!(ReversePath::read("<> SIZE=1"), Ok((ReversePath::Null, " SIZE=1")));
        assert_eq!(ReversePath::read("<postmaster>"), Err(BadPath));
    }

    #[test]
    fn the_domain_begins_after_the_local_part_and_not_at_the_first_at_sign() {
        let mailbox: Mailbox = "\"a@b\"@example.org".parse().expect("grammatical");
        assert_eq!((mailbox.local_part(), mailbox.domain()), ("\"a@b\"", "example.org"));
    }
}
