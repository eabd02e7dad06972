//! In whose shape a webhook's events are posted: ours, or that of a provider whose receivers go on working. How each
//! looks is in `webhooks/formats`.

use std::str::FromStr;

/// A shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Ours: Standard Webhooks.
    Postroad,
    /// Lists, signed with a key pair.
    SendGrid,
    /// The signature is in the body.
    Mailgun,
    /// One record each, by its type.
    Postmark,
    /// Notifications of SNS.
    Ses,
    /// Lists.
    SparkPost,
    /// One event each.
    Brevo,
    /// Svix, which is what Standard Webhooks comes from.
    Resend,
    /// One event each.
    Mailjet,
    /// One event each, signed.
    MailerSend,
}

impl Format {
    /// All.
    pub const ALL: [Format; 10] = [
        Format::Postroad,
        Format::SendGrid,
        Format::Mailgun,
        Format::Postmark,
        Format::Ses,
        Format::SparkPost,
        Format::Brevo,
        Format::Resend,
        Format::Mailjet,
        Format::MailerSend,
    ];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Postroad => "postroad",
            Format::SendGrid => "sendgrid",
            Format::Mailgun => "mailgun",
            Format::Postmark => "postmark",
            Format::Ses => "ses",
            Format::SparkPost => "sparkpost",
            Format::Brevo => "brevo",
            Format::Resend => "resend",
            Format::Mailjet => "mailjet",
            Format::MailerSend => "mailersend",
        }
    }

    /// Whether several events may be posted in one request.
    pub const fn takes_batches(self) -> bool {
        matches!(self, Format::Postroad | Format::SendGrid | Format::SparkPost | Format::Mailjet)
    }

    /// Whether `status` says that this call is not to be tried again.
    pub const fn gives_up_at(self, status: u16) -> bool {
        match self {
            Format::Mailgun => status == 406,
            Format::Postmark => status == 403,
            _ => false,
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Format, UnknownFormat> {
        Format::ALL.into_iter().find(|format| format.as_str() == text).ok_or(UnknownFormat)
    }
}

/// Not the name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "format is one of postroad, sendgrid, mailgun, postmark, ses, sparkpost, brevo, resend, mailjet, mailersend"
)]
pub struct UnknownFormat;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_reads_back() {
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
        }
        assert_eq!("pigeon".parse::<Format>(), Err(UnknownFormat));
    }
}
