//! A mailbox as header fields have it: an address, perhaps with a display name (RFC 5322 §3.4). Not the wire form
//! of a whole field (`words`).
//!
//! Invariant: what [`Mailbox::parse`] returns has a name that may stand in a header field, or none.

use std::fmt;
use std::str::FromStr;

use super::address::{self, EmailAddress, quote};
use super::address_error::AddressError;
use super::{text, words};

/// Someone with an address.
///
/// The fields may be set freely: whoever writes a mailbox into a mail checks the name again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The display name, decoded, never empty.
    pub name: Option<String>,
    /// Where mail goes.
    pub address: EmailAddress,
}

impl Mailbox {
    /// Reads one mailbox: `a@b`, `<a@b>`, `Name <a@b>`, `"Name, quoted" <a@b>`. Encoded words in an unquoted name
    /// are decoded; comments and white space around the parts are skipped. A line break is refused, folded or not.
    ///
    /// # Errors
    /// What is wrong with it. A list and a group have errors of their own.
    pub fn parse(text: &str) -> Result<Mailbox, AddressError> {
        let mut reader = Reader::new(text)?;
        let entry = reader.entry()?;
        match entry.end {
            End::Text => entry.into_mailbox()?.ok_or(AddressError::Empty),
            End::Colon => Err(AddressError::Group),
            End::Comma | End::Semicolon => Err(AddressError::Several),
        }
    }

    /// Joins a name and an address given apart. White space around the name goes; an empty name is none.
    ///
    /// # Errors
    /// A name that cannot stand in a header field.
    pub fn new(name: Option<&str>, address: EmailAddress) -> Result<Mailbox, AddressError> {
        let name = name.map(|name| name.trim_matches([' ', '\t'])).filter(|name| !name.is_empty());
        if let Some(name) = name {
            text::check_name(name).map_err(AddressError::Name)?;
        }
        Ok(Mailbox { name: name.map(str::to_owned), address })
    }
}

impl From<EmailAddress> for Mailbox {
    fn from(address: EmailAddress) -> Mailbox {
        Mailbox { name: None, address }
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Mailbox, AddressError> {
        Mailbox::parse(text)
    }
}

/// For people and for [`Mailbox::parse`]; names are not encoded.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => write!(f, "{}", self.address),
            Some(name) if words::is_atoms(name) && !name.contains("=?") => {
                write!(f, "{name} <{}>", self.address)
            }
            Some(name) => write!(f, "{} <{}>", quote(name), self.address),
        }
    }
}

/// Reads the unfolded value of a field such as To: mailboxes and groups, in their order, the names of groups left out. An
/// empty group, as in `undisclosed-recipients:;`, and an empty text give no mailbox.
///
/// # Errors
/// What is wrong with the first entry that is not well.
pub fn parse_list(text: &str) -> Result<Vec<Mailbox>, AddressError> {
    let mut reader = Reader::new(text)?;
    let mut list = Vec::new();
    let mut in_group = false;
    loop {
        let entry = reader.entry()?;
        let end = entry.end;
        match end {
            End::Colon if in_group => return Err(AddressError::NameCharacter(':')),
            End::Colon => in_group = true,
            End::Semicolon if !in_group => return Err(AddressError::NameCharacter(';')),
            // RFC 5322 §4.4 (obs-addr-list): entries may be empty.
            End::Comma | End::Semicolon | End::Text => list.extend(entry.into_mailbox()?),
        }
        match end {
            End::Semicolon => in_group = false,
            End::Text => return Ok(list),
            End::Comma | End::Colon => {}
        }
    }
}

/// What ended an entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Text,
    Comma,
    /// The entry is the name of a group that begins.
    Colon,
    /// The entry is the last of its group.
    Semicolon,
}

/// One entry of a list, in lexical pieces.
struct Entry<'a> {
    pieces: Vec<Piece<'a>>,
    /// What stood in angle brackets.
    bracketed: Option<&'a str>,
    end: End,
}

/// Text up to the next white space, comment or special character.
struct Piece<'a> {
    raw: &'a str,
    kind: Kind,
    /// White space or a comment stood before it.
    is_apart: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// A quoted string (RFC 5322 §3.2.4).
    Quoted,
    /// An encoded word (RFC 2047 §2), whatever special characters a careless writer left in it.
    Encoded,
}

impl Entry<'_> {
    /// `None` if nothing is there.
    fn into_mailbox(self) -> Result<Option<Mailbox>, AddressError> {
        match (self.bracketed, self.pieces.is_empty()) {
            (Some(address), _) => {
                let address = EmailAddress::parse(address.trim_matches([' ', '\t']))?;
                Mailbox::new(Some(&self.name()?), address).map(Some)
            }
            (None, true) => Ok(None),
            (None, false) => self.bare_address().map(|address| Some(Mailbox::from(address))),
        }
    }

    /// The display name before the angle bracket. Dots and brackets are taken unquoted, as everyone does; an `@`
    /// is not, because some readers would take the name for the address.
    fn name(&self) -> Result<String, AddressError> {
        let mut name = String::new();
        let mut before = Kind::Plain;
        for piece in &self.pieces {
            // RFC 2047 §6.2: white space between two encoded words is not read.
            if piece.is_apart && (before, piece.kind) != (Kind::Encoded, Kind::Encoded) {
                name.push(' ');
            }
            match piece.kind {
                Kind::Quoted => name.push_str(&address::unescape(&piece.raw[1..piece.raw.len() - 1])),
                Kind::Encoded => name.push_str(&words::decode(piece.raw)),
                Kind::Plain => match piece.raw.chars().find(|c| matches!(c, '@' | ')')) {
                    Some(c) => return Err(AddressError::NameCharacter(c)),
                    None => name.push_str(piece.raw),
                },
            }
            before = piece.kind;
        }
        Ok(name)
    }

    /// An address without angle brackets: all pieces must touch.
    fn bare_address(&self) -> Result<EmailAddress, AddressError> {
        if self.pieces.iter().skip(1).any(|piece| piece.is_apart) {
            let has_at = self.pieces.iter().any(|piece| piece.kind == Kind::Plain && piece.raw.contains('@'));
            return Err(if has_at { AddressError::NoBrackets } else { AddressError::NoAt });
        }
        let address: String = self.pieces.iter().map(|piece| piece.raw).collect();
        EmailAddress::parse(&address)
    }
}

/// Cuts a list into entries.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Reader<'a>, AddressError> {
        text::check_controls(text).map_err(AddressError::Text)?;
        Ok(Reader { rest: text })
    }

    fn entry(&mut self) -> Result<Entry<'a>, AddressError> {
        let mut entry = Entry { pieces: Vec::new(), bracketed: None, end: End::Text };
        let mut is_apart = false;
        while let Some(c) = self.rest.chars().next() {
            match c {
                ' ' | '\t' => self.skip(1),
                '(' => self.skip(comment_len(self.rest)?),
                ',' | ':' | ';' => {
                    self.skip(1);
                    entry.end = end_of(c);
                    return Ok(entry);
                }
                '<' if entry.bracketed.is_none() => entry.bracketed = Some(self.bracketed()?),
                '>' => return Err(AddressError::AngleBracket),
                _ if entry.bracketed.is_some() => return Err(AddressError::TextAfter),
                _ => {
                    entry.pieces.push(self.piece(is_apart)?);
                    is_apart = false;
                    continue;
                }
            }
            is_apart = true;
        }
        Ok(entry)
    }

    /// From `<` to `>`; what is between them is given back.
    fn bracketed(&mut self) -> Result<&'a str, AddressError> {
        let mut in_quotes = false;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            match c {
                '>' if !in_quotes => {
                    let inner = &self.rest[1..at];
                    self.skip(at + 1);
                    return Ok(inner);
                }
                '"' if !escaped => in_quotes = !in_quotes,
                _ => {}
            }
            escaped = c == '\\' && in_quotes && !escaped;
        }
        Err(if in_quotes { AddressError::OpenQuote } else { AddressError::AngleBracket })
    }

    fn piece(&mut self, is_apart: bool) -> Result<Piece<'a>, AddressError> {
        let (kind, len) = if self.rest.starts_with('"') {
            (Kind::Quoted, address::closing_quote(self.rest).ok_or(AddressError::OpenQuote)? + 1)
        } else if let Some(len) = words::encoded_word_len(self.rest) {
            (Kind::Encoded, len)
        } else {
            (Kind::Plain, plain_len(self.rest))
        };
        let raw = &self.rest[..len];
        self.skip(len);
        Ok(Piece { raw, kind, is_apart })
    }

    fn skip(&mut self, octets: usize) {
        self.rest = &self.rest[octets..];
    }
}

/// Up to what cannot be in plain text. The colons of a domain literal can: it ends at its bracket.
fn plain_len(text: &str) -> usize {
    let mut before = ' ';
    let mut in_literal = false;
    for (at, c) in text.char_indices() {
        match c {
            ']' => in_literal = false,
            '[' if before == '@' => in_literal = true,
            ':' if in_literal => {}
            ' ' | '\t' | '(' | '"' | ',' | ':' | ';' | '<' | '>' => return at,
            _ => {}
        }
        before = c;
    }
    text.len()
}

fn end_of(c: char) -> End {
    match c {
        ',' => End::Comma,
        ':' => End::Colon,
        _ => End::Semicolon,
    }
}

/// The length of the comment at the beginning, with those inside it (RFC 5322 §3.2.2).
fn comment_len(text: &str) -> Result<usize, AddressError> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, c) in text.bytes().enumerate() {
        match c {
            _ if escaped => {}
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(at + 1);
        }
        escaped = c == b'\\' && !escaped;
    }
    Err(AddressError::Comment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(name: &str, address: &str) -> Mailbox {
        Mailbox { name: Some(name.to_owned()), address: EmailAddress::parse(address).unwrap() }
    }

    #[test]
    fn a_mailbox_is_an_address_with_or_without_a_name() {
        let cases = [
            ("ann@example.com", "", "ann@example.com"),
            ("<ann@example.com>", "", "ann@example.com"),
            ("  < ann@example.com >\t", "", "ann@example.com"),
            ("Ann <ann@example.com>", "Ann", "ann@example.com"),
            ("Ann<ann@example.com>", "Ann", "ann@example.com"),
            ("Ann  Smith <ann@example.com>", "Ann Smith", "ann@example.com"),
            ("John Q. Public <john@example.com>", "John Q. Public", "john@example.com"),
            ("Who? <one@y.test>", "Who?", "one@y.test"),
            (r#""Joe Q. Public" <john.q.public@example.com>"#, "Joe Q. Public", "john.q.public@example.com"),
            (
                r#""Giant; \"Big\" Box" <sysservices@example.net>"#,
                r#"Giant; "Big" Box"#,
                "sysservices@example.net",
            ),
            (r#""Smith, Ann" <ann@example.com>"#, "Smith, Ann", "ann@example.com"),
            (r#""ann@example.org" <ann@example.com>"#, "ann@example.org", "ann@example.com"),
            (r#"Ann "The" Smith <ann@example.com>"#, "Ann The Smith", "ann@example.com"),
            (r#""" <ann@example.com>"#, "", "ann@example.com"),
            ("Acme [staging] <a@b>", "Acme [staging]", "a@b"),
            ("Søren Ærø <s@example.dk>", "Søren Ærø", "s@example.dk"),
            ("日本語 <user@例え.テスト>", "日本語", "user@xn--r8jz45g.xn--zckzah"),
            // RFC 5322 appendix A.5.
            (r#"Pete(A nice \) chap) <pete(his account)@silly.test(his host)>"#, "!", ""),
            (r"Pete(A nice \) chap) <pete@silly.test> (host)", "Pete", "pete@silly.test"),
            ("(a (nested) one) jdoe@one.test (my dear friend)", "", "jdoe@one.test"),
            // Encoded words (RFC 2047 §8), also with what careless writers leave in them.
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore", "moore@cs.utk.edu"),
            ("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>", "Keld Jørn Simonsen", "keld@dkuug.dk"),
            ("=?ISO-8859-1?Q?Andr=E9?= Pirard <a@b>", "André Pirard", "a@b"),
            ("=?utf-8?q?a?= =?utf-8?q?b?= c <a@b>", "ab c", "a@b"),
            ("=?utf-8?Q?Smith,_Ann_(Sales):_x?= <a@b>", "Smith, Ann (Sales): x", "a@b"),
            (r#""=?utf-8?q?x?=" <a@b>"#, "=?utf-8?q?x?=", "a@b"),
            // Odd addresses.
            (r#""ann smith"@example.com"#, "", r#""ann smith"@example.com"#),
            (r#"Ann <"ann>smith"@example.com>"#, "Ann", r#""ann>smith"@example.com"#),
            ("a@[IPv6:2001:db8::1]", "", "a@[IPv6:2001:db8::1]"),
            ("A <a@[192.0.2.1]>", "A", "a@[192.0.2.1]"),
        ];
        for (text, name, address) in cases {
            if name == "!" {
                assert!(Mailbox::parse(text).is_err(), "{text}: comments inside the brackets are refused");
                continue;
            }
            let mailbox = Mailbox::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(mailbox.name.as_deref().unwrap_or(""), name, "{text}");
            assert_eq!(mailbox.address.as_str(), address, "{text}");
        }
    }

    #[test]
    fn what_is_no_single_mailbox_says_why() {
        use super::text::TextError;
        use AddressError::*;
        let cases = [
            ("", Empty),
            ("  ", Empty),
            ("(only a comment)", Empty),
            ("Ann", NoAt),
            ("Ann Smith", NoAt),
            ("Ann <>", Empty),
            ("Ann <ann>", NoAt),
            ("Ann ann@example.com", NoBrackets),
            ("ann @example.com", NoBrackets),
            ("a@b, c@d", Several),
            ("Smith, Ann <ann@example.com>", Several),
            ("a@b; c@d", Several),
            ("Friends: a@b, c@d;", Group),
            ("undisclosed-recipients:;", Group),
            ("ann@example.com <ann@example.com>", NameCharacter('@')),
            ("Ann) <a@b>", NameCharacter(')')),
            ("Ann <a@b", AngleBracket),
            ("Ann a@b>", AngleBracket),
            ("Ann <a@b> Smith", TextAfter),
            ("<a@b> <c@d>", TextAfter),
            ("\"Ann <a@b>", OpenQuote),
            ("<\"a@b>", OpenQuote),
            ("Ann (the one <a@b>", Comment),
            ("<@a,@b:c@d>", NoLocal),
            ("Ann\r\nBcc: x@y <a@b>", Text(TextError::LineBreak)),
            ("Ann\r\n <a@b>", Text(TextError::LineBreak)),
            ("Ann\0 <a@b>", Text(TextError::Control('\0'))),
            ("A\u{202e}nn <a@b>", Name(TextError::Bidi('\u{202e}'))),
            ("=?utf-8?q?a=0D=0ABcc:_x?= <a@b>", Name(TextError::LineBreak)),
            ("=?utf-8?b?AA==?= <a@b>", Name(TextError::Control('\0'))),
            ("\"a\tb\" <a@b>", Name(TextError::Control('\t'))),
        ];
        for (text, wanted) in cases {
            assert_eq!(Mailbox::parse(text), Err(wanted), "{text:?}");
        }
    }

    #[test]
    fn a_list_holds_mailboxes_and_groups() {
        let list =
            parse_list("A Group:Ed Jones <joe@where.test>,joe@where.test, \"J, D\" <jdoe@one.test>; x@y,,");
        let wanted = vec![
            named("Ed Jones", "joe@where.test"),
            Mailbox::from(EmailAddress::parse("joe@where.test").unwrap()),
            named("J, D", "jdoe@one.test"),
            Mailbox::from(EmailAddress::parse("x@y").unwrap()),
        ];
        assert_eq!(list, Ok(wanted));
        for nobody in ["", "Undisclosed recipients:;", "undisclosed-recipients: ;", " (nobody) "] {
            assert_eq!(parse_list(nobody), Ok(vec![]), "{nobody}");
        }
        for bad in ["a@b; c@d", "A: B: a@b;;", "a@b, nobody", "a@b\r\nBcc: c@d"] {
            assert!(parse_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_given_apart_are_checked() {
        let address = EmailAddress::parse("a@b").unwrap();
        assert_eq!(Mailbox::new(Some(" Ann "), address.clone()), Ok(named("Ann", "a@b")));
        assert_eq!(Mailbox::new(Some("  "), address.clone()), Ok(Mailbox::from(address.clone())));
        assert!(matches!(Mailbox::new(Some("a\nb"), address), Err(AddressError::Name(_))));
    }

    proptest! {
        #[test]
        fn parse_never_panics(text in "([\"<>(),:;@.\\[\\]\\\\ ]|=\\?utf-8\\?q\\?|\\?=|[a-z]{1,4}|\\PC){0,30}") {
            // Whatever it says, it says it without a panic.
            let _ = Mailbox::parse(&text);
            let _ = parse_list(&text);
        }

        #[test]
        fn display_round_trips(name in "([ -~äß用🥳]|=\\?utf-8\\?q\\?x\\?=){0,30}", local in "[a-zä\"@ ]{1,9}") {
            let address = EmailAddress::parse(&format!("{}@example.com", quote(&local))).unwrap();
            let mailbox = Mailbox::new(Some(&name), address).unwrap();
            prop_assert_eq!(Mailbox::parse(&mailbox.to_string()), Ok(mailbox));
        }
    }
}
