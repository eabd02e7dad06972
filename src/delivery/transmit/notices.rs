//! What a peer is told about notices (RFC 3461 §4): as the submitter had it, except that we hear of every failure,
//! since MAIL FROM leads back to us.
//!
//! Said only to peers that offer DSN, and only about mail that came by SMTP.

use std::fmt;

use crate::domain::handling::{Notify, Ret};

/// Parameters of MAIL and RCPT. The texts are xtext, and were checked when they came in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notices<'a> {
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID.
    pub envid: Option<&'a str>,
    /// NOTIFY, as the submitter has it.
    pub notify: Option<Notify>,
    /// ORCPT.
    pub orcpt: Option<&'a str>,
}

impl Notices<'_> {
    pub(super) fn write_mail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ret) = self.ret {
            write!(f, " RET={}", ret.as_str())?;
        }
        if let Some(envid) = self.envid {
            write!(f, " ENVID={envid}")?;
        }
        Ok(())
    }

    pub(super) fn write_rcpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(notify) = self.notify {
            write!(f, " NOTIFY={}", notify.to_peer().keywords())?;
        }
        if let Some(orcpt) = self.orcpt {
            write!(f, " ORCPT={orcpt}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Envelope, Mail, Offers};
    use super::*;

    #[test]
    fn a_peer_with_dsn_is_told_and_always_asked_for_failures() {
        let notices = Notices {
            ret: Some(Ret::Headers),
            envid: Some("Q+2B1"),
            notify: Some(Notify::NEVER),
            orcpt: Some("rfc822;ann@example.net"),
        };
        let mail = Mail {
            from: "b+x@bounce.example",
            to: "ann@example.net",
            content: b"",
            needs_smtputf8: false,
            eight_bit: false,
            protected: false,
            notices,
        };
        let said = |offers| Envelope { mail: &mail, size: 7, offers }.to_string();
        assert_eq!(
            said(Offers { dsn: true, ..Offers::default() }),
            "MAIL FROM:<b+x@bounce.example> RET=HDRS ENVID=Q+2B1\r\n\
             RCPT TO:<ann@example.net> NOTIFY=FAILURE ORCPT=rfc822;ann@example.net\r\nDATA\r\n"
        );
        assert_eq!(
            said(Offers::default()),
            "MAIL FROM:<b+x@bounce.example>\r\nRCPT TO:<ann@example.net>\r\nDATA\r\n"
        );
    }
}
