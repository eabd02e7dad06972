//! The fields by which a recipient leaves a stream: `List-Unsubscribe` (RFC 2369 §3.2) and `List-Unsubscribe-Post`
//! (RFC 8058 §3.1). Whatever the mail had of them goes: two would be none.

use crate::domain::handling::Unsubscribe;
use crate::domain::handoff::Leased;
use crate::domain::unsubscribe::Unsubscribes;
use crate::domain::unsubscribe_link::{Leaving, UnsubscribeLinks};

/// Tells recipients how to leave.
pub struct Leave {
    /// By a link.
    pub links: UnsubscribeLinks,
    /// By mail; `None`: this installation takes no mail in.
    pub addresses: Option<Unsubscribes>,
}

impl Leave {
    /// The form of its message that this delivery has so far, with our fields; `None`: its stream is none that is left.
    pub fn marked(&self, leased: &Leased, form: &[u8]) -> Option<Vec<u8>> {
        let message = &leased.message;
        if message.handling.unsubscribe == Unsubscribe::None {
            return None;
        }
        let link = self.links.link(&Leaving {
            tenant: message.tenant,
            delivery: leased.id,
            address: leased.recipient.key(),
            stream: message.stream.clone(),
        });
        let mailto = self.addresses.as_ref().map(|addresses| addresses.address(leased.id));
        Some(put(form, &link, mailto.as_deref()))
    }
}

/// The message with our fields on top.
fn put(raw: &[u8], link: &str, mailto: Option<&str>) -> Vec<u8> {
    let mut message = Vec::with_capacity(raw.len() + link.len() + 256);
    message.extend_from_slice(b"List-Unsubscribe: <");
    message.extend_from_slice(link.as_bytes());
    message.push(b'>');
    if let Some(mailto) = mailto {
        // Each on a line of its own: a line has at most 998 octets (RFC 5322 §2.1.1).
        message.extend_from_slice(format!(",\r\n <mailto:{mailto}>").as_bytes());
    }
    message.extend_from_slice(b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    let end = memchr::memmem::find(raw, b"\r\n\r\n").map_or(raw.len(), |at| at + 2);
    let (header, rest) = raw.split_at(end);
    let mut dropping = false;
    for line in header.split_inclusive(|c| *c == b'\n') {
        let continues = line.first().is_some_and(|c| matches!(c, b' ' | b'\t'));
        if !continues {
            dropping = is_of(line, b"list-unsubscribe") || is_of(line, b"list-unsubscribe-post");
        }
        if !dropping {
            message.extend_from_slice(line);
        }
    }
    message.extend_from_slice(rest);
    message
}

/// Whether a line begins the field of this name.
fn is_of(line: &[u8], name: &[u8]) -> bool {
    line.split_at_checked(name.len()).is_some_and(|(own, rest)| {
        // RFC 5322 §4.5.3: old mail has white space before the colon.
        own.eq_ignore_ascii_case(name) && rest.trim_ascii_start().first() == Some(&b':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_replace_whatever_was_there_and_nothing_else_changes() {
        let raw = b"From: a@b\r\nLIST-unsubscribe: <https://evil.example>,\r\n <mailto:x@y>\r\nList-Unsubscribe-Post : x\r\nList-Id: z\r\nSubject: s\r\n folded\r\n\r\nList-Unsubscribe: in the text\r\n";
        let put = put(raw, "https://m.example/u/t", None);
        let expected = "List-Unsubscribe: <https://m.example/u/t>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
            From: a@b\r\nList-Id: z\r\nSubject: s\r\n folded\r\n\r\nList-Unsubscribe: in the text\r\n";
        assert_eq!(String::from_utf8(put).expect("ASCII"), expected);
    }

    #[test]
    fn the_address_for_mail_comes_second() {
        let put = put(b"From: a@b\r\n\r\n", "https://m.example/u/t", Some("u+x@m.example"));
        assert!(put.starts_with(
            b"List-Unsubscribe: <https://m.example/u/t>,\r\n <mailto:u+x@m.example>\r\nList-Unsub"
        ));
    }
}
