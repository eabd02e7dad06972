//! What a peer says of itself in its reply to EHLO (RFC 5321 §4.1.1.1).

/// What the peer's EHLO offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offers {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 1870: the keyword, and the limit if one was told.
    pub size: Option<Option<u64>>,
    /// RFC 4954, the mechanisms we speak.
    pub auth_plain: bool,
    /// The same.
    pub auth_login: bool,
    /// The same.
    pub auth_xoauth2: bool,
}

impl Offers {
    /// Reads the lines of an EHLO reply; the first is the greeting.
    pub fn read(lines: &[String]) -> Offers {
        let mut offers = Offers::default();
        for line in lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("PIPELINING") => offers.pipelining = true,
                Some("8BITMIME") => offers.eight_bit = true,
                Some("SMTPUTF8") => offers.smtputf8 = true,
                Some("STARTTLS") => offers.starttls = true,
                Some("DSN") => offers.dsn = true,
                // RFC 1870 §4: zero means no fixed limit.
                Some("SIZE") => {
                    offers.size = Some(words.next().and_then(|n| n.parse().ok()).filter(|limit| *limit > 0));
                }
                Some("AUTH") => offers.read_auth(words),
                // An old form that is still met.
                Some(word) if word.starts_with("AUTH=") => {
                    offers.read_auth(line[5..].split_ascii_whitespace())
                }
                _ => {}
            }
        }
        offers
    }

    fn read_auth<'a>(&mut self, mechanisms: impl Iterator<Item = &'a str>) {
        for mechanism in mechanisms {
            match mechanism.to_ascii_uppercase().as_str() {
                "PLAIN" => self.auth_plain = true,
                "LOGIN" => self.auth_login = true,
                "XOAUTH2" => self.auth_xoauth2 = true,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_offers_is_read_from_its_lines() {
        let lines = [
            "mx.example at your service",
            "SIZE 35882577",
            "8bitmime",
            "STARTTLS",
            "PIPELINING",
            "SMTPUTF8",
            "DSN",
            "AUTH LOGIN PLAIN XOAUTH2",
        ];
        let offers = Offers::read(&lines.map(str::to_owned));
        let all = Offers {
            pipelining: true,
            eight_bit: true,
            smtputf8: true,
            starttls: true,
            dsn: true,
            size: Some(Some(35_882_577)),
            auth_plain: true,
            auth_login: true,
            auth_xoauth2: true,
        };
        assert_eq!(offers, all);
        assert_eq!(
            Offers::read(&["PIPELINING".to_owned()]),
            Offers::default(),
            "the greeting offers nothing"
        );
        assert_eq!(Offers::read(&["x".to_owned(), "SIZE 0".to_owned()]).size, Some(None));
    }
}
