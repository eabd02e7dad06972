//! Takes in a message that the client composed, as a submission server may (RFC 6409): checks it, and mends what
//! the RFCs let such a server mend. Not the envelope, and not whether the sender may use that From.
//!
//! Invariant: an [`Accepted`] message has lines of at most 998 octets that end in CRLF, one header with one From,
//! and no recipient of a blind copy in it. What need not change is kept octet for octet, and what is signed or
//! encrypted always is.

use std::ops::Range;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::address_error::AddressError;
use super::control;
use super::headers;
use super::lines::{self, Endings, MAX_LINE};
use super::mailbox::{Mailbox, parse_list};
use super::structure::{self, Field, MAX_HEADER, TooComplex};
use super::transcode::{self, TranscodeError};
use super::words;

/// More trace fields than this are a loop (RFC 5321 §6.3).
pub const MAX_RECEIVED: usize = 100;

/// What stands in for fields that are missing (RFC 6409 §8.2, §8.3).
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// For Date.
    pub date: OffsetDateTime,
    /// For Message-ID, with angle brackets or without.
    pub message_id: &'a str,
}

/// A message that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The message, with CRLF line ends, ending in one.
    pub bytes: Vec<u8>,
    /// Decoded, without control characters; `None` if the message has none.
    pub subject: Option<String>,
    /// The first author, who is the sender unless the envelope says otherwise.
    pub author: Mailbox,
    /// All authors, the first included.
    pub from: Vec<Mailbox>,
    /// Who sent it, if the message says so (RFC 5322 §3.6.2).
    pub sender: Vec<Mailbox>,
    /// Those in To that can be read. The field only labels: recipients are those of the envelope.
    pub to: Vec<Mailbox>,
    /// Those in Cc that can be read.
    pub cc: Vec<Mailbox>,
    /// Without angle brackets; the client's, or the default.
    pub message_id: String,
    /// Whether the client gave a Date.
    pub date: DateField,
    /// The client's control fields, which are taken out: the name as it was written after `X-Postroad-`, and the
    /// value, decoded.
    pub control: Vec<(String, String)>,
    /// Whether a header, the message's or a part's, holds UTF-8: it can only go to peers that offer SMTPUTF8
    /// (RFC 6531 §3.2).
    pub needs_smtputf8: bool,
    /// Whether it must be transcoded for a peer without 8BITMIME (RFC 6152 §3).
    pub has_eight_bit: bool,
    /// Whether a part is signed or encrypted, so that it can be neither transcoded nor personalised.
    pub protected: bool,
}

/// Where the Date of a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateField {
    /// The client wrote it.
    Given,
    /// It was missing.
    Added,
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// No header, or nothing at all.
    #[error("the message does not begin with a header field")]
    NoHeader,
    /// A line of the header that is no field (RFC 5322 §2.2). Lines count from 1.
    #[error("line {0} of the message is no header field; an empty line must end the header")]
    NoField(usize),
    /// Over [`MAX_HEADER`].
    #[error("the header is longer than {MAX_HEADER} octets")]
    HeaderTooLong,
    /// RFC 5322 §4: nowhere in a message.
    #[error("the message contains a NUL octet")]
    Nul,
    /// In the header, where some readers see a line end and others do not.
    #[error("the header contains a carriage return without a line feed")]
    LoneCr,
    /// Eight bits that are not UTF-8 (RFC 6532 §3).
    #[error("the header field {0} is neither ASCII nor UTF-8; encode it (RFC 2047)")]
    Charset(String),
    /// RFC 5322 §3.6.2.
    #[error("the message has no From")]
    NoFrom,
    /// From, but no mailbox that can be read.
    #[error("the From of the message cannot be read: {0}")]
    From(AddressError),
    /// Sender, but no mailbox that can be read: readers would show it all the same.
    #[error("the Sender of the message cannot be read: {0}")]
    Sender(AddressError),
    /// Several authors and no Sender (RFC 5322 §3.6.2).
    #[error("the message has several authors in From, and no Sender")]
    NoSender,
    /// A field that may occur once (RFC 5322 §3.6, RFC 2045 §3).
    #[error("the message has the header field {0} more than once")]
    Twice(String),
    /// Over [`MAX_RECEIVED`] (RFC 5321 §6.3; 5.4.6).
    #[error("the message has been through more than {MAX_RECEIVED} servers: it is in a loop")]
    Loop,
    /// A header line that cannot be folded.
    #[error("a header line is longer than {MAX_LINE} octets and has no space to fold it at")]
    HeaderLine,
    /// Line ends that must be mended, where nothing may be changed.
    #[error("the message is signed or encrypted, and its lines end in several ways; end all of them by CRLF")]
    ProtectedEndings,
    /// Lines that must be cut, where nothing may be changed.
    #[error("the message is signed or encrypted, and has a line of more than {MAX_LINE} octets there")]
    ProtectedLine,
    /// A long line in a part that cannot be encoded.
    #[error("the message has a line of more than {MAX_LINE} octets, and {0}")]
    Line(TranscodeError),
    /// A message built to exhaust whoever reads it.
    #[error("the message cannot be taken: {0}")]
    TooComplex(#[from] TooComplex),
    /// The default given for Message-ID or Date cannot be written.
    #[error("the date or Message-ID to add to the message cannot be written")]
    Defaults,
}

/// Checks a message and mends it.
///
/// Lone LFs and CRs become CRLF, header lines over 998 octets are folded and parts with longer lines encoded; Bcc,
/// Resent-Bcc, Return-Path and the control fields go; Date and Message-ID are added if they are missing.
///
/// # Errors
/// Why it cannot be sent, for the person who wrote the client.
pub fn accept(raw: &[u8], defaults: &Defaults<'_>) -> Result<Accepted, RawError> {
    if memchr::memchr(0, raw).is_some() {
        return Err(RawError::Nul);
    }
    if has_lone_cr(raw) {
        return Err(RawError::LoneCr);
    }
    let text = lines::to_crlf(raw);
    let (header, _) = structure::split(&text, 0..text.len());
    check_header_text(&text, header.clone())?;
    let header = HeaderFields { message: &text, fields: structure::fields(&text, header) };
    header.check_counts()?;
    let from = header.from()?;
    let sender = header.sender()?;
    let author = from.first().cloned().ok_or(RawError::From(AddressError::Empty))?;
    if lines::endings(raw) == Endings::Mixed && structure::parse(&text)?.is_protected() {
        return Err(RawError::ProtectedEndings);
    }
    let mended = header.mend(defaults)?;
    let bytes = shorten_lines(mended.bytes)?;
    let structure = structure::parse(&bytes)?;
    let is_wide = |octets: &[u8]| !octets.is_ascii();
    Ok(Accepted {
        subject: header.find("Subject").map(|field| clean(&words::decode(&field.text(&text)))),
        author,
        from,
        sender,
        to: header.mailboxes("To"),
        cc: header.mailboxes("Cc"),
        message_id: mended.message_id,
        date: mended.date,
        control: control::fields(&text),
        needs_smtputf8: structure.entities.iter().any(|entity| is_wide(&bytes[entity.header.clone()])),
        has_eight_bit: is_wide(&bytes),
        protected: structure.is_protected(),
        bytes,
    })
}

/// Those that a message names in To, Cc and Bcc, as far as they can be read: whom it is for, where nobody says.
pub fn addressees(raw: &[u8]) -> Vec<Mailbox> {
    let text = lines::to_crlf(raw);
    let (header, _) = structure::split(&text, 0..text.len());
    let header = HeaderFields { message: &text, fields: structure::fields(&text, header) };
    ["To", "Cc", "Bcc"].into_iter().flat_map(|name| header.mailboxes(name)).collect()
}

/// The values of the header fields of a name, unfolded and decoded, in order.
pub fn values(raw: &[u8], name: &str) -> Vec<String> {
    let text = lines::to_crlf(raw);
    let (header, _) = structure::split(&text, 0..text.len());
    let fields = structure::fields(&text, header).into_iter();
    let named = fields.filter(|field| text[field.name.clone()].eq_ignore_ascii_case(name.as_bytes()));
    named.map(|field| clean(&words::decode(&field.text(&text)))).collect()
}

/// Checks each line of the header: that it is a field or folded onto one, and its characters.
fn check_header_text(text: &[u8], header: Range<usize>) -> Result<(), RawError> {
    if header.len() > MAX_HEADER {
        return Err(RawError::HeaderTooLong);
    }
    for (index, line) in lines::split(&text[header.clone()]).enumerate() {
        let is_folded = index > 0 && (line.starts_with(b" ") || line.starts_with(b"\t"));
        if !is_folded && !begins_with_name(line) {
            return Err(if index == 0 { RawError::NoHeader } else { RawError::NoField(index + 1) });
        }
    }
    if header.is_empty() {
        return Err(RawError::NoHeader);
    }
    let is_utf8 = |field: &Field| std::str::from_utf8(&text[field.whole.clone()]).is_ok();
    match structure::fields(text, header).into_iter().find(|field| !is_utf8(field)) {
        Some(field) => Err(RawError::Charset(String::from_utf8_lossy(&text[field.name]).into_owned())),
        None => Ok(()),
    }
}

/// Whether a line begins with a field name and its colon (RFC 5322 §3.6.8). Space before the colon, which RFC 5322
/// §4.5 has for old mail, is refused: readers differ in whether such a From is one.
fn begins_with_name(line: &[u8]) -> bool {
    match memchr::memchr(b':', line) {
        Some(colon) => colon > 0 && line[..colon].iter().all(u8::is_ascii_graphic),
        None => false,
    }
}

/// Whether the header has a CR that is no part of a CRLF. In a body that is an old Mac's way to end lines; in a
/// header it is an attempt to add a field where the client's own checks see none.
fn has_lone_cr(raw: &[u8]) -> bool {
    let lines = lines::split(raw).map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.take_while(|line| !line.is_empty()).any(|line| line.contains(&b'\r'))
}

/// The fields of the message's own header.
struct HeaderFields<'a> {
    message: &'a [u8],
    fields: Vec<Field>,
}

/// The message after mending.
struct Mended {
    bytes: Vec<u8>,
    message_id: String,
    date: DateField,
}

impl HeaderFields<'_> {
    fn find(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.is(self.message, name))
    }

    fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|field| field.is(self.message, name)).count()
    }

    /// RFC 5322 §3.6: which fields may occur once; RFC 5321 §6.3: how many trace fields are a loop.
    fn check_counts(&self) -> Result<(), RawError> {
        const ONCE: [&str; 15] = [
            "Date",
            "From",
            "Sender",
            "Reply-To",
            "To",
            "Cc",
            "Message-ID",
            "In-Reply-To",
            "References",
            "Subject",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
            "Content-Disposition",
            "Content-ID",
        ];
        if let Some(name) = ONCE.iter().find(|name| self.count(name) > 1) {
            return Err(RawError::Twice((*name).to_owned()));
        }
        if self.count("Received") > MAX_RECEIVED { Err(RawError::Loop) } else { Ok(()) }
    }

    fn from(&self) -> Result<Vec<Mailbox>, RawError> {
        let field = self.find("From").ok_or(RawError::NoFrom)?;
        let from = parse_list(&field.text(self.message)).map_err(RawError::From)?;
        match from.len() {
            // RFC 5322 §3.6.2: of several authors, Sender tells who sent it.
            2.. if self.find("Sender").is_none() => Err(RawError::NoSender),
            _ => Ok(from),
        }
    }

    fn sender(&self) -> Result<Vec<Mailbox>, RawError> {
        let field = self.find("Sender").map(|field| parse_list(&field.text(self.message)));
        Ok(field.transpose().map_err(RawError::Sender)?.unwrap_or_default())
    }

    /// The mailboxes of a field that only labels, as far as it can be read.
    fn mailboxes(&self, name: &str) -> Vec<Mailbox> {
        let field = self.find(name).map(|field| field.text(self.message));
        field.and_then(|text| parse_list(&text).ok()).unwrap_or_default()
    }

    /// Takes out what must not be seen, and adds what must not be missing.
    fn mend(&self, defaults: &Defaults<'_>) -> Result<Mended, RawError> {
        let mut bytes = Vec::with_capacity(self.message.len() + 256);
        for field in self.fields.iter().filter(|field| !self.is_removed(field)) {
            bytes.extend_from_slice(&self.message[field.whole.clone()]);
            // A header without a body may lack its last line end.
            if !bytes.ends_with(b"\r\n") {
                bytes.extend_from_slice(b"\r\n");
            }
        }
        let (date, message_id) = self.add_missing(defaults, &mut bytes)?;
        bytes.extend_from_slice(b"\r\n");
        let (_, body) = structure::split(self.message, 0..self.message.len());
        bytes.extend_from_slice(&self.message[body]);
        if !bytes.ends_with(b"\r\n") {
            bytes.extend_from_slice(b"\r\n");
        }
        Ok(Mended { bytes, message_id, date })
    }

    /// RFC 6409 §8.2 and §8.3. MIME-Version is added only where a field of MIME would mean nothing without it
    /// (RFC 2045 §4), and then changes nothing for readers that did without.
    fn add_missing(
        &self,
        defaults: &Defaults<'_>,
        bytes: &mut Vec<u8>,
    ) -> Result<(DateField, String), RawError> {
        let date = if self.find("Date").is_some() {
            DateField::Given
        } else {
            let date = defaults.date.format(&Rfc2822).map_err(|_| RawError::Defaults)?;
            bytes.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
            DateField::Added
        };
        let given = self.find("Message-ID").map(|field| field.text(self.message));
        let message_id = match given.filter(|id| !id.is_empty()) {
            Some(id) => headers::parse_message_id(&id).map_or_else(|| clean(&id), str::to_owned),
            None => {
                let id = headers::parse_message_id(defaults.message_id).ok_or(RawError::Defaults)?;
                bytes.extend_from_slice(format!("Message-ID: <{id}>\r\n").as_bytes());
                id.to_owned()
            }
        };
        let has_mime =
            ["Content-Type", "Content-Transfer-Encoding"].iter().any(|name| self.find(name).is_some());
        if has_mime && self.find("MIME-Version").is_none() {
            bytes.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        Ok((date, message_id))
    }

    /// RFC 5322 §3.6.3 (Bcc), RFC 5321 §4.4 (Return-Path is the last server's), and what is meant for us. An empty
    /// Message-ID gives way to a real one.
    fn is_removed(&self, field: &Field) -> bool {
        let is = |name: &str| field.is(self.message, name);
        let is_empty_id = is("Message-ID") && field.text(self.message).is_empty();
        control::is_control(self.message, field)
            || is_empty_id
            || is("Bcc")
            || is("Resent-Bcc")
            || is("Return-Path")
    }
}

fn shorten_lines(bytes: Vec<u8>) -> Result<Vec<u8>, RawError> {
    if lines::longest(&bytes) <= MAX_LINE {
        return Ok(bytes);
    }
    match transcode::to_short_lines(&bytes) {
        Ok(short) => Ok(short.into_owned()),
        Err(TranscodeError::Protected) => Err(RawError::ProtectedLine),
        Err(TranscodeError::HeaderLine) => Err(RawError::HeaderLine),
        Err(TranscodeError::TooComplex(error)) => Err(RawError::TooComplex(error)),
        Err(error) => Err(RawError::Line(error)),
    }
}

/// For showing and storing: control characters become spaces.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests;
