//! What an attempt means: whether the mail is delivered, to be tried again, or refused for good, and of what
//! class the refusal is. The rules that decide are in `classify`; here are their words.

use std::str::FromStr;

use time::{Duration, OffsetDateTime};

/// What kind of trouble a reply tells of. Class and action are apart: a reputation block may come as 4yz or
/// 5yz, and never says anything about the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BounceClass {
    /// The mailbox does not exist.
    InvalidRecipient,
    /// It exists and is disabled.
    InactiveMailbox,
    /// It is full.
    MailboxFull,
    /// The domain does not exist, or takes no mail.
    DomainNotFound,
    /// We send too fast for the peer.
    RateLimited,
    /// The peer wants us to come again.
    Greylisted,
    /// The peer distrusts our address or domain.
    ReputationBlock,
    /// The peer dislikes the content.
    SpamContent,
    /// SPF, DKIM, DMARC, PTR or TLS is not as the peer demands.
    AuthPolicy,
    /// The message itself is at fault: size, form, encoding.
    MessageInvalid,
    /// The peer will not relay for us, or wants other credentials: ours or the peer's configuration.
    RelayDenied,
    /// No connection, no TLS, no DNS answer, a broken dialogue.
    Network,
    /// It was tried until its time ran out.
    Expired,
    /// It repeatedly took a worker down, or could not be prepared.
    Internal,
    /// Anything else.
    Unknown,
}

impl BounceClass {
    /// All of them.
    pub const ALL: [BounceClass; 15] = [
        BounceClass::InvalidRecipient,
        BounceClass::InactiveMailbox,
        BounceClass::MailboxFull,
        BounceClass::DomainNotFound,
        BounceClass::RateLimited,
        BounceClass::Greylisted,
        BounceClass::ReputationBlock,
        BounceClass::SpamContent,
        BounceClass::AuthPolicy,
        BounceClass::MessageInvalid,
        BounceClass::RelayDenied,
        BounceClass::Network,
        BounceClass::Expired,
        BounceClass::Internal,
        BounceClass::Unknown,
    ];

    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            BounceClass::InvalidRecipient => "invalid_recipient",
            BounceClass::InactiveMailbox => "inactive_mailbox",
            BounceClass::MailboxFull => "mailbox_full",
            BounceClass::DomainNotFound => "domain_not_found",
            BounceClass::RateLimited => "rate_limited",
            BounceClass::Greylisted => "greylisted",
            BounceClass::ReputationBlock => "reputation_block",
            BounceClass::SpamContent => "spam_content",
            BounceClass::AuthPolicy => "auth_policy",
            BounceClass::MessageInvalid => "message_invalid",
            BounceClass::RelayDenied => "relay_denied",
            BounceClass::Network => "network",
            BounceClass::Expired => "expired",
            BounceClass::Internal => "internal",
            BounceClass::Unknown => "unknown",
        }
    }
}

impl FromStr for BounceClass {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<BounceClass, UnknownClass> {
        BounceClass::ALL.into_iter().find(|class| class.as_str() == text).ok_or(UnknownClass)
    }
}

/// Not the name of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a bounce class")]
pub struct UnknownClass;

/// Whether the address itself is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardness {
    /// The address will never work: remove it.
    Hard,
    /// This mail did not work; another may.
    Soft,
}

/// When a bounce puts the address on the suppression list. Only evidence about the *address* ever does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suppress {
    /// Never: it says nothing about the address.
    Never,
    /// At once.
    Now,
    /// When this many bounces of the class, this one included, came within 30 days.
    After(u8),
}

/// The ruling on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The peer took responsibility.
    Delivered,
    /// Try again, not sooner than this.
    Defer {
        /// Why.
        class: BounceClass,
        /// The least time to wait.
        not_before: Duration,
    },
    /// Do not try again.
    Bounce {
        /// Why.
        class: BounceClass,
        /// Whether the address is dead.
        hardness: Hardness,
        /// Whether it is suppressed.
        suppress: Suppress,
    },
}

/// The steps of an SMTP transaction at which it can end, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Finding the next hop.
    Route,
    /// Preparing the mail for this delivery.
    Prepare,
    /// The TCP connection.
    Connect,
    /// The peer's 220.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and the handshake.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, until 354.
    Data,
    /// The content and its final dot.
    Body,
}

impl Step {
    /// As the database and the API have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Route => "route",
            Step::Prepare => "prepare",
            Step::Connect => "connect",
            Step::Greeting => "greeting",
            Step::Ehlo => "ehlo",
            Step::StartTls => "starttls",
            Step::Auth => "auth",
            Step::Mail => "mail",
            Step::Rcpt => "rcpt",
            Step::Data => "data",
            Step::Body => "body",
        }
    }
}

/// One SMTP transaction, as it is kept for the tenant to read.
#[derive(Debug, Clone)]
pub struct AttemptReport {
    /// When it began.
    pub started_at: OffsetDateTime,
    /// How long it took.
    pub duration_ms: i32,
    /// How far it came.
    pub step: Step,
    /// The peer's name, if one was found.
    pub host: Option<String>,
    /// The peer's address, if one was dialled.
    pub ip: Option<std::net::IpAddr>,
    /// The address of ours that it was dialled from; `None`: whichever the system picked.
    pub source: Option<std::net::IpAddr>,
    /// Version, cipher and verification; `None`: in clear.
    pub tls: Option<String>,
    /// The reply's three digits; `None`: there was no reply.
    pub code: Option<u16>,
    /// The reply's enhanced code (RFC 3463).
    pub enhanced: Option<String>,
    /// The reply's text, or what went wrong: one line, control characters escaped.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_reads_back() {
        for class in BounceClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
        }
    }
}
