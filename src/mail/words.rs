//! The wire form of header fields: folding (RFC 5322 §2.2.3) and encoded words (RFC 2047), both ways. Not which
//! fields there are (`compose`), nor what may be in them (`text`).
//!
//! Invariant: what a [`FieldWriter`] adds is ASCII but for the addresses it is told to add as they are, has CRLF
//! only before a space or at the end of the field, and is read back as exactly the text that was given.
//!
//! lettre's own `HeaderValue` is not used for free text: it lets the spaces between two encoded words vanish,
//! passes a literal `=?…?=` through so that readers decode it, and never splits a word, however long.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::parsers::MessageStream;
use memchr::{memchr, memmem};

use super::address::{is_atom_char, quote};
use super::mailbox::Mailbox;

/// Where lines are folded if they can be (RFC 5322 §2.1.1; RFC 2047 §2 for lines with encoded words).
const FOLD_AT: usize = 76;
/// The longest piece without a place to fold that is written as it is: with a name of 76 octets before it, it
/// stays below the 998 of RFC 5322 §2.1.1.
pub(super) const MAX_UNFOLDABLE: usize = 900;
/// `=?utf-8?b?` and `?=`.
const WRAPPING: usize = 12;
/// The longest encoded word that is looked for. RFC 2047 §2 has 75 octets; careless writers make one of a whole
/// line. Without an end, every `=?` would be sought through to the end of the text.
const MAX_ENCODED_WORD: usize = 998;
/// A quoted name longer than this is encoded instead: it could not be folded on every reader.
const MAX_QUOTED: usize = 60;

/// Writes one field, from its name to its CRLF.
pub(super) struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
}

impl<'a> FieldWriter<'a> {
    /// Begins a field. The name must be an RFC 5322 §3.6.8 field name of at most 76 octets.
    pub(super) fn begin(out: &'a mut Vec<u8>, name: &str) -> FieldWriter<'a> {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        FieldWriter { out, column: name.len() + 1 }
    }

    /// Ends the field.
    pub(super) fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// Free text (RFC 5322 §2.2.1): what cannot stand as it is becomes encoded words.
    pub(super) fn unstructured(mut self, text: &str) {
        let mut rest = text.trim_matches([' ', '\t']);
        while !rest.is_empty() {
            let (run, after) = encoded_run(rest);
            if run.is_empty() {
                let (token, after) = next_token(rest);
                self.word(token);
                rest = after;
            } else {
                self.encoded(run);
                rest = after;
            }
        }
        self.end();
    }

    /// A value with a syntax of its own, such as a list of URLs: folded at single spaces, never encoded.
    pub(super) fn structured(mut self, value: &str) {
        let mut rest = value.trim_matches([' ', '\t']);
        while !rest.is_empty() {
            let (token, after) = next_token(rest);
            self.word(token);
            rest = after;
        }
        self.end();
    }

    /// A list of mailboxes (RFC 5322 §3.4), their domains in A-labels, their local parts as they are
    /// (RFC 6532 §3.2 if they are not ASCII).
    pub(super) fn mailboxes(mut self, list: &[Mailbox]) {
        for (index, mailbox) in list.iter().enumerate() {
            if let Some(name) = &mailbox.name {
                self.phrase(name);
            }
            let address = mailbox.address.as_str();
            let comma = if index + 1 < list.len() { "," } else { "" };
            match mailbox.name {
                Some(_) => self.word(&["<", address, ">", comma].concat()),
                None => self.word(&[address, comma].concat()),
            }
        }
        self.end();
    }

    /// A display name (RFC 5322 §3.2.5): as atoms, quoted, or encoded.
    fn phrase(&mut self, name: &str) {
        let is_ascii = name.bytes().all(|c| matches!(c, b' '..=b'~'));
        if !is_ascii || name.len() > MAX_QUOTED || looks_encoded(name) {
            self.encoded(name);
        } else if is_atoms(name) {
            name.split(' ').for_each(|atom| self.word(atom));
        } else {
            self.word(&quote(name));
        }
    }

    /// Adds a space and a piece that is not folded inside; before it the line is folded if it would be too long.
    fn word(&mut self, word: &str) {
        if self.column + 1 + word.len() > FOLD_AT && !self.is_first() {
            self.fold();
        }
        self.out.push(b' ');
        self.out.extend_from_slice(word.as_bytes());
        self.column += 1 + word.len();
    }

    /// Adds a text as encoded words of at most 75 octets, none of which parts a character (RFC 2047 §2, §5).
    fn encoded(&mut self, mut text: &str) {
        // What fits into one word is not parted: some readers put a space between the parts of a name.
        let one_word = (FOLD_AT - 1 - WRAPPING) / 4 * 3;
        if text.len() <= one_word && text.len() > self.room() && !self.is_first() {
            self.fold();
        }
        while !text.is_empty() {
            let cut = text.floor_char_boundary(self.room());
            // A short rest of a line holds no character: on a fresh one there is room for fifteen of four octets.
            if cut == 0 {
                self.fold();
                continue;
            }
            let (piece, rest) = text.split_at(cut);
            let before = self.out.len();
            self.out.extend_from_slice(b" =?utf-8?b?");
            push_base64(self.out, piece.as_bytes());
            self.out.extend_from_slice(b"?=");
            self.column += self.out.len() - before;
            text = rest;
        }
    }

    /// The octets of text that one more encoded word on this line would hold.
    fn room(&self) -> usize {
        FOLD_AT.saturating_sub(self.column + 1 + WRAPPING) / 4 * 3
    }

    /// Whether nothing follows the name yet.
    fn is_first(&self) -> bool {
        self.out.last() == Some(&b':')
    }

    /// Goes to the next line; a space must follow (RFC 5322 §2.2.3).
    fn fold(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.column = 0;
    }
}

fn push_base64(out: &mut Vec<u8>, octets: &[u8]) {
    let start = out.len();
    out.resize(start + octets.len().div_ceil(3) * 4, 0);
    let written =
        STANDARD.encode_slice(octets, &mut out[start..]).expect("the space is that of the encoded form");
    out.truncate(start + written);
}

/// Up to the next place to fold, a space that has no other white space beside it, and what follows it. Elsewhere
/// some readers would not keep the number of spaces.
fn next_token(text: &str) -> (&str, &str) {
    let octets = text.as_bytes();
    let mut from = 0;
    while let Some(found) = memchr(b' ', &octets[from..]) {
        let at = from + found;
        let beside = [at.checked_sub(1).and_then(|i| octets.get(i)), octets.get(at + 1)];
        if beside.iter().all(|c| matches!(c, Some(c) if !matches!(c, b' ' | b'\t'))) {
            return (&text[..at], &text[at + 1..]);
        }
        from = at + 1;
    }
    (text, "")
}

/// The longest piece of a structured value that cannot be folded.
pub(super) fn longest_token(value: &str) -> usize {
    let mut longest = 0;
    let mut rest = value;
    while !rest.is_empty() {
        let (token, after) = next_token(rest);
        longest = longest.max(token.len());
        rest = after;
    }
    longest
}

/// The longest run of tokens at the beginning that all must be encoded, with the spaces between them, since
/// white space between two encoded words is not read (RFC 2047 §6.2); and what follows it.
fn encoded_run(text: &str) -> (&str, &str) {
    let mut end = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (token, after) = next_token(rest);
        if is_plain(token) {
            break;
        }
        end = text.len() - rest.len() + token.len();
        rest = after;
    }
    (&text[..end], rest)
}

/// Whether a token may stand in free text as it is.
fn is_plain(token: &str) -> bool {
    token.len() <= MAX_UNFOLDABLE
        && token.bytes().all(|c| matches!(c, b'\t' | b' '..=b'~'))
        && !looks_encoded(token)
}

/// Whether some reader might decode a part of it.
fn looks_encoded(text: &str) -> bool {
    memmem::find(text.as_bytes(), b"=?").is_some()
}

/// Whether a name consists of atoms with single spaces between them.
pub(super) fn is_atoms(name: &str) -> bool {
    name.split(' ').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_char))
}

/// Folds the lines of a field that are longer than `max`, each at the last white space that is near enough, so that
/// unfolding gives the same text. `None` if there is none.
pub(super) fn fold_long_lines(field: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(field.len() + field.len() / max * 2);
    for line in super::lines::split(field) {
        let mut rest = line;
        while rest.strip_suffix(b"\r\n").unwrap_or(rest).len() > max {
            // RFC 5322 §2.2.3: the line before ends in something visible, and so does the one that begins here.
            let is_place = |at: &usize| {
                matches!(rest[*at], b' ' | b'\t') && rest[..*at].iter().any(|c| !matches!(c, b' ' | b'\t'))
            };
            let at = (1..=max).rev().find(is_place)?;
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(b"\r\n");
            rest = &rest[at..];
        }
        out.extend_from_slice(rest);
    }
    Some(out)
}

/// Decodes the encoded words in an unfolded text; white space between two of them goes (RFC 2047 §6.2). What is
/// no encoded word stays.
pub(super) fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut follows_word = false;
    while let Some(at) = rest.find("=?") {
        let (before, word) = rest.split_at(at);
        let decoded = decode_word(word);
        let is_gap = follows_word && decoded.is_some() && before.bytes().all(|c| matches!(c, b' ' | b'\t'));
        if !is_gap {
            out.push_str(before);
        }
        match decoded {
            Some((decoded, len)) => {
                out.push_str(&decoded);
                rest = &word[len..];
                follows_word = true;
            }
            None => {
                out.push_str("=?");
                rest = &word[2..];
                follows_word = false;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The length of the encoded word at the beginning, if there is one.
pub(super) fn encoded_word_len(text: &str) -> Option<usize> {
    if text.starts_with("=?") { decode_word(text).map(|(_, len)| len) } else { None }
}

/// Decodes the encoded word at the beginning, a `=?`, and tells its length.
fn decode_word(text: &str) -> Option<(String, usize)> {
    let octets = text.as_bytes();
    let mut stream = MessageStream::new(&octets[1..octets.len().min(MAX_ENCODED_WORD)]);
    let decoded = stream.decode_rfc2047()?;
    let len = 1 + stream.offset();
    // RFC 2047 §2: no space inside. The parser is kinder, and would take half a sentence for an encoded word.
    text.get(..len).filter(|word| !word.contains(' ')).map(|_| (decoded, len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unstructured(name: &str, text: &str) -> String {
        let mut out = Vec::new();
        FieldWriter::begin(&mut out, name).unstructured(text);
        String::from_utf8(out).unwrap()
    }

    fn mailboxes(list: &[&str]) -> String {
        let list: Vec<_> = list.iter().map(|text| Mailbox::parse(text).unwrap()).collect();
        let mut out = Vec::new();
        FieldWriter::begin(&mut out, "To").mailboxes(&list);
        String::from_utf8(out).unwrap()
    }

    /// What a reader makes of the field.
    fn read(field: &str) -> String {
        let value = field.split_once(':').unwrap().1.strip_suffix("\r\n").unwrap();
        decode(&value.replace("\r\n", "")).trim().to_owned()
    }

    #[test]
    fn free_text_is_encoded_word_by_word() {
        for (text, wanted) in [
            ("", "Subject:\r\n"),
            ("Hello", "Subject: Hello\r\n"),
            ("Hello  there", "Subject: Hello  there\r\n"),
            ("Grüße aus Köln", "Subject: =?utf-8?b?R3LDvMOfZQ==?= aus =?utf-8?b?S8O2bG4=?=\r\n"),
            ("é é", "Subject: =?utf-8?b?w6kgw6k=?=\r\n"),
            ("é  é", "Subject: =?utf-8?b?w6kgIMOp?=\r\n"),
            ("a =?utf-8?q?x?= b", "Subject: a =?utf-8?b?PT91dGYtOD9xP3g/PQ==?= b\r\n"),
        ] {
            let field = unstructured("Subject", text);
            assert_eq!(field, wanted);
            assert_eq!(read(&field), text);
        }
    }

    #[test]
    fn long_text_is_folded_at_single_spaces() {
        let text = "The quick brown fox jumps over the lazy dog and then  once more over the same dog.";
        assert_eq!(
            unstructured("Subject", text),
            "Subject: The quick brown fox jumps over the lazy dog and then  once more\r\n over the same dog.\r\n"
        );
    }

    #[test]
    fn a_word_too_long_for_any_line_is_encoded() {
        let field = unstructured("Subject", &"x".repeat(2000));
        assert!(field.lines().all(|line| line.len() <= 76), "{field}");
        assert_eq!(read(&field), "x".repeat(2000));
        let url = format!("https://example.com/{}", "y".repeat(300));
        assert_eq!(unstructured("X-Link", &url), format!("X-Link: {url}\r\n"));
    }

    #[test]
    fn no_character_is_parted_between_encoded_words() {
        let field = unstructured("Subject", &"🥳".repeat(60));
        for word in field.split_whitespace().skip(1) {
            assert!(word.len() <= 75, "{word}");
            let (text, _) = decode_word(word).unwrap();
            assert!(text.chars().all(|c| c == '🥳'), "{text}");
        }
    }

    #[test]
    fn names_are_atoms_quoted_or_encoded() {
        assert_eq!(mailboxes(&["ann@example.com"]), "To: ann@example.com\r\n");
        assert_eq!(mailboxes(&["Ann Smith <ann@example.com>"]), "To: Ann Smith <ann@example.com>\r\n");
        assert_eq!(mailboxes(&["\"Smith, Ann\" <a@b>", "b@c"]), "To: \"Smith, Ann\" <a@b>, b@c\r\n");
        assert_eq!(mailboxes(&[r#""A \"B\" C" <a@b>"#]), "To: \"A \\\"B\\\" C\" <a@b>\r\n");
        assert_eq!(mailboxes(&["Søren <a@b>"]), "To: =?utf-8?b?U8O4cmVu?= <a@b>\r\n");
        assert_eq!(mailboxes(&["\"=?utf-8?q?x?=\" <a@b>"]), "To: =?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <a@b>\r\n");
        assert_eq!(mailboxes(&["用户@例子.广告"]), "To: 用户@xn--fsqu00a.xn--4rr70v\r\n");
    }

    #[test]
    fn a_thousand_recipients_are_folded() {
        let list: Vec<_> = (0..1000).map(|i| format!("Récipient {i} <r{i}@example.com>")).collect();
        let list: Vec<_> = list.iter().map(String::as_str).collect();
        let field = mailboxes(&list);
        assert!(field.lines().all(|line| line.len() <= 78), "{field}");
    }

    #[test]
    fn encoded_words_of_all_kinds_are_decoded() {
        // RFC 2047 §8, and words that are none.
        for (text, wanted) in [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=   \t =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            ("=?US-ASCII?Q?Keith_Moore?=", "Keith Moore"),
            ("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=", "If you can read this yo"),
            ("=?", "=?"),
            ("=?=?", "=?=?"),
            ("a =? b ?= c", "a =? b ?= c"),
            ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
            ("=?utf-8?q?not one?=", "=?utf-8?q?not one?="),
            ("1 =?utf-8?q?=C3=A9?= 2", "1 é 2"),
        ] {
            assert_eq!(decode(text), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn free_text_is_read_back_as_it_was(
            name in "[A-Za-z-]{1,76}",
            text in "([a-z=?]{1,8}| {1,3}|\t|[äß用🥳]{1,9}|=\\?utf-8\\?q\\?|\\?=|[!-~]{1,90}){0,30}",
        ) {
            let field = unstructured(&name, &text);
            prop_assert_eq!(read(&field), text.trim());
            prop_assert!(field.is_ascii());
            prop_assert!(field.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
            prop_assert!(field.split("\r\n").skip(1).all(|line| line.is_empty() || line.starts_with(' ')));
        }

        #[test]
        fn decoding_never_panics(text in "(=\\?|\\?=|\\?|[a-zA-Z0-9+/=_ ]|\\PC){0,40}") {
            decode(&text);
        }
    }
}
