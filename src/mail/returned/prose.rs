//! Notices that are not in the standard form: what qmail, Exim and many large providers wrote or write in words.
//! Also the plain text of mail systems whose standard part is missing.
//!
//! Invariant: only a mail system is believed: the null path, or an author such as MAILER-DAEMON. And only when its
//! text says so, in the words of a failure or with an SMTP reply.

use std::sync::OnceLock;

use mail_parser::Message;
use regex::Regex;

use super::dsn::{quoted, stage};
use super::{Action, Envelope, Notice, Stage, address, field, readable};
use crate::mail::reply::EnhancedStatus;

pub(super) fn read(message: &Message<'_>, envelope: Envelope) -> Option<Notice> {
    if !is_of_a_mail_system(message, envelope) {
        return None;
    }
    let text = readable(message)?;
    let text = before_the_copy(&text);
    let subject = field(message, "Subject").unwrap_or_default();
    if is_delay(&subject, text) {
        return Some(told(message, Action::Delayed, text, "", None));
    }
    let reply = reply_in(text);
    if reply.is_none() && !says_failure(&subject, text) {
        return None;
    }
    let (said, status) = reply.unwrap_or_else(|| (telling_line(text), status_in(text)));
    Some(told(message, Action::Failed, text, &said, status))
}

fn told(
    message: &Message<'_>,
    action: Action,
    text: &str,
    said: &str,
    status: Option<EnhancedStatus>,
) -> Notice {
    let failed = field(message, "X-Failed-Recipients");
    let named = failed.as_deref().and_then(|list| address(list.split(',').next()?));
    Notice {
        action,
        recipient: named.or_else(|| address_in(text)),
        reply: quoted(said, status),
        stage: stage(text).unwrap_or(Stage::Content),
        host: None,
    }
}

/// Whether a program that delivers mail wrote it.
fn is_of_a_mail_system(message: &Message<'_>, envelope: Envelope) -> bool {
    static AUTHORS: OnceLock<Regex> = OnceLock::new();
    let authors = AUTHORS.get_or_init(|| {
        pattern(r"(?i)mailer-?daemon|postmaster@|mail delivery (sub)?system|mail administrator|microsoft outlook|\bmdaemon\b")
    });
    let author = field(message, "From").unwrap_or_default();
    let is_author = authors.is_match(&author) || field(message, "X-Failed-Recipients").is_some();
    // An answering machine has the null path as well (RFC 3834 §3.3), and a person's address in From.
    is_author
        || (envelope == Envelope::Null && author.is_empty())
        || (envelope == Envelope::Null && is_failure(&field(message, "Subject").unwrap_or_default()))
}

/// The text up to where the mail that is returned begins.
fn before_the_copy(text: &str) -> &str {
    static COPY: OnceLock<Regex> = OnceLock::new();
    let copy = COPY.get_or_init(|| {
        pattern(
            r"(?im)^[\s-]*(this is a copy of (the|your) message|below this line is a copy|the header and top \d+ lines|original message (headers|follows)|original message\s*-|unsent message|returned message|start of returned|message headers follow|copy of (the )?(original )?message|the following is a copy)|^return-path:\s|^received: from ",
        )
    });
    copy.find(text).map_or(text, |found| &text[..found.start()])
}

fn is_delay(subject: &str, text: &str) -> bool {
    static DELAY: OnceLock<Regex> = OnceLock::new();
    let delay = DELAY.get_or_init(|| {
        pattern(
            r"(?is)\bdelayed\b|still (being )?(tried|trying|retrying)|will (keep|continue) (trying|to (try|be retried))|not yet been delivered|this is a warning message only|do not need to resend|has not been collected",
        )
    });
    static OVER: OnceLock<Regex> = OnceLock::new();
    let over = OVER.get_or_init(|| pattern(r"(?i)giving up|given up|gave up|permanent|could not be delivered|undeliver|returned to sender|has expired"));
    delay.is_match(subject) || (delay.is_match(text) && !over.is_match(text) && !is_failure(subject))
}

fn says_failure(subject: &str, text: &str) -> bool {
    static FAILURE: OnceLock<Regex> = OnceLock::new();
    let failure = FAILURE.get_or_init(|| {
        pattern(
            r"(?is)(could|can|was|were|did|unable to|wasn.t|couldn.t|hasn.t)\s?(not )?(be |been )?(able to )?(be )?deliver|undeliver|delivery (to the following|failed|error|failure)|permanent(ly)? (fatal )?(error|failed)|returned to sender|not delivered|no such user|user unknown",
        )
    });
    is_failure(subject) || failure.is_match(text)
}

fn is_failure(subject: &str) -> bool {
    static SUBJECT: OnceLock<Regex> = OnceLock::new();
    let words = SUBJECT.get_or_init(|| {
        pattern(
            r"(?i)undeliver|failure notice|delivery (status notification )?\(?fail|delivery failed|mail delivery (problem|failed|error)|returned mail|mail system error|delivery report|non[- ]?delivery|could not be delivered|unzustellbar|non remis|mail failure",
        )
    });
    words.is_match(subject)
}

/// An SMTP reply that is quoted: the first that refuses.
fn reply_in(text: &str) -> Option<(String, Option<EnhancedStatus>)> {
    static REPLY: OnceLock<Regex> = OnceLock::new();
    let reply = REPLY.get_or_init(|| {
        pattern(r"(?m)(?:^|[\s:>(\[\x22'])([45][0-5]\d)[ :-]+(?:[^\r\n]*(?:\r?\n[ \t>]+[^\r\n]+){0,6})")
    });
    let found = reply.captures_iter(text).find(|found| {
        // A port, an amount or a year is no reply: what follows must read like one.
        let whole = &found[0];
        status_in(whole).is_some() || whole.len() > 12 && whole.chars().any(char::is_alphabetic)
    })?;
    let whole = found.get(0)?;
    let code = found.get(1)?;
    let rest = text[code.end()..whole.end()].trim_start_matches([':', '-', ' ']);
    let joined = rest.split(['\r', '\n']).map(str::trim).collect::<Vec<_>>().join(" ");
    Some((format!("{} {joined}", code.as_str()), status_in(whole.as_str())))
}

/// `(#5.1.1)`, as qmail has it, or a status anywhere.
fn status_in(text: &str) -> Option<EnhancedStatus> {
    static STATUS: OnceLock<Regex> = OnceLock::new();
    let status = STATUS.get_or_init(|| pattern(r"(?:^|[^\d.])([45]\.\d{1,3}\.\d{1,3})(?:[^\d.]|\.?$|\.\s)"));
    EnhancedStatus::parse(&status.captures(text)?[1])
}

/// Without a reply, the line that says why: the one after the address, else all of the first lines.
fn telling_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let named = lines.iter().position(|line| address_in(line).is_some());
    let from = named.unwrap_or(0);
    lines[from.min(lines.len())..].iter().take(8).copied().collect::<Vec<_>>().join(" ")
}

fn address_in(text: &str) -> Option<String> {
    static ADDRESS: OnceLock<Regex> = OnceLock::new();
    let pattern = ADDRESS.get_or_init(|| {
        pattern(r"(?m)(?:^\s*|<|&lt;|to:? |for )([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{3,255})")
    });
    Some(pattern.captures(text)?[1].trim_end_matches(['.', ':']).to_owned())
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant, and a test reads with it")
}
