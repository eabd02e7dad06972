//! The fields of a mail: what is composed of them is legal, and no field of the header comes from within another.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::mail::{Draft, EmailAddress, MAX_LINE, Mailbox, compose};

fuzz_target!(|fields: (String, String, Option<String>, Option<String>)| {
    let (name, subject, text, html) = fields;
    let address = EmailAddress::parse("from@acme.example").expect("an address");
    let from = Mailbox { name: Some(name), address: address.clone() };
    let to = [Mailbox { name: None, address }];
    let draft = Draft {
        from: &from,
        reply_to: &[],
        to: &to,
        cc: &[],
        subject: &subject,
        text: text.as_deref(),
        html: html.as_deref(),
        amp: None,
        attachments: &[],
        headers: &[],
        message_id: "<fuzz@acme.example>",
        date: postroad::smtp::fuzzing::epoch(),
        boundary_seed: 7,
    };
    let Ok(mail) = compose(&draft) else { return };
    assert!(mail.is_ascii() && mail.ends_with(b"\r\n"));
    let mail = String::from_utf8(mail).expect("ASCII");
    for line in mail.split_inclusive('\n') {
        let line = line.strip_suffix("\r\n").expect("a bare LF");
        assert!(line.len() <= MAX_LINE && !line.contains(['\r', '\0']), "{line}");
    }
    let (header, _) = mail.split_once("\r\n\r\n").expect("a header");
    let fields = header.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    let names: Vec<_> = fields.map(|line| line.split_once(':').expect("a field").0).collect();
    let mut wanted = vec!["Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type"];
    if names.len() > wanted.len() {
        wanted.push("Content-Transfer-Encoding");
    }
    assert_eq!(names, wanted);
});
