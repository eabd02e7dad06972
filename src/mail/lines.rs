//! Lines as RFC 5322 §2.1.1 wants them: ended by CRLF, at most 998 octets. Not what is in them.
//!
//! Invariant: what [`to_crlf`] returns holds CR and LF only as CRLF, so that no receiver can read a line, and
//! with it the end of the mail, where another does not (SMTP smuggling).

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};

/// The longest line, without its CRLF (RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6).
pub const MAX_LINE: usize = 998;

/// How the lines of a text end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endings {
    /// All by CRLF.
    Crlf,
    /// All by LF: a text of Unix, which has exactly one reading.
    Lf,
    /// Lone CRs, or both ways.
    Mixed,
}

/// Looks at every line end.
pub(super) fn endings(text: &[u8]) -> Endings {
    let (mut crlf, mut lf) = (false, false);
    let mut at = 0;
    while let Some(found) = memchr2(b'\r', b'\n', &text[at..]) {
        let here = at + found;
        match (text[here], text.get(here + 1)) {
            (b'\r', Some(b'\n')) => crlf = true,
            (b'\r', _) => return Endings::Mixed,
            _ => lf = true,
        }
        at = here + 1 + usize::from(text[here] == b'\r');
    }
    match (crlf, lf) {
        (true, true) => Endings::Mixed,
        (false, true) => Endings::Lf,
        _ => Endings::Crlf,
    }
}

/// Ends every line by CRLF: a lone CR and a lone LF each end a line. Linear, and no copy if all is well.
pub(super) fn to_crlf(text: &[u8]) -> Cow<'_, [u8]> {
    if endings(text) == Endings::Crlf {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / 32 + 2);
    let mut rest = text;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"\r\n");
        rest = match &rest[at..] {
            [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
            [] => &[],
        };
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// The octets of the longest line, without its line end.
pub(super) fn longest(text: &[u8]) -> usize {
    let mut longest = 0;
    let mut start = 0;
    for end in memchr_iter(b'\n', text) {
        longest = longest.max(without_cr(&text[start..end]).len());
        start = end + 1;
    }
    longest.max(text.len() - start)
}

/// The lines, each with its line end.
pub(super) fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_lone_cr_and_lf_becomes_a_crlf() {
        let cases: [(&str, &str); 9] = [
            ("", ""),
            ("a", "a"),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\nb\n", "a\r\nb\r\n"),
            ("a\rb\r", "a\r\nb\r\n"),
            ("a\n\rb", "a\r\n\r\nb"),
            ("a\r\r\nb", "a\r\n\r\nb"),
            ("\n.\n", "\r\n.\r\n"),
            ("\r\n\n\r", "\r\n\r\n\r\n"),
        ];
        for (given, wanted) in cases {
            assert_eq!(to_crlf(given.as_bytes()), wanted.as_bytes(), "{given:?}");
        }
    }

    #[test]
    fn a_text_that_is_well_is_not_copied() {
        assert!(matches!(to_crlf(b"a\r\nb\r\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_three_ways_to_end_lines_are_told_apart() {
        let cases: [(&str, Endings); 7] = [
            ("none", Endings::Crlf),
            ("a\r\nb\r\n", Endings::Crlf),
            ("a\nb\n", Endings::Lf),
            ("a\r\nb\n", Endings::Mixed),
            ("a\rb", Endings::Mixed),
            ("a\r", Endings::Mixed),
            ("a\r\r\n", Endings::Mixed),
        ];
        for (text, wanted) in cases {
            assert_eq!(endings(text.as_bytes()), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_longest_line_is_measured_without_its_end() {
        for (text, wanted) in [("", 0), ("abc", 3), ("ab\r\nabcd\r\na", 4), ("abc\nab", 3), ("\r\n\r\n", 0)] {
            assert_eq!(longest(text.as_bytes()), wanted, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_lone_cr_or_lf_is_left_and_nothing_else_changes(text in "[a\r\n.]{0,40}") {
            let out = String::from_utf8(to_crlf(text.as_bytes()).into_owned()).unwrap();
            prop_assert_eq!(out.matches("\r\n").count(), out.matches('\r').count());
            prop_assert_eq!(out.matches("\r\n").count(), out.matches('\n').count());
            let plain = |s: &str| s.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(plain(&out), plain(&text));
            let lines: Vec<u8> = split(out.as_bytes()).flatten().copied().collect();
            prop_assert_eq!(lines, out.into_bytes());
        }
    }
}
