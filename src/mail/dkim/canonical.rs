//! What is signed of a message, in its relaxed form (RFC 6376 §3.4.2, §3.4.4).

use mail_auth::common::headers::{Writable, Writer};
use mail_auth::dkim::Signature;

use crate::mail::lines;
use crate::mail::structure::Field;

/// The names for `h=`, and the fields they stand for, in the order in which verifiers look for them: of several
/// with one name the lowest first (RFC 6376 §5.4.2). From stands once more at the end, for a field that is not
/// there.
pub(super) fn signed_fields<'a>(
    message: &[u8],
    fields: &'a [Field],
    wanted: &[&str],
) -> (Vec<String>, Vec<&'a Field>) {
    let mut names = Vec::new();
    let mut found = Vec::new();
    for name in wanted {
        for field in fields.iter().rev().filter(|field| field.is(message, name)) {
            names.push((*name).to_owned());
            found.push(field);
        }
    }
    if names.iter().any(|name| name == "From") {
        names.push("From".to_owned());
    }
    (names, found)
}

/// The fields, and the signature's own without its value, as they are signed.
pub(super) struct SignedHeader<'a> {
    pub message: &'a [u8],
    pub fields: &'a [&'a Field],
    pub signature: &'a Signature,
}

impl Writable for SignedHeader<'_> {
    fn write(self, writer: &mut impl Writer) {
        for field in self.fields {
            writer.write(&relaxed(&self.message[field.name.clone()], &self.message[field.value.clone()]));
        }
        self.signature.write(writer, false);
    }
}

/// The name in lower case; the value unfolded, each run of spaces and tabs one space, none at either end.
fn relaxed(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 3);
    out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let begin = out.len();
    let mut space = false;
    // Line breaks in a value are those of folding, since the message has no other.
    for &c in value.iter().filter(|c| !matches!(c, b'\r' | b'\n')) {
        if matches!(c, b' ' | b'\t') {
            space = out.len() > begin;
            continue;
        }
        if std::mem::take(&mut space) {
            out.push(b' ');
        }
        out.push(c);
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// A body with CRLF line ends as it is hashed: without white space at line ends, with single spaces for the rest of
/// it, and without empty lines at the end. Nothing, if nothing is left: bodies of white space alone are where
/// implementations differ, and the RFC does not.
pub(super) struct RelaxedBody<'a>(pub &'a [u8]);

impl Writable for RelaxedBody<'_> {
    fn write(self, writer: &mut impl Writer) {
        let mut empty_lines = 0;
        for line in lines::split(self.0) {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            let end = line.iter().rposition(|c| !matches!(c, b' ' | b'\t')).map_or(0, |last| last + 1);
            if end == 0 {
                empty_lines += 1;
                continue;
            }
            for _ in 0..std::mem::take(&mut empty_lines) {
                writer.write(b"\r\n");
            }
            write_line(&line[..end], writer);
            writer.write(b"\r\n");
        }
    }
}

fn write_line(line: &[u8], writer: &mut impl Writer) {
    if memchr::memchr(b'\t', line).is_none() && memchr::memmem::find(line, b"  ").is_none() {
        return writer.write(line);
    }
    let mut out = Vec::with_capacity(line.len());
    for &c in line {
        match c {
            b' ' | b'\t' if out.last() == Some(&b' ') => {}
            b' ' | b'\t' => out.push(b' '),
            c => out.push(c),
        }
    }
    writer.write(&out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relaxed_body_is_as_the_rfc_shows_it() {
        let cases = [
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            ("", ""),
            ("\r\n\r\n", ""),
            ("\r\n \t \r\n\t\r\n", ""),
            ("no end", "no end\r\n"),
            ("a\r\n \r\nb", "a\r\n\r\nb\r\n"),
            ("\tx\x0c \t y\r\n", " x\x0c y\r\n"),
        ];
        for (body, wanted) in cases {
            let mut written = Vec::new();
            RelaxedBody(body.as_bytes()).write(&mut written);
            assert_eq!(String::from_utf8_lossy(&written), wanted, "{body:?}");
        }
    }

    #[test]
    fn relaxed_is_as_the_rfc_shows_it() {
        // RFC 6376 §3.4.5.
        let cases: [(&str, &str, &str); 5] = [
            ("A", " X", "a:X\r\n"),
            ("B ", " Y\t\r\n\tZ  ", "b:Y Z\r\n"),
            ("Subject", "", "subject:\r\n"),
            ("X-Feed", " a\x0cb  c", "x-feed:a\x0cb c\r\n"),
            ("X", "\r\n \r\n x", "x:x\r\n"),
        ];
        for (name, value, wanted) in cases {
            assert_eq!(String::from_utf8_lossy(&relaxed(name.as_bytes(), value.as_bytes())), wanted);
        }
    }
}
