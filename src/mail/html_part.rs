//! Changing the HTML of a message, or its texts: these parts are decoded, changed, and encoded again; no other octet of
//! the message moves.
//!
//! Left alone: what is signed or encrypted, attachments, forwarded messages, and texts in character sets in which
//! an octet of a letter may look like markup.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use super::encoding;
use super::lines::{self, MAX_LINE};
use super::structure::{self, Entity, Field, Form};

/// Character sets whose ASCII octets are always ASCII characters.
const CHARSETS: [&str; 5] = ["utf-8", "us-ascii", "iso-8859-", "windows-125", "koi8-"];

/// Parts that are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `text/html`.
    Html,
    /// `text/plain`.
    Plain,
}

impl Kind {
    const fn subtype(self) -> &'static str {
        match self {
            Kind::Html => "html",
            Kind::Plain => "plain",
        }
    }
}

/// The message with its parts of a kind as `change` gives them; `None`: none of them changes.
///
/// The message must have CRLF line ends only.
pub fn change(
    message: &[u8],
    kind: Kind,
    mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let structure = structure::parse(message).ok()?;
    let mut out = Vec::new();
    let mut at = 0;
    let mut forwarded = 0..0;
    for (index, entity) in structure.entities.iter().enumerate() {
        if forwarded.contains(&entity.header.start) {
            continue;
        }
        let part = Part::of(message, entity);
        if entity.form == Form::Container && part.is_message() {
            forwarded = entity.body.clone();
            continue;
        }
        let Some(text) = part.text(kind) else { continue };
        let Some(changed) = change(&text) else { continue };
        let Some((header, body)) = part.encode(&changed, index == 0) else { continue };
        out.extend_from_slice(&message[at..entity.header.start]);
        out.extend_from_slice(&header);
        out.extend_from_slice(&message[entity.header.end..entity.body.start]);
        out.extend_from_slice(&body);
        at = entity.body.end;
    }
    if at == 0 {
        return None;
    }
    out.extend_from_slice(&message[at..]);
    // Base64 has no line end after its last line, and DATA wants one (RFC 5321 §4.1.1.4).
    if message.ends_with(b"\r\n") && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Some(out)
}

struct Part<'a> {
    message: &'a [u8],
    entity: &'a Entity,
    fields: Vec<Field>,
}

impl<'a> Part<'a> {
    fn of(message: &'a [u8], entity: &'a Entity) -> Part<'a> {
        Part { message, entity, fields: structure::fields(message, entity.header.clone()) }
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.is(self.message, name))
    }

    fn is_message(&self) -> bool {
        structure::content_type(self.message, &self.fields).is_some_and(|kind| kind.ctype() == "message")
    }

    fn encoding(&self) -> String {
        let field = self.field("Content-Transfer-Encoding");
        field.map_or_else(|| "7bit".to_owned(), |field| field.text(self.message).to_ascii_lowercase())
    }

    /// What is in it, decoded; `None`: it is of another kind, or to be left alone.
    fn text(&self, wanted: Kind) -> Option<Vec<u8>> {
        if self.entity.form != Form::Text || self.entity.sealed_body || self.entity.sealed_header {
            return None;
        }
        let kind = structure::content_type(self.message, &self.fields);
        // RFC 2045 §5.2: what has no type is plain text in US-ASCII.
        let (main, sub) = kind
            .as_ref()
            .map_or(("text", "plain"), |kind| (kind.ctype(), kind.subtype().unwrap_or_default()));
        if (main, sub) != ("text", wanted.subtype()) {
            return None;
        }
        let charset = kind.as_ref().and_then(|kind| kind.attribute("charset")).unwrap_or("us-ascii");
        let charset = charset.to_ascii_lowercase();
        let attached = self.field("Content-Disposition").is_some_and(|field| {
            field.text(self.message).trim_start().to_ascii_lowercase().starts_with("attachment")
        });
        if attached || !CHARSETS.iter().any(|known| charset.starts_with(known)) {
            return None;
        }
        let body = &self.message[self.entity.body.clone()];
        match self.encoding().as_str() {
            "7bit" | "8bit" | "binary" | "" => Some(body.to_vec()),
            "quoted-printable" => quoted_printable_decode(body),
            "base64" => {
                let digits: Vec<u8> = body.iter().copied().filter(|c| !c.is_ascii_whitespace()).collect();
                STANDARD.decode(digits).ok()
            }
            _ => None,
        }
    }

    /// Header and body for a changed content: in the encoding it had, or in quoted-printable if that cannot hold it.
    fn encode(&self, text: &[u8], is_outermost: bool) -> Option<(Vec<u8>, Vec<u8>)> {
        let header = &self.message[self.entity.header.clone()];
        match self.encoding().as_str() {
            "base64" => Some((header.to_vec(), encoding::base64(text))),
            "quoted-printable" => Some((header.to_vec(), encoding::quoted_printable(text))),
            _ if lines::longest(text) <= MAX_LINE => Some((header.to_vec(), text.to_vec())),
            _ => Some((self.relabelled(is_outermost), encoding::quoted_printable(text))),
        }
    }

    fn relabelled(&self, is_outermost: bool) -> Vec<u8> {
        const LABEL: &[u8] = b"Content-Transfer-Encoding: quoted-printable\r\n";
        let header: Range<usize> = self.entity.header.clone();
        match self.field("Content-Transfer-Encoding") {
            Some(field) => {
                let (before, after) = (header.start..field.whole.start, field.whole.end..header.end);
                [&self.message[before], LABEL, &self.message[after]].concat()
            }
            // RFC 2045 §4: without the version the label means nothing.
            None if is_outermost && self.field("MIME-Version").is_none() => {
                [&self.message[header], b"MIME-Version: 1.0\r\n", LABEL].concat()
            }
            None => [&self.message[header], LABEL].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;

    fn crlf(text: &str) -> Vec<u8> {
        text.replace('\n', "\r\n").into_bytes()
    }

    /// Puts a mark behind every HTML text.
    fn changed(text: &str) -> Option<String> {
        let out = change(&crlf(text), Kind::Html, |html| Some([html, b"MARK"].concat()))?;
        Some(String::from_utf8(out).expect("UTF-8").replace("\r\n", "\n"))
    }

    #[test]
    fn only_html_that_is_to_be_read_changes() {
        let text = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\npre\n--b\nContent-Type: text/plain\n\n\
                    <a>\n--b\nContent-Type: text/html; charset=utf-8\n\n<i>ü</i>\n--b\nContent-Type: text/html\n\
                    Content-Disposition: attachment; filename=a.html\n\n<i>\n--b\nContent-Type: message/rfc822\n\n\
                    Content-Type: text/html\n\n<i>\n--b\nContent-Type: text/html; charset=utf-16\n\n<i>\n--b--\nend\n";
        assert_eq!(changed(text), Some(text.replace("<i>ü</i>", "<i>ü</i>MARK")));
        for sealed in ["multipart/signed", "multipart/encrypted"] {
            let text =
                format!("Content-Type: {sealed}; boundary=b\n\n--b\nContent-Type: text/html\n\n<i>\n--b--\n");
            assert_eq!(changed(&text), None);
        }
    }

    #[test]
    fn plain_text_changes_alone_and_needs_no_label() {
        let mark = |text: &[u8]| Some([text, b"MARK"].concat());
        let both = crlf(
            "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n\
                         x\n--b\nContent-Type: text/html\n\n<i>\n--b--\n",
        );
        let wanted = crlf(
            "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n\
                           xMARK\n--b\nContent-Type: text/html\n\n<i>\n--b--\n",
        );
        assert_eq!(change(&both, Kind::Plain, mark), Some(wanted));
        assert_eq!(
            change(b"Subject: x\r\n\r\ny\r\n", Kind::Plain, |_| Some(b"z\r\n".to_vec())),
            Some(b"Subject: x\r\n\r\nz\r\n".to_vec())
        );
    }

    #[test]
    fn encodings_are_kept_and_long_lines_become_quoted_printable() {
        let cases = [
            ("quoted-printable", "<i>=C3=BC=\n!</i>", "<i>=C3=BC!</i>MARK"),
            ("base64", "PGk+w7w8L2k+\n", "PGk+w7w8L2k+TUFSSw==\n"),
            ("7bit", "<i>", "<i>MARK"),
        ];
        for (encoding, body, wanted) in cases {
            let head = format!(
                "MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n"
            );
            assert_eq!(changed(&format!("{head}{body}")), Some(format!("{head}{wanted}")), "{encoding}");
        }
        let message = crlf("Content-Type: text/html\nX: y\n\n<i>\n");
        let long = format!("<i>{}", "x".repeat(2000));
        let out = change(&message, Kind::Html, |_| Some(long.clone().into_bytes())).expect("it changes");
        assert!(lines::longest(&out) <= 78);
        let read = MessageParser::default().parse(&out).expect("a message");
        assert_eq!(read.body_html(0).expect("HTML").trim_end(), long);
        assert_eq!(change(&message, Kind::Html, |_| None), None);
    }
}
