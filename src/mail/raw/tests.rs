use mail_parser::MessageParser;
use proptest::prelude::*;
use time::macros::datetime;

use super::super::text::TextError;
use super::*;

const DEFAULTS: Defaults<'static> =
    Defaults { date: datetime!(2025-11-24 02:30 UTC), message_id: "<new@acme.example>" };
/// A header that lacks nothing.
const HEADER: &str =
    "Date: Fri, 21 Nov 1997 09:55:06 -0600\r\nMessage-ID: <1@a.example>\r\nFrom: a@a.example\r\n";

fn take(raw: &str) -> Result<Accepted, RawError> {
    accept(raw.as_bytes(), &DEFAULTS)
}

fn bytes(raw: &str) -> String {
    String::from_utf8(take(raw).unwrap().bytes).unwrap()
}

#[test]
fn a_complete_message_is_kept_octet_for_octet() {
    let raw = format!(
            "Received: from x\r\n{HEADER}sUBJECT :x\r\nTo: \t\"B, C\" <b@b.example>,\r\n\tc@c.example\r\nX-Odd:\r\n \r\n\
             MIME-Version: 1.0 (odd)\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b  \r\n\r\n .\r\n\
             ü \t\r\n--b--\r\nepilogue\r\n"
        )
        .replace("sUBJECT :", "sUBJECT:");
    let accepted = take(&raw).unwrap();
    assert_eq!(String::from_utf8(accepted.bytes.clone()).unwrap(), raw);
    assert_eq!(accepted.subject.as_deref(), Some("x"));
    assert_eq!(accepted.author.address.as_str(), "a@a.example");
    let to: Vec<_> = accepted.to.iter().map(ToString::to_string).collect();
    assert_eq!(to, ["\"B, C\" <b@b.example>", "c@c.example"]);
    assert_eq!(accepted.message_id, "1@a.example");
    assert_eq!(accepted.date, DateField::Given);
    assert!(accepted.has_eight_bit && !accepted.needs_smtputf8 && !accepted.protected);
}

#[test]
fn what_is_missing_is_added() {
    let accepted =
        take("From: a@b\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nContent-Type: text/plain\n\nHi").unwrap();
    assert_eq!(
        String::from_utf8(accepted.bytes.clone()).unwrap(),
        "From: a@b\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/plain\r\n\
             Date: Mon, 24 Nov 2025 02:30:00 +0000\r\nMessage-ID: <new@acme.example>\r\nMIME-Version: 1.0\r\n\r\nHi\r\n"
    );
    assert_eq!(accepted.subject.as_deref(), Some("Grüße"));
    assert_eq!((accepted.date, accepted.message_id.as_str()), (DateField::Added, "new@acme.example"));
    assert_eq!(
        bytes(&format!("{HEADER}Message-Id:\r\n\r\n").replacen("Message-ID: <1@a.example>\r\n", "", 1)),
        format!(
            "{}Message-ID: <new@acme.example>\r\n\r\n",
            HEADER.replace("Message-ID: <1@a.example>\r\n", "")
        )
    );
    // Without an empty line there is no body.
    assert_eq!(bytes(HEADER.trim_end()), format!("{HEADER}\r\n"));
}

#[test]
fn blind_copies_and_return_paths_are_taken_out() {
    let raw = format!(
        "Return-Path: <x@y>\r\nBCC: one@b.example,\r\n two@b.example\r\n{HEADER}bcc: three@b.example\r\n\
             Resent-Bcc: four@b.example\r\nSubject: x\r\n\r\nBcc: in the body\r\n"
    );
    assert_eq!(bytes(&raw), format!("{HEADER}Subject: x\r\n\r\nBcc: in the body\r\n"));
}

#[test]
fn control_fields_are_taken_out_and_given() {
    let raw = format!(
        "X-Postroad-Tag: a\r\nx-postroad-TAG: b\r\n{HEADER}X-Postroad-Metadata-Order: =?utf-8?q?=C3=BC?=\r\n\r\nx\r\n"
    );
    let accepted = take(&raw).unwrap();
    let control: Vec<_> =
        accepted.control.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(control, [("Tag", "a"), ("TAG", "b"), ("Metadata-Order", "ü")]);
    assert_eq!(accepted.bytes, format!("{HEADER}\r\nx\r\n").as_bytes());
}

#[test]
fn lone_line_ends_become_crlf() {
    assert_eq!(
        bytes(&format!("{HEADER}\r\na\nb\rc\r\n.\n.\r\n")),
        format!("{HEADER}\r\na\r\nb\r\nc\r\n.\r\n.\r\n")
    );
    assert_eq!(bytes(&format!("{HEADER}\r\na\n").replace("\r\n", "\n")), format!("{HEADER}\r\na\r\n"));
}

#[test]
fn what_is_wrong_is_told() {
    use RawError::*;
    let received = "Received: x\r\n".repeat(101);
    let cases = [
        (String::new(), NoHeader),
        ("\r\nFrom: a@b\r\n\r\n".to_owned(), NoHeader),
        ("From a@b Mon Nov 24\r\nFrom: a@b\r\n\r\n".to_owned(), NoHeader),
        (" From: a@b\r\n\r\n".to_owned(), NoHeader),
        ("From: a@b\r\nhello\r\n\r\n".to_owned(), NoField(2)),
        ("From: a@b\r\nSubject : x\r\n\r\n".to_owned(), NoField(2)),
        ("From: a@b\r\nÜ: x\r\n\r\n".to_owned(), NoField(2)),
        ("From: a@b\r\n: x\r\n\r\n".to_owned(), NoField(2)),
        (format!("From: a@b\r\nX: {}\r\n\r\n", "x ".repeat(MAX_HEADER / 2)), HeaderTooLong),
        ("From: a@b\r\n\r\n\0".to_owned(), Nul),
        ("From: a@b\r\nSubject: x\rBcc: c@d\r\n\r\n".to_owned(), LoneCr),
        ("From: a@b\rSubject: x\r\r".to_owned(), LoneCr),
        ("Subject: x\r\n\r\n".to_owned(), NoFrom),
        ("From: \r\n\r\n".to_owned(), From(AddressError::Empty)),
        ("From: Ann\r\n\r\n".to_owned(), From(AddressError::NoAt)),
        ("From: a@b, c@d\r\n\r\n".to_owned(), NoSender),
        (
            "From: =?utf-8?q?a=0D=0ABcc:_c=40d?= <a@b>\r\n\r\n".to_owned(),
            From(AddressError::Name(TextError::LineBreak)),
        ),
        ("From: a@b\r\nFROM: c@d\r\n\r\n".to_owned(), Twice("From".to_owned())),
        (format!("{HEADER}Subject: x\r\nSubject: y\r\n\r\n"), Twice("Subject".to_owned())),
        (format!("{HEADER}Content-Type: a/b\r\nContent-type: c/d\r\n\r\n"), Twice("Content-Type".to_owned())),
        (format!("{received}{HEADER}\r\n"), Loop),
        (format!("{HEADER}X-Long: {}\r\n\r\n", "x".repeat(999)), HeaderLine),
        (
            format!("{HEADER}Content-Transfer-Encoding: x-uu\r\n\r\n{}\r\n", "x".repeat(999)),
            Line(TranscodeError::Part("its transfer encoding is not known")),
        ),
        (
            format!("{HEADER}{}", "Content-Type: message/rfc822\r\n\r\n".repeat(60)),
            TooComplex(structure::TooComplex::Depth),
        ),
    ];
    for (raw, wanted) in cases {
        assert_eq!(take(&raw), Err(wanted), "{}", raw.chars().take(120).collect::<String>());
    }
    assert_eq!(accept(b"From: a@b\r\nSubject: \xfc\r\n\r\n", &DEFAULTS), Err(Charset("Subject".to_owned())));
    assert!(take(&format!("{}{HEADER}\r\n", "Received: x\r\n".repeat(100))).is_ok());
    assert!(take(&format!("{HEADER}Sender: c@d\r\n\r\n").replace("a@a.example\r\n", "a@b, c@d\r\n")).is_ok());
    assert!(take(&format!("{HEADER}To: Undisclosed recipients\r\n\r\n")).unwrap().to.is_empty());
}

#[test]
fn long_lines_are_folded_or_encoded() {
    let text = "word ".repeat(400);
    let raw = format!(
        "{HEADER}X-Long: {text}end\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}é\r\n"
    );
    let accepted = take(&raw).unwrap();
    assert!(lines::longest(&accepted.bytes) <= MAX_LINE && accepted.bytes.is_ascii());
    let read = MessageParser::default().parse(&accepted.bytes).unwrap();
    assert_eq!(read.body_text(0).unwrap(), format!("{text}é\r\n"));
    assert_eq!(read.header_raw("X-Long").unwrap().replace("\r\n", "").trim(), format!("{text}end"));
}

#[test]
fn utf8_in_headers_asks_for_smtputf8() {
    let accepted = take(&format!("{HEADER}Subject: Grüße\r\n\r\nx\r\n")).unwrap();
    assert!(accepted.needs_smtputf8 && accepted.has_eight_bit);
    assert_eq!(accepted.subject.as_deref(), Some("Grüße"));
    let part = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment; filename=ü\r\n\r\n--b--\r\n";
    assert!(take(&format!("{HEADER}{part}")).unwrap().needs_smtputf8);
    assert!(!take(&format!("{HEADER}\r\nGrüße\r\n")).unwrap().needs_smtputf8);
}

const SIGNED: &str = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\r\n\r\n\
                          --s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße \r\n\r\n--s\r\n\
                          Content-Type: application/pgp-signature\r\n\r\nsig\r\n--s--\r\n";

#[test]
fn signed_mail_is_kept_octet_for_octet() {
    let accepted = take(&format!("Bcc: x@y\r\n{HEADER}{SIGNED}")).unwrap();
    assert_eq!(accepted.bytes, format!("{HEADER}{SIGNED}").as_bytes());
    assert!(accepted.protected && accepted.has_eight_bit);
    // Nested, too.
    let inner = SIGNED.replace("MIME-Version: 1.0\r\n", "");
    let mixed = format!(
        "{HEADER}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n{inner}--o--\r\n"
    );
    let accepted = take(&mixed).unwrap();
    assert_eq!(accepted.bytes, mixed.as_bytes());
    assert!(accepted.protected);
}

#[test]
fn signed_mail_that_would_have_to_change_is_refused() {
    let raw = format!("{HEADER}{SIGNED}");
    // Of line feeds alone there is one reading: the one that was signed (RFC 8551 §3.1.1).
    assert_eq!(bytes(&raw.replace("\r\n", "\n")), raw);
    assert_eq!(take(&raw.replace("Grüße \r\n", "Grüße \n")), Err(RawError::ProtectedEndings));
    assert_eq!(take(&raw.replace("Grüße", "Gr\rüße")), Err(RawError::ProtectedEndings));
    assert_eq!(take(&raw.replace("Grüße", &"x".repeat(999))), Err(RawError::ProtectedLine));
    // The header around it is not signed.
    let long = take(&format!("X-Long: {}\r\n{raw}", "word ".repeat(400))).unwrap();
    assert!(lines::longest(&long.bytes) <= MAX_LINE);
    assert!(String::from_utf8(long.bytes).unwrap().ends_with(SIGNED.split_once("\r\n\r\n").unwrap().1));
}

proptest! {
    #[test]
    fn what_is_accepted_can_be_sent(raw in "((Date|From|To|Bcc|Subject|Content-Type|X): |a@b|text/plain|ü|multipart/(mixed|signed); boundary=b|\
        --b|--b--|\r\n|\r\n|\n|\r|[a-z ]{300,400}| ){0,40}") {
        if let Ok(accepted) = take(&format!("From: a@b\r\n{raw}")) {
            prop_assert!(accepted.bytes.ends_with(b"\r\n"));
            prop_assert!(lines::longest(&accepted.bytes) <= MAX_LINE);
            prop_assert_eq!(lines::endings(&accepted.bytes), Endings::Crlf);
            // Nothing is left to mend.
            let again = accept(&accepted.bytes, &DEFAULTS).unwrap();
            prop_assert_eq!(&again.bytes, &accepted.bytes);
            let read = MessageParser::default().parse(&accepted.bytes).unwrap();
            prop_assert!(read.bcc().is_none());
            prop_assert!(read.date().is_some() || accepted.date == DateField::Given);
        }
    }
}
