//! Records with tags: DKIM keys (RFC 6376 §3.6.1) and DMARC policies (RFC 7489 §6.3), read as verifiers read them.

use super::Algorithm;

/// A list of `tag=value`, separated by semicolons (RFC 6376 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Reads a list; what has no `=` is passed over.
    pub fn read(text: &str) -> Tags {
        let one = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        Tags(text.split(';').filter_map(one).collect())
    }

    /// A tag's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a key record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// `k=`; RSA if it is not said.
    pub kind: String,
    /// `p=` without white space. Empty: the key is revoked.
    pub public: String,
}

impl PublishedKey {
    /// Reads a record; `None`: it is none of a key.
    pub fn read(text: &str) -> Option<PublishedKey> {
        let tags = Tags::read(text);
        if tags.get("v").is_some_and(|version| version != "DKIM1") {
            return None;
        }
        Some(PublishedKey {
            kind: tags.get("k").unwrap_or("rsa").to_ascii_lowercase(),
            public: tags.get("p")?.chars().filter(|c| !c.is_ascii_whitespace()).collect(),
        })
    }

    /// The record to publish for a key.
    pub fn record(algorithm: Algorithm, public: &str) -> String {
        format!("v=DKIM1; k={}; p={public}", algorithm.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_however_they_are_written() {
        let wanted = Some(PublishedKey { kind: "rsa".into(), public: "AbC+/=".into() });
        assert_eq!(PublishedKey::read(&PublishedKey::record(Algorithm::Rsa, "AbC+/=")), wanted);
        for text in ["p=AbC+/=", "v=DKIM1;k=rsa;p=AbC +/=;", " K=RSA ; t=y; p = Ab\tC+/= ; v=DKIM1"] {
            assert_eq!(PublishedKey::read(text), wanted, "{text}");
        }
        assert_eq!(PublishedKey::read("v=DKIM1; p=").map(|key| key.public), Some(String::new()));
        for text in ["", "v=spf1 -all", "v=DKIM2; p=x", "google-site-verification=x"] {
            assert_eq!(PublishedKey::read(text), None, "{text}");
        }
    }
}
