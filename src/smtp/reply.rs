//! What the receiver says: three digits, an enhanced status code and one line of text.
//!
//! Not what a peer said to us. Invariant: a reply is one line of printable ASCII of at most 512 octets, and its
//! enhanced code never contradicts its first digit.

use std::borrow::Cow;

/// RFC 5321 §4.5.3.1.5, CRLF included.
const MAX_REPLY_LINE: usize = 512;

/// One reply to one command (RFC 5321 §4.2, RFC 2034).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// Subject and detail (RFC 3463); the class is the code's first digit.
    status: Option<(u16, u16)>,
    text: Cow<'static, str>,
}

impl Reply {
    /// `code class.subject.detail text`, e.g. `new(550, 1, 1, "no such mailbox")`. The session closes after a 421.
    pub const fn new(code: u16, subject: u16, detail: u16, text: &'static str) -> Self {
        Self { code, status: Some((subject, detail)), text: Cow::Borrowed(text) }
    }

    /// A reply without enhanced code: the greeting, 354, and the answers to HELO and EHLO (RFC 2034 §4).
    pub(super) const fn bare(code: u16, text: Cow<'static, str>) -> Self {
        Self { code, status: None, text }
    }

    /// The same codes with another text. Control and non-ASCII characters become `?`, an overlong text is cut.
    #[must_use]
    pub fn saying(self, text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether the command did what it was sent for (2yz).
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// Appends the line, CRLF included.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        push_number(out, self.code);
        out.push(b' ');
        if let Some((subject, detail)) = self.status {
            push_number(out, self.code / 100);
            out.push(b'.');
            push_number(out, subject);
            out.push(b'.');
            push_number(out, detail);
            out.push(b' ');
        }
        // A text may quote the client or an error: nothing of it may end the line and begin another reply.
        let room = MAX_REPLY_LINE - 2 - (out.len() - start);
        out.extend(self.text.chars().take(room).map(printable));
        out.extend_from_slice(b"\r\n");
    }
}

fn printable(character: char) -> u8 {
    u8::try_from(character).ok().filter(|byte| matches!(byte, 0x20..=0x7e)).unwrap_or(b'?')
}

fn push_number(out: &mut Vec<u8>, number: u16) {
    let mut divisor = 10_000;
    while divisor > 1 && number < divisor {
        divisor /= 10;
    }
    while divisor > 0 {
        // The remainder of ten fits a byte.
        out.push(b'0' + (number / divisor % 10) as u8);
        divisor /= 10;
    }
}

pub(super) const BYE: Reply = Reply::new(221, 0, 0, "Bye");
pub(super) const LOGGED_IN: Reply = Reply::new(235, 7, 0, "Ok");
pub(super) const READY_FOR_TLS: Reply = Reply::new(220, 0, 0, "Ready to start TLS");
pub(super) const HELP: Reply = Reply::new(214, 0, 0, "See RFC 5321");
pub(super) const OK: Reply = Reply::new(250, 0, 0, "Ok");
pub(super) const SENDER_OK: Reply = Reply::new(250, 1, 0, "Ok");
pub(super) const RECIPIENT_OK: Reply = Reply::new(250, 1, 5, "Ok");
pub(super) const NOT_VERIFIED: Reply = Reply::new(252, 5, 0, "Send some mail, and see");
pub(super) const ASK_RESPONSE: Reply = Reply::bare(334, Cow::Borrowed(""));
/// `Username:` and `Password:` in base 64 (draft-murchison-sasl-login).
pub(super) const ASK_USER: Reply = Reply::bare(334, Cow::Borrowed("VXNlcm5hbWU6"));
pub(super) const ASK_PASSWORD: Reply = Reply::bare(334, Cow::Borrowed("UGFzc3dvcmQ6"));
pub(super) const GO_AHEAD: Reply = Reply::bare(354, Cow::Borrowed("End data with <CR><LF>.<CR><LF>"));

pub(super) const DRAINING: Reply = Reply::new(421, 3, 2, "Shutting down, try again");
pub(super) const TIMED_OUT: Reply = Reply::new(421, 4, 2, "Waited too long, closing");
pub(super) const TOO_MANY_SESSIONS: Reply = Reply::new(421, 7, 0, "Too many connections, try later");
pub(super) const TOO_MANY_ERRORS: Reply = Reply::new(421, 7, 0, "Too many errors, closing");
pub(super) const TOO_MANY_IDLE_COMMANDS: Reply =
    Reply::new(421, 7, 0, "Too many commands without mail, closing");
pub(super) const NOT_SMTP: Reply = Reply::new(421, 7, 0, "This is not that protocol");
pub(super) const NO_ROOM: Reply = Reply::new(452, 3, 1, "Too much mail is coming in at once, try again");
pub(super) const TOO_MANY_RECIPIENTS: Reply =
    Reply::new(452, 5, 3, "Too many recipients, send the rest separately");

pub(super) const UNKNOWN_COMMAND: Reply = Reply::new(500, 5, 2, "Command not recognized");
pub(super) const LINE_TOO_LONG: Reply = Reply::new(500, 5, 2, "Line too long");
pub(super) const BAD_LINE_END: Reply =
    Reply::new(500, 5, 2, "Lines end in CRLF, and nowhere else stands CR or LF");
pub(super) const BAD_OCTETS: Reply =
    Reply::new(500, 5, 2, "A command is printable ASCII, its paths UTF-8 at most");
pub(super) const SYNTAX: Reply = Reply::new(501, 5, 2, "Syntax error");
pub(super) const NO_ARGUMENTS: Reply = Reply::new(501, 5, 4, "This command takes no arguments");
pub(super) const BAD_HOST: Reply = Reply::new(501, 5, 4, "Say your domain or address literal");
pub(super) const BAD_PARAMETER: Reply = Reply::new(501, 5, 4, "Malformed or repeated parameter");
pub(super) const BAD_SENDER: Reply =
    Reply::new(501, 1, 7, "Syntax: MAIL FROM:<local@domain> or MAIL FROM:<>");
pub(super) const BAD_RECIPIENT: Reply = Reply::new(501, 1, 3, "Syntax: RCPT TO:<local@domain>");
pub(super) const NOT_IMPLEMENTED: Reply = Reply::new(502, 5, 1, "Not offered here");
pub(super) const HELLO_FIRST: Reply = Reply::new(503, 5, 1, "Say EHLO first");
pub(super) const MAIL_FIRST: Reply = Reply::new(503, 5, 1, "MAIL first");
pub(super) const NESTED_MAIL: Reply = Reply::new(503, 5, 1, "A transaction is open already");
pub(super) const ALREADY_TLS: Reply = Reply::new(503, 5, 1, "TLS is active already");
pub(super) const AUTH_CANCELED: Reply = Reply::new(501, 7, 0, "Canceled");
pub(super) const BAD_BASE64: Reply = Reply::new(501, 5, 2, "That is no base 64 of a login");
pub(super) const ALREADY_LOGGED_IN: Reply = Reply::new(503, 5, 1, "You have logged in already");
pub(super) const AUTH_IN_TRANSACTION: Reply = Reply::new(503, 5, 1, "Not in the middle of a mail");
pub(super) const UNKNOWN_MECHANISM: Reply = Reply::new(504, 5, 4, "AUTH PLAIN or AUTH LOGIN");
pub(super) const STARTTLS_FIRST: Reply = Reply::new(530, 7, 0, "Must issue a STARTTLS command first");
pub(super) const AUTH_FIRST: Reply = Reply::new(530, 7, 0, "Authentication required");
pub(super) const AUTH_NEEDS_TLS: Reply =
    Reply::new(538, 7, 11, "Logins are taken over TLS only: STARTTLS first");
pub(super) const UNCLEAN_TEXT: Reply = Reply::new(550, 6, 11, "The mail holds a bare CR, a bare LF or a NUL");
pub(super) const TOO_BIG: Reply = Reply::new(552, 3, 4, "The mail is larger than this host accepts");
pub(super) const NEEDS_SMTPUTF8: Reply = Reply::new(553, 6, 7, "Non-ASCII addresses need SMTPUTF8");
pub(super) const EARLY_TALKER: Reply = Reply::new(554, 5, 1, "You spoke before the greeting");
pub(super) const NO_RECIPIENTS: Reply = Reply::new(554, 5, 1, "No valid recipients");
pub(super) const TEXT_LINE_TOO_LONG: Reply = Reply::new(554, 6, 0, "The mail holds an overlong line");
pub(super) const UNKNOWN_PARAMETER: Reply = Reply::new(555, 5, 4, "Parameter not offered here");

#[cfg(test)]
mod tests {
    use super::*;

    fn line(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write_to(&mut out);
        String::from_utf8(out).expect("replies are ASCII")
    }

    #[test]
    fn the_enhanced_class_is_the_first_digit_of_the_code() {
        assert_eq!(line(&Reply::new(250, 0, 0, "Ok")), "250 2.0.0 Ok\r\n");
        assert_eq!(line(&Reply::new(451, 3, 0, "Later")), "451 4.3.0 Later\r\n");
        assert_eq!(line(&Reply::new(550, 6, 11, "No")), "550 5.6.11 No\r\n");
        assert_eq!(line(&GO_AHEAD), "354 End data with <CR><LF>.<CR><LF>\r\n");
    }

    #[test]
    fn a_text_can_neither_split_nor_overflow_the_line() {
        let split = OK.saying("queued\r\n250 2.0.0 as é".to_owned());
        assert_eq!(line(&split), "250 2.0.0 queued??250 2.0.0 as ?\r\n");
        assert_eq!(line(&OK.saying("x".repeat(2_000))).len(), MAX_REPLY_LINE);
    }
}
