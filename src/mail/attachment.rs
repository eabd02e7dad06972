//! A file that goes with a mail: its name, type and place (RFC 2045 §5, RFC 2183, RFC 2231, RFC 2392). Not whether
//! its content is what its type says.
//!
//! Invariant: the content arrives octet for octet, since it is always in base64. A message/rfc822 may not be
//! (RFC 2046 §5.2.1): it is given as it reads in seven bits, or, where that cannot be, as application/octet-stream.

use bytes::Bytes;
use lettre::message::header::{ContentDisposition, ContentId, ContentTransferEncoding, ContentType};
use lettre::message::{Body, SinglePart};
use memchr::memmem;
use mime::Mime;

use super::text::{self, TextError};
use super::{encoding, lines, transcode, words};

/// The longest file name, in octets: what file systems hold.
pub const MAX_FILENAME: usize = 255;
/// The longest content type with its parameters, in octets.
pub const MAX_CONTENT_TYPE: usize = 255;
/// The longest content id, in octets.
pub const MAX_CONTENT_ID: usize = 250;

/// A file that goes with a mail.
#[derive(Debug, Clone)]
pub struct Attachment {
    filename: String,
    media_type: Mime,
    content_type: ContentType,
    content_id: Option<String>,
    content: Bytes,
    form: Form,
}

/// How the content stands in the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Base64,
    /// A message in seven bits.
    Message,
}

impl Attachment {
    /// Checks a file. With a content id it is inline: the HTML shows it by `cid:<content id>` (RFC 2392).
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(
        filename: &str,
        content_type: &str,
        content_id: Option<&str>,
        content: Bytes,
    ) -> Result<Attachment, AttachmentError> {
        let filename = parse_filename(filename)?;
        let mime = parse_content_type(content_type)?;
        let content_id = content_id.map(parse_content_id).transpose()?;
        let (mime, content, form) = shape(mime, content)?;
        let content_type = with_fallback_name(&mime, &filename)?;
        Ok(Attachment { filename, media_type: mime, content_type, content_id, content, form })
    }

    /// The name it is saved under.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// Its media type with its parameters (RFC 2045 §5.1).
    pub fn media_type(&self) -> &str {
        self.media_type.as_ref()
    }

    /// By which the HTML shows it, without angle brackets; `None`: it is not inline.
    pub fn content_id(&self) -> Option<&str> {
        self.content_id.as_deref()
    }

    /// The content as it was given; for a message/rfc822, as it is attached.
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// The size of the content, in octets. In the mail it takes up to 1.37 times as much.
    pub fn size(&self) -> usize {
        self.content.len()
    }

    /// Whether lines of the content stand in the mail as they are, and one of them may hold this text.
    pub(super) fn shows(&self, text: &str) -> bool {
        self.form == Form::Message && memmem::find(&self.content, text.as_bytes()).is_some()
    }

    /// The part of MIME that holds it.
    pub(super) fn part(&self) -> SinglePart {
        let disposition = match self.content_id {
            Some(_) => ContentDisposition::inline_with_name(&self.filename),
            None => ContentDisposition::attachment(&self.filename),
        };
        let mut part = SinglePart::builder().header(self.content_type.clone()).header(disposition);
        if let Some(id) = &self.content_id {
            part = part.header(ContentId::from(format!("<{id}>")));
        }
        let (content, encoding) = match self.form {
            Form::Base64 => (encoding::base64(&self.content), ContentTransferEncoding::Base64),
            Form::Message => (self.content.to_vec(), ContentTransferEncoding::SevenBit),
        };
        part.body(Body::dangerous_pre_encoded(content, encoding))
    }
}

/// Why a file cannot be attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// A character that must not be in a header field, or that disguises the name.
    #[error("the file name cannot be used: {0}")]
    Filename(TextError),
    /// Nothing but spaces.
    #[error("the file name is empty")]
    NoFilename,
    /// Over [`MAX_FILENAME`].
    #[error("the file name is longer than {MAX_FILENAME} octets")]
    FilenameTooLong,
    /// Not `type/subtype; parameters`, not in ASCII, or over [`MAX_CONTENT_TYPE`].
    #[error("the content type is not of the form type/subtype, such as application/pdf")]
    ContentType,
    /// A type whose content may not be encoded (RFC 2045 §6.4).
    #[error("a file cannot be sent as {0}; use application/octet-stream")]
    CompositeType(String),
    /// Not the form of RFC 2392's content id.
    #[error(
        "the content id must be 1 to {MAX_CONTENT_ID} visible ASCII characters, none of them <>()\\ or a quote"
    )]
    ContentId,
}

/// A name in encoded words is decoded: RFC 2047 §5 forbids them in parameters, but readers decode them there, and
/// would see a name that was never checked.
fn parse_filename(filename: &str) -> Result<String, AttachmentError> {
    let mut name = filename.to_owned();
    // Ends: each round takes away the ASCII around a word, and none makes ASCII grow.
    loop {
        if name.len() > MAX_FILENAME {
            return Err(AttachmentError::FilenameTooLong);
        }
        text::check_name(&name).map_err(AttachmentError::Filename)?;
        match words::decode(&name) {
            decoded if decoded == name => break,
            decoded => name = decoded,
        }
    }
    // Not every reader keeps the spaces around a name.
    let name = name.trim();
    if name.is_empty() { Err(AttachmentError::NoFilename) } else { Ok(name.to_owned()) }
}

fn parse_content_type(content_type: &str) -> Result<Mime, AttachmentError> {
    let is_well = |c: u8| matches!(c, b' '..=b'~');
    if !content_type.bytes().all(is_well) || content_type.len() > MAX_CONTENT_TYPE {
        return Err(AttachmentError::ContentType);
    }
    content_type.trim().parse().map_err(|_| AttachmentError::ContentType)
}

/// RFC 2392 §2 has a msg-id here; HTML in use has `cid:logo` as well.
fn parse_content_id(id: &str) -> Result<String, AttachmentError> {
    let id = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id);
    let is_well = |c: u8| c.is_ascii_graphic() && !b"<>()\\\"".contains(&c);
    if (1..=MAX_CONTENT_ID).contains(&id.len()) && id.bytes().all(is_well) {
        Ok(id.to_owned())
    } else {
        Err(AttachmentError::ContentId)
    }
}

/// Decides how the content stands in the mail. RFC 2045 §6.4: composite types may not be in base64.
fn shape(mime: Mime, content: Bytes) -> Result<(Mime, Bytes, Form), AttachmentError> {
    if mime.essence_str() == "message/rfc822" {
        return Ok(match seven_bit_message(&content) {
            Some(message) => (mime, message, Form::Message),
            None => (mime::APPLICATION_OCTET_STREAM, content, Form::Base64),
        });
    }
    if mime.type_() == mime::MULTIPART || mime.type_() == "message" {
        return Err(AttachmentError::CompositeType(mime.essence_str().to_owned()));
    }
    Ok((mime, content, Form::Base64))
}

/// The message as it can stand within another; `None` if that would break it.
fn seven_bit_message(content: &Bytes) -> Option<Bytes> {
    if memchr::memchr(0, content).is_some() {
        return None;
    }
    let message = lines::to_crlf(content);
    transcode::to_seven_bit(&message).ok().map(|message| Bytes::from(message.into_owned()))
}

/// Gives a file name beyond ASCII once more, in ASCII, as the `name` that readers without RFC 2231 look for.
fn with_fallback_name(mime: &Mime, filename: &str) -> Result<ContentType, AttachmentError> {
    let plain = || ContentType::parse(mime.as_ref()).map_err(|_| AttachmentError::ContentType);
    if filename.is_ascii() || mime.get_param("name").is_some() {
        return plain();
    }
    let to_ascii = |c: char| if c.is_ascii() && !matches!(c, '"' | '\\') { c } else { '_' };
    let name: String = filename.chars().map(to_ascii).collect();
    ContentType::parse(&format!("{mime}; name=\"{name}\"")).or_else(|_| plain())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(filename: &str, content_type: &str, content_id: Option<&str>, content: &'static [u8]) -> String {
        let file = Attachment::new(filename, content_type, content_id, Bytes::from_static(content)).unwrap();
        String::from_utf8(file.part().formatted()).unwrap()
    }

    #[test]
    fn files_are_in_base64_whatever_they_are() {
        assert_eq!(
            part("a.txt", "text/plain", None, b"one\ntwo\n.\n"),
            "Content-Type: text/plain\r\nContent-Disposition: attachment; filename=\"a.txt\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nb25lCnR3bwouCg==\r\n"
        );
        assert_eq!(
            part("logo.png", "image/png", Some("<logo@acme>"), b"\x89PNG"),
            "Content-Type: image/png\r\nContent-Disposition: inline; filename=\"logo.png\"\r\nContent-ID: <logo@acme>\r\n\
             Content-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n"
        );
    }

    #[test]
    fn names_beyond_ascii_have_a_fallback() {
        assert_eq!(
            part("Lebenslauf Müller.pdf", "application/pdf", None, b"x"),
            "Content-Type: application/pdf; name=\"Lebenslauf M_ller.pdf\"\r\nContent-Disposition: attachment;\r\n \
             filename*0*=utf-8''Lebenslauf%20M%C3%BCller.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n"
        );
    }

    #[test]
    fn names_in_encoded_words_are_decoded() {
        for (given, wanted) in [
            ("=?utf-8?q?M=C3=BCller.pdf?=", "Müller.pdf"),
            ("=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?=", "a"),
            (" a b ", "a b"),
            ("50 =? 50 ?= 100.txt", "50 =? 50 ?= 100.txt"),
        ] {
            let file = Attachment::new(given, "a/b", None, Bytes::new()).unwrap();
            assert_eq!(file.filename(), wanted);
        }
    }

    #[test]
    fn a_message_is_attached_as_it_reads_in_seven_bits() {
        assert_eq!(
            part("m.eml", "message/rfc822", None, "Subject: x\n\nGrüße\n".as_bytes()),
            "Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"m.eml\"\r\n\
             Content-Transfer-Encoding: 7bit\r\n\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
             Gr=C3=BC=C3=9Fe\r\n\r\n"
        );
        for odd in ["Subject: ü\n\nx", "Subject: x\n\n\0", "Content-Type: application/pkcs7-mime\n\nü"] {
            let part = part("m.eml", "message/rfc822", None, odd.as_bytes());
            assert!(part.starts_with("Content-Type: application/octet-stream\r\n"), "{part}");
            assert!(part.contains("\r\nContent-Transfer-Encoding: base64\r\n"), "{part}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        use AttachmentError as E;
        let long = "x".repeat(256);
        for (filename, content_type, content_id, wanted) in [
            ("a\r\nBcc: x@y", "a/b", None, E::Filename(TextError::LineBreak)),
            ("a\0", "a/b", None, E::Filename(TextError::Control('\0'))),
            ("=?utf-8?q?a=0D=0ABcc:_x?=", "a/b", None, E::Filename(TextError::LineBreak)),
            ("a\u{202e}fdp.exe", "a/b", None, E::Filename(TextError::Bidi('\u{202e}'))),
            ("", "a/b", None, E::NoFilename),
            ("  ", "a/b", None, E::NoFilename),
            (&long, "a/b", None, E::FilenameTooLong),
            ("a", "", None, E::ContentType),
            ("a", "pdf", None, E::ContentType),
            ("a", "a/b\r\nBcc: x@y", None, E::ContentType),
            ("a", "a/b; c=ü", None, E::ContentType),
            ("a", &long, None, E::ContentType),
            ("a", "multipart/mixed; boundary=b", None, E::CompositeType("multipart/mixed".to_owned())),
            ("a", "message/delivery-status", None, E::CompositeType("message/delivery-status".to_owned())),
            ("a", "a/b", Some(""), E::ContentId),
            ("a", "a/b", Some("<>"), E::ContentId),
            ("a", "a/b", Some("a b"), E::ContentId),
            ("a", "a/b", Some("a\r\nBcc: x@y"), E::ContentId),
            ("a", "a/b", Some("a>"), E::ContentId),
            ("a", "a/b", Some(&long), E::ContentId),
        ] {
            let error = Attachment::new(filename, content_type, content_id, Bytes::new()).unwrap_err();
            assert_eq!(error, wanted, "{filename:?} {content_type:?} {content_id:?}");
        }
    }
}
