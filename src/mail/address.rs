//! One mailbox as SMTP knows it: `local-part@domain` (RFC 5321 §4.1.2), with the UTF-8 of RFC 6531. Not the
//! display name that a header may put before it (`mailbox`), and not whether anyone lives there.
//!
//! Invariant: an [`EmailAddress`] is in canonical form: the local part is quoted only if it must be, the
//! domain is in lower-case A-labels, and no character in it can end a line or reorder what is shown.
//!
//! Where the RFCs leave room:
//! - an underscore in a domain is taken, though RFC 1123 §2.1 has none: intranet hosts have it, DNS carries it;
//! - a domain of one label is taken (`root@localhost`);
//! - a trailing dot, a last label of digits only, comments and source routes are refused;
//! - of the address literals only IPv4 and IPv6 are known (RFC 5321 §4.1.3).

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::address_error::AddressError;
use super::text::{self, TextError};

/// The longest local part, in octets (RFC 5321 §4.5.3.1.1).
pub const MAX_LOCAL: usize = 64;
/// The longest domain, in octets (RFC 5321 §4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// The longest address: a path of 256 octets without its angle brackets (RFC 5321 §4.5.3.1.3).
pub const MAX_ADDRESS: usize = 254;
/// The longest label of a domain (RFC 1035 §2.3.4).
pub(super) const MAX_LABEL: usize = 63;

/// ASCII that a domain cannot hold: all but letters, digits, hyphen, dot and, see above, underscore.
const NOT_IN_DOMAINS: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// An address that can be written into MAIL FROM, RCPT TO and header fields as it is.
///
/// Equality is that of the canonical form, which keeps the case of the local part, since only its host may say
/// that `Ann` and `ann` are one (RFC 5321 §2.4). To ask whether two addresses mean one person, compare
/// [`EmailAddress::key`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailAddress {
    text: Box<str>,
    /// Where the `@` between local part and domain stands.
    at: u8,
}

impl EmailAddress {
    /// Reads a bare address: no name, no angle brackets, no comments, no space around it.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence for the person who wrote it.
    pub fn parse(address: &str) -> Result<EmailAddress, AddressError> {
        if address.is_empty() {
            return Err(AddressError::Empty);
        }
        check_characters(address)?;
        let (local, domain) = split(address)?;
        let local = canonical_local(local)?;
        let domain = canonical_domain(domain)?;
        if local.len() + 1 + domain.len() > MAX_ADDRESS {
            return Err(AddressError::TooLong);
        }
        let at = u8::try_from(local.len()).map_err(|_| AddressError::LocalTooLong)?;
        Ok(EmailAddress { text: format!("{local}@{domain}").into(), at })
    }

    /// Before the `@`, with its quotes if it needs them: `"ann smith"`.
    pub fn local(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// After the `@`: lower-case A-labels (`xn--bcher-kva.example`), or a literal (`[192.0.2.1]`).
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.at) + 1..]
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it can only be said to a peer that offers SMTPUTF8 (RFC 6531 §3.2). The domain never asks for
    /// it, being in A-labels.
    pub fn needs_smtputf8(&self) -> bool {
        !self.local().is_ascii()
    }

    /// The form under which recipients are compared, in suppression lists for instance: its ASCII letters in
    /// lower case, because no host in use tells `Ann` from `ann`. Other letters stay: what their lower case is
    /// depends on who is asked, and the database must give the same answer. Never the form to send to.
    pub fn key(&self) -> String {
        self.text.to_ascii_lowercase()
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl FromStr for EmailAddress {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<EmailAddress, AddressError> {
        EmailAddress::parse(address)
    }
}

/// Refuses what no part of an address may hold, quoted or not.
fn check_characters(address: &str) -> Result<(), AddressError> {
    // A long address would pass `check_name` up to the length of a field; its own limits come later.
    match text::check_name(address) {
        Err(TextError::TooLong) => Err(AddressError::TooLong),
        Err(error) => Err(AddressError::Text(error)),
        Ok(()) => {
            match address.chars().find(|&c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}')) {
                Some(c) => Err(AddressError::Text(TextError::Bidi(c))),
                None => Ok(()),
            }
        }
    }
}

/// Finds the `@` between the two parts; one in quotes is none.
fn split(address: &str) -> Result<(&str, &str), AddressError> {
    let at = if address.starts_with('"') {
        let end = closing_quote(address).ok_or(AddressError::Quotes)?;
        match address[end + 1..].chars().next() {
            None => return Err(AddressError::NoAt),
            Some('@') => end + 1,
            Some(_) => return Err(AddressError::Quotes),
        }
    } else {
        address.find('@').ok_or(AddressError::NoAt)?
    };
    let (local, domain) = (&address[..at], &address[at + 1..]);
    if local.is_empty() {
        return Err(AddressError::NoLocal);
    }
    if domain.is_empty() {
        return Err(AddressError::NoDomain);
    }
    if domain.contains('@') {
        return Err(AddressError::ManyAts);
    }
    Ok((local, domain))
}

/// Where the quoted string at the beginning ends.
pub(super) fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = true; // the opening quote itself ends nothing
    text.bytes().position(|c| {
        let closes = c == b'"' && !escaped;
        escaped = c == b'\\' && !escaped;
        closes
    })
}

/// The shortest equivalent local part: RFC 5321 §4.1.2 says that quotes which are not needed mean nothing.
fn canonical_local(local: &str) -> Result<Cow<'_, str>, AddressError> {
    let canonical = match local.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(inner) => {
            let content = unescape(inner);
            match check_dot_string(&content) {
                Ok(()) => Cow::Owned(content),
                Err(_) => Cow::Owned(quote(&content)),
            }
        }
        None => {
            check_dot_string(local)?;
            Cow::Borrowed(local)
        }
    };
    if canonical.len() > MAX_LOCAL { Err(AddressError::LocalTooLong) } else { Ok(canonical) }
}

/// A dot-string of RFC 5321 §4.1.2, its atoms extended by RFC 6531 §3.3.
fn check_dot_string(local: &str) -> Result<(), AddressError> {
    if local.is_empty() {
        return Err(AddressError::NoLocal);
    }
    if local.starts_with('.') || local.ends_with('.') {
        return Err(AddressError::LocalDot);
    }
    if local.contains("..") {
        return Err(AddressError::LocalDots);
    }
    match local.chars().find(|&c| c != '.' && !is_atom_char(c)) {
        Some(' ') => Err(AddressError::Space),
        Some(c) => Err(AddressError::LocalCharacter(c)),
        None => Ok(()),
    }
}

/// `atext` of RFC 5322 §3.2.3, with the UTF-8 of RFC 6532 §3.2.
pub(super) fn is_atom_char(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

/// Takes the backslashes out of the inside of a quoted string (RFC 5322 §3.2.4).
pub(super) fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

/// Writes a quoted string with no more backslashes than it needs (RFC 5322 §3.2.4).
pub(super) fn quote(content: &str) -> String {
    let mut out = String::with_capacity(content.len() + 2);
    out.push('"');
    for c in content.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn canonical_domain(domain: &str) -> Result<Cow<'_, str>, AddressError> {
    if domain.len() > 4 * MAX_DOMAIN {
        return Err(AddressError::DomainTooLong); // no need to fold what cannot fit
    }
    if domain.starts_with('[') {
        return literal(domain).map(Cow::Owned);
    }
    check_dots(domain)?;
    let ascii = to_a_labels(domain)?;
    check_dots(&ascii)?;
    check_labels(&ascii)?;
    Ok(ascii)
}

/// Folds case and writes U-labels as A-labels: UTS 46, non-transitional, so that `straße` is not `strasse`
/// (RFC 5891 §5, RFC 6531 §3.2).
fn to_a_labels(domain: &str) -> Result<Cow<'_, str>, AddressError> {
    if let Some(c) = domain.chars().find(|&c| is_no_domain_char(c)) {
        return Err(if c == ' ' { AddressError::Space } else { AddressError::DomainCharacter(c) });
    }
    Uts46::new()
        .to_ascii(domain.as_bytes(), NOT_IN_DOMAINS, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| AddressError::Idna)
}

fn is_no_domain_char(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_')
}

fn check_dots(domain: &str) -> Result<(), AddressError> {
    if domain.starts_with('.') || domain.contains("..") {
        return Err(AddressError::DomainDots);
    }
    if domain.ends_with('.') {
        return Err(AddressError::TrailingDot);
    }
    Ok(())
}

fn check_labels(domain: &str) -> Result<(), AddressError> {
    if domain.is_empty() {
        return Err(AddressError::Idna); // all of it was invisible
    }
    if domain.len() > MAX_DOMAIN {
        return Err(AddressError::DomainTooLong);
    }
    for label in domain.split('.') {
        if label.len() > MAX_LABEL {
            return Err(AddressError::LabelTooLong);
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(AddressError::Hyphen);
        }
    }
    // RFC 3696 §2: a top-level domain is not all numeric, so that no host name reads as an IP address.
    let last = domain.rsplit('.').next().unwrap_or(domain);
    if last.bytes().all(|c| c.is_ascii_digit()) { Err(AddressError::Numeric) } else { Ok(()) }
}

/// RFC 5321 §4.1.3, in the one form of RFC 5952 for IPv6.
fn literal(domain: &str) -> Result<String, AddressError> {
    let inner = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')).ok_or(AddressError::Literal)?;
    if let Ok(address) = inner.parse::<Ipv4Addr>() {
        return Ok(format!("[{address}]"));
    }
    let is_tagged = inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    let address = if is_tagged { inner[5..].parse::<Ipv6Addr>().ok() } else { None };
    address.map(|address| format!("[IPv6:{address}]")).ok_or(AddressError::Literal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Given and canonical form.
    const VALID: &[(&str, &str)] = &[
        ("ann@example.com", "ann@example.com"),
        ("Ann.Smith@Example.COM", "Ann.Smith@example.com"),
        ("a@b", "a@b"),
        ("root@localhost", "root@localhost"),
        ("user+tag@example.com", "user+tag@example.com"),
        ("user.name+tag+sorting@example.com", "user.name+tag+sorting@example.com"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org"),
        ("customer/department=shipping@example.com", "customer/department=shipping@example.com"),
        ("user%example.com@example.org", "user%example.com@example.org"),
        ("mailhost!username@example.org", "mailhost!username@example.org"),
        ("_somename@example.com", "_somename@example.com"),
        ("1234567890@example.com", "1234567890@example.com"),
        ("user-@example.org", "user-@example.org"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@my_host.example", "a@my_host.example"),
        ("a@a--b.example", "a@a--b.example"),
        ("a@r3---sn-apo3qvuoxuxbt-j5pe.example", "a@r3---sn-apo3qvuoxuxbt-j5pe.example"),
        ("a@123.example", "a@123.example"),
        // Quoted local parts (RFC 5321 §4.1.2; RFC 3696 §3).
        ("\"ann\"@example.com", "ann@example.com"),
        ("\"a\\nn\"@example.com", "ann@example.com"),
        ("\"john..doe\"@example.org", "\"john..doe\"@example.org"),
        ("\" \"@example.org", "\" \"@example.org"),
        ("\"\"@example.org", "\"\"@example.org"),
        ("\"Abc\\@def\"@example.com", "\"Abc@def\"@example.com"),
        ("\"Fred Bloggs\"@example.com", "\"Fred Bloggs\"@example.com"),
        ("\"Joe\\\\Blow\"@example.com", "\"Joe\\\\Blow\"@example.com"),
        ("\"Joe.\\\\\\\"Blow\"@example.com", "\"Joe.\\\\\\\"Blow\"@example.com"),
        ("\"a@b\"@c.example", "\"a@b\"@c.example"),
        (
            "\"very.(),:;<>[]\\\".VERY.\\\"very@\\\\ \\\"very\\\".unusual\"@strange.example",
            "\"very.(),:;<>[]\\\".VERY.\\\"very@\\\\ \\\"very\\\".unusual\"@strange.example",
        ),
        // Internationalized (RFC 6531, RFC 5891).
        ("ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
        ("ann@straße.example", "ann@xn--strae-oqa.example"),
        ("ann@例え.テスト", "ann@xn--r8jz45g.xn--zckzah"),
        ("ann@παράδειγμα.δοκιμή", "ann@xn--hxajbheg2az3al.xn--jxalpdlp"),
        ("ann@例え。テスト", "ann@xn--r8jz45g.xn--zckzah"),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
        ("अजय@डाटा.भारत", "अजय@xn--c2bd1gb.xn--h2brj9c"),
        ("Dörte@Sörensen.example", "Dörte@xn--srensen-90a.example"),
        ("коля@пример.рф", "коля@xn--e1afmkfd.xn--p1ai"),
        ("\"Dörte B\"@example.com", "\"Dörte B\"@example.com"),
        // Literals (RFC 5321 §4.1.3).
        ("postmaster@[192.0.2.1]", "postmaster@[192.0.2.1]"),
        ("postmaster@[IPv6:2001:DB8::1]", "postmaster@[IPv6:2001:db8::1]"),
        ("postmaster@[ipv6:::1]", "postmaster@[IPv6:::1]"),
        ("a@[IPv6:2001:db8:0:0:0:0:0:1]", "a@[IPv6:2001:db8::1]"),
        ("a@[IPv6:::ffff:192.0.2.1]", "a@[IPv6:::ffff:192.0.2.1]"),
    ];

    #[test]
    fn valid_addresses_have_one_canonical_form() {
        for (given, wanted) in VALID {
            let address = EmailAddress::parse(given).unwrap_or_else(|e| panic!("{given}: {e}"));
            assert_eq!(address.as_str(), *wanted, "{given}");
            assert_eq!(format!("{}@{}", address.local(), address.domain()), *wanted);
            assert_eq!(EmailAddress::parse(wanted), Ok(address), "{wanted}");
        }
    }

    #[test]
    fn invalid_addresses_say_what_is_wrong() {
        use AddressError::*;
        let cases: &[(&str, AddressError)] = &[
            ("", Empty),
            ("Abc.example.com", NoAt),
            ("\"ann\"", NoAt),
            ("A@b@c@example.com", ManyAts),
            ("@example.com", NoLocal),
            ("ann@", NoDomain),
            (" ann@example.com", Space),
            ("ann @example.com", Space),
            ("ann@example.com ", Space),
            ("ann@exa mple.com", Space),
            (".ann@example.com", LocalDot),
            ("ann.@example.com", LocalDot),
            ("ann..smith@example.com", LocalDots),
            ("a(b)c@example.com", LocalCharacter('(')),
            ("a\"b(c)d,e:f;g<h>i[j\\k]l@example.com", LocalCharacter('"')),
            ("just\"not\"right@example.com", LocalCharacter('"')),
            ("this\\ still@example.com", LocalCharacter('\\')),
            ("a,b@example.com", LocalCharacter(',')),
            ("<ann@example.com>", LocalCharacter('<')),
            ("\"ann@example.com", Quotes),
            ("\"ann\\\"@example.com", Quotes),
            ("\"ann\"smith@example.com", Quotes),
            ("ann@example.com.", TrailingDot),
            ("ann@.example.com", DomainDots),
            ("ann@example..com", DomainDots),
            ("ann@-example.com", Hyphen),
            ("ann@example-.com", Hyphen),
            ("ann@example.com>", DomainCharacter('>')),
            ("ann@exam(ple).com", DomainCharacter('(')),
            ("ann@example.com/path", DomainCharacter('/')),
            ("ann@exa%6Dple.com", DomainCharacter('%')),
            ("ann@exa\\mple.com", DomainCharacter('\\')),
            ("ann@2001:db8::1", DomainCharacter(':')),
            ("ann@192.0.2.1", Numeric),
            ("ann@example.123", Numeric),
            ("ann@7", Numeric),
            ("ann@[192.0.2.1", Literal),
            ("ann@[192.0.2.256]", Literal),
            ("ann@[192.0.2.01]", Literal),
            ("ann@[2001:db8::1]", Literal),
            ("ann@[IPv6:2001:db8::g]", Literal),
            ("ann@[IPv6:fe80::1%eth0]", Literal),
            ("ann@[x400:c=de]", Literal),
            ("ann@[]", Literal),
            ("ann@xn--a.example", Idna),
            ("ann@xn--zzzzzz---.example", Idna),
            ("ann@a\u{ad}\u{200b}\u{378}.example", Idna),
            ("ann@\u{ad}", Idna),
            ("ann@ا1a.example", Idna),
        ];
        for (given, wanted) in cases {
            assert_eq!(EmailAddress::parse(given), Err(wanted.clone()), "{given}");
        }
    }

    #[test]
    fn characters_that_break_lines_or_reorder_are_refused_everywhere() {
        for bad in [
            '\r', '\n', '\0', '\t', '\u{1b}', '\u{7f}', '\u{85}', '\u{9f}', '\u{2028}', '\u{2029}',
            '\u{202e}', '\u{2066}', '\u{200e}', '\u{200f}', '\u{61c}', '\u{feff}',
        ] {
            for text in [
                format!("a{bad}n@example.com"),
                format!("\"a{bad}n\"@example.com"),
                format!("\"a\\{bad}n\"@example.com"),
                format!("ann@exa{bad}mple.com"),
                format!("ann@example.com{bad}"),
                format!("ann@[192.0.2.1{bad}]"),
            ] {
                let error = EmailAddress::parse(&text).unwrap_err();
                assert!(matches!(error, AddressError::Text(_)), "{text:?}: {error:?}");
            }
        }
    }

    #[test]
    fn the_limits_are_those_of_rfc_5321() {
        let local = "a".repeat(64);
        let label = "b".repeat(63);
        assert!(EmailAddress::parse(&format!("{local}@example.com")).is_ok());
        assert_eq!(EmailAddress::parse(&format!("{local}a@example.com")), Err(AddressError::LocalTooLong));
        // Octets, not characters: 33 of two octets each are 66.
        let umlauts = "ä".repeat(33);
        assert_eq!(EmailAddress::parse(&format!("{umlauts}@example.com")), Err(AddressError::LocalTooLong));
        assert!(EmailAddress::parse(&format!("a@{label}.example")).is_ok());
        assert_eq!(EmailAddress::parse(&format!("a@{label}b.example")), Err(AddressError::LabelTooLong));

        let longest = format!("{}@{label}.{label}.{}.com", "a".repeat(64), "c".repeat(57));
        assert_eq!(longest.len(), 254);
        assert!(EmailAddress::parse(&longest).is_ok());
        assert_eq!(EmailAddress::parse(&format!("{longest}m")), Err(AddressError::TooLong));
        let domain = format!("{label}.{label}.{label}.{label}");
        assert_eq!(EmailAddress::parse(&format!("a@{domain}.x")), Err(AddressError::DomainTooLong));
        assert_eq!(EmailAddress::parse(&"a".repeat(1_000_000)), Err(AddressError::TooLong));
    }

    #[test]
    fn only_a_local_part_beyond_ascii_needs_smtputf8() {
        for (text, wanted) in [("ann@bücher.example", false), ("jörg@example.com", true), ("a@b", false)] {
            assert_eq!(EmailAddress::parse(text).unwrap().needs_smtputf8(), wanted, "{text}");
        }
    }

    #[test]
    fn one_person_has_one_key() {
        for text in ["Ann@Example.com", "\"ann\"@EXAMPLE.COM", "ANN@example.com"] {
            assert_eq!(EmailAddress::parse(text).unwrap().key(), "ann@example.com");
        }
        assert_eq!(EmailAddress::parse("JÖRG@BÜCHER.example").unwrap().key(), "jÖrg@xn--bcher-kva.example");
        assert_ne!(EmailAddress::parse("Ann@a.example"), EmailAddress::parse("ann@a.example"));
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_what_it_takes_round_trips(text in "\\PC{0,24}@?\\PC{0,24}") {
            if let Ok(address) = EmailAddress::parse(&text) {
                prop_assert_eq!(EmailAddress::parse(&address.to_string()), Ok(address));
            }
        }

        #[test]
        fn any_quoted_content_round_trips(content in "[ -~äß用]{0,20}") {
            let address = EmailAddress::parse(&format!("{}@example.com", quote(&content))).unwrap();
            prop_assert_eq!(EmailAddress::parse(address.as_str()), Ok(address.clone()));
            let local = address.local();
            let inner = local.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
            prop_assert_eq!(inner.map_or(local.to_owned(), unescape), content);
        }
    }
}
