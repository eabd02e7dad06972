//! Trace fields (RFC 5321 §4.4): what a host that takes a mail puts before it, and how a loop is seen in those of
//! others.
//!
//! Invariant: what the client claims is written so that it can neither end the field nor begin another.

use std::net::IpAddr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{structure, words};

/// How a mail came in.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// What the client called itself.
    pub helo: &'a str,
    /// Its address.
    pub peer: IpAddr,
    /// Our name.
    pub by: &'a str,
    /// `SMTP`, `ESMTP`, `ESMTPS` (RFC 3848).
    pub protocol: &'a str,
    /// Version and cipher, if it was encrypted.
    pub tls: Option<&'a str>,
    /// Our name for the mail.
    pub id: &'a str,
    /// The only recipient; `None`: there are several, which would tell of each other.
    pub recipient: Option<&'a str>,
    /// When.
    pub at: OffsetDateTime,
}

/// A Received field, CRLF included.
pub fn received(hop: &Hop<'_>) -> String {
    let helo = if hop.helo.is_empty() { "unknown".to_owned() } else { plain(hop.helo) };
    // RFC 5321 §4.1.3: a literal of IPv6 is tagged.
    let peer = match hop.peer.to_canonical() {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    };
    let tls = hop.tls.map(|tls| format!("\r\n\t({})", plain(tls))).unwrap_or_default();
    let recipient = hop.recipient.map(|to| format!("\r\n\tfor <{}>", plain(to))).unwrap_or_default();
    // Fails only for years that no clock here reaches.
    let date = hop.at.format(&Rfc2822).unwrap_or_default();
    format!(
        "Received: from {helo} ({peer})\r\n\tby {} with {}{tls} id {}{recipient};\r\n\t{date}\r\n",
        hop.by, hop.protocol, hop.id
    )
}

/// How many fields of a name the header has.
pub fn count(raw: &[u8], name: &str) -> usize {
    let (header, _) = structure::split(raw, 0..raw.len());
    structure::fields(raw, header).iter().filter(|field| field.is(raw, name)).count()
}

/// The value of the first field of a name, unfolded.
pub fn value(raw: &[u8], name: &str) -> Option<String> {
    let (header, _) = structure::split(raw, 0..raw.len());
    let fields = structure::fields(raw, header);
    fields.iter().find(|field| field.is(raw, name)).map(|field| field.text(raw).into_owned())
}

/// As [`value`], with encoded words decoded (RFC 2047).
pub fn decoded(raw: &[u8], name: &str) -> Option<String> {
    value(raw, name).map(|value| words::decode(&value))
}

/// As [`decoded`], of all fields of a name.
pub fn all_decoded(raw: &[u8], name: &str) -> Vec<String> {
    let (header, _) = structure::split(raw, 0..raw.len());
    let fields = structure::fields(raw, header);
    let named = fields.iter().filter(|field| field.is(raw, name));
    named.map(|field| words::decode(&field.text(raw))).collect()
}

/// The mail without Authentication-Results fields that bear our own name: they are not ours (RFC 8601 §5).
pub fn without_results(raw: &[u8], name: &str) -> Vec<u8> {
    let (header, _) = structure::split(raw, 0..raw.len());
    let mut clean = Vec::with_capacity(raw.len());
    let mut kept = 0;
    for field in structure::fields(raw, header) {
        if field.is(raw, "Authentication-Results") && authserv_id(&field.text(raw)).eq_ignore_ascii_case(name)
        {
            clean.extend_from_slice(&raw[kept..field.whole.start]);
            kept = field.whole.end;
        }
    }
    clean.extend_from_slice(&raw[kept..]);
    clean
}

/// RFC 8601 §2.2: it stands first, maybe with a version after it, maybe after a comment.
fn authserv_id(value: &str) -> String {
    let mut depth = 0_u32;
    let without_comments: String = value
        .chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect();
    let first = without_comments.trim_start().split([';', ' ', '\t']).next().unwrap_or_default();
    first.trim_matches('"').to_owned()
}

fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '(' | ')' | '\\') { '?' } else { c })
        .take(255)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_hop_is_one_field_whatever_the_client_claims() {
        let hop = Hop {
            helo: "evil\r\nX: y(",
            peer: "2001:db8::1".parse().expect("an address"),
            by: "mx.acme.example",
            protocol: "ESMTPS",
            tls: Some("TLSv1_3 TLS13_AES_256_GCM_SHA384"),
            id: "inb_1",
            recipient: Some("ann@acme.example"),
            at: datetime!(2026-11-25 10:00 UTC),
        };
        assert_eq!(
            received(&hop),
            "Received: from evil??X: y? ([IPv6:2001:db8::1])\r\n\tby mx.acme.example with ESMTPS\r\n\t\
             (TLSv1_3 TLS13_AES_256_GCM_SHA384) id inb_1\r\n\tfor <ann@acme.example>;\r\n\t\
             Wed, 25 Nov 2026 10:00:00 +0000\r\n"
        );
    }

    #[test]
    fn fields_are_counted_in_the_header_alone() {
        let raw =
            b"Received: a\r\nRECEIVED: b\r\n c\r\nX-Received: d\r\nSubject: x\r\n y\r\n\r\nReceived: e\r\n";
        assert_eq!(count(raw, "Received"), 2);
        assert_eq!(value(raw, "subject").as_deref(), Some("x y"));
    }
}
