//! What was found in DNS against what was wanted: whether it will do, and if not, what is wrong with it and what to
//! do, in a sentence for the person at the DNS console.

use crate::mail::dkim::{PublishedKey, Tags};

use super::records::Record;

/// Whether a record does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordStatus {
    /// Nobody knows: not looked up yet, or DNS did not answer.
    Unknown,
    /// It does.
    Ok,
    /// There is none.
    Missing,
    /// There is one that does not.
    Mismatch,
}

impl RecordStatus {
    /// All of them.
    pub const ALL: [RecordStatus; 4] =
        [RecordStatus::Unknown, RecordStatus::Ok, RecordStatus::Missing, RecordStatus::Mismatch];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordStatus::Unknown => "unknown",
            RecordStatus::Ok => "ok",
            RecordStatus::Missing => "missing",
            RecordStatus::Mismatch => "mismatch",
        }
    }

    /// Reads what [`RecordStatus::as_str`] writes.
    pub fn parse(text: &str) -> Option<RecordStatus> {
        RecordStatus::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What became of looking for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it does its work.
    pub status: RecordStatus,
    /// What is published at its name, as far as it is of its kind.
    pub found: Vec<String>,
    /// What is wrong and what to do; `None`: nothing.
    pub advice: Option<String>,
}

impl Finding {
    /// As wanted.
    pub fn ok(found: Vec<String>) -> Finding {
        Finding { status: RecordStatus::Ok, found, advice: None }
    }

    /// Nothing there.
    pub fn missing(record: &Record) -> Finding {
        let (kind, name) = (record.kind.as_str(), &record.name);
        let advice = format!(
            "There is no {kind} record at {name}. Publish it with the value given here; it may take up to an hour until it is seen everywhere."
        );
        Finding { status: RecordStatus::Missing, found: Vec::new(), advice: Some(advice) }
    }

    /// Something else.
    pub fn mismatch(found: Vec<String>, advice: impl Into<String>) -> Finding {
        Finding { status: RecordStatus::Mismatch, found, advice: Some(advice.into()) }
    }

    /// No answer.
    pub fn unknown(record: &Record, trouble: &str) -> Finding {
        let advice = format!(
            "DNS gave no answer for {}: {trouble}. Nothing is concluded from that; try again.",
            record.name
        );
        Finding { status: RecordStatus::Unknown, found: Vec::new(), advice: Some(advice) }
    }
}

/// A key record among the texts at its name.
pub fn dkim(record: &Record, texts: Vec<String>) -> Finding {
    let Some(wanted) = PublishedKey::read(&record.value) else { return Finding::missing(record) };
    let keys: Vec<PublishedKey> = texts.iter().filter_map(|text| PublishedKey::read(text)).collect();
    let name = &record.name;
    if texts.iter().any(|text| text.contains('"') && text.contains("DKIM1")) {
        let advice = format!("The text at {name} holds quotation marks: enter the value without them.");
        return Finding::mismatch(texts, advice);
    }
    match keys.as_slice() {
        [] if texts.is_empty() => Finding::missing(record),
        [] => Finding::mismatch(
            texts,
            format!("What is published at {name} is no DKIM key. Replace it with the value given here."),
        ),
        [key] if *key == wanted => Finding::ok(texts),
        [key] => {
            let advice = key_mismatch(name, key, &wanted);
            Finding::mismatch(texts, advice)
        }
        // RFC 6376 §3.6.2.2: with several records the result is undefined.
        _ => Finding::mismatch(
            texts,
            format!(
                "There are several DKIM keys at {name}, and receivers may take any. Keep only the one given here."
            ),
        ),
    }
}

fn key_mismatch(name: &str, key: &PublishedKey, wanted: &PublishedKey) -> String {
    if key.public.is_empty() {
        return format!("The key at {name} is revoked (p= is empty). Publish the value given here.");
    }
    if key.kind != wanted.kind {
        return format!(
            "The key at {name} is of the kind {}, and {} is wanted. Publish the value given here.",
            key.kind, wanted.kind
        );
    }
    if wanted.public.starts_with(&key.public) {
        return format!(
            "The key at {name} is cut off after {} of {} characters. One string of a TXT record holds 255: enter the value as several strings, or let your provider split it.",
            key.public.len(),
            wanted.public.len()
        );
    }
    format!("Another key is published at {name}. Replace it with the value given here.")
}

/// SPF (RFC 7208): the domain's own policy includes ours.
pub fn spf(record: &Record, texts: Vec<String>) -> Finding {
    let is_policy = |text: &String| {
        let text = text.to_ascii_lowercase();
        text == "v=spf1" || text.starts_with("v=spf1 ")
    };
    let policies: Vec<String> = texts.into_iter().filter(is_policy).collect();
    let wanted =
        record.value.split(' ').find(|term| term.starts_with("include:")).unwrap_or_default().to_owned();
    match policies.as_slice() {
        [] => Finding::missing(record),
        [policy] if includes(policy, &wanted) => Finding::ok(policies),
        [_] => Finding::mismatch(
            policies,
            format!(
                "The SPF record of {} does not have {wanted}. Add it before the last term; do not publish a second record.",
                record.name
            ),
        ),
        // RFC 7208 §4.5: permerror.
        _ => Finding::mismatch(
            policies,
            format!(
                "{} has more than one SPF record, which makes all of them void. Merge them into one that has {wanted}.",
                record.name
            ),
        ),
    }
}

fn includes(policy: &str, wanted: &str) -> bool {
    policy.split_ascii_whitespace().any(|term| term.trim_start_matches('+').eq_ignore_ascii_case(wanted))
}

/// Whether the texts at a return path let us send: for owners who publish MX and SPF instead of an alias.
pub fn has_our_spf(texts: &[String], bounce: &str, host: &str) -> bool {
    let terms = [
        format!("include:{bounce}"),
        format!("a:{host}"),
        format!("redirect={bounce}"),
        format!("a:{bounce}"),
    ];
    texts.iter().any(|text| {
        text.to_ascii_lowercase().starts_with("v=spf1 ") && terms.iter().any(|term| includes(text, term))
    })
}

/// DMARC: any policy will do.
pub fn dmarc(record: &Record, texts: Vec<String>) -> Finding {
    let is_policy = |text: &String| Tags::read(text).get("v") == Some("DMARC1");
    let policies: Vec<String> = texts.into_iter().filter(is_policy).collect();
    match policies.as_slice() {
        [] => Finding::missing(record),
        [policy] => match Tags::read(policy).get("p") {
            Some("none" | "quarantine" | "reject") => Finding::ok(policies),
            _ => Finding::mismatch(
                policies,
                "The DMARC record needs a policy: p=none, p=quarantine or p=reject.",
            ),
        },
        // RFC 7489 §6.6.3: several are as good as none.
        _ => Finding::mismatch(
            policies,
            format!("{} has more than one DMARC record, which is as good as none. Keep one.", record.name),
        ),
    }
}

/// An alias.
pub fn cname(record: &Record, target: String) -> Finding {
    if target.eq_ignore_ascii_case(&record.value) {
        return Finding::ok(vec![target]);
    }
    let advice = format!(
        "{} is an alias of {target}, and {} is wanted. Change it to the value given here.",
        record.name, record.value
    );
    Finding::mismatch(vec![target], advice)
}

/// A mail exchanger among those published, as preference and host.
pub fn mx(record: &Record, hosts: &[(u16, String)]) -> Finding {
    let found: Vec<String> = hosts.iter().map(|(preference, host)| format!("{preference} {host}")).collect();
    let best = hosts.iter().map(|(preference, _)| *preference).min();
    match hosts.iter().find(|(_, host)| host.eq_ignore_ascii_case(&record.value)) {
        Some((preference, _)) if best == Some(*preference) => Finding::ok(found),
        Some(_) => Finding::mismatch(
            found,
            format!(
                "Mail to {} goes to another host first: give {} the lowest preference.",
                record.name, record.value
            ),
        ),
        None if hosts.is_empty() => Finding::missing(record),
        None => Finding::mismatch(
            found,
            format!("Mail to {} goes elsewhere. Publish the MX record given here.", record.name),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::records::{Need, Purpose, RecordType};
    use super::*;

    fn record(value: &str) -> Record {
        Record {
            purpose: Purpose::Dkim,
            kind: RecordType::Txt,
            name: "s._domainkey.acme.example".into(),
            value: value.into(),
            priority: None,
            need: Need::Required,
            key: None,
        }
    }

    type Judge = fn(&Record, Vec<String>) -> Finding;

    #[test]
    fn each_mismatch_says_what_to_do() {
        use RecordStatus::{Mismatch, Missing, Ok};
        let key = "v=DKIM1; k=rsa; p=ABCDEFGH";
        let include = "v=spf1 include:b.host.example ~all";
        let policy = "v=DMARC1; p=none";
        let cases: [(Judge, &str, &[&str], RecordStatus, &str); 21] = [
            (dkim, key, &[], Missing, "There is no TXT record"),
            (dkim, key, &["v=DKIM1; k=rsa; p=ABCDEFGH"], Ok, ""),
            (dkim, key, &["k=rsa;p=ABCD EFGH;"], Ok, ""),
            (dkim, key, &["unrelated", "p=ABCDEFGH"], Ok, ""),
            (dkim, key, &["v=DKIM1; p=ABCD"], Mismatch, "cut off after 4 of 8"),
            (dkim, key, &["v=DKIM1; p=XYZ"], Mismatch, "Another key"),
            (dkim, key, &["v=DKIM1; p="], Mismatch, "revoked"),
            (dkim, key, &["v=DKIM1; k=ed25519; p=ABCDEFGH"], Mismatch, "of the kind ed25519"),
            (dkim, key, &["p=ABCDEFGH", "p=XYZ"], Mismatch, "several"),
            (dkim, key, &["\"v=DKIM1; p=ABCDEFGH\""], Mismatch, "quotation marks"),
            (dkim, key, &["hello"], Mismatch, "no DKIM key"),
            (spf, include, &["hello"], Missing, "There is no TXT record"),
            (spf, include, &["v=spf1 mx include:B.host.example -all"], Ok, ""),
            (spf, include, &["v=spf1 mx -all"], Mismatch, "Add it before the last term"),
            (spf, include, &["v=spf1 -all", "v=spf1 mx"], Mismatch, "more than one"),
            (spf, include, &["v=spf10 include:b.host.example"], Missing, "no TXT"),
            (dmarc, policy, &[], Missing, "no TXT"),
            (dmarc, policy, &["v=DMARC1;p=reject;rua=mailto:x@y.example"], Ok, ""),
            (dmarc, policy, &["v=DMARC1; rua=mailto:x@y.example"], Mismatch, "needs a policy"),
            (dmarc, policy, &["v=DMARC1; p=none", "v=DMARC1; p=reject"], Mismatch, "more than one"),
            (dmarc, policy, &["v=DMARC1; p=maybe"], Mismatch, "needs a policy"),
        ];
        for (judge, wanted, texts, status, advice) in cases {
            let finding = judge(&record(wanted), texts.iter().map(|text| (*text).to_owned()).collect());
            assert_eq!(finding.status, status, "{texts:?}: {finding:?}");
            assert!(finding.advice.unwrap_or_default().contains(advice), "{texts:?}: {advice}");
        }
    }

    #[test]
    fn aliases_and_exchangers_are_compared_without_case() {
        let wanted = record("b.host.example");
        assert_eq!(cname(&wanted, "B.host.example".into()).status, RecordStatus::Ok);
        assert!(
            cname(&wanted, "c.example".into()).advice.is_some_and(|text| text.contains("alias of c.example"))
        );
        let mx = |list: &[(u16, &str)]| {
            mx(&wanted, &list.iter().map(|(n, host)| (*n, (*host).to_owned())).collect::<Vec<_>>()).status
        };
        assert_eq!(mx(&[(5, "b.host.example"), (10, "c.example")]), RecordStatus::Ok);
        assert_eq!(mx(&[(10, "b.host.example"), (5, "c.example")]), RecordStatus::Mismatch);
        assert_eq!(mx(&[(10, "c.example")]), RecordStatus::Mismatch);
        assert_eq!(mx(&[]), RecordStatus::Missing);
    }

    #[test]
    fn a_return_path_of_ones_own_needs_our_spf() {
        let has = |text: &str| has_our_spf(&[text.to_owned()], "b.host.example", "mx.host.example");
        assert!(has("v=spf1 include:b.host.example -all") && has("v=spf1 a:mx.host.example ~all"));
        assert!(!has("v=spf1 mx -all") && !has("include:b.host.example"));
    }
}
