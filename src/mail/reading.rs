//! A mail as a program wants it: fields, texts, files, and the answer without what it answers to. Not for
//! judging a mail (`returned`), and not for changing one.
//!
//! Invariant: everything comes decoded, in UTF-8, and bounded; what cannot be decoded is replaced, never lost
//! silently.

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::structure;
use super::words;

/// The most octets of one text.
const MAX_TEXT: usize = 1 << 20;
/// The most parts that are listed as files.
const MAX_FILES: usize = 200;

/// What a mail says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Fields in their order, decoded.
    pub headers: Vec<(String, String)>,
    /// The plain text.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// The plain text without quotes and signature.
    pub reply: Option<String>,
    /// Files, inline ones too.
    pub attachments: Vec<File>,
}

/// A part that is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub filename: Option<String>,
    /// Its media type.
    pub content_type: String,
    /// How the HTML refers to it.
    pub content_id: Option<String>,
    /// Its octets.
    pub content: Vec<u8>,
}

/// Reads a mail; one that is built to exhaust its reader gives its fields alone.
pub fn read(raw: &[u8]) -> Reading {
    let headers = headers(raw);
    if structure::parse(raw).is_err() {
        return Reading { headers, ..Reading::default() };
    }
    let Some(message) = MessageParser::default().parse(raw) else {
        return Reading { headers, ..Reading::default() };
    };
    let text = body(&message, |part| matches!(part.body, PartType::Text(_)));
    let html = body(&message, |part| matches!(part.body, PartType::Html(_)));
    let reply = text.as_deref().map(without_quotes);
    let attachments = message.attachments().take(MAX_FILES).map(file).collect();
    Reading { headers, text, html, reply, attachments }
}

fn headers(raw: &[u8]) -> Vec<(String, String)> {
    let (header, _) = structure::split(raw, 0..raw.len());
    let fields = structure::fields(raw, header);
    let decoded = |field: &structure::Field| {
        let name = String::from_utf8_lossy(&raw[field.name.clone()]).trim().to_owned();
        (name, words::decode(&field.text(raw)))
    };
    fields.iter().map(decoded).collect()
}

/// The text bodies of that kind, joined.
fn body(message: &Message<'_>, wanted: impl Fn(&MessagePart<'_>) -> bool) -> Option<String> {
    let ids = message.text_body.iter().chain(&message.html_body);
    let mut seen = Vec::new();
    let mut joined = String::new();
    for id in ids {
        let Some(part) = message.part(*id) else { continue };
        if seen.contains(id) || !wanted(part) {
            continue;
        }
        seen.push(*id);
        let text = part.text_contents().unwrap_or_default();
        if !joined.is_empty() {
            joined.push('\n');
        }
        joined.extend(text.chars().filter(|c| *c != '\0').take(MAX_TEXT - joined.len().min(MAX_TEXT)));
    }
    (!seen.is_empty()).then_some(joined)
}

fn file(part: &MessagePart<'_>) -> File {
    let kind = part.content_type();
    let content_type = kind.map_or_else(
        || "application/octet-stream".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")).to_ascii_lowercase(),
    );
    File {
        filename: part.attachment_name().map(|name| name.chars().filter(|c| !c.is_control()).collect()),
        content_type,
        content_id: part.content_id().map(|id| id.trim_matches(['<', '>']).to_owned()),
        content: part.contents().to_vec(),
    }
}

/// An answer without what it answers to: quoted lines, what introduces them, and a signature are left out.
pub fn without_quotes(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let end = (0..lines.len()).find(|&at| ends_the_answer(&lines, at)).unwrap_or(lines.len());
    let kept: Vec<&str> = lines[..end].iter().copied().filter(|line| !line.starts_with('>')).collect();
    kept.join("\n").trim().to_owned()
}

/// Whether nothing of the author's own comes from this line on.
fn ends_the_answer(lines: &[&str], at: usize) -> bool {
    let line = lines[at].trim_end();
    // RFC 3676 §4.3: the signature's separator is two hyphens and a space, which many programs strip.
    if line == "--" || line.starts_with("-----Original Message") || line.starts_with("________________") {
        return true;
    }
    if line.starts_with("From: ")
        && lines
            .iter()
            .skip(at + 1)
            .take(4)
            .any(|next| next.starts_with("Sent: ") || next.starts_with("To: "))
    {
        return true;
    }
    introduces_a_quote(lines, at)
}

/// `On Wed, 25 Nov 2026, Ann wrote:`, in one line or two, before a quoted line.
fn introduces_a_quote(lines: &[&str], at: usize) -> bool {
    let joined = [lines[at], lines.get(at + 1).copied().unwrap_or_default()].join(" ");
    let first = lines[at].trim();
    let begins =
        ["On ", "Am ", "Le ", "El ", "Il ", "Op ", "Den "].iter().any(|word| first.starts_with(word));
    let ends = |text: &str| text.trim_end().ends_with(':');
    let quoted_after = |from: usize| {
        let next = lines.iter().skip(from).map(|line| line.trim()).find(|line| !line.is_empty());
        next.is_some_and(|line| line.starts_with('>'))
    };
    begins && (ends(first) && quoted_after(at + 1) || ends(&joined) && quoted_after(at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_read_with_its_texts_files_and_answer() {
        let raw = "From: =?utf-8?q?Zo=C3=AB?= <zoe@example.net>\r\nSubject: Re: Hello\r\nMIME-Version: 1.0\r\n\
            Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
            --a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            Gr=FC=DFe!\r\n\r\nOn Wed, 25 Nov 2026, Acme wrote:\r\n> Hello\r\n--a\r\nContent-Type: text/html\r\n\r\n<p>Hi</p>\r\n--a--\r\n\
            --m\r\nContent-Type: application/PDF; name=a.pdf\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--m--\r\n";
        let reading = read(raw.as_bytes());
        assert_eq!(reading.headers[0], ("From".into(), "Zoë <zoe@example.net>".into()));
        assert!(reading.text.as_deref().is_some_and(|text| text.starts_with("Grüße!")), "{reading:?}");
        assert_eq!(reading.html.as_deref().map(str::trim), Some("<p>Hi</p>"));
        assert_eq!(reading.reply.as_deref(), Some("Grüße!"));
        let expected = File {
            filename: Some("a.pdf".into()),
            content_type: "application/pdf".into(),
            content_id: None,
            content: vec![0, 1, 2],
        };
        assert_eq!(reading.attachments, [expected]);
    }

    /// What fuzzing has found: a message whose own header begins with parts of another.
    #[test]
    fn messages_within_messages_are_read_as_far_as_they_can_be() {
        for raw in [
            &include_bytes!("../../tests/data/found/reading.eml")[..],
            include_bytes!("../../tests/data/found/returned.eml"),
        ] {
            assert_ne!(read(raw).headers, []);
        }
    }

    #[test]
    fn answers_are_told_from_what_they_answer() {
        let cases = [
            ("Yes.\n\nOn Monday, Ann wrote:\n> No?\n", "Yes."),
            (
                "Yes.\n\nOn Monday, 1 June 2026 at 10:00, Ann Smith\n<ann@example.net> wrote:\n\n> No?\n",
                "Yes.",
            ),
            ("> No?\nYes.\n> Really?\nYes!\n", "Yes.\nYes!"),
            ("Yes.\n-- \nAnn\nexample.net\n", "Yes."),
            ("Yes.\n\n-----Original Message-----\nFrom: Ann\n", "Yes."),
            ("Yes.\n\nFrom: Ann <ann@example.net>\nSent: Monday\nTo: Bob\n\nNo?\n", "Yes."),
            ("On Monday we meet:\nat ten.\n", "On Monday we meet:\nat ten."),
            ("Am Montag schrieb Ann:\n> Nein?\n", ""),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(without_quotes(text), expected, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..2_000)) {
            let _ = read(&octets);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "([>A-Za-z: -]{0,20}\n){0,20}") {
            let _ = without_quotes(&text);
        }
    }
}
