//! MTA-STS (RFC 8461): a domain's word about which servers take its mail, and that they prove themselves. What the
//! records and the policy say; fetching them is another's matter.

/// A domain's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// How serious it is.
    pub mode: StsMode,
    /// Which servers are the domain's: names, or `*.` and a name.
    pub mx: Vec<String>,
    /// For how many seconds it holds.
    pub max_age: u32,
}

/// How serious a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StsMode {
    /// Mail goes to servers that keep it, or waits.
    Enforce,
    /// Who breaks it is reported, and gets the mail.
    Testing,
    /// There is none any more.
    None,
}

/// RFC 8461 §3.2: a policy holds for a year at most.
const LONGEST_AGE: u32 = 31_557_600;
/// Patterns of a policy that are read.
const MOST_PATTERNS: usize = 100;

impl StsMode {
    /// As policy and database have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            StsMode::Enforce => "enforce",
            StsMode::Testing => "testing",
            StsMode::None => "none",
        }
    }

    /// Reads what [`StsMode::as_str`] writes.
    pub fn parse(text: &str) -> Option<StsMode> {
        [StsMode::Enforce, StsMode::Testing, StsMode::None].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// The id of the policy, from the TXT records at `_mta-sts`. `None`: there is no policy, or more than one record
/// claims to tell of it, which counts as none (RFC 8461 §3.1).
pub fn policy_id(records: &[String]) -> Option<String> {
    let mut ours = records.iter().filter(|text| version_of(text));
    let (Some(record), None) = (ours.next(), ours.next()) else { return None };
    let fields = record.split(';').filter_map(|field| field.trim().split_once('='));
    let mut ids = fields.filter(|(name, _)| name.trim() == "id").map(|(_, value)| value.trim());
    let id = ids.next()?;
    let fits = (1..=32).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric());
    fits.then(|| id.to_owned())
}

fn version_of(text: &str) -> bool {
    text.split(';').next().is_some_and(|first| first.trim() == "v=STSv1")
}

impl StsPolicy {
    /// Reads a policy (RFC 8461 §3.2): lines of `key: value`. `None`: it is none.
    pub fn parse(text: &str) -> Option<StsPolicy> {
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line.split_once(':')?;
            let value = value.trim();
            match key.trim() {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(StsMode::parse(value)?)),
                "max_age" => max_age = max_age.or(Some(value.parse::<u64>().ok()?)),
                "mx" if mx.len() < MOST_PATTERNS => mx.push(value.trim_end_matches('.').to_ascii_lowercase()),
                // RFC 8461 §3.2: what is not known is passed over.
                _ => {}
            }
        }
        let (mode, max_age) = (mode?, max_age?);
        let whole = version == Some("STSv1") && (mode == StsMode::None || !mx.is_empty());
        let max_age = u32::try_from(max_age).unwrap_or(u32::MAX).min(LONGEST_AGE);
        whole.then_some(StsPolicy { mode, mx, max_age })
    }

    /// The policy in its lines, as a report tells it (RFC 8460 §4.2).
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {}", self.mode.as_str())];
        lines.extend(self.mx.iter().map(|pattern| format!("mx: {pattern}")));
        lines.push(format!("max_age: {}", self.max_age));
        lines
    }

    /// Whether a server is one of the domain's (RFC 8461 §4.1): a star stands for exactly one label.
    pub fn names(&self, host: &str) -> bool {
        let under = |pattern: &str| {
            let rest = pattern.strip_prefix("*.");
            rest.is_some_and(|rest| host.split_once('.').is_some_and(|(_, parent)| parent == rest))
        };
        self.mx.iter().any(|pattern| pattern == host || under(pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_tells_the_policys_id_or_that_there_is_none() {
        let id =
            |records: &[&str]| policy_id(&records.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]), Some("20160831085700Z".to_owned()));
        assert_eq!(id(&["other", "v=STSv1;id=a1"]), Some("a1".to_owned()));
        for none in [
            &["v=STSv1; id=a", "v=STSv1; id=b"][..],
            &["v=STSv2; id=a"],
            &["v=STSv1;"],
            &["v=STSv1; id=not-an-id"],
            &["v=STSv1; id="],
            &[],
        ] {
            assert_eq!(id(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_policy_is_read_and_what_is_none_is_refused() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n\
                    future: thing\r\nmax_age: 604800\r\n";
        let policy = StsPolicy::parse(text).expect("a policy");
        assert_eq!((policy.mode, policy.max_age), (StsMode::Enforce, 604_800));
        assert_eq!(policy.mx, ["mail.example.com", "*.example.net"]);
        assert_eq!(
            StsPolicy::parse("version: STSv1\nmode: none\nmax_age: 1").map(|p| p.mode),
            Some(StsMode::None)
        );
        assert_eq!(
            StsPolicy::parse("version: STSv1\nmode: testing\nmx: a.b\nmax_age: 99999999999")
                .map(|p| p.max_age),
            Some(LONGEST_AGE)
        );
        for none in [
            "",
            "<html>not found</html>",
            "version: STSv2\nmode: enforce\nmx: a.b\nmax_age: 1",
            "version: STSv1\nmode: strict\nmx: a.b\nmax_age: 1",
            "version: STSv1\nmode: enforce\nmax_age: 1",
            "version: STSv1\nmode: enforce\nmx: a.b",
            "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: soon",
        ] {
            assert_eq!(StsPolicy::parse(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let mx = vec!["mail.example.com".to_owned(), "*.example.net".to_owned()];
        let policy = StsPolicy { mode: StsMode::Enforce, mx, max_age: 1 };
        for host in ["mail.example.com", "mx1.example.net"] {
            assert!(policy.names(host), "{host}");
        }
        for host in ["example.net", "a.b.example.net", "mail.example.com.evil.example", "xmail.example.com"] {
            assert!(!policy.names(host), "{host}");
        }
    }
}
