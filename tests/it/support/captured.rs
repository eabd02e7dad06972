//! Mail as it arrived: what the capture route kept, and how its header reads. The little parser here is the test's
//! own, so that a header is not judged by the code that wrote it.

use super::client::{Client, text};

/// One mail that came over SMTP.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// RCPT TO.
    pub recipients: Vec<String>,
    /// MAIL FROM.
    pub return_path: String,
    /// Its octets.
    pub raw: Vec<u8>,
}

impl Client {
    /// What arrived of a message, oldest first.
    pub async fn arrived(&self, message: &str) -> Vec<Arrived> {
        let mut kept = self.all_pages("/v1/captured", 100).await;
        kept.retain(|mail| mail["message_id"] == message);
        kept.reverse();
        let mut arrived = Vec::new();
        for mail in kept {
            let recipients = mail["recipients"].as_array().expect("a list").iter();
            arrived.push(Arrived {
                recipients: recipients.map(|path| path.as_str().expect("a text").to_owned()).collect(),
                return_path: text(&mail, "/return_path"),
                raw: self.download(&format!("/v1/captured/{}/raw", text(&mail, "/id"))).await,
            });
        }
        arrived
    }

    /// The octets of a message with one recipient, once it has arrived.
    pub async fn only_arrived(&self, message: &str) -> Vec<u8> {
        self.ended(message).await;
        let mut arrived = self.arrived(message).await;
        assert_eq!(arrived.len(), 1, "copies of {message}");
        arrived.remove(0).raw
    }
}

/// The fields of a header, in order, each unfolded (RFC 5322 §2.2.3) but not decoded.
pub fn fields(raw: &[u8]) -> Vec<(String, String)> {
    let end = find(raw, b"\r\n\r\n").unwrap_or(raw.len());
    let header = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in header.split("\r\n") {
        match fields.last_mut() {
            Some((_, value)) if line.starts_with([' ', '\t']) => value.push_str(line),
            _ => {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
                fields.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
    fields
}

/// The names of a header's fields, in order.
pub fn field_names(raw: &[u8]) -> Vec<String> {
    fields(raw).into_iter().map(|(name, _)| name).collect()
}

/// The value of the only field of a name.
pub fn field(raw: &[u8], name: &str) -> String {
    let mut found = fields(raw).into_iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, value) = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "{name} twice");
    value
}

/// Where `wanted` begins in `octets`.
pub fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

/// Whether a text occurs in octets, in any case of its ASCII letters.
pub fn contains(octets: &[u8], wanted: &str) -> bool {
    let wanted = wanted.as_bytes();
    octets.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}
