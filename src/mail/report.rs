//! Writing a delivery status notification (RFC 3461 §6, RFC 3462, RFC 3464): what a sender is told about one
//! recipient, for people, for programs, and with what was sent. Not reading one.
//!
//! Invariant: what peers and clients said stands in it as printable ASCII on one line, so that nothing of it can
//! add a field.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::structure;

/// The longest text of a peer that is repeated.
const MAX_DIAGNOSTIC: usize = 500;

/// What happened to the mail (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It will not be delivered.
    Failed,
    /// It has not been delivered yet.
    Delayed,
    /// It was handed on, and nobody tells more.
    Relayed,
}

/// How much of the original goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// A notice about one recipient.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The host that tells.
    pub host: &'a str,
    /// To whom: the reverse path of the original.
    pub to: &'a str,
    /// Without angle brackets.
    pub message_id: &'a str,
    /// When it is written.
    pub date: OffsetDateTime,
    /// What makes its boundary unlike any line of the original.
    pub boundary_seed: u128,
    /// What happened.
    pub action: Action,
    /// The status (RFC 3463).
    pub status: &'a str,
    /// To whom the original went.
    pub recipient: &'a str,
    /// The original recipient as its sender wrote it, decoded: `type;address`.
    pub original_recipient: Option<&'a str>,
    /// The sender's name for the envelope, decoded.
    pub envelope_id: Option<&'a str>,
    /// Which host said so.
    pub remote_host: Option<&'a str>,
    /// What it said: code and text.
    pub diagnostic: Option<&'a str>,
    /// When the original came in.
    pub arrived: OffsetDateTime,
    /// Until when it is tried.
    pub retry_until: Option<OffsetDateTime>,
    /// The original; `None`: it is no longer stored.
    pub original: Option<&'a [u8]>,
    /// How much of it goes back.
    pub returned: Returned,
}

impl Report<'_> {
    /// The notice in its RFC 5322 form.
    pub fn write(&self) -> Vec<u8> {
        let boundary = format!("=_notice_{:032x}", self.boundary_seed);
        let original = self.original_part();
        let is_wide = original.as_ref().is_some_and(|(_, octets)| !octets.is_ascii());
        let mut out = self.header(&boundary, if is_wide { "8bit" } else { "7bit" }).into_bytes();
        let mut part = |kind: &str, content: &[u8]| {
            let encoding = if content.is_ascii() { "7bit" } else { "8bit" };
            let head = format!(
                "--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(content);
            out.extend_from_slice(b"\r\n");
        };
        part("text/plain; charset=us-ascii", self.words().as_bytes());
        part("message/delivery-status", self.fields().as_bytes());
        if let Some((kind, content)) = original {
            part(kind, content);
        }
        out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        out
    }

    fn header(&self, boundary: &str, encoding: &str) -> String {
        let subject = match self.action {
            Action::Failed => "Undelivered mail",
            Action::Delayed => "Delayed mail (still being tried)",
            Action::Relayed => "Mail was handed on",
        };
        format!(
            "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {date}\r\n\
             Message-ID: <{id}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n",
            host = self.host,
            to = self.to,
            date = rfc2822(self.date),
            id = self.message_id,
        )
    }

    /// For people.
    fn words(&self) -> String {
        let told = match self.action {
            Action::Failed => "could not be delivered, and is not tried any more.",
            Action::Delayed => {
                "has not been delivered yet. It is still being tried; you need not send it again."
            }
            Action::Relayed => "was handed on to the host of the recipient. No more will be told about it.",
        };
        let mut words = format!(
            "This is the mail system at {}.\r\n\r\nYour mail to\r\n\r\n    {}\r\n\r\n{told}\r\n",
            self.host,
            printable(self.recipient, MAX_DIAGNOSTIC)
        );
        if let Some(said) = self.diagnostic {
            let host = self.remote_host.unwrap_or("The host");
            let said = printable(said, MAX_DIAGNOSTIC);
            words.push_str(&format!("\r\n{} said:\r\n\r\n    {said}\r\n", printable(host, 255)));
        }
        if let Some(until) = self.retry_until {
            words.push_str(&format!("\r\nIt is tried until {}.\r\n", rfc2822(until)));
        }
        words
    }

    /// For programs (RFC 3464 §2.2, §2.3): fields about the mail, and fields about the recipient.
    fn fields(&self) -> String {
        let mut mail = format!("Reporting-MTA: dns; {}\r\n", self.host);
        if let Some(id) = self.envelope_id {
            mail.push_str(&format!("Original-Envelope-Id: {}\r\n", printable(id, 100)));
        }
        mail.push_str(&format!("Arrival-Date: {}\r\n", rfc2822(self.arrived)));

        let mut recipient = String::new();
        if let Some((kind, address)) = self.original_recipient.and_then(|text| text.split_once(';')) {
            let (kind, address) = (printable(kind, 60), printable(address, MAX_DIAGNOSTIC));
            recipient.push_str(&format!("Original-Recipient: {kind}; {address}\r\n"));
        }
        let action = match self.action {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Relayed => "relayed",
        };
        recipient.push_str(&format!(
            "Final-Recipient: {}\r\nAction: {action}\r\nStatus: {}\r\n",
            typed(self.recipient),
            self.status
        ));
        if let Some(host) = self.remote_host {
            recipient.push_str(&format!("Remote-MTA: dns; {}\r\n", printable(host, 255)));
        }
        if let Some(said) = self.diagnostic {
            recipient.push_str(&format!("Diagnostic-Code: smtp; {}\r\n", printable(said, MAX_DIAGNOSTIC)));
        }
        if let Some(until) = self.retry_until {
            recipient.push_str(&format!("Will-Retry-Until: {}\r\n", rfc2822(until)));
        }
        format!("{mail}\r\n{recipient}")
    }

    /// RFC 3462 §2; RFC 6533 §6 where a header holds UTF-8.
    fn original_part(&self) -> Option<(&'static str, &[u8])> {
        let original = self.original?;
        let (header, _) = structure::split(original, 0..original.len());
        let header = &original[header];
        Some(match (self.returned, header.is_ascii()) {
            (Returned::Full, true) => ("message/rfc822", original),
            (Returned::Full, false) => ("message/global", original),
            (Returned::Headers, true) => ("text/rfc822-headers", header),
            (Returned::Headers, false) => ("message/global-headers", header),
        })
    }
}

/// RFC 3464 §2.3.2; RFC 6533 §3 for addresses in UTF-8.
fn typed(address: &str) -> String {
    if address.is_ascii() {
        return format!("rfc822; {address}");
    }
    let mut text = String::from("utf-8; ");
    for character in address.chars() {
        match character {
            '\\' | '+' | '=' => text.push_str(&format!("\\x{{{:X}}}", u32::from(character))),
            '!'..='~' => text.push(character),
            _ => text.push_str(&format!("\\x{{{:X}}}", u32::from(character))),
        }
    }
    text
}

fn printable(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

fn rfc2822(moment: OffsetDateTime) -> String {
    // The format fails only for years beyond 9999.
    moment.format(&Rfc2822).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};
    use time::macros::datetime;

    use super::*;

    fn report(original: &[u8]) -> Report<'_> {
        Report {
            host: "mail.acme.example",
            to: "ann@acme.example",
            message_id: "7.dsn@mail.acme.example",
            date: datetime!(2026-11-24 10:00 UTC),
            boundary_seed: 7,
            action: Action::Failed,
            status: "5.1.1",
            recipient: "bob@example.net",
            original_recipient: Some("rfc822;Bob+x@example.net"),
            envelope_id: Some("QQ 314159"),
            remote_host: Some("mx.example.net"),
            diagnostic: Some("550 5.1.1 No such user\r\nAction: delivered \u{e9}"),
            arrived: datetime!(2026-11-24 09:00 UTC),
            retry_until: None,
            original: Some(original),
            returned: Returned::Headers,
        }
    }

    #[test]
    fn a_notice_tells_people_and_programs_and_gives_the_header_back() {
        let original = b"From: ann@acme.example\r\nSubject: x\r\n\r\nbody\r\n";
        let text = String::from_utf8(report(original).write()).expect("ASCII");
        let fields = "Reporting-MTA: dns; mail.acme.example\r\nOriginal-Envelope-Id: QQ 314159\r\n\
             Arrival-Date: Tue, 24 Nov 2026 09:00:00 +0000\r\n\r\nOriginal-Recipient: rfc822; Bob+x@example.net\r\n\
             Final-Recipient: rfc822; bob@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\
             Remote-MTA: dns; mx.example.net\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 No such user??Action: delivered ?\r\n";
        assert!(text.contains(fields), "{text}");
        let parsed = MessageParser::default().parse(text.as_bytes()).expect("a message");
        let kinds: Vec<String> = parsed
            .parts
            .iter()
            .filter_map(|part| part.content_type())
            .map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("")))
            .collect();
        assert_eq!(
            kinds,
            ["multipart/report", "text/plain", "message/delivery-status", "text/rfc822-headers"]
        );
        assert!(text.contains("Subject: x\r\n") && !text.contains("body\r\n"));
    }

    #[test]
    fn a_delay_tells_until_when_and_all_may_go_back() {
        let original = "From: a@acme.example\r\nSubject: Grüße\r\n\r\nÜ\r\n".as_bytes();
        let until = Some(datetime!(2026-11-27 09:00 UTC));
        let report = Report {
            action: Action::Delayed,
            status: "4.4.1",
            recipient: "jörg@example.net",
            retry_until: until,
            diagnostic: None,
            returned: Returned::Full,
            ..report(original)
        };
        let text = String::from_utf8(report.write()).expect("UTF-8");
        assert!(text.contains("Will-Retry-Until: Fri, 27 Nov 2026 09:00:00 +0000\r\n"), "{text}");
        assert!(text.contains("Final-Recipient: utf-8; j\\x{F6}rg@example.net\r\n"), "{text}");
        assert!(
            text.contains("Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n"),
            "{text}"
        );
        assert!(text.contains("Subject: Grüße\r\n\r\nÜ\r\n"), "{text}");
        let bare = Report { original: None, ..report };
        assert!(bare.write().is_ascii(), "without the original there is nothing wide");
    }
}
