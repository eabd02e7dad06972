//! Where the parts of a message begin and end (RFC 5322 §2.1, RFC 2046 §5.1). Not what is in them: nothing is
//! decoded here, and nothing changed.
//!
//! Invariant: all ranges lie within the message, and those of [`Structure::entities`] follow each other without
//! overlap, but for a container, whose body holds those after it. Delimiters are found as RFC 2046 §5.1.1 has
//! them, whole lines; mail-parser, which takes any `--boundary` for one, would let edits fall on the wrong side.
//!
//! The message must have CRLF line ends only (`lines::to_crlf`).

use std::borrow::Cow;
use std::ops::Range;

use mail_parser::ContentType;
use mail_parser::parsers::MessageStream;
use memchr::memmem;

/// How deep parts may be nested. A chain of forwards seldom reaches twenty.
pub(super) const MAX_DEPTH: usize = 50;
/// How many parts a message may have.
pub(super) const MAX_PARTS: usize = 5_000;

/// The longest header of a message or part, in octets. A thousand recipients with their names take a third of it.
pub const MAX_HEADER: usize = 256 * 1024;

/// One header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Without the colon.
    pub name: Range<usize>,
    /// From after the colon to before the last CRLF; folded lines included.
    pub value: Range<usize>,
    /// From the name to the last CRLF, inclusive.
    pub whole: Range<usize>,
}

impl Field {
    /// Whether the field has that name, in any case.
    pub(super) fn is(&self, message: &[u8], name: &str) -> bool {
        message[self.name.clone()].eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value, unfolded and without the white space around it.
    pub(super) fn text<'a>(&self, message: &'a [u8]) -> Cow<'a, str> {
        let value = message[self.value.clone()].trim_ascii();
        match String::from_utf8_lossy(value) {
            folded if folded.contains("\r\n") => Cow::Owned(folded.replace("\r\n", "")),
            unfolded => unfolded,
        }
    }
}

/// A message or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    /// The fields, with the CRLF of the last, without the empty line.
    pub header: Range<usize>,
    /// The content as it stands, transfer-encoded; without the CRLF that belongs to the delimiter after it.
    pub body: Range<usize>,
    /// What the content is.
    pub form: Form,
    /// Whether the header lies within what a signature or encryption covers.
    pub sealed_header: bool,
    /// Whether the body does.
    pub sealed_body: bool,
}

/// What a body is, as far as its transfer encoding is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Text, and reports that read like text: may be quoted-printable.
    Text,
    /// Anything else: may be base64.
    Binary,
    /// A multipart or a message: may not be encoded (RFC 2045 §6.4); the entities after it are inside.
    Container,
    /// What stands before the first delimiter of a multipart or after the last, and is for nobody (RFC 2046 §5.1.1).
    Filler,
    /// Composite, but not readable as such, or a fragment: may not be encoded, and has no parts.
    Opaque,
}

/// The parts of a message, from the outside in and from first to last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Structure {
    /// The message itself first.
    pub entities: Vec<Entity>,
}

impl Structure {
    /// Whether some part is signed or encrypted, so that its octets must not change.
    pub(super) fn is_protected(&self) -> bool {
        self.entities.iter().any(|entity| entity.sealed_body)
    }
}

/// The message is built to exhaust whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooComplex {
    /// Parts within parts.
    #[error("its parts are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// Parts beside parts.
    #[error("it has more than {MAX_PARTS} parts")]
    Parts,
    /// Over [`MAX_HEADER`].
    #[error("the header of a part is longer than {MAX_HEADER} octets")]
    Header,
}

/// Finds all parts.
pub(super) fn parse(message: &[u8]) -> Result<Structure, TooComplex> {
    let mut parser = Parser { message, entities: Vec::new() };
    parser.entity(0..message.len(), Context { depth: 0, in_digest: false, is_sealed: false })?;
    Ok(Structure { entities: parser.entities })
}

/// Cuts a message or part into its header and its body, at the empty line.
pub(super) fn split(message: &[u8], range: Range<usize>) -> (Range<usize>, Range<usize>) {
    let part = &message[range.clone()];
    if part.starts_with(b"\r\n") {
        return (range.start..range.start, range.start + 2..range.end);
    }
    match memmem::find(part, b"\r\n\r\n") {
        Some(at) => (range.start..range.start + at + 2, range.start + at + 4..range.end),
        None => (range.clone(), range.end..range.end),
    }
}

/// The fields of a header. Lines that are neither a field nor the continuation of one are passed over.
pub(super) fn fields(message: &[u8], header: Range<usize>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    let mut at = header.start;
    for line in super::lines::split(&message[header]) {
        let whole = at..at + line.len();
        let end = whole.start + line.strip_suffix(b"\r\n").unwrap_or(line).len();
        at = whole.end;
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        match (fields.last_mut(), memchr::memchr(b':', line)) {
            (Some(field), _) if is_folded && field.whole.end == whole.start => {
                field.value.end = end;
                field.whole.end = whole.end;
            }
            (_, Some(colon)) if !is_folded => {
                let name = whole.start..whole.start + colon;
                fields.push(Field { value: name.end + 1..end, name, whole });
            }
            _ => {}
        }
    }
    fields
}

/// Reads the Content-Type among the fields.
pub(super) fn content_type<'a>(message: &'a [u8], fields: &[Field]) -> Option<ContentType<'a>> {
    let field = fields.iter().find(|field| field.is(message, "Content-Type"))?;
    // The parser reads to the end of the field's last line, and looks at what follows.
    let value = MessageStream::new(&message[field.value.start..field.whole.end]).parse_content_type();
    value.into_content_type()
}

#[derive(Debug, Clone, Copy)]
struct Context {
    depth: usize,
    /// In a multipart/digest a part is a message unless it says otherwise (RFC 2046 §5.1.5).
    in_digest: bool,
    is_sealed: bool,
}

struct Parser<'a> {
    message: &'a [u8],
    entities: Vec<Entity>,
}

impl Parser<'_> {
    fn entity(&mut self, range: Range<usize>, context: Context) -> Result<(), TooComplex> {
        if context.depth > MAX_DEPTH {
            return Err(TooComplex::Depth);
        }
        let (header, body) = split(self.message, range);
        if header.len() > MAX_HEADER {
            return Err(TooComplex::Header);
        }
        let fields = fields(self.message, header.clone());
        let message = self.message;
        let kind = kind(content_type(message, &fields).as_ref(), context.in_digest);
        let inside = Context {
            depth: context.depth + 1,
            in_digest: kind == Kind::Multipart(Multipart::Digest),
            is_sealed: context.is_sealed || kind.seals(),
        };
        let delimiters = match kind {
            Kind::Multipart(_) => delimiters(message, body.clone(), boundary(message, &fields).as_deref()),
            _ => Vec::new(),
        };
        let is_message = kind == Kind::Message && is_unencoded(message, &fields);
        let form = match kind {
            Kind::Multipart(_) if delimiters.is_empty() => Form::Opaque,
            Kind::Multipart(_) => Form::Container,
            Kind::Message if is_message => Form::Container,
            Kind::Message | Kind::Fragment => Form::Opaque,
            Kind::Text => Form::Text,
            Kind::Binary | Kind::Encrypted => Form::Binary,
        };
        self.push(Entity {
            header,
            body: body.clone(),
            form,
            sealed_header: context.is_sealed,
            sealed_body: inside.is_sealed,
        })?;
        if is_message {
            return self.entity(body, inside);
        }
        self.parts(body, &delimiters, inside)
    }

    fn parts(
        &mut self,
        body: Range<usize>,
        delimiters: &[Delimiter],
        inside: Context,
    ) -> Result<(), TooComplex> {
        let Some(first) = delimiters.first() else { return Ok(()) };
        self.filler(body.start..first.line.start, inside)?;
        for (index, delimiter) in delimiters.iter().enumerate() {
            let end = delimiters.get(index + 1).map_or(body.end, |next| next.line.start);
            if delimiter.is_last {
                return self.filler(delimiter.line.end..end, inside);
            }
            self.entity(delimiter.line.end..end.max(delimiter.line.end), inside)?;
        }
        Ok(())
    }

    fn filler(&mut self, body: Range<usize>, inside: Context) -> Result<(), TooComplex> {
        if body.is_empty() {
            return Ok(());
        }
        self.push(Entity {
            header: body.start..body.start,
            body,
            form: Form::Filler,
            sealed_header: inside.is_sealed,
            sealed_body: inside.is_sealed,
        })
    }

    fn push(&mut self, entity: Entity) -> Result<(), TooComplex> {
        if self.entities.len() >= MAX_PARTS {
            return Err(TooComplex::Parts);
        }
        self.entities.push(entity);
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Multipart(Multipart),
    /// A whole message (RFC 2046 §5.2.1, RFC 6532 §3.7).
    Message,
    /// A part of a message, or a pointer to one: 7-bit by definition (RFC 2046 §5.2.2, §5.2.3).
    Fragment,
    Text,
    Binary,
    /// S/MIME: an opaque signature or ciphertext (RFC 8551 §3.2).
    Encrypted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Multipart {
    Digest,
    /// RFC 1847: what is inside must reach the reader octet by octet.
    Sealed,
    Other,
}

impl Kind {
    fn seals(self) -> bool {
        matches!(self, Kind::Encrypted | Kind::Multipart(Multipart::Sealed))
    }
}

fn kind(content_type: Option<&ContentType<'_>>, in_digest: bool) -> Kind {
    let Some(content_type) = content_type else {
        return if in_digest { Kind::Message } else { Kind::Text };
    };
    // The parser gives both in lower case.
    match (content_type.ctype(), content_type.subtype().unwrap_or_default()) {
        ("multipart", "signed" | "encrypted") => Kind::Multipart(Multipart::Sealed),
        ("multipart", "digest") => Kind::Multipart(Multipart::Digest),
        ("multipart", _) => Kind::Multipart(Multipart::Other),
        ("message", "rfc822" | "global") => Kind::Message,
        ("message", "partial" | "external-body") => Kind::Fragment,
        // Reports (RFC 3464 and others) are lines of fields.
        ("message" | "text", _) => Kind::Text,
        ("application", "pkcs7-mime" | "x-pkcs7-mime") => Kind::Encrypted,
        _ => Kind::Binary,
    }
}

/// RFC 2046 §5.2.1: a message may only be 7bit, 8bit or binary. One that is encoded all the same is no container.
fn is_unencoded(message: &[u8], fields: &[Field]) -> bool {
    let encoding = fields.iter().find(|field| field.is(message, "Content-Transfer-Encoding"));
    encoding.is_none_or(|field| {
        ["7bit", "8bit", "binary"].iter().any(|name| field.text(message).eq_ignore_ascii_case(name))
    })
}

fn boundary(message: &[u8], fields: &[Field]) -> Option<String> {
    let content_type = content_type(message, fields)?;
    let boundary = content_type.attribute("boundary")?.trim_end();
    (!boundary.is_empty()).then(|| boundary.to_owned())
}

/// A line between two parts.
struct Delimiter {
    /// From the CRLF that belongs to it to the beginning of what follows.
    line: Range<usize>,
    /// `--boundary--`.
    is_last: bool,
}

/// RFC 2046 §5.1.1: a delimiter is a line of `--`, the boundary, perhaps `--`, and then at most white space.
fn delimiters(message: &[u8], body: Range<usize>, boundary: Option<&str>) -> Vec<Delimiter> {
    let Some(boundary) = boundary else { return Vec::new() };
    let dashed = ["--", boundary].concat();
    let text = &message[body.clone()];
    let mut found = Vec::new();
    for at in memmem::find_iter(text, dashed.as_bytes()) {
        let is_line_start = at == 0 || text[..at].ends_with(b"\r\n");
        let Some((len, is_last)) = rest_of_delimiter(&text[at + dashed.len()..]).filter(|_| is_line_start)
        else {
            continue;
        };
        // The CRLF before belongs to the delimiter, unless the delimiter before has it already.
        let start = found
            .last()
            .map_or(body.start, |last: &Delimiter| last.line.end)
            .max((body.start + at).saturating_sub(2));
        let start = if at == 0 { body.start } else { start };
        found.push(Delimiter { line: start..body.start + at + dashed.len() + len, is_last });
        // One more than there may be is enough to refuse the message.
        if is_last || found.len() > MAX_PARTS {
            break;
        }
    }
    found
}

/// What follows the boundary in a delimiter: its length up to and with the CRLF, and whether it closes.
fn rest_of_delimiter(text: &[u8]) -> Option<(usize, bool)> {
    let is_last = text.starts_with(b"--");
    let after = if is_last { &text[2..] } else { text };
    let padding = after.iter().take_while(|c| matches!(c, b' ' | b'\t')).count();
    let end = &after[padding..];
    let dashes = text.len() - after.len();
    if end.starts_with(b"\r\n") {
        // The CRLF after the last delimiter is part of the epilogue.
        Some((dashes + padding + if is_last { 0 } else { 2 }, is_last))
    } else {
        end.is_empty().then_some((dashes + padding, is_last))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crlf(text: &str) -> Vec<u8> {
        text.replace('\n', "\r\n").into_bytes()
    }

    /// Form and body of each entity; `!` marks a sealed body.
    fn outline(text: &str) -> Vec<(String, String)> {
        let message = crlf(text);
        let structure = parse(&message).unwrap();
        let show = |entity: &Entity| {
            let body = String::from_utf8_lossy(&message[entity.body.clone()]).replace("\r\n", "\n");
            let body = if entity.form == Form::Container { String::new() } else { body };
            (format!("{:?}{}", entity.form, if entity.sealed_body { "!" } else { "" }), body)
        };
        structure.entities.iter().map(show).collect()
    }

    fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
        wanted.iter().map(|(form, body)| ((*form).to_owned(), (*body).to_owned())).collect()
    }

    #[test]
    fn a_message_without_mime_is_one_text() {
        assert_eq!(outline("From: a@b\nTo: c@d\n\nHello\n"), pairs(&[("Text", "Hello\n")]));
        assert_eq!(outline("From: a@b\n"), pairs(&[("Text", "")]));
        assert_eq!(outline("\nHello"), pairs(&[("Text", "Hello")]));
    }

    #[test]
    fn parts_fillers_and_nested_parts_are_found() {
        let text = "Content-Type: multipart/mixed; boundary=\"out er\"\n\npreamble\n--out er\n\none\n\
                    --out er  \nContent-Type: multipart/alternative;\n boundary=out\n\n--out\n\ntwo\n\n--out\n\
                    Content-Type: image/png\n\nthree\n--out--\n--out er\nContent-Type: message/rfc822\n\n\
                    Subject: x\n\nfour\n--out er--\nepilogue\n";
        assert_eq!(
            outline(text),
            pairs(&[
                ("Container", ""),
                ("Filler", "preamble"),
                ("Text", "one"),
                ("Container", ""),
                ("Text", "two\n"),
                ("Binary", "three"),
                ("Container", ""),
                ("Text", "four"),
                ("Filler", "\nepilogue\n"),
            ])
        );
    }

    #[test]
    fn only_whole_lines_are_delimiters() {
        let text = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx --b\n --b\n--bb\n--b-\n--b--x\n--b x\n--b--";
        assert_eq!(
            outline(text),
            pairs(&[("Container", ""), ("Text", "x --b\n --b\n--bb\n--b-\n--b--x\n--b x")])
        );
    }

    #[test]
    fn a_delimiter_of_the_outer_part_ends_the_inner_one() {
        let text = "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n\
                    --i\n\none\n--o\n\ntwo\n--o--";
        assert_eq!(
            outline(text),
            pairs(&[("Container", ""), ("Container", ""), ("Text", "one"), ("Text", "two")])
        );
    }

    #[test]
    fn empty_and_unfinished_parts_do_no_harm() {
        let text = "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b\nX: y\n--b\n\nlast";
        assert_eq!(
            outline(text),
            pairs(&[("Container", ""), ("Text", ""), ("Text", ""), ("Text", ""), ("Text", "last")])
        );
        assert_eq!(outline("Content-Type: multipart/mixed\n\n--b\n"), pairs(&[("Opaque", "--b\n")]));
        assert_eq!(outline("Content-Type: multipart/mixed; boundary=b\n\nx"), pairs(&[("Opaque", "x")]));
    }

    #[test]
    fn in_a_digest_parts_are_messages() {
        let text = "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\none\n--b\nContent-Type: \
                    text/plain\n\ntwo\n--b--";
        assert_eq!(
            outline(text),
            pairs(&[("Container", ""), ("Container", ""), ("Text", "one"), ("Text", "two")])
        );
    }

    #[test]
    fn what_is_signed_or_encrypted_is_sealed() {
        let text = "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/signed; boundary=i; \
                    protocol=\"x/y\"\n\n--i\n\none\n--i\nContent-Type: application/pgp-signature\n\nsig\n--i--\n\
                    --o\n\nfooter\n--o--";
        assert_eq!(
            outline(text),
            pairs(&[
                ("Container", ""),
                ("Container!", ""),
                ("Text!", "one"),
                ("Binary!", "sig"),
                ("Text", "footer"),
            ])
        );
        for kind in
            ["multipart/encrypted; boundary=b", "Application/PKCS7-Mime", "application/x-pkcs7-mime; name=x"]
        {
            let message = crlf(&format!("Content-Type: {kind}\n\n--b\n\nx\n--b--"));
            let structure = parse(&message).unwrap();
            assert!(structure.is_protected(), "{kind}");
            assert!(!structure.entities[0].sealed_header, "{kind}");
        }
        assert!(!parse(&crlf("Content-Type: application/pkcs7-signature\n\nx")).unwrap().is_protected());
    }

    #[test]
    fn messages_and_fragments_are_not_to_be_encoded() {
        for (kind, wanted) in [
            ("message/rfc822", "Container"),
            ("message/global", "Container"),
            ("message/rfc822\nContent-Transfer-Encoding: base64", "Opaque"),
            ("message/partial; id=1", "Opaque"),
            ("message/external-body", "Opaque"),
            ("message/delivery-status", "Text"),
            ("text/html", "Text"),
            ("application/pdf", "Binary"),
            ("nonsense", "Binary"),
        ] {
            assert_eq!(outline(&format!("Content-Type: {kind}\n\nx"))[0].0, wanted, "{kind}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        let deep = "Content-Type: message/rfc822\n\n".repeat(MAX_DEPTH + 1);
        assert_eq!(parse(&crlf(&deep)), Err(TooComplex::Depth));
        let wide = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(MAX_PARTS));
        assert_eq!(parse(&crlf(&wide)), Err(TooComplex::Parts));
        let long = format!("Content-Type: message/rfc822\n\n{}\n", "a:\n".repeat(MAX_HEADER / 4 + 1));
        assert_eq!(parse(&crlf(&long)), Err(TooComplex::Header));
    }

    #[test]
    fn fields_are_found_with_their_folded_lines() {
        let message =
            crlf("A: 1\nB:\n two\n\tthree\nno field\n not folded onto anything\nC : x\n\nD: in the body\n");
        let (header, _) = split(&message, 0..message.len());
        let fields = fields(&message, header);
        let shown: Vec<_> =
            fields.iter().map(|f| (&message[f.name.clone()], f.text(&message).into_owned())).collect();
        assert_eq!(
            shown,
            [(&b"A"[..], "1".to_owned()), (b"B", "two\tthree".to_owned()), (b"C ", "x".to_owned())]
        );
        assert_eq!(&message[fields[1].whole.clone()], b"B:\r\n two\r\n\tthree\r\n");
    }

    proptest! {
        #[test]
        fn any_content_type_is_read_without_a_panic(value in "([a-z]{1,5}|multipart/|boundary|\\*0?\\*?|[;=\"\\\\%' (/]|\n |ü|[!-~]){0,30}") {
            let message = crlf(&format!("Content-Type: {value}\n\n--b\n\nx\n--b--"));
            prop_assert!(!parse(&message).unwrap().entities.is_empty());
        }

        #[test]
        fn ranges_lie_in_order_within_the_message(text in "(Content-Type: multipart/mixed; boundary=b\n|\
            Content-Type: message/rfc822\n|Content-Type: multipart/signed; boundary=c\n|--b\n|--b--\n|--c\n|\n|x|: ){0,40}") {
            let message = crlf(&text);
            let structure = parse(&message).unwrap();
            let mut end = 0;
            for entity in &structure.entities {
                prop_assert!(end <= entity.header.start && entity.header.start <= entity.header.end);
                prop_assert!(entity.header.end <= entity.body.start && entity.body.start <= entity.body.end);
                prop_assert!(entity.body.end <= message.len());
                end = if entity.form == Form::Container { entity.body.start } else { entity.body.end };
            }
        }
    }
}
