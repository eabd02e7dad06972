//! What is asked of delivery beyond carrying a mail: of the whole message, and for one recipient alone. Stored
//! beside them as one optional document each, so that a new wish changes neither the hot tables nor the
//! statements that fill them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::mail::Mailbox;

use super::id::TemplateId;

/// What is asked for a whole message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handling {
    /// What is watched.
    pub tracking: Tracking,
    /// Where links are watched, if they are.
    pub watched_links: WatchedLinks,
    /// How its way is to be protected.
    pub transport: Transport,
    /// In which form its content is stored.
    pub form: Form,
    /// Of which template it is made.
    pub template: Option<TemplateId>,
    /// How its recipients may leave: decided by its stream.
    pub unsubscribe: Unsubscribe,
    /// The envelope it was submitted with by SMTP; `None`: it came another way, and nobody awaits notices.
    pub envelope: Option<SubmittedEnvelope>,
    /// Whom a peer may tell about it.
    pub bounces: Bounces,
    /// The domain that passes it on for its owner, and answers for it; `None`: nobody else wrote it. Such mail is
    /// not changed, and its return path stands for its own sender's.
    pub passed_on_by: Option<String>,
    /// Who may read it.
    pub readers: Readers,
}

/// Who may read the content of a message that is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readers {
    /// Whoever may read the tenant's messages.
    #[default]
    Tenant,
    /// Its recipients alone: it holds a secret of theirs, such as a link that sets a password.
    Recipients,
}

/// In which form the content of a message is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// As it is sent: RFC 5322, the same for all recipients.
    #[default]
    Finished,
    /// As what each recipient's own mail is composed of: see [`Blueprint`](super::blueprint::Blueprint).
    Blueprint,
}

/// Whom a peer may tell about a mail: what MAIL FROM says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bounces {
    /// Us: MAIL FROM leads back to the delivery.
    #[default]
    ToUs,
    /// Nobody: MAIL FROM is null. The mail is a notice itself, and is not answered by another (RFC 5321 §4.5.5).
    ToNobody,
}

/// What is watched of a mail once it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Whether it is opened.
    pub opens: bool,
    /// Which of its links are followed.
    pub clicks: bool,
}

/// Where links are watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WatchedLinks {
    /// In HTML, where readers do not see where they lead.
    #[default]
    Html,
    /// In the text as well.
    HtmlAndText,
}

/// How the way to the recipient is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// As the peer's own policy and the route have it.
    #[default]
    AsOffered,
    /// Over verified TLS, or not at all.
    RequireTls,
}

impl Transport {
    /// As a setting has it.
    pub fn required(require_tls: bool) -> Transport {
        if require_tls { Transport::RequireTls } else { Transport::AsOffered }
    }

    /// The same, the other way round.
    pub fn is_required(self) -> bool {
        self == Transport::RequireTls
    }

    /// The stricter of two.
    pub fn or(self, other: Transport) -> Transport {
        Transport::required(self.is_required() || other.is_required())
    }
}

/// How recipients may leave the stream of a mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unsubscribe {
    /// The mail does not say.
    #[default]
    None,
    /// By a link in its header, at once (RFC 8058).
    OneClick,
}

/// What the envelope of SMTP said about notices (RFC 3461 §4.3, §4.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmittedEnvelope {
    /// Where notices go: MAIL FROM; `None`: it was null, and nobody is told.
    pub sender: Option<String>,
    /// How much of the mail a notice of failure gives back.
    pub ret: Option<Ret>,
    /// ENVID as it was written, in xtext: the sender's own name for the envelope.
    pub envid: Option<String>,
}

/// How much of the mail a notice of failure gives back (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// The header.
    Headers,
}

impl Ret {
    /// As MAIL has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ret::Full => "FULL",
            Ret::Headers => "HDRS",
        }
    }
}

/// Of what the sender wants to hear about one recipient (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notify {
    /// That the mail was delivered, or handed on to where nobody tells more.
    pub success: bool,
    /// That it will not be.
    pub failure: bool,
    /// That it takes longer.
    pub delay: bool,
}

impl Notify {
    /// Of nothing.
    pub const NEVER: Notify = Notify { success: false, failure: false, delay: false };

    /// As RCPT has it.
    pub fn keywords(self) -> String {
        let all = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let chosen: Vec<&str> = all.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name).collect();
        if chosen.is_empty() { "NEVER".to_owned() } else { chosen.join(",") }
    }

    /// What a peer is asked: as the sender wants it, and of every failure, since we have to know.
    pub fn to_peer(self) -> Notify {
        Notify { failure: true, ..self }
    }
}

impl std::str::FromStr for Notify {
    type Err = BadNotify;

    /// Reads the value of NOTIFY: NEVER alone, or a list without it.
    fn from_str(text: &str) -> Result<Notify, BadNotify> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Notify::NEVER);
        }
        let mut notify = Notify::NEVER;
        for keyword in text.split(',') {
            let wanted = match keyword.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut notify.success,
                "FAILURE" => &mut notify.failure,
                "DELAY" => &mut notify.delay,
                _ => return Err(BadNotify),
            };
            *wanted = true;
        }
        Ok(notify)
    }
}

/// Not a value of NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY")]
pub struct BadNotify;

/// What is one recipient's alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Particulars {
    /// Values for the template, over those of the message.
    pub variables: Map<String, Value>,
    /// The caller's own data about this recipient, over that of the message.
    pub metadata: BTreeMap<String, String>,
    /// The header of the mail that this recipient gets, where each gets one of its own.
    pub own: Option<OwnMail>,
    /// Of what the sender wants to hear; `None`: NOTIFY was not given.
    pub notify: Option<Notify>,
    /// ORCPT as it was written: an address type, `;`, and the address in xtext (RFC 3461 §4.2).
    pub orcpt: Option<String>,
}

/// Of a mail that is one recipient's own: what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMail {
    /// The ordinal of its addressee's delivery: all its copies are one mail, with one Message-ID.
    pub ordinal: u16,
    /// The addressee.
    pub to: Mailbox,
    /// Copies, seen by all who get it.
    pub cc: Vec<Mailbox>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_reads_back_and_never_stands_alone() {
        for (text, read) in
            [("never", "NEVER"), ("Success", "SUCCESS"), ("DELAY,SUCCESS,FAILURE", "SUCCESS,FAILURE,DELAY")]
        {
            assert_eq!(text.parse::<Notify>().map(Notify::keywords).as_deref(), Ok(read));
        }
        for bad in ["", "NEVER,SUCCESS", "SUCCESS,", "SUCCESS DELAY", "SOMETIMES"] {
            assert_eq!(bad.parse::<Notify>(), Err(BadNotify), "{bad:?}");
        }
        assert_eq!(Notify::NEVER.to_peer().keywords(), "FAILURE");
    }
}
