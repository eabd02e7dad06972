//! Delivery status notifications (RFC 3464): `message/delivery-status` and its UTF-8 form (RFC 6533).
//!
//! Invariant: of a recipient without a usable `Action` or `Status` nothing is told.

use std::sync::OnceLock;

use mail_parser::Message;
use regex::Regex;

use super::{Action, Notice, Stage, address, part, readable, text_of, unfolded};
use crate::mail::reply::{EnhancedStatus, SmtpReply};

/// Recipients that one notice may tell of: ours name one each.
const MAX_RECIPIENTS: usize = 100;

pub(super) fn read(message: &Message<'_>) -> Vec<Notice> {
    let status = part(message, "message", "delivery-status")
        .or_else(|| part(message, "message", "global-delivery-status"));
    let Some(status) = status else { return Vec::new() };
    let groups = groups(&text_of(status));
    let human = readable(message).unwrap_or_default();
    let reporting = groups.iter().find_map(|group| group.get("reporting-mta")).map(|name| host(&name));
    groups
        .iter()
        .filter_map(|group| notice(group, reporting.as_deref(), &human))
        .take(MAX_RECIPIENTS)
        .collect()
}

/// The fields of one recipient, or of the whole notice.
struct Group(Vec<(String, String)>);

impl Group {
    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| unfolded(value)).filter(|value| !value.is_empty())
    }
}

/// Groups of fields, parted by empty lines (RFC 3464 §2.1). Some hosts put none between the two kinds of fields,
/// so a second field of a kind that occurs once begins a group, too.
fn groups(text: &str) -> Vec<Group> {
    let mut groups = vec![Group(Vec::new())];
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() {
            groups.push(Group(Vec::new()));
            continue;
        }
        let Some(current) = groups.last_mut() else { continue };
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = current.0.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let field = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
            if field.0 == "final-recipient" && current.0.iter().any(|(known, _)| *known == field.0) {
                groups.push(Group(vec![field]));
            } else {
                current.0.push(field);
            }
        }
    }
    groups
}

fn notice(group: &Group, reporting: Option<&str>, human: &str) -> Option<Notice> {
    let recipient = group.get("original-recipient").as_deref().and_then(address);
    let recipient = recipient.or_else(|| group.get("final-recipient").as_deref().and_then(address));
    let status = group.get("status").as_deref().and_then(status);
    let action = action(group.get("action").as_deref(), status)?;
    let diagnostic = group.get("diagnostic-code");
    let remote = group.get("remote-mta").map(|name| host(&name));
    Some(Notice {
        action,
        recipient,
        reply: reply(diagnostic.as_deref(), status),
        stage: stage(diagnostic.as_deref().unwrap_or_default())
            .or_else(|| stage(human))
            .unwrap_or(Stage::Content),
        host: remote.or_else(|| reporting.map(str::to_owned)),
    })
}

/// What the host says it did; where it does not, what its status means.
fn action(said: Option<&str>, status: Option<EnhancedStatus>) -> Option<Action> {
    let word = said.and_then(|said| said.split([' ', '(', ';']).next()).map(str::to_ascii_lowercase);
    match (word.as_deref(), status.map(|status| status.class)) {
        (Some("failed" | "failure"), _) | (None, Some(5)) => Some(Action::Failed),
        (Some("delayed"), _) | (None, Some(4)) => Some(Action::Delayed),
        (Some("delivered" | "relayed" | "expanded"), _) | (None, Some(2)) => Some(Action::Done),
        _ => None,
    }
}

/// `5.1.1`, and `5.1.1 (bad destination mailbox)` as many write it.
fn status(text: &str) -> Option<EnhancedStatus> {
    EnhancedStatus::parse(text.split([' ', '(', ';']).next()?.trim())
}

/// The reply that is quoted: `smtp; 550 5.1.1 …`, continued lines as `550-5.1.1 … 550 5.1.1 …`.
fn reply(diagnostic: Option<&str>, status: Option<EnhancedStatus>) -> SmtpReply {
    let text = diagnostic.unwrap_or_default();
    let text = match text.split_once(';') {
        Some((kind, rest)) if kind.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => rest,
        _ => text,
    };
    quoted(text, status)
}

/// A reply out of a text that may begin with its code, completed by what the notice itself says.
pub(super) fn quoted(text: &str, status: Option<EnhancedStatus>) -> SmtpReply {
    static CODE: OnceLock<Regex> = OnceLock::new();
    let code = CODE.get_or_init(|| {
        Regex::new(r"^\W*(?:host [^:]+ said: )?([245]\d\d)(?:[ -]|$)").expect("the pattern is a constant")
    });
    let text = text.trim();
    let (code, rest) = match code.captures(text) {
        Some(found) => {
            let end = found.get(0).map_or(0, |whole| whole.end());
            (found[1].parse().unwrap_or(550), text[end..].trim_start_matches(['-', ' ', '#', '(']))
        }
        // RFC 3463: the class of the status is all that is known.
        None => (if status.is_some_and(|status| status.class == 4) { 450 } else { 550 }, text),
    };
    let again = format!("{code}-");
    let rest = rest.replace(&again, "");
    let mut reply = SmtpReply::from_lines(code, [rest.as_str()]);
    // A status of 5.0.0 tells nothing; what the remote host itself said tells more than the reporter's summary.
    let telling = |status: &EnhancedStatus| (status.subject, status.detail) != (0, 0);
    if !reply.enhanced.as_ref().is_some_and(telling) {
        let agrees = |status: &EnhancedStatus| u16::from(status.class) == code / 100;
        reply.enhanced = status.filter(agrees).filter(telling).or(reply.enhanced);
    }
    reply
}

/// Postfix: `(in reply to RCPT TO command)`; Exim: `after RCPT TO:<…>`; others: `Command: RCPT TO`.
pub(super) fn stage(text: &str) -> Option<Stage> {
    static WORDS: OnceLock<Regex> = OnceLock::new();
    let words = WORDS.get_or_init(|| {
        Regex::new(r"(?i)(?:in reply to|after|in response to(?: the)?|command:)\s+(?:pipelined )?(?:end of )?(MAIL|RCPT|DATA|BDAT|EHLO|HELO|initial connection)")
            .expect("the pattern is a constant")
    });
    let found = words.captures(text)?;
    Some(match found[1].to_ascii_uppercase().as_str() {
        "RCPT" => Stage::Recipient,
        "DATA" | "BDAT" => Stage::Content,
        _ => Stage::Sender,
    })
}

/// `dns; mx.example.net (192.0.2.1)`: the name.
fn host(text: &str) -> String {
    let name = text.rsplit(';').next().unwrap_or(text).trim();
    let name = name.split([' ', '(']).next().unwrap_or(name);
    name.chars().filter(|c| !c.is_control()).take(255).collect()
}
