//! xtext (RFC 3461 §4): how the parameters of SMTP carry texts that may hold spaces and equals signs.
//!
//! Invariant: what decodes is printable ASCII, so that it can be written into a header field as it is.

/// The text that `text` stands for; `None`: it is no xtext, or stands for something that is not printable.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = String::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => hex(bytes.next()?)? * 16 + hex(bytes.next()?)?,
            b'!'..=b'~' if byte != b'=' => byte,
            _ => return None,
        };
        if !matches!(byte, b' '..=b'~') {
            return None;
        }
        decoded.push(char::from(byte));
    }
    Some(decoded)
}

/// A text of printable ASCII as xtext; what else it holds becomes a question mark.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '+' | '=' | ' ' => encoded.push_str(&format!("+{:02X}", u32::from(c))),
            '!'..='~' => encoded.push(c),
            _ => encoded.push('?'),
        }
    }
    encoded
}

/// Capitals only, says the grammar; who writes small letters means the same.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes() {
        for text in ["ann+b=c@example.net", "a b", ""] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(encode("jörg@x"), "j?rg@x");
    }

    #[test]
    fn what_is_no_xtext_is_refused() {
        let cases = [
            ("", Some("")),
            ("ann@example.net", Some("ann@example.net")),
            ("a+2Bb+3Dc+20d", Some("a+b=c d")),
            ("a+2bb", Some("a+b")),
            ("a=b", None),
            ("a b", None),
            ("a+", None),
            ("a+2", None),
            ("a+2G", None),
            ("a+0D+0A", None),
            ("a+FF", None),
            ("\u{e9}", None),
        ];
        for (text, decoded) in cases {
            assert_eq!(decode(text).as_deref(), decoded, "{text:?}");
        }
    }
}
