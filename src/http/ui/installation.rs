//! What pages tell of the installation itself: where mail goes, and where programs reach it by SMTP.

use std::net::SocketAddr;

/// The installation, as it was started.
#[derive(Debug, Clone, Default)]
pub struct Installation {
    /// Nothing leaves the machine: the capture route.
    pub is_captured: bool,
    /// What it is called.
    pub hostname: String,
    /// Where it listens for submissions with STARTTLS.
    pub submission: Option<SocketAddr>,
    /// Where it listens for submissions over TLS.
    pub submissions: Option<SocketAddr>,
}

impl Installation {
    /// The settings of a mail client, each with its name; empty: nothing listens.
    pub fn smtp(&self) -> Vec<(&'static str, String)> {
        if self.submission.or(self.submissions).is_none() {
            return Vec::new();
        }
        let place = |address: Option<SocketAddr>| {
            address.map(|address| format!("{}:{}", self.host(address), address.port()))
        };
        let settings = [
            ("STARTTLS", place(self.submission)),
            ("TLS from the start", place(self.submissions)),
            ("User name", Some("anything".to_owned())),
            ("Password", Some("an API key with the scope send".to_owned())),
            ("Tag", Some("X-Postroad-Tag: welcome".to_owned())),
            ("Stream", Some("X-Postroad-Stream: transactional".to_owned())),
        ];
        settings.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The name others use; an address that only this machine reaches is told as it is.
    fn host(&self, address: SocketAddr) -> String {
        if address.ip().is_loopback() { address.ip().to_string() } else { self.hostname.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_listen_is_not_told_of() {
        let here = |address: &str| address.parse().ok();
        let mut installation =
            Installation { hostname: "mail.acme.example".to_owned(), ..Installation::default() };
        assert!(installation.smtp().is_empty());
        installation.submission = here("0.0.0.0:587");
        installation.submissions = here("127.0.0.1:2465");
        let settings = installation.smtp();
        assert_eq!(settings[0], ("STARTTLS", "mail.acme.example:587".to_owned()));
        assert_eq!(settings[1], ("TLS from the start", "127.0.0.1:2465".to_owned()));
    }
}
