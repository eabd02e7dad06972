//! What may be accepted: limits, rights, and what depends on the clock. The form of fields was checked when
//! they were parsed.

use time::OffsetDateTime;

use crate::domain::id::MAX_DELIVERIES;
use crate::domain::identity::senders::Standing;
use crate::domain::key::KeyMode;
use crate::domain::submission::{
    Content, MAX_AHEAD, MAX_TTL, MIN_TTL, Options, Parts, Recipients, Sending, Submission,
};

use super::{By, Caller, Limits, Rejected, Violation};

/// Who may send as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderPolicy {
    /// Everybody as anybody: for capture, and behind a relay that checks.
    Any,
    /// From and Sender must be at a verified domain of the tenant, or below one.
    Verified,
}

/// What is said of a mail for nobody.
pub const NO_RECIPIENT: &str = "at least one recipient is needed, in to, cc or bcc";

/// A submission that may be accepted.
pub(super) struct Checked(pub Submission);

/// How large the mail will be, roughly: enough to know where to compose it.
pub(super) fn rough_size(submission: &Submission) -> usize {
    match &submission.content {
        Content::Raw(raw) => raw.len(),
        Content::Parts(parts) => {
            let texts =
                parts.text.as_ref().map_or(0, String::len) + parts.html.as_ref().map_or(0, String::len);
            texts + parts.attachments.iter().map(|file| file.size() / 3 * 4).sum::<usize>()
        }
    }
}

/// How much work the mail is, in octets that would take as long to compose.
pub(super) fn work(submission: &Submission) -> usize {
    let renderings = match &submission.content {
        Content::Parts(Parts { rendering: Some(_), .. }) => submission.recipients.personal.len().max(1),
        _ => 0,
    };
    rough_size(submission) + renderings * super::render::WORK
}

/// Checks what the caller may do and what the clock allows; names everything that is wrong.
pub(super) fn check(
    caller: &Caller,
    limits: &Limits,
    mut submission: Submission,
    now: OffsetDateTime,
) -> Result<Checked, Rejected> {
    if caller.mode == KeyMode::Test {
        submission.options.sending = Sending::Sandbox;
    }
    if rough_size(&submission) > limits.max_message_bytes {
        return Err(Rejected::too_large(limits.max_message_bytes));
    }
    let mut violations = beyond_limits(&submission.recipients, &submission.options, now);
    if submission.recipients.is_empty() {
        violations.insert(0, Violation::new("/to", "required", NO_RECIPIENT));
    }
    if !violations.is_empty() {
        return Err(Rejected::invalid(violations));
    }
    // The sender of raw MIME without an envelope sender is known once it is read.
    if let Some(from) = &submission.from {
        check_sender(caller, limits, from.address.domain(), "/from")?;
    }
    let stream = submission.options.stream.as_str();
    if !caller.limits.allows_stream(stream) {
        let message = format!("this key may not use the stream {stream}");
        return Err(Rejected::forbidden(Violation::new("/stream", "stream_not_allowed", message)));
    }
    let applied = limits.streams.apply(caller.tenant, &mut submission.options);
    applied.map_err(|violation| Rejected::invalid(vec![violation]))?;
    Ok(Checked(submission))
}

/// Whether the caller may send as this domain.
pub(super) fn check_sender(
    caller: &Caller,
    limits: &Limits,
    domain: &str,
    pointer: &str,
) -> Result<(), Rejected> {
    if caller.by == By::Postroad {
        return Ok(());
    }
    if !caller.limits.allows_domain(domain) {
        let message = format!("this key may not send as {domain}");
        return Err(Rejected::forbidden(Violation::new(pointer, "domain_not_allowed", message)));
    }
    let must_be_verified = limits.sender_policy == SenderPolicy::Verified;
    match limits.senders.find(caller.tenant, domain) {
        Some(sender) if sender.standing == Standing::Paused => {
            let message = format!("{} is paused: resume it to send as it", sender.name);
            Err(Rejected::forbidden(Violation::new(pointer, "domain_paused", message)))
        }
        None if must_be_verified => {
            let message = format!(
                "{domain} is not a verified domain of this tenant: add it with POST /v1/domains, publish its records and verify it"
            );
            Err(Rejected::forbidden(Violation::new(pointer, "sender_not_verified", message)))
        }
        _ => Ok(()),
    }
}

/// Which counts and times are more than a mail may have, however well they are written.
pub fn beyond_limits(recipients: &Recipients, options: &Options, now: OffsetDateTime) -> Vec<Violation> {
    let mut found = Vec::new();
    let pointer = if recipients.personal.is_empty() { "/to" } else { "/recipients" };
    let recipients = recipients.count();
    if recipients > MAX_DELIVERIES {
        let message = format!("a mail has at most {MAX_DELIVERIES} recipients, this one has {recipients}");
        found.push(Violation::new(pointer, "too_many_recipients", message));
    }
    if options.send_at.is_some_and(|at| at > now + MAX_AHEAD) {
        found.push(Violation::new("/send_at", "too_far_ahead", "mail can be scheduled up to 30 days ahead"));
    }
    if !(MIN_TTL..=MAX_TTL).contains(&options.ttl) {
        let (least, most) = (MIN_TTL.whole_seconds(), MAX_TTL.whole_seconds());
        let message = format!("the time to live is {least} to {most} seconds");
        found.push(Violation::new("/ttl_seconds", "out_of_range", message));
    }
    found
}
