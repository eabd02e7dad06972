//! What the composed bytes are, and what no text in any field can make of them.

use bytes::Bytes;
use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;
use time::macros::datetime;

use super::super::lines::{self, MAX_LINE};
use super::*;

/// What a draft borrows from.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) from: Mailbox,
    pub(super) reply_to: Vec<Mailbox>,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    pub(super) subject: String,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) headers: Vec<Header>,
}

impl Material {
    pub(super) fn new() -> Material {
        Material {
            from: mailbox("Acme <hello@acme.example>"),
            reply_to: Vec::new(),
            to: vec![mailbox("Ann <ann@example.net>")],
            cc: Vec::new(),
            subject: "Hello".to_owned(),
            text: Some("Hi Ann,\nhow are you?\n".to_owned()),
            html: None,
            attachments: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub(super) fn draft(&self) -> Draft<'_> {
        Draft {
            from: &self.from,
            reply_to: &self.reply_to,
            to: &self.to,
            cc: &self.cc,
            subject: &self.subject,
            text: self.text.as_deref(),
            html: self.html.as_deref(),
            amp: None,
            attachments: &self.attachments,
            headers: &self.headers,
            message_id: "m1@acme.example",
            date: datetime!(2025-11-24 02:30 UTC),
            boundary_seed: 0x0192_0000_0000_7000_8000_0000_0000_0001,
        }
    }

    pub(super) fn composed(&self) -> String {
        String::from_utf8(compose(&self.draft()).unwrap()).unwrap()
    }
}

pub(super) fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

pub(super) fn file(name: &str, content_id: Option<&str>, content: &[u8]) -> Attachment {
    Attachment::new(name, "application/x-test", content_id, Bytes::copy_from_slice(content)).unwrap()
}

/// What every mail must be, whatever is in it.
fn assert_sendable(mail: &[u8]) {
    assert_eq!(lines::to_crlf(mail), mail, "lone CR or LF");
    assert!(lines::longest(mail) <= MAX_LINE, "long line");
    assert!(mail.ends_with(b"\r\n"), "last line end");
}

/// The names of the header's fields, in order.
fn names(mail: &str) -> Vec<&str> {
    let (header, _) = mail.split_once("\r\n\r\n").unwrap();
    let fields = header.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    fields.map(|line| line.split_once(':').unwrap().0).collect()
}

#[test]
fn text_alone_is_one_part() {
    let mut material = Material::new();
    material.reply_to = vec![mailbox("help@acme.example")];
    material.cc = vec![mailbox("Bo <bo@example.net>"), mailbox("c@bücher.example")];
    material.headers = vec![Header::new("X-Order", "7").unwrap(), Header::new("X-Order", "8").unwrap()];
    assert_eq!(
        material.composed(),
        "Date: Mon, 24 Nov 2025 02:30:00 +0000\r\nFrom: Acme <hello@acme.example>\r\nReply-To: help@acme.example\r\n\
         To: Ann <ann@example.net>\r\nCc: Bo <bo@example.net>, c@xn--bcher-kva.example\r\nSubject: Hello\r\n\
         Message-ID: <m1@acme.example>\r\nX-Order: 7\r\nX-Order: 8\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Hi Ann,\r\nhow are you?\r\n"
    );
}

#[test]
fn everything_together_is_nested_as_mime_wants_it() {
    let mut material = Material::new();
    material.html = Some("<p>Hi <img src=\"cid:logo\"></p>".to_owned());
    material.attachments = vec![file("a.bin", None, b"a"), file("l.png", Some("logo"), b"l")];
    let mail = material.composed();
    let (_, body) = mail.split_once("MIME-Version: 1.0\r\n").unwrap();
    let seed = "_01920000000070008000000000000001";
    let wanted = format!(
        "Content-Type: multipart/mixed;\r\n boundary=\"=_mix{seed}\"\r\n\r\n\
         --=_mix{seed}\r\nContent-Type: multipart/alternative;\r\n boundary=\"=_alt{seed}\"\r\n\r\n\
         --=_alt{seed}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Hi Ann,\r\nhow are you?\r\n\r\n\
         --=_alt{seed}\r\nContent-Type: multipart/related;\r\n boundary=\"=_rel{seed}\"; type=\"text/html\"\r\n\r\n\
         --=_rel{seed}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         <p>Hi <img src=\"cid:logo\"></p>\r\n\
         --=_rel{seed}\r\nContent-Type: application/x-test\r\nContent-Disposition: inline; filename=\"l.png\"\r\n\
         Content-ID: <logo>\r\nContent-Transfer-Encoding: base64\r\n\r\nbA==\r\n--=_rel{seed}--\r\n\
         --=_alt{seed}--\r\n\
         --=_mix{seed}\r\nContent-Type: application/x-test\r\nContent-Disposition: attachment; filename=\"a.bin\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--=_mix{seed}--\r\n"
    );
    assert_eq!(body, wanted);
}

#[test]
fn a_mail_for_blind_copies_only_names_nobody() {
    let mut material = Material::new();
    material.to.clear();
    assert!(material.composed().contains("\r\nTo: undisclosed-recipients:;\r\n"));
    material.cc = vec![mailbox("a@b")];
    assert_eq!(names(&material.composed())[2], "Cc");
}

#[test]
fn equal_drafts_give_equal_bytes() {
    let mut material = Material::new();
    material.html = Some("<p>ü</p>".to_owned());
    assert_eq!(material.composed(), material.composed());
    let other = compose(&Draft { boundary_seed: 1, ..material.draft() }).unwrap();
    assert_ne!(material.composed().into_bytes(), other);
}

#[test]
fn a_text_that_quotes_the_boundary_does_not_end_its_part() {
    let mut material = Material::new();
    material.html = Some("<p>x</p>".to_owned());
    let quoted = material.composed();
    material.text = Some(quoted.replace("\r\n", "\n"));
    let mail = material.composed();
    let read = MessageParser::default().parse(mail.as_bytes()).unwrap();
    assert_eq!(read.body_text(0).unwrap(), quoted);
    assert_eq!(read.parts.len(), 3);
}

#[test]
fn only_local_parts_beyond_ascii_need_smtputf8() {
    let mut material = Material::new();
    material.from = mailbox("Grüße <a@bücher.example>");
    assert!(!material.draft().needs_smtputf8());
    assert!(material.composed().is_ascii());
    material.cc = vec![mailbox("jörg@example.com")];
    assert!(material.draft().needs_smtputf8());
    assert!(material.composed().contains("\r\nCc: jörg@example.com\r\n"));
}

#[test]
fn what_cannot_be_written_is_told() {
    let mut material = Material::new();
    let draft = material.draft();
    for bad in ["a\r\nBcc: x@y", "a\nb", "a\u{85}", "a\u{2028}b", "a\r\n folded"] {
        let result = compose(&Draft { subject: bad, ..draft });
        assert_eq!(result, Err(ComposeError::Subject(TextError::LineBreak)), "{bad:?}");
    }
    for bad in ["", "no-at", "a@b\r\nBcc: x@y", "<a b@c>"] {
        assert_eq!(compose(&Draft { message_id: bad, ..draft }), Err(ComposeError::MessageId), "{bad:?}");
    }
    let late = datetime!(2025-11-24 02:30 +01:00:30);
    assert_eq!(compose(&Draft { date: late, ..draft }), Err(ComposeError::Date));
    // A name set past the parser.
    let evil = Mailbox { name: Some("x\r\nBcc: y@z".to_owned()), ..mailbox("a@b") };
    let wanted = ComposeError::Name(AddressError::Name(TextError::LineBreak));
    assert_eq!(compose(&Draft { from: &evil, ..draft }), Err(wanted.clone()));
    assert_eq!(compose(&Draft { to: &[mailbox("a@b"), evil.clone()], ..draft }), Err(wanted.clone()));
    assert_eq!(compose(&Draft { reply_to: &[evil], ..draft }), Err(wanted));
    material.attachments = vec![file("a", Some("x"), b""), file("b", Some("x"), b"")];
    assert_eq!(compose(&material.draft()), Err(ComposeError::ContentIdTwice("x".to_owned())));
}

/// Texts that try to become something else.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,12}",
        "[ -~]{1,100}",
        "\\PC{1,12}",
        prop::sample::select(vec![
            "\r\n",
            "\n",
            "\r",
            "\r\n.\r\n",
            "\n.\n",
            "\r\nBcc: evil@example.com\r\n",
            "\n\nbody",
            "%0d%0aBcc: x",
            "\0",
            "\u{85}",
            "\u{2028}",
            "\u{2029}",
            "\r\n ",
            "=?utf-8?q?=0D=0ABcc:_x?=",
            "=?",
            "?=",
            "  ",
            "\t",
            "\"",
            "\\",
            ";",
            ",",
            "<",
            ">",
            "(",
            ":",
            "@",
            "--=_mix_",
            "--",
            "From ",
            "é",
            "用户",
            "👩‍👩‍👧",
            "\u{202e}",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

prop_compose! {
    pub(super) fn materials()(
        names in prop::collection::vec(hostile(), 4),
        subject in hostile(),
        text in prop::option::of(hostile()),
        html in prop::option::of(hostile()),
        headers in prop::collection::vec((prop_oneof!["X-[a-z]{1,9}", hostile()], hostile()), 0..3),
        files in prop::collection::vec((hostile(), prop::option::of(hostile()), prop::collection::vec(any::<u8>(), 0..99)), 0..4),
    ) -> Material {
        let named = |name: &str, address: &str| {
            let address = super::super::EmailAddress::parse(address).unwrap();
            // What the parser refuses has its own test; here it is left out.
            Mailbox::new(Some(name), address.clone()).unwrap_or_else(|_| Mailbox::from(address))
        };
        let mut attachments: Vec<Attachment> = Vec::new();
        for (name, id, content) in &files {
            let file = Attachment::new(name, "application/x-test", id.as_deref(), Bytes::copy_from_slice(content));
            attachments.extend(file.ok().filter(|file| {
                file.content_id().is_none() || attachments.iter().all(|other| other.content_id() != file.content_id())
            }));
        }
        Material {
            from: named(&names[0], "from@example.com"),
            reply_to: vec![named(&names[1], "reply@example.com")],
            to: vec![named(&names[2], "\"odd to\"@example.com"), named(&names[3], "b@example.com")],
            cc: Vec::new(),
            subject,
            text,
            html,
            attachments,
            headers: headers.iter().filter_map(|(name, value)| Header::new(name, value).ok()).collect(),
        }
    }
}

/// The text as a mail carries it: its lines end in CRLF.
fn carried(text: &str) -> String {
    String::from_utf8(lines::to_crlf(text.as_bytes()).into_owned()).unwrap()
}

proptest! {
    #[test]
    fn no_text_in_any_field_adds_or_removes_a_header(material in materials()) {
        let Ok(mail) = compose(&material.draft()) else {
            prop_assert!(text::check(&material.subject).is_err());
            return Ok(());
        };
        assert_sendable(&mail);
        prop_assert!(mail.is_ascii());
        let mail = String::from_utf8(mail).unwrap();
        let mut wanted = vec!["Date", "From", "Reply-To", "To", "Subject", "Message-ID"];
        wanted.extend(material.headers.iter().map(Header::name));
        wanted.extend(["MIME-Version", "Content-Type"]);
        if !mail.contains("\r\nContent-Type: multipart/") {
            wanted.push("Content-Transfer-Encoding");
        }
        prop_assert_eq!(names(&mail), wanted);
    }

    #[test]
    fn mail_parser_reads_what_was_written(material in materials()) {
        let Ok(mail) = compose(&material.draft()) else { return Ok(()) };
        let read = MessageParser::default().parse(&mail).unwrap();
        let from = read.from().unwrap().first().unwrap();
        prop_assert_eq!(from.name(), material.from.name.as_deref());
        prop_assert_eq!(from.address(), Some("from@example.com"));
        prop_assert_eq!(read.message_id(), Some("m1@acme.example"));
        prop_assert_eq!(read.date().unwrap().to_rfc3339(), "2025-11-24T02:30:00Z");
        let texts: Vec<_> = read.parts.iter().filter(|part| part.content_disposition().is_none()).collect();
        let text = texts.iter().find_map(|part| match &part.body { PartType::Text(text) => Some(text.as_ref()), _ => None });
        let html = texts.iter().find_map(|part| match &part.body { PartType::Html(html) => Some(html.as_ref()), _ => None });
        let bare = |text: Option<&str>| text.map(|text| text.trim_end_matches("\r\n").to_owned());
        let wanted = material.text.as_deref().map(carried);
        let wanted = if material.html.is_none() && material.attachments.is_empty() { Some(wanted.unwrap_or_default()) } else { wanted };
        prop_assert_eq!(bare(text), bare(wanted.as_deref()));
        prop_assert_eq!(bare(html), bare(material.html.as_deref().map(carried).as_deref()));
        let mut files: Vec<_> = read.parts.iter().filter(|part| part.content_disposition().is_some()).map(|part| {
            (part.attachment_name().unwrap_or_default().to_owned(), part.contents().to_vec())
        }).collect();
        files.sort();
        let mut wanted: Vec<_> = material.attachments.iter().map(|file| (file.filename().to_owned(), file.content().to_vec())).collect();
        wanted.sort();
        prop_assert_eq!(files, wanted);
    }
}
