//! Content transfer encodings (RFC 2045 §6): which one a text gets, and the encoding itself.
//!
//! Invariant: what is made here is 7-bit, has no line over 78 octets, and CR and LF only as CRLF.
//!
//! lettre's own choice and encoders are not used: they take three times as long, and leave alone what mail stores
//! and old relays alter, a line that begins with `From ` or is a single dot.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Body;
use lettre::message::header::ContentTransferEncoding;
use memchr::memmem;

use super::lines;

/// Text with longer lines is not sent as it is (RFC 5322 §2.1.1: a line should have at most 78 octets).
const MAX_PLAIN_LINE: usize = 78;
/// The longest line of an encoding (RFC 2045 §6.7, §6.8).
const MAX_ENCODED_LINE: usize = 76;

/// Encodes a text, its lines ended in any way: as it is if it is 7-bit, readable if it is mostly ASCII, else in
/// base64.
pub(super) fn text(text: &str) -> Body {
    let lines = lines::to_crlf(text.as_bytes());
    let strange = count(&lines, |c| !matches!(c, b'\t' | b'\r' | b'\n' | b' '..=b'~'));
    if strange == 0 && is_plain(&lines) {
        return Body::dangerous_pre_encoded(lines.into_owned(), ContentTransferEncoding::SevenBit);
    }
    // Quoted-printable makes three octets of each that it encodes; where these are many, little is left to read.
    let encoded = strange + count(&lines, |c| c == b'=');
    if encoded * 3 > lines.len() {
        Body::dangerous_pre_encoded(base64(&lines), ContentTransferEncoding::Base64)
    } else {
        Body::dangerous_pre_encoded(quoted_printable(&lines), ContentTransferEncoding::QuotedPrintable)
    }
}

/// Encodes octets in lines that people can read (RFC 2045 §6.7). CRLFs stay line ends; a CR or LF alone is encoded.
pub(super) fn quoted_printable(content: &[u8]) -> Vec<u8> {
    // One column is kept for the `=` of a soft line break.
    const ROOM: usize = MAX_ENCODED_LINE - 1;
    let mut out = Vec::with_capacity(content.len() + content.len() / 8 + 16);
    let mut column = 0;
    let mut rest = content;
    while let Some(&c) = rest.first() {
        let run = literal_run(rest, ROOM - column, column == 0);
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            column = 0;
            rest = &rest[2..];
        } else if run > 0 {
            out.extend_from_slice(&rest[..run]);
            column += run;
            rest = &rest[run..];
        } else if column + 3 > ROOM {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        } else {
            out.extend_from_slice(&[b'=', hex(c >> 4), hex(c & 15)]);
            column += 3;
            rest = &rest[1..];
        }
    }
    out
}

/// Encodes octets in lines of 76 (RFC 2045 §6.8). There is no line end after the last.
pub(super) fn base64(content: &[u8]) -> Vec<u8> {
    const GROUP: usize = MAX_ENCODED_LINE / 4 * 3;
    let len = content.len().div_ceil(3) * 4;
    let mut out = vec![0; len + len.saturating_sub(1) / MAX_ENCODED_LINE * 2];
    let mut at = 0;
    for group in content.chunks(GROUP) {
        if at > 0 {
            out[at..at + 2].copy_from_slice(b"\r\n");
            at += 2;
        }
        at += STANDARD.encode_slice(group, &mut out[at..]).expect("the space is that of the encoded form");
    }
    out
}

/// How many octets may stand as they are, up to the end of the line or of the room on it.
fn literal_run(rest: &[u8], room: usize, is_line_start: bool) -> usize {
    let end = rest.len().min(room);
    let run = rest[..end].iter().position(|&c| !is_literal(c)).unwrap_or(end);
    let ends_line = |at: usize| rest[at..].is_empty() || rest[at..].starts_with(b"\r\n");
    // mbox stores put a `>` before the one; a relay that does not unstuff dots takes the other for the mail's end.
    if is_line_start && (rest.starts_with(b"From ") || (rest[0] == b'.' && ends_line(1))) {
        return 0;
    }
    // RFC 2045 §6.7 (3): white space at the end of a line would be lost.
    if run > 0 && matches!(rest[run - 1], b' ' | b'\t') && ends_line(run) { run - 1 } else { run }
}

fn is_literal(c: u8) -> bool {
    matches!(c, b'\t' | b' '..=b'<' | b'>'..=b'~')
}

fn hex(nibble: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(nibble)]
}

/// Whether a text of ordinary octets may be sent as it is: no long line, nothing like a boundary of ours, and no
/// line that begins as in an mbox.
fn is_plain(lines: &[u8]) -> bool {
    lines::longest(lines) <= MAX_PLAIN_LINE
        && memmem::find(lines, b"--=_").is_none()
        && !lines.starts_with(b"From ")
        && memmem::find(lines, b"\nFrom ").is_none()
}

/// Counts octets, in a way that the compiler can do many at a time.
fn count(octets: &[u8], is_counted: impl Fn(u8) -> bool) -> usize {
    octets
        .chunks(255)
        .map(|chunk| usize::from(chunk.iter().map(|&c| u8::from(is_counted(c))).sum::<u8>()))
        .sum()
}

#[cfg(test)]
mod tests {
    use mail_parser::decoders::base64::base64_decode;
    use mail_parser::decoders::quoted_printable::quoted_printable_decode;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_gets_the_encoding_that_suits_it() {
        use ContentTransferEncoding::{Base64, QuotedPrintable, SevenBit};
        for (given, encoding, wanted) in [
            ("", SevenBit, ""),
            ("Hi\nthere\r", SevenBit, "Hi\r\nthere\r\n"),
            ("Grüße aus Köln am Rhein\n", QuotedPrintable, "Gr=C3=BC=C3=9Fe aus K=C3=B6ln am Rhein\r\n"),
            ("a bell rings \u{7} there = ", QuotedPrintable, "a bell rings =07 there =3D=20"),
            ("a lone NUL is here: \0", QuotedPrintable, "a lone NUL is here: =00"),
            ("--=_alt_0\n", QuotedPrintable, "--=3D_alt_0\r\n"),
            ("From here\n", QuotedPrintable, "=46rom here\r\n"),
            ("See:\nFrom here\nFromage\n", QuotedPrintable, "See:\r\n=46rom here\r\nFromage\r\n"),
            ("日本語\n", Base64, "5pel5pys6KqeDQo="),
        ] {
            let body = text(given);
            assert_eq!((body.encoding(), body.as_ref()), (encoding, wanted.as_bytes()), "{given:?}");
        }
        assert_eq!(text(&"x".repeat(78)).encoding(), SevenBit);
        assert_eq!(text(&"x".repeat(79)).encoding(), QuotedPrintable);
    }

    #[test]
    fn quoted_printable_follows_rfc_2045() {
        for (given, wanted) in [
            ("a=b", "a=3Db"),
            ("a \r\nb\t\r\n", "a=20\r\nb=09\r\n"),
            (" ", "=20"),
            ("a\rb\nc\r", "a=0Db=0Ac=0D"),
            (".\r\n..\r\n.", "=2E\r\n..\r\n=2E"),
            ("\r\n\r\n", "\r\n\r\n"),
        ] {
            assert_eq!(String::from_utf8(quoted_printable(given.as_bytes())).unwrap(), wanted);
        }
        let line = "x".repeat(75);
        assert_eq!(quoted_printable(line.as_bytes()), line.as_bytes());
        assert_eq!(quoted_printable(format!("{line}y").as_bytes()), format!("{line}=\r\ny").as_bytes());
        assert_eq!(
            quoted_printable(format!("{}=", &line[..73]).as_bytes()),
            format!("{}=\r\n=3D", &line[..73]).as_bytes()
        );
    }

    #[test]
    fn normalising_and_encoding_take_linear_time() {
        // In quadratic time these would take hours.
        for line_end in ["\n", "\r"] {
            assert_eq!(text(&line_end.repeat(4_000_000)).len(), 8_000_000);
        }
        assert_eq!(text(&".\n".repeat(1_000_000)).len(), 3_000_000);
    }

    proptest! {
        #[test]
        fn both_encodings_are_decoded_to_what_was_given(
            content in "([a-zA-Z .=]{0,90}|From |\t|\r\n|\r|\n|[\\x00-\\x1f]|[äß用]{1,40}){0,20}",
        ) {
            let content = content.as_bytes();
            for encoded in [quoted_printable(content), base64(content)] {
                prop_assert!(encoded.is_ascii() && lines::longest(&encoded) <= 76);
                prop_assert_eq!(&*lines::to_crlf(&encoded), &encoded);
            }
            let encoded = quoted_printable(content);
            let lines = encoded.split(|&c| c == b'\n').map(<[u8]>::trim_ascii_end);
            prop_assert!(lines.clone().all(|line| line != b"." && !line.starts_with(b"From ")));
            prop_assert_eq!(quoted_printable_decode(&encoded).unwrap(), content);
            prop_assert_eq!(base64_decode(&base64(content)).unwrap(), content);
        }

        #[test]
        fn base64_is_that_of_everyone(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let encoded = base64(&content);
            let wanted = STANDARD.encode(&content).into_bytes().chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..]);
            prop_assert_eq!(encoded, wanted);
        }
    }
}
