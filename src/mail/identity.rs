//! What makes a message this one and no other: its Message-ID and its Date. A message that is sent anew loses
//! both, and gets new ones when it is accepted.

/// The message without its Message-ID and Date fields; everything else octet for octet.
pub fn without_identity(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    let mut dropping = false;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end + 1);
        if matches!(line, b"\r\n" | b"\n") {
            break;
        }
        // RFC 5322 §2.2.3: a line that begins with white space goes on with the field.
        if !matches!(line[0], b' ' | b'\t') {
            dropping = is_identity(line);
        }
        if !dropping {
            out.extend_from_slice(line);
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

fn is_identity(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii_end();
    name.eq_ignore_ascii_case(b"message-id") || name.eq_ignore_ascii_case(b"date")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_fields_go_and_only_from_the_header() {
        let raw = b"From: a@b.example\r\nMessage-ID:\r\n <1@b.example>\r\nDATE : x\r\nX-Date: y\r\n\r\nDate: body\r\n";
        assert_eq!(without_identity(raw), b"From: a@b.example\r\nX-Date: y\r\n\r\nDate: body\r\n");
        assert_eq!(without_identity(b"no header"), b"no header");
    }
}
