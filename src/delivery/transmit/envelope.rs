//! The envelope of a mail as commands (RFC 5321 §4.1.1.2–4), which ask only for what the peer offers.

use std::fmt;

use super::{Mail, Offers};

/// MAIL, RCPT and DATA as one text.
pub(super) struct Envelope<'a> {
    pub(super) mail: &'a Mail<'a>,
    pub(super) size: usize,
    pub(super) offers: Offers,
}

/// MAIL alone.
pub(super) struct MailCommand<'a>(pub(super) &'a Envelope<'a>);

/// RCPT alone.
pub(super) struct RcptCommand<'a>(pub(super) &'a Envelope<'a>);

impl fmt::Display for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}DATA\r\n", MailCommand(self), RcptCommand(self))
    }
}

impl fmt::Display for MailCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Envelope { mail, size, offers } = self.0;
        write!(f, "MAIL FROM:<{}>", mail.from)?;
        if offers.size.is_some() {
            write!(f, " SIZE={size}")?;
        }
        if mail.eight_bit && offers.eight_bit {
            f.write_str(" BODY=8BITMIME")?;
        }
        if mail.needs_smtputf8 {
            f.write_str(" SMTPUTF8")?;
        }
        if offers.dsn {
            mail.notices.write_mail(f)?;
        }
        f.write_str("\r\n")
    }
}

impl fmt::Display for RcptCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Envelope { mail, offers, .. } = self.0;
        write!(f, "RCPT TO:<{}>", mail.to)?;
        if offers.dsn {
            mail.notices.write_rcpt(f)?;
        }
        f.write_str("\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Notices;
    use super::*;

    #[test]
    fn the_envelope_asks_only_for_what_is_offered() {
        let mail = Mail {
            from: "b+x@bounce.example",
            to: "jörg@example.net",
            content: b"",
            needs_smtputf8: true,
            eight_bit: true,
            protected: false,
            notices: Notices::default(),
        };
        let offers = Offers { eight_bit: true, smtputf8: true, size: Some(None), ..Offers::default() };
        let all = Envelope { mail: &mail, size: 7, offers };
        assert_eq!(
            all.to_string(),
            "MAIL FROM:<b+x@bounce.example> SIZE=7 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<jörg@example.net>\r\nDATA\r\n"
        );
        let plain = Mail { needs_smtputf8: false, eight_bit: false, ..mail };
        let none = Envelope { mail: &plain, size: 7, offers: Offers::default() };
        assert!(none.to_string().starts_with("MAIL FROM:<b+x@bounce.example>\r\n"));
    }
}
