//! What each field asks for.

use time::macros::datetime;

use super::*;

fn wishes(name: &str, value: &str) -> Result<Wishes, Vec<String>> {
    read(&[ForeignField { name: name.to_owned(), value: value.to_owned() }])
}

fn tagged(tags: &[&str]) -> Wishes {
    Wishes { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..Wishes::default() }
}

fn noted(pairs: &[(&str, &str)]) -> Wishes {
    let metadata = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Wishes { metadata: metadata.collect(), ..Wishes::default() }
}

#[test]
fn each_field_asks_for_what_its_provider_says() {
    let moment = Some(datetime!(2030-01-02 3:04:05 UTC));
    let watched = |opens, clicks| Wishes { opens, clicks, ..Wishes::default() };
    let sandbox = Wishes { sending: Some(Sending::Sandbox), ..Wishes::default() };
    let of_stream = |name| Wishes { stream: StreamName::parse(name).ok(), ..Wishes::default() };
    let prior = |priority| Wishes { priority: Some(priority), ..Wishes::default() };
    let copied =
        |text| Wishes { copies: vec![Mailbox::parse(text).expect("a mailbox")], ..Wishes::default() };
    let cases = [
        ("X-SMTPAPI", r#"{"category": "a"}"#, tagged(&["a"])),
        ("x-smtpapi", r#"{"category": ["a", "b", "a"]}"#, tagged(&["a", "b"])),
        ("X-SMTPAPI", r#"{"unique_args": {"order": 7, "x": "y"}}"#, noted(&[("order", "7"), ("x", "y")])),
        ("X-SMTPAPI", r#"{"send_at": 1893553445}"#, Wishes { send_at: moment, ..Wishes::default() }),
        (
            "X-SMTPAPI",
            r#"{"filters": {"opentrack": {"settings": {"enable": 1}}, "clicktrack": {"settings": {"enable": 0}}}}"#,
            watched(Some(true), Some(false)),
        ),
        ("X-SMTPAPI", r#"{"to": [], "ip_pool": "p", "asm_group_id": 3}"#, Wishes::default()),
        ("X-MSYS-API", r#"{"campaign_id": "spring", "tags": ["x"]}"#, tagged(&["spring", "x"])),
        ("X-MSYS-API", r#"{"metadata": {"a": "b"}, "key_unknown": 1}"#, noted(&[("a", "b")])),
        (
            "X-MSYS-API",
            r#"{"options": {"open_tracking": true, "click_tracking": false}}"#,
            watched(Some(true), Some(false)),
        ),
        ("X-MSYS-API", r#"{"options": {"sandbox": true}}"#, sandbox.clone()),
        (
            "X-MSYS-API",
            r#"{"bcc": [{"email": "ann@example.net", "name": "Ann"}]}"#,
            copied("ann@example.net"),
        ),
        ("X-PM-Message-Stream", "outbound", of_stream("transactional")),
        ("X-PM-Message-Stream", "news", of_stream("news")),
        ("X-PM-Tag", "welcome", tagged(&["welcome"])),
        ("X-PM-Metadata-Order", "7", noted(&[("Order", "7")])),
        ("X-PM-KeepID", "true", Wishes::default()),
        ("X-PM-TrackOpens", "true", watched(Some(true), None)),
        ("X-PM-TrackLinks", "None", watched(None, Some(false))),
        ("X-PM-TrackLinks", "HtmlAndText", watched(None, Some(true))),
        ("X-Mailgun-Tag", "a", tagged(&["a"])),
        (
            "X-Mailgun-Deliver-By",
            "Wed, 02 Jan 2030 03:04:05 +0000",
            Wishes { send_at: moment, ..Wishes::default() },
        ),
        ("X-Mailgun-Drop-Message", "yes", sandbox.clone()),
        ("X-Mailgun-Track", "yes", watched(Some(true), Some(true))),
        ("X-Mailgun-Track-Clicks", "htmlonly", watched(None, Some(true))),
        ("X-Mailgun-Track-Opens", "no", watched(Some(false), None)),
        (
            "X-Mailgun-Require-TLS",
            "true",
            Wishes { transport: Some(Transport::RequireTls), ..Wishes::default() },
        ),
        ("X-Mailgun-Variables", r#"{"a": {"b": 1}}"#, noted(&[("a", r#"{"b":1}"#)])),
        ("X-Mailgun-Sending-Ip", "192.0.2.1", Wishes::default()),
        ("X-Mailgun-Recipient-Variables", "{}", Wishes::default()),
        ("X-SES-MESSAGE-TAGS", "order=7, kind=mail", noted(&[("kind", "mail"), ("order", "7")])),
        ("X-SES-CONFIGURATION-SET", "any", Wishes::default()),
        ("X-Mailin-Tag", "a, b", tagged(&["a", "b"])),
        ("X-Mailin-custom", "a:b", noted(&[("X-Mailin-custom", "a:b")])),
        ("X-Sib-Sandbox", "drop", sandbox),
        ("X-MJ-CustomID", "7", noted(&[("CustomID", "7")])),
        ("X-MJ-EventPayload", "p", noted(&[("EventPayload", "p")])),
        ("X-MJ-TemplateLanguage", "false", Wishes::default()),
        ("X-Mailjet-Campaign", "c", tagged(&["c"])),
        ("X-Mailjet-Prio", "3", prior(Priority::High)),
        ("X-Mailjet-Prio", "0", prior(Priority::Low)),
        ("X-Mailjet-TrackOpen", "2", watched(Some(true), None)),
        ("X-Mailjet-TrackClick", "0", Wishes::default()),
        ("X-APIHEADER", "7", noted(&[("X-APIHEADER", "7")])),
        ("Resend-Idempotency-Key", "k", Wishes { key: Some("k".to_owned()), ..Wishes::default() }),
    ];
    for (name, value, wanted) in cases {
        assert_eq!(wishes(name, value), Ok(wanted), "{name}: {value}");
    }
}

#[test]
fn what_would_be_another_mail_is_refused_by_its_name() {
    let cases = [
        ("X-SMTPAPI", r#"{"to": ["a@b.example"]}"#),
        ("X-SMTPAPI", r#"{"sub": {"%a%": ["b"]}}"#),
        ("X-SMTPAPI", r#"{"filters": {"templates": {"settings": {"enable": 1}}}}"#),
        ("X-SMTPAPI", "{"),
        ("X-SMTPAPI", "[]"),
        ("X-MSYS-API", r#"{"options": {"skip_suppression": true}}"#),
        ("X-MSYS-API", r#"{"cc": [{"email": "nobody"}]}"#),
        ("X-Mailgun-Recipient-Variables", r#"{"a@b.example": {}}"#),
        ("X-Mailgun-Deliver-By", "tomorrow"),
        ("X-Mailgun-Misspelt", "yes"),
        ("X-PM-Message-Stream", "No Stream"),
        ("X-MJ-TemplateID", "7"),
        ("X-SES-MESSAGE-TAGS", "no pair"),
    ];
    for (name, value) in cases {
        let wrong = wishes(name, value).expect_err(value);
        assert!(wrong.len() == 1 && wrong[0].starts_with(&format!("{name}: ")), "{wrong:?}");
    }
    let all: Vec<ForeignField> = cases
        .iter()
        .map(|(name, value)| ForeignField { name: (*name).to_owned(), value: (*value).to_owned() })
        .collect();
    assert_eq!(read(&all).expect_err("all of them").len(), cases.len());
}

#[test]
fn what_is_asked_for_otherwise_wins() {
    let wished = Wishes {
        stream: StreamName::parse("news").ok(),
        opens: Some(true),
        priority: Some(Priority::Low),
        ..noted(&[("a", "theirs"), ("b", "theirs")])
    };
    let mut options =
        Options { metadata: [("a".to_owned(), "ours".to_owned())].into(), ..Options::default() };
    wished.clone().under(&mut options);
    assert_eq!(options.stream.as_str(), "news");
    assert_eq!(options.metadata["a"], "ours");
    assert_eq!(options.metadata["b"], "theirs");
    assert!(options.handling.tracking.opens && !options.handling.tracking.clicks);
    let mut named = Options { stream: StreamName::parse("own").expect("a name"), ..Options::default() };
    wished.under(&mut named);
    assert_eq!(named.stream.as_str(), "own");
}
