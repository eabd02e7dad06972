//! What the columns of a list mean: our own form, and those that other services export. Columns are known by
//! their names, in any order and spelling; a file without names has addresses first.
//!
//! - SendGrid (docs: "Suppressions", "Exporting suppressions"): bounces `status,reason,email,created`, spam
//!   reports `ip,email,created`, unsubscribes `email,created`; `created` in seconds or as a date. Its `reason`
//!   is the peer's reply, not ours.
//! - Mailgun (docs: "Suppressions", CSV import and export): bounces `address,code,error,created_at`,
//!   complaints `address,created_at`, unsubscribes `address,tags,created_at`.
//! - SES (`ListSuppressedDestinations`): `EmailAddress,Reason,LastUpdateTime` with `BOUNCE` and `COMPLAINT`;
//!   its own import form has no names.
//! - Postmark (docs: "Suppressions API", dump): `EmailAddress,SuppressionReason,Origin,CreatedAt` with
//!   `HardBounce`, `SpamComplaint` and `ManualSuppression`, which of `Recipient` is an unsubscribing.

use csv::ByteRecord;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;

use crate::account::suppressions::NewSuppression;
use crate::domain::submission::StreamName;
use crate::domain::suppression::Reason;
use crate::http::cells;
use crate::http::fields::parse_moment;
use crate::mail::EmailAddress;

/// What holds for lines that do not say.
pub struct Defaults {
    /// The stream; empty: all.
    pub stream: String,
    /// The reason; `None`: what the form of the file suggests.
    pub reason: Option<Reason>,
}

/// Why a line cannot be used.
pub struct BadLine {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Which column is what.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns {
    email: usize,
    stream: Option<usize>,
    reason: Option<usize>,
    origin: Option<usize>,
    created: Option<usize>,
    format: Format,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Addresses without names of columns.
    #[default]
    Plain,
    Postroad,
    SendGridBounces,
    SendGridComplaints,
    SendGridUnsubscribes,
    MailgunBounces,
    MailgunComplaints,
    MailgunUnsubscribes,
    Ses,
    Postmark,
}

impl Columns {
    /// From the first line: names, or already an address. `None`: neither.
    pub fn recognise(first: &ByteRecord) -> Option<Columns> {
        let names: Vec<String> = first.iter().map(name).collect();
        let at = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let Some(email) = at(&["email", "address", "emailaddress", "recipient", "recipientaddress"]) else {
            let is_address =
                |field: &[u8]| text(field).is_some_and(|text| EmailAddress::parse(cells::read(text)).is_ok());
            return is_address(first.get(0)?).then(|| Columns {
                reason: Some(1),
                created: Some(2),
                ..Columns::default()
            });
        };
        Some(Columns {
            email,
            stream: at(&["stream"]),
            reason: at(&["reason", "suppressionreason"]),
            origin: at(&["origin"]),
            created: at(&["created", "createdat", "lastupdatetime", "lastupdatedtime", "date", "timestamp"]),
            format: format(&names),
        })
    }

    /// Whether the first line holds names.
    pub fn has_header(&self) -> bool {
        self.format != Format::Plain
    }

    /// Whose form it is.
    pub fn format(&self) -> &'static str {
        match self.format {
            Format::Plain => "plain",
            Format::Postroad => "postroad",
            Format::SendGridBounces | Format::SendGridComplaints | Format::SendGridUnsubscribes => "sendgrid",
            Format::MailgunBounces | Format::MailgunComplaints | Format::MailgunUnsubscribes => "mailgun",
            Format::Ses => "ses",
            Format::Postmark => "postmark",
        }
    }

    /// Reads a line.
    pub fn read(&self, record: &ByteRecord, defaults: &Defaults) -> Result<NewSuppression, BadLine> {
        let field = |at: Option<usize>| -> Result<&str, BadLine> {
            let field = at.and_then(|at| record.get(at)).unwrap_or_default();
            text(field).ok_or(BadLine { code: "invalid_encoding", message: "it is not in UTF-8".to_owned() })
        };
        let address = EmailAddress::parse(cells::read(field(Some(self.email))?))
            .map_err(|error| BadLine { code: "invalid_address", message: error.to_string() })?;
        let stream = match field(self.stream)? {
            "" => defaults.stream.clone(),
            text => StreamName::parse(text)
                .map_err(|error| BadLine { code: "invalid_stream", message: error.to_string() })?
                .as_str()
                .to_owned(),
        };
        let reason = self.reason(field(self.reason)?, field(self.origin)?, defaults)?;
        Ok(NewSuppression { address, stream, reason, since: parse_since(field(self.created)?) })
    }

    fn reason(&self, told: &str, origin: &str, defaults: &Defaults) -> Result<Reason, BadLine> {
        let known = match name(told.as_bytes()).as_str() {
            "bounce" | "bounced" | "hardbounce" | "invalid" => Some(Reason::Bounce),
            "complaint" | "complained" | "spamcomplaint" | "spam" | "abuse" => Some(Reason::Complaint),
            "unsubscribe" | "unsubscribed" => Some(Reason::Unsubscribe),
            // Postmark: whose hand it was.
            "manualsuppression" if origin.eq_ignore_ascii_case("recipient") => Some(Reason::Unsubscribe),
            "manual" | "manualsuppression" => Some(Reason::Manual),
            _ => None,
        };
        let suggested = match self.format {
            Format::SendGridBounces | Format::MailgunBounces => Some(Reason::Bounce),
            Format::SendGridComplaints | Format::MailgunComplaints => Some(Reason::Complaint),
            Format::SendGridUnsubscribes | Format::MailgunUnsubscribes => Some(Reason::Unsubscribe),
            Format::Plain | Format::Postroad | Format::Ses | Format::Postmark => None,
        };
        match (known, suggested) {
            (Some(known), None) => Ok(known),
            // The column holds the peer's reply, whatever it looks like.
            (_, Some(suggested)) => Ok(defaults.reason.unwrap_or(suggested)),
            (None, None) if told.is_empty() => Ok(defaults.reason.unwrap_or(Reason::Manual)),
            (None, None) => {
                let message = format!("{told:?} is no reason: bounce, complaint, unsubscribe or manual");
                Err(BadLine { code: "invalid_reason", message })
            }
        }
    }
}

fn format(names: &[String]) -> Format {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let forms = [
        (has("lastupdatetime") || has("lastupdatedtime"), Format::Ses),
        (has("suppressionreason"), Format::Postmark),
        (has("emailaddress") && has("reason"), Format::Ses),
        (has("address") && (has("code") || has("error")), Format::MailgunBounces),
        (has("address") && (has("tags") || has("tag")), Format::MailgunUnsubscribes),
        (has("address") && has("createdat"), Format::MailgunComplaints),
        (has("email") && has("created") && has("ip"), Format::SendGridComplaints),
        (has("email") && has("created") && has("reason"), Format::SendGridBounces),
        (has("email") && has("created"), Format::SendGridUnsubscribes),
    ];
    forms.into_iter().find(|(fits, _)| *fits).map_or(Format::Postroad, |(_, format)| format)
}

/// A name without case, spaces and underscores, nor the mark that spreadsheets put before the first.
fn name(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok().map(|text| text.trim_start_matches('\u{feff}').trim())
}

/// When a line says it was; `None`: it does not, in any way known.
fn parse_since(text: &str) -> Option<OffsetDateTime> {
    let seconds = text.split_once('.').map_or(text, |(whole, _)| whole).parse::<i64>().ok();
    let without_zone = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let naive = text.get(..19).filter(|_| matches!(text.get(19..), Some("" | " UTC" | "Z" | " +0000 UTC")));
    let rfc2822 = text.strip_suffix(" UTC").or(text.strip_suffix(" GMT")).map(|text| format!("{text} +0000"));
    seconds
        .filter(|seconds| *seconds > 100_000_000)
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .or_else(|| parse_moment(text))
        .or_else(|| time::PrimitiveDateTime::parse(naive?, without_zone).ok().map(|at| at.assume_utc()))
        .or_else(|| OffsetDateTime::parse(rfc2822.as_deref().unwrap_or(text), &Rfc2822).ok())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn record(line: &str) -> ByteRecord {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        reader.byte_records().next().expect("a line").expect("CSV")
    }

    #[test]
    fn forms_of_other_services_are_recognised() {
        let sep13 = Some(datetime!(2025-09-13 12:26:40 UTC));
        let cases = [
            (
                "email,stream,reason,created_at",
                "A@b.example,news,complaint,2025-09-13T12:26:40Z",
                "postroad",
                Reason::Complaint,
                "news",
                sep13,
            ),
            ("email", "a@b.example", "postroad", Reason::Manual, "", None),
            (
                "status,reason,email,created",
                "5.1.1,\"550 5.1.1 unsubscribed, really\",a@b.example,1757766400",
                "sendgrid",
                Reason::Bounce,
                "",
                sep13,
            ),
            (
                "ip,email,created",
                "192.0.2.1,a@b.example,2025-09-13 12:26:40",
                "sendgrid",
                Reason::Complaint,
                "",
                sep13,
            ),
            ("email,created", "a@b.example,1757766400", "sendgrid", Reason::Unsubscribe, "", sep13),
            (
                "address,code,error,created_at",
                "a@b.example,550,No such mailbox,\"Sat, 13 Sep 2025 12:26:40 UTC\"",
                "mailgun",
                Reason::Bounce,
                "",
                sep13,
            ),
            (
                "address,tags,created_at",
                "a@b.example,*,\"Sat, 13 Sep 2025 12:26:40 GMT\"",
                "mailgun",
                Reason::Unsubscribe,
                "",
                sep13,
            ),
            (
                "address,created_at",
                "a@b.example,\"Sat, 13 Sep 2025 12:26:40 +0000\"",
                "mailgun",
                Reason::Complaint,
                "",
                sep13,
            ),
            (
                "EmailAddress,Reason,LastUpdateTime",
                "a@b.example,COMPLAINT,2025-09-13T14:26:40+02:00",
                "ses",
                Reason::Complaint,
                "",
                sep13,
            ),
            (
                "Email address,Suppression reason,Last update time",
                "a@b.example,BOUNCE,1757766400.123",
                "ses",
                Reason::Bounce,
                "",
                sep13,
            ),
            (
                "EmailAddress,SuppressionReason,Origin,CreatedAt",
                "a@b.example,HardBounce,Recipient,2025-09-13T12:26:40Z",
                "postmark",
                Reason::Bounce,
                "",
                sep13,
            ),
            (
                "EmailAddress,SuppressionReason,Origin,CreatedAt",
                "a@b.example,ManualSuppression,Recipient,",
                "postmark",
                Reason::Unsubscribe,
                "",
                None,
            ),
            (
                "EmailAddress,SuppressionReason,Origin,CreatedAt",
                "a@b.example,ManualSuppression,Customer,x",
                "postmark",
                Reason::Manual,
                "",
                None,
            ),
        ];
        for (header, line, format, reason, stream, since) in cases {
            let columns = Columns::recognise(&record(header)).unwrap_or_else(|| panic!("{header}"));
            assert!(columns.has_header(), "{header}");
            let defaults = Defaults { stream: String::new(), reason: None };
            let Ok(new) = columns.read(&record(line), &defaults) else { panic!("{line}") };
            assert_eq!(
                (columns.format(), new.reason, new.stream.as_str()),
                (format, reason, stream),
                "{header}"
            );
            assert_eq!(new.since, since, "{line}");
        }
    }

    #[test]
    fn without_names_addresses_come_first_and_nothing_else_is_taken_for_one() {
        let plain = Columns::recognise(&record("\u{feff}ann@example.net,BOUNCE")).expect("an address");
        assert!(!plain.has_header());
        let defaults = Defaults { stream: "news".to_owned(), reason: Some(Reason::Unsubscribe) };
        let Ok(new) = plain.read(&record("ann@example.net"), &defaults) else { panic!("a line") };
        assert_eq!((new.reason, new.stream.as_str()), (Reason::Unsubscribe, "news"));
        let Err(bad) = plain.read(&record("ann@example.net,because"), &defaults) else { panic!("a reason") };
        assert_eq!(bad.code, "invalid_reason");
        assert_eq!(Columns::recognise(&record("name,age")), None);
    }
}
