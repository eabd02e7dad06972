//! What a reply means: class and ruling. Pure, a table.
//!
//! The class tells what kind of trouble it is; whether to try again follows from the reply's first digit
//! (RFC 5321 §4.2.1) and the class together. Only evidence about the *address* suppresses it: many 5yz are
//! about us, our address or our words. The rules are written from RFC 3463, its registry, and what large
//! receivers publish about their replies.

use std::sync::OnceLock;

use regex::{RegexSet, RegexSetBuilder};
use time::Duration;

use super::outcome::{BounceClass, Hardness, Ruling, Step, Suppress};
use crate::mail::reply::SmtpReply;

/// Raised with every change of the rules: stored outcomes can then be told apart.
pub const RULES_VERSION: u16 = 3;

/// What a negative reply at `step` means. A positive one at the wrong place counts as a broken dialogue.
pub fn classify(step: Step, reply: &SmtpReply) -> Ruling {
    let class = class_of(step, reply);
    if must_wait(step, reply, class) {
        return Ruling::Defer { class, not_before: least_wait(class) };
    }
    let (hardness, suppress) = consequence(step, class);
    Ruling::Bounce { class, hardness, suppress }
}

/// What a peer's final word about a mail it had taken means, as a notice quotes it: there is no trying again.
///
/// A notice may quote a 4yz: its host tried until its patience ended. That says nothing final about the address.
pub fn classify_notice(step: Step, reply: &SmtpReply) -> Ruling {
    match classify(step, reply) {
        Ruling::Defer { class: class @ BounceClass::MailboxFull, .. } => {
            Ruling::Bounce { class, hardness: Hardness::Soft, suppress: Suppress::After(3) }
        }
        Ruling::Defer { class, .. } => {
            Ruling::Bounce { class, hardness: Hardness::Soft, suppress: Suppress::Never }
        }
        other => other,
    }
}

/// What trouble without any reply means: it passes.
pub fn no_reply(class: BounceClass) -> Ruling {
    Ruling::Defer { class, not_before: Duration::ZERO }
}

/// The connection broke after the final dot: the peer may have taken the mail. Trying again soon would most
/// likely double it, so the next try waits a quarter of an hour (RFC 1047).
pub fn outcome_unknown() -> Ruling {
    Ruling::Defer { class: BounceClass::Network, not_before: Duration::minutes(15) }
}

/// Whether it is tried again although, or because, the reply says so.
fn must_wait(step: Step, reply: &SmtpReply, class: BounceClass) -> bool {
    // Anything that is neither 4yz nor 5yz here breaks the protocol: the peer is confused, not the mail wrong.
    if !reply.is_permanent() {
        return true;
    }
    match step {
        // Refused credentials are our configuration's fault: no mail is lost over a changed password.
        Step::Auth => true,
        // RFC 5321 §4.5.3.1.10: 552 for too many recipients means "later".
        _ => class == BounceClass::RateLimited,
    }
}

fn least_wait(class: BounceClass) -> Duration {
    match class {
        BounceClass::RateLimited => Duration::minutes(5),
        BounceClass::ReputationBlock => Duration::minutes(15),
        BounceClass::MailboxFull => Duration::minutes(30),
        _ => Duration::ZERO,
    }
}

fn consequence(step: Step, class: BounceClass) -> (Hardness, Suppress) {
    match class {
        // A 5yz before RCPT cannot be about the recipient, whatever it says.
        BounceClass::InvalidRecipient | BounceClass::InactiveMailbox if step >= Step::Rcpt => {
            (Hardness::Hard, Suppress::Now)
        }
        BounceClass::MailboxFull => (Hardness::Soft, Suppress::After(3)),
        BounceClass::DomainNotFound => (Hardness::Hard, Suppress::After(2)),
        _ => (Hardness::Soft, Suppress::Never),
    }
}

fn class_of(step: Step, reply: &SmtpReply) -> BounceClass {
    static ABOUT_US: OnceLock<RegexSet> = OnceLock::new();
    static ABOUT_IT: OnceLock<RegexSet> = OnceLock::new();
    by_text(ABOUT_US.get_or_init(|| compile(WORDS_ABOUT_US)), WORDS_ABOUT_US, reply)
        .or_else(|| by_status(reply))
        .or_else(|| by_text(ABOUT_IT.get_or_init(|| compile(WORDS_ABOUT_IT)), WORDS_ABOUT_IT, reply))
        .unwrap_or_else(|| by_code(step, reply))
}

type Words = [(BounceClass, &'static str)];

/// What large receivers say about us, most telling first. Looked at before the codes, because those of blocks
/// and limits are used for everything.
const WORDS_ABOUT_US: &Words = &[
    // Exchange's exceptions have names that read like everything else.
    (BounceClass::MailboxFull, r"\bmailbox (is )?full\b|QuotaExceededException"),
    // Exchange says 5.1.10 for it, which elsewhere means a null MX (RFC 7505 §4.2).
    (BounceClass::InvalidRecipient, r"RESOLVER\.ADR\.|\bRecipient ?Not ?Found\b|\bRecipNotFound\b"),
    (
        BounceClass::Greylisted,
        r"gr[ea]y-?list|postgrey|first contact|come back (again )?later|not yet been seen",
    ),
    (
        BounceClass::RateLimited,
        r"unusual rate|rate[ -]?limit|too (many|fast)|throttl|TSS0\d|IPTS04|\bRP-00\d|IB007|over( its)? quota for (connections|messages)|exceeded.{0,40}(connection|message|rate|hourly)|slow down|concurren(t|cy)|receiving mail at a rate",
    ),
    (
        BounceClass::AuthPolicy,
        r"\bDMARC\b|\bSPF\b|\bDKIM\b|unauthenticated|sender authentication|authentication (checks|results|information)|(reverse|PTR|rdns).{0,30}(dns|record|lookup|missing)|must issue a STARTTLS|require.{0,10}\bTLS\b",
    ),
    (
        BounceClass::ReputationBlock,
        r"spamhaus|spamcop|barracuda|sorbs|\b(dnsbl|rbl|s?xbl|pbl|css)\b|block ?list|black ?list|\bS31[45]0\b|S77[456]|blocked using|reputation|\[BL\d*|TS0[13]|banned sending IP|(ip|address|host|network).{0,30}(is|been|was) (blocked|banned|listed|denied)|temporarily deferred due to",
    ),
    (
        BounceClass::SpamContent,
        r"\bspam\b|bulk mail|unsolicited|\bvirus\b|malware|phish|suspicious|content (rejected|filter|denied|policy)|message content|url.{0,20}(listed|blocked)",
    ),
    (
        BounceClass::RelayDenied,
        r"relay(ing)? (access |is )?(denied|not (permitted|allowed))|unable to relay|not permitted to relay|cannot relay|we do not relay|rejected relay|mail loop|too many hops|hop count",
    ),
];

/// What they say about the address or the mail: less exact than an enhanced code, if there is one.
const WORDS_ABOUT_IT: &Words = &[
    // Hosts without enhanced codes say 550 to RCPT for everything.
    (
        BounceClass::Unknown,
        r"access denied|administrative(ly)? prohibit|prohibited|permission denied|\bpolicy\b|not (authori[sz]ed|permitted|allowed) to (send|deliver)|sender (verif|address|domain|rejected)|cannot find your (host|reverse)|firewall",
    ),
    (
        BounceClass::MailboxFull,
        r"(mailbox|inbox|account|user|recipient).{0,30}(is |are )?(full|over ?quota|out of storage)|over ?quota|quota (exceeded|full|is full)|exceeded.{0,30}storage|insufficient.{0,20}(storage|space).{0,20}mailbox",
    ),
    (
        BounceClass::InactiveMailbox,
        r"(account|mailbox|user|recipient|address).{0,30}(disabled|inactive|suspended|deactivated|expired|discontinued|closed)|no longer (active|available|in use|accepts?|on server)",
    ),
    (
        BounceClass::InvalidRecipient,
        r"(user|recipient|mailbox|account|address|alias).{0,40}(unknown|not found|not exist|doesn'?t exist|unavailable to receive|invalid|rejected: undeliverable)|unknown (user|recipient|mailbox|local|address)|no such (user|recipient|mailbox|person|address|account)|does ?n[o']t have (an|a|any).{0,20}(account|mailbox)|invalid (recipient|mailbox|user|address)|bad destination|not our customer",
    ),
    (
        BounceClass::DomainNotFound,
        r"(domain|host).{0,20}(not found|does ?n[o']t exist|unknown)|no such domain|null ?mx",
    ),
    (
        BounceClass::MessageInvalid,
        r"message (size|too (large|big))|size (limit|exceed)|exceeds.{0,30}(size|maximum)|line too long|bare (lf|cr|newline|linefeed)|missing.{0,20}header|malformed|RFC ?5322|8-?bit",
    ),
];

fn compile(words: &Words) -> RegexSet {
    RegexSetBuilder::new(words.iter().map(|(_, pattern)| pattern))
        .case_insensitive(true)
        .build()
        .expect("the patterns are constants, and a test compiles them")
}

fn by_text(set: &RegexSet, words: &Words, reply: &SmtpReply) -> Option<BounceClass> {
    set.matches(&reply.text).iter().next().map(|index| words[index].0)
}

/// RFC 3463 and its registry; 4.x.y and 5.x.y mean the same trouble.
fn by_status(reply: &SmtpReply) -> Option<BounceClass> {
    let status = reply.enhanced?;
    Some(match (status.subject, status.detail) {
        (1, 2 | 10) => BounceClass::DomainNotFound,
        (1, 1 | 3 | 6) => BounceClass::InvalidRecipient,
        // The sender's address is at fault.
        (1, 7 | 8) => BounceClass::AuthPolicy,
        (2, 1) => BounceClass::InactiveMailbox,
        (2, 2) => BounceClass::MailboxFull,
        (2, 3) | (3, 4) | (5, 6) | (6, _) => BounceClass::MessageInvalid,
        (3, 1 | 2) => BounceClass::Network,
        (4, 4) => BounceClass::DomainNotFound,
        (4, 6) => BounceClass::RelayDenied,
        (4, 7) => BounceClass::Expired,
        (4, _) => BounceClass::Network,
        (5, 3) => BounceClass::RateLimited,
        (7, 1) if reply.is_transient() => BounceClass::Greylisted,
        (7, 28) => BounceClass::RateLimited,
        (7, 20..=27 | 29..=32 | 40 | 515) => BounceClass::AuthPolicy,
        (7, 8 | 9 | 13) => BounceClass::RelayDenied,
        // A policy: whatever its text says of a user, it is no proof that he is not there.
        // Codes about the session's right to send say more.
        (7, _) if reply.is_permanent() && !is_about_access(reply) => BounceClass::Unknown,
        _ => return None,
    })
}

/// Whether the code is about who we are to the peer: RFC 3207 §4, RFC 4954 §6.
fn is_about_access(reply: &SmtpReply) -> bool {
    matches!(reply.code, 530 | 534 | 535 | 538)
}

/// The bare code, by the step it came at: the last resort.
fn by_code(step: Step, reply: &SmtpReply) -> BounceClass {
    match (reply.code, step) {
        (421, _) => BounceClass::Network,
        (450 | 451, Step::Rcpt) => BounceClass::Greylisted,
        (452, _) => BounceClass::MailboxFull,
        // X.3.Z is the host's own trouble.
        (550 | 551 | 553, Step::Rcpt) if reply.enhanced.is_none_or(|status| status.subject != 3) => {
            BounceClass::InvalidRecipient
        }
        (552, Step::Rcpt) => BounceClass::MailboxFull,
        (552, _) => BounceClass::MessageInvalid,
        _ if is_about_access(reply) => BounceClass::RelayDenied,
        // RFC 7504: the host takes no mail at all.
        (521 | 556, _) => BounceClass::DomainNotFound,
        (code, _) if !(400..600).contains(&code) => BounceClass::Network,
        _ => BounceClass::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BounceClass as Class;

    fn ruling(step: Step, line: &str) -> Ruling {
        let (code, text) = line.split_at(3);
        classify(step, &SmtpReply::from_lines(code.parse().expect("three digits"), [text]))
    }

    #[test]
    fn refusals_are_classified_and_only_dead_addresses_are_suppressed() {
        use Hardness::{Hard, Soft};
        let cases = [
            (
                Step::Rcpt,
                "550 5.1.1 The email account that you tried to reach does not exist.",
                Class::InvalidRecipient,
                Hard,
                Suppress::Now,
            ),
            (Step::Rcpt, "550 User unknown", Class::InvalidRecipient, Hard, Suppress::Now),
            (Step::Rcpt, "550 nope", Class::InvalidRecipient, Hard, Suppress::Now),
            (Step::Body, "550 5.1.1 no", Class::InvalidRecipient, Hard, Suppress::Now),
            (Step::Mail, "550 5.1.1 User unknown", Class::InvalidRecipient, Soft, Suppress::Never),
            (
                Step::Rcpt,
                "550 5.2.1 The email account that you tried to reach is disabled.",
                Class::InactiveMailbox,
                Hard,
                Suppress::Now,
            ),
            (
                Step::Rcpt,
                "552 5.2.2 The email account that you tried to reach is over quota",
                Class::MailboxFull,
                Soft,
                Suppress::After(3),
            ),
            (Step::Rcpt, "550 5.1.2 Bad destination system", Class::DomainNotFound, Hard, Suppress::After(2)),
            (
                Step::Rcpt,
                "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
                Class::ReputationBlock,
                Soft,
                Suppress::Never,
            ),
            (
                Step::Mail,
                "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent (S3140).",
                Class::ReputationBlock,
                Soft,
                Suppress::Never,
            ),
            (
                Step::Body,
                "550 5.7.1 This message was rejected as spam",
                Class::SpamContent,
                Soft,
                Suppress::Never,
            ),
            (Step::Body, "550 5.7.26 This mail is unauthenticated", Class::AuthPolicy, Soft, Suppress::Never),
            (
                Step::Body,
                "550 5.7.515 Access denied, sending domain does not meet the required authentication level",
                Class::AuthPolicy,
                Soft,
                Suppress::Never,
            ),
            // A policy says nothing about the address, whatever it says besides.
            (Step::Rcpt, "550 5.7.1 Access denied", Class::Unknown, Soft, Suppress::Never),
            (Step::Rcpt, "550 5.7.1 not wanted here", Class::Unknown, Soft, Suppress::Never),
            (Step::Rcpt, "550 5.7.1 Sender address not found", Class::Unknown, Soft, Suppress::Never),
            (Step::Rcpt, "553 5.7.0 refused", Class::Unknown, Soft, Suppress::Never),
            (Step::Rcpt, "550 5.3.0 Rejected", Class::Unknown, Soft, Suppress::Never),
            (Step::Rcpt, "553 5.3.0 No such user here", Class::InvalidRecipient, Hard, Suppress::Now),
            (Step::Rcpt, "550 Administrative prohibition", Class::Unknown, Soft, Suppress::Never),
            (Step::Rcpt, "550 Rejected by local policy", Class::Unknown, Soft, Suppress::Never),
            (Step::Rcpt, "550 Sender verify failed", Class::Unknown, Soft, Suppress::Never),
            // As a large provider of mailboxes says that there is no such user.
            (
                Step::Rcpt,
                "550 5.5.0 Requested action not taken: mailbox unavailable",
                Class::InvalidRecipient,
                Hard,
                Suppress::Now,
            ),
            (
                Step::Rcpt,
                "554 5.7.1 <a@b.example>: Relay access denied",
                Class::RelayDenied,
                Soft,
                Suppress::Never,
            ),
            (Step::Mail, "530 5.7.0 Authentication required", Class::RelayDenied, Soft, Suppress::Never),
            (
                Step::Body,
                "552 5.3.4 Message too big for system",
                Class::MessageInvalid,
                Soft,
                Suppress::Never,
            ),
            (
                Step::Mail,
                "552 message exceeds fixed maximum message size",
                Class::MessageInvalid,
                Soft,
                Suppress::Never,
            ),
            (Step::Body, "554 5.6.0 malformed", Class::MessageInvalid, Soft, Suppress::Never),
            (Step::Greeting, "554 No SMTP service here", Class::Unknown, Soft, Suppress::Never),
            (Step::Greeting, "521 does not accept mail", Class::DomainNotFound, Hard, Suppress::After(2)),
            (Step::Ehlo, "550 go away", Class::Unknown, Soft, Suppress::Never),
            (Step::Data, "554 transaction failed", Class::Unknown, Soft, Suppress::Never),
        ];
        for (step, line, class, hardness, suppress) in cases {
            assert_eq!(ruling(step, line), Ruling::Bounce { class, hardness, suppress }, "{step:?} {line}");
        }
    }

    #[test]
    fn deferrals_are_classified_and_wait_as_their_class_demands() {
        let minutes = Duration::minutes;
        let cases = [
            (
                Step::Rcpt,
                "450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted",
                Class::Greylisted,
                0,
            ),
            (Step::Rcpt, "451 4.7.1 Please try again", Class::Greylisted, 0),
            (Step::Rcpt, "452 4.2.2 The email account is over quota", Class::MailboxFull, 30),
            (
                Step::Greeting,
                "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred",
                Class::RateLimited,
                5,
            ),
            (Step::Body, "421 4.7.28 Gmail has detected an unusual rate of mail", Class::RateLimited, 5),
            (Step::Rcpt, "452 4.5.3 Too many recipients", Class::RateLimited, 5),
            (Step::Rcpt, "552 5.5.3 Too many recipients", Class::RateLimited, 5),
            (Step::Rcpt, "450 4.1.1 mailbox does not exist", Class::InvalidRecipient, 0),
            (Step::Body, "451 4.7.26 unauthenticated mail", Class::AuthPolicy, 0),
            (Step::Greeting, "421 4.3.2 shutting down", Class::Network, 0),
            (Step::Mail, "421 closing", Class::Network, 0),
            (Step::Mail, "451 local error", Class::Unknown, 0),
            (Step::Auth, "535 5.7.8 Bad credentials", Class::RelayDenied, 0),
            (Step::Data, "250 what?", Class::Network, 0),
        ];
        for (step, line, class, wait) in cases {
            let expected = Ruling::Defer { class, not_before: minutes(wait) };
            assert_eq!(ruling(step, line), expected, "{step:?} {line}");
        }
    }

    #[test]
    fn no_text_of_a_dead_address_suppresses_before_the_recipient_is_named() {
        for step in [Step::Greeting, Step::Ehlo, Step::Mail] {
            for (_, sample) in [(0, "550 User unknown"), (1, "550 5.2.1 account disabled")] {
                let Ruling::Bounce { suppress, .. } = ruling(step, sample) else { panic!("a bounce") };
                assert_eq!(suppress, Suppress::Never, "{step:?} {sample}");
            }
        }
    }

    const STEPS: [Step; 11] = [
        Step::Route,
        Step::Prepare,
        Step::Connect,
        Step::Greeting,
        Step::Ehlo,
        Step::StartTls,
        Step::Auth,
        Step::Mail,
        Step::Rcpt,
        Step::Data,
        Step::Body,
    ];

    proptest::proptest! {
        #[test]
        fn only_a_permanent_word_on_the_recipient_suppresses_it_whatever_a_peer_says(
            step in proptest::sample::select(&STEPS),
            code in 200u16..600,
            text in "([245]\\.[0-9]{1,3}\\.[0-9]{1,3} )?((user|mailbox|unknown|full|quota|blocked|spam|rate|limit|disabled|reputation|[a-z]{1,8}|\\PC) ?){0,12}",
        ) {
            let reply = SmtpReply::from_lines(code, [text.as_str()]);
            match classify(step, &reply) {
                Ruling::Delivered => proptest::prop_assert!(false, "a refusal is no delivery"),
                Ruling::Defer { not_before, .. } => {
                    proptest::prop_assert!((Duration::ZERO..=Duration::hours(1)).contains(&not_before));
                }
                Ruling::Bounce { suppress, hardness, .. } => {
                    proptest::prop_assert!(code >= 500);
                    proptest::prop_assert!(suppress != Suppress::Now || (step >= Step::Rcpt && hardness == Hardness::Hard));
                }
            }
            let is_final = matches!(classify_notice(step, &reply), Ruling::Bounce { .. });
            proptest::prop_assert!(is_final, "a notice is the last word");
        }
    }
}
