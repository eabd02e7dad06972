//! SMTP replies (RFC 5321 §4.2) and enhanced status codes (RFC 3463), as the peer said them.

use std::fmt;

/// An enhanced status code: class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedStatus {
    /// 2 success, 4 transient, 5 permanent.
    pub class: u8,
    /// 0 to 7 are assigned: address, mailbox, system, network, protocol, content, policy.
    pub subject: u16,
    /// Which of the subject's cases.
    pub detail: u16,
}

impl EnhancedStatus {
    /// Reads `5.1.1`. `None` for anything that RFC 3463 §2 does not allow.
    pub fn parse(text: &str) -> Option<EnhancedStatus> {
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let mut number = || {
            let part = parts.next()?;
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let status = EnhancedStatus { class, subject: number()?, detail: number()? };
        parts.next().is_none().then_some(status)
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpReply {
    /// Three digits, 200 to 599.
    pub code: u16,
    /// The enhanced status, if the text begins with one whose class agrees with the code (RFC 2034 §4).
    pub enhanced: Option<EnhancedStatus>,
    /// The lines joined by spaces, without the enhanced status; at most [`MAX_TEXT`] octets, control
    /// characters and what was no ASCII replaced, so that it is safe to store and to show.
    pub text: String,
}

/// The most of a reply's text that is kept.
pub const MAX_TEXT: usize = 1024;

impl SmtpReply {
    /// As it is written, but for the addresses in it: for what is logged, or is kept of a site, and is to name nobody.
    pub fn without_addresses(&self) -> String {
        let ends = |c: char| c.is_whitespace() || "<>()[],;:\"'".contains(c);
        let named = |word: &str| match word.chars().next_back().filter(|last| ends(*last)) {
            Some(end) => format!("…{end}"),
            None => "…".to_owned(),
        };
        let whole = self.to_string();
        whole
            .split_inclusive(ends)
            .map(|word| if word.contains('@') { named(word) } else { word.to_owned() })
            .collect()
    }

    /// From the code and the text of each line.
    pub fn from_lines<'a>(code: u16, lines: impl IntoIterator<Item = &'a str>) -> SmtpReply {
        let mut enhanced = None;
        let mut text = String::new();
        for line in lines {
            let line = line.trim();
            let (status, rest) = split_status(code, line);
            enhanced = enhanced.or(status);
            let said = if status.is_some() && status == enhanced { rest } else { line };
            if !text.is_empty() && !said.is_empty() {
                text.push(' ');
            }
            text.push_str(said);
        }
        SmtpReply { code, enhanced, text: printable(&text) }
    }

    /// 2yz: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4yz: try again (RFC 5321 §4.2.1).
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: do not try again.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for SmtpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.enhanced {
            Some(status) => write!(f, "{} {status} {}", self.code, self.text),
            None => write!(f, "{} {}", self.code, self.text),
        }
    }
}

fn split_status(code: u16, line: &str) -> (Option<EnhancedStatus>, &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let status = EnhancedStatus::parse(word).filter(|status| u16::from(status.class) == code / 100);
    (status, if status.is_some() { rest.trim_start() } else { line })
}

/// One line that is safe to store, log and show: at most [`MAX_TEXT`] octets, control characters replaced by
/// spaces.
pub fn printable(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > MAX_TEXT {
        let mut end = MAX_TEXT - '…'.len_utf8();
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_addresses_it_names_nobody() {
        for (text, wanted) in [
            ("4.2.1 <ann.b+c@acme.example>: over rate", "450 4.2.1 <…>: over rate"),
            ("ann@acme.example is over its rate, bob@acme.example", "450 … is over its rate, …"),
            ("mail to \"ann@acme.example\" (see help@host.example)", "450 mail to \"…\" (see …)"),
            ("4.7.0 try again, please", "450 4.7.0 try again, please"),
        ] {
            assert_eq!(SmtpReply::from_lines(450, [text]).without_addresses(), wanted);
        }
    }

    #[test]
    fn a_reply_of_several_lines_becomes_one_line_with_one_status() {
        let reply = SmtpReply::from_lines(550, ["5.1.1 The account", "5.1.1 does not exist.", "See help"]);
        assert_eq!(reply.enhanced, EnhancedStatus::parse("5.1.1"));
        assert_eq!(reply.text, "The account does not exist. See help");
        assert_eq!(reply.to_string(), "550 5.1.1 The account does not exist. See help");
    }

    #[test]
    fn a_status_that_disagrees_with_the_code_is_text() {
        let reply = SmtpReply::from_lines(450, ["5.1.1 odd"]);
        assert_eq!((reply.enhanced, reply.text.as_str()), (None, "5.1.1 odd"));
        assert!(reply.is_transient());
    }

    #[test]
    fn statuses_have_one_form() {
        assert_eq!(EnhancedStatus::parse("5.7.515").map(|s| s.detail), Some(515));
        for bad in ["", "5", "5.1", "5.1.1.1", "3.1.1", "5.1.x", "5.1111.1", "5..1", "+5.1.1"] {
            assert_eq!(EnhancedStatus::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn text_is_bounded_and_printable() {
        let long = "ä".repeat(2000);
        let reply = SmtpReply::from_lines(550, [long.as_str(), "a\x1b[31mb\0c"]);
        assert!(reply.text.len() <= MAX_TEXT && reply.text.ends_with('…'));
        assert_eq!(printable("a\x1b[31mb\r\nc"), "a [31mb  c");
    }

    proptest::proptest! {
        #[test]
        fn no_text_of_a_peer_is_more_than_one_printable_line(code in 200u16..600, lines in proptest::collection::vec("([245]\\.[0-9]{1,4}\\.[0-9]{1,4} ?)?\\PC{0,30}[\u{0}-\u{ff}]{0,30}", 0..6)) {
            let reply = SmtpReply::from_lines(code, lines.iter().map(String::as_str));
            proptest::prop_assert!(reply.text.len() <= MAX_TEXT && !reply.text.chars().any(char::is_control));
            proptest::prop_assert!(reply.enhanced.is_none_or(|status| u16::from(status.class) == code / 100));
        }
    }
}
