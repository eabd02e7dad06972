//! Makes a mail out of its parts: the header (RFC 5322), and around the texts and files the structure of MIME
//! (RFC 2045, 2046, 2183, 2231, 2387), which lettre builds. Not which recipients it goes to: a blind copy is in
//! no header, so a draft does not know of it.
//!
//! Invariant: the bytes depend on the [`Draft`] alone, hold CRLF-ended lines of at most 998 octets, and are
//! 7-bit but for addresses whose local part is not ASCII.
//!
//! The header is written here and not by lettre's `Message`: that one reads From back to derive an envelope,
//! puts the present time in place of a date it cannot read, and keeps one field of each name.

use lettre::message::header::ContentType;
use lettre::message::{MultiPart, SinglePart};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::address_error::AddressError;
use super::attachment::Attachment;
use super::encoding;
use super::headers::{self, Header};
use super::mailbox::Mailbox;
use super::text::{self, TextError};
use super::words::FieldWriter;

/// A mail before it is written. Recipients of blind copies are not in it.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The author.
    pub from: &'a Mailbox,
    /// Where answers go; empty: to the author.
    pub reply_to: &'a [Mailbox],
    /// The addressees. Without any, and without copies, the field says `undisclosed-recipients:;`.
    pub to: &'a [Mailbox],
    /// Who gets a copy that all may see.
    pub cc: &'a [Mailbox],
    /// One line of text, in any script.
    pub subject: &'a str,
    /// The plain text, its lines ended in any way.
    pub text: Option<&'a str>,
    /// The HTML, its lines ended in any way. Without a plain text, none is made from it.
    pub html: Option<&'a str>,
    /// AMP for e-mail, shown in place of text and HTML by readers that know it: never without one of these.
    pub amp: Option<&'a str>,
    /// Files.
    pub attachments: &'a [Attachment],
    /// The caller's own fields.
    pub headers: &'a [Header],
    /// With angle brackets or without.
    pub message_id: &'a str,
    /// What the Date field says.
    pub date: OffsetDateTime,
    /// What the boundaries are made of, so that equal drafts give equal bytes.
    pub boundary_seed: u128,
}

impl Draft<'_> {
    /// Whether an address in the header is not ASCII, so that the mail can only go to peers that offer SMTPUTF8
    /// (RFC 6531 §3.2), whatever the recipient's own address is.
    pub fn needs_smtputf8(&self) -> bool {
        let lists = [self.reply_to, self.to, self.cc].into_iter().flatten();
        std::iter::once(self.from).chain(lists).any(|mailbox| mailbox.address.needs_smtputf8())
    }
}

/// Why a mail cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// A character that must not be in a header field.
    #[error("the subject cannot be used: {0}")]
    Subject(TextError),
    /// A display name, in From, Reply-To, To or Cc, that must not be in a header field.
    #[error("{0}")]
    Name(AddressError),
    /// Not the form of RFC 5322 §3.6.4.
    #[error("the Message-ID is not of the form left@right")]
    MessageId,
    /// Not within what RFC 5322 §3.3 can say.
    #[error("the date is before 1900, after 9999, or its offset has seconds")]
    Date,
    /// Two inline files that the HTML could not tell apart.
    #[error("the content id {0:?} is used twice")]
    ContentIdTwice(String),
}

/// Writes a mail.
///
/// Text alone or HTML alone is one part; both are a multipart/alternative. Inline files go with the HTML into a
/// multipart/related, the others around it all into a multipart/mixed.
///
/// # Errors
/// What cannot be written. Lists, custom fields and files are parsed types and are well.
pub fn compose(draft: &Draft<'_>) -> Result<Vec<u8>, ComposeError> {
    check(draft)?;
    let mut out = Vec::with_capacity(capacity(draft));
    write_header(draft, &mut out)?;
    let body = structure(&Draft { boundary_seed: free_seed(draft), ..*draft });
    out.extend_from_slice(&body.formatted());
    // lettre ends a part with a CRLF of its own. Between boundaries it belongs to the boundary (RFC 2046 §5.1.1);
    // at the end of the only part it would be one empty line more than the text has.
    if matches!(body, Part::Single(_)) && out.ends_with(b"\r\n\r\n") && has_text(draft) {
        out.truncate(out.len() - 2);
    }
    Ok(out)
}

fn check(draft: &Draft<'_>) -> Result<(), ComposeError> {
    text::check(draft.subject).map_err(ComposeError::Subject)?;
    let lists = [draft.reply_to, draft.to, draft.cc].into_iter().flatten();
    for name in std::iter::once(draft.from).chain(lists).filter_map(|mailbox| mailbox.name.as_deref()) {
        text::check_name(name).map_err(|error| ComposeError::Name(AddressError::Name(error)))?;
    }
    let ids: Vec<_> = draft.attachments.iter().filter_map(|file| file.content_id()).collect();
    match ids.iter().enumerate().find(|(index, id)| ids[..*index].contains(id)) {
        Some((_, id)) => Err(ComposeError::ContentIdTwice((*id).to_owned())),
        None => Ok(()),
    }
}

/// A guess that seldom is too low.
fn capacity(draft: &Draft<'_>) -> usize {
    let texts = [draft.text, draft.html, draft.amp].into_iter().flatten().map(str::len).sum::<usize>();
    let files: usize = draft.attachments.iter().map(|file| file.size() / 57 * 78 + 512).sum();
    1024 + texts + texts / 8 + files
}

fn has_text(draft: &Draft<'_>) -> bool {
    draft.text.or(draft.html).is_some_and(|text| !text.is_empty())
}

/// All but the fields of MIME that belong to the outermost part.
fn write_header(draft: &Draft<'_>, out: &mut Vec<u8>) -> Result<(), ComposeError> {
    let date = draft.date.format(&Rfc2822).map_err(|_| ComposeError::Date)?;
    let message_id = headers::parse_message_id(draft.message_id).ok_or(ComposeError::MessageId)?;
    FieldWriter::begin(out, "Date").structured(&date);
    FieldWriter::begin(out, "From").mailboxes(std::slice::from_ref(draft.from));
    if !draft.reply_to.is_empty() {
        FieldWriter::begin(out, "Reply-To").mailboxes(draft.reply_to);
    }
    if !draft.to.is_empty() {
        FieldWriter::begin(out, "To").mailboxes(draft.to);
    } else if draft.cc.is_empty() {
        // RFC 5322 appendix A.1.3. Not required, but filters hold a missing To against a mail.
        FieldWriter::begin(out, "To").structured("undisclosed-recipients:;");
    }
    if !draft.cc.is_empty() {
        FieldWriter::begin(out, "Cc").mailboxes(draft.cc);
    }
    FieldWriter::begin(out, "Subject").unstructured(draft.subject);
    FieldWriter::begin(out, "Message-ID").structured(&["<", message_id, ">"].concat());
    for header in draft.headers {
        header.write(out);
    }
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    Ok(())
}

/// A seed that no attached message has in a boundary of its own: the draft's, or one of those after it. Elsewhere a
/// boundary of ours cannot occur, since text with its beginning is encoded.
fn free_seed(draft: &Draft<'_>) -> u128 {
    let is_taken = |seed: u128| draft.attachments.iter().any(|file| file.shows(&format!("{seed:032x}")));
    let mut seed = draft.boundary_seed;
    while is_taken(seed) {
        seed = seed.wrapping_add(1);
    }
    seed
}

/// lettre's two kinds of part.
enum Part {
    Single(SinglePart),
    Multi(MultiPart),
}

impl Part {
    fn formatted(&self) -> Vec<u8> {
        match self {
            Part::Single(part) => part.formatted(),
            Part::Multi(part) => part.formatted(),
        }
    }

    fn add_to(self, parent: MultiPart) -> MultiPart {
        match self {
            Part::Single(part) => parent.singlepart(part),
            Part::Multi(part) => parent.multipart(part),
        }
    }
}

fn structure(draft: &Draft<'_>) -> Part {
    let text = draft.text.map(|text| Part::Single(text_part(text, ContentType::TEXT_PLAIN)));
    let html = draft.html.map(|html| html_with_inline_files(draft, html));
    let body = match (text, html) {
        // AMP stands before the HTML: readers that do not know it show the last part they do know.
        (text, html)
            if [text.is_some(), html.is_some(), draft.amp.is_some()].iter().filter(|it| **it).count() > 1 =>
        {
            let amp = draft.amp;
            let amp =
                amp.map(|amp| Part::Single(text_part(amp, known_type("text/x-amp-html; charset=utf-8"))));
            let parts = [text, amp, html].into_iter().flatten();
            let all = multipart("alternative", "", draft.boundary_seed);
            Some(Part::Multi(parts.fold(all, |all, part| part.add_to(all))))
        }
        (text, html) => text.or(html),
    };
    // Without HTML no one can show a file inline: it is a file like the others then.
    let mut files = draft
        .attachments
        .iter()
        .filter(|file| draft.html.is_none() || file.content_id().is_none())
        .peekable();
    match (body, files.peek()) {
        (Some(body), None) => body,
        (None, None) => Part::Single(text_part("", ContentType::TEXT_PLAIN)),
        (body, Some(_)) => {
            let mixed = multipart("mixed", "", draft.boundary_seed);
            let mixed = body.into_iter().fold(mixed, |mixed, body| body.add_to(mixed));
            Part::Multi(files.map(Attachment::part).fold(mixed, MultiPart::singlepart))
        }
    }
}

fn html_with_inline_files(draft: &Draft<'_>, html: &str) -> Part {
    let html = text_part(html, ContentType::TEXT_HTML);
    let mut files = draft.attachments.iter().filter(|file| file.content_id().is_some()).peekable();
    if files.peek().is_none() {
        return Part::Single(html);
    }
    // RFC 2387 §3.1: the type of the root is named, which lettre's own builder leaves out.
    let related = multipart("related", "; type=\"text/html\"", draft.boundary_seed).singlepart(html);
    Part::Multi(files.map(Attachment::part).fold(related, MultiPart::singlepart))
}

/// An empty multipart. The boundary is of one length for all kinds, so that none is the beginning of another,
/// and has `=_` in it, which neither quoted-printable nor base64 can produce (RFC 2045 §6.7).
fn multipart(kind: &str, parameters: &str, seed: u128) -> MultiPart {
    let content_type = format!("multipart/{kind}; boundary=\"=_{}_{seed:032x}\"{parameters}", &kind[..3]);
    MultiPart::builder().header(known_type(&content_type)).build()
}

fn known_type(content_type: &str) -> ContentType {
    ContentType::parse(content_type).expect("composed of tokens and quoted strings only")
}

fn text_part(text: &str, content_type: ContentType) -> SinglePart {
    SinglePart::builder().header(content_type).body(encoding::text(text))
}

#[cfg(test)]
mod strangers;
#[cfg(test)]
mod tests;
