//! From a checked submission to a message ready to be stored.

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use crate::domain::blueprint::Blueprint;
use crate::domain::delivery::Role;
use crate::domain::handling::{Form as StoredForm, Handling, Tracking, Transport, Unsubscribe};
use crate::domain::handoff::Outgoing;
use crate::domain::id::{Lane, MessageId, TemplateId};
use crate::domain::message::{Addresses, NewDelivery, NewMessage};
use crate::domain::submission::{Content, Parts, Personal, Submission};
use crate::mail::compose::{self, ComposeError, Draft};
use crate::mail::raw::{self, Defaults, RawError};
use crate::mail::{EmailAddress, Mailbox};

use crate::store::blueprint::blueprint_octets;

use super::check::{Checked, check_sender};
use super::render::Sources;
use super::streams::watch_by_domain;
use super::{Caller, Limits, Rejected, Violation, personal, render};

/// What composing gives, whichever way the content came.
struct Form {
    raw: Vec<u8>,
    blueprint: Option<Arc<Blueprint>>,
    template: Option<TemplateId>,
    message_id: String,
    subject: String,
    from: Mailbox,
    addresses: Addresses,
    needs_smtputf8: bool,
    eight_bit: bool,
    protected: bool,
}

/// Composes, or takes in what the caller composed.
pub(super) fn compose(
    caller: &Caller,
    limits: &Limits,
    Checked(mut submission): Checked,
    sources: &Sources,
    now: OffsetDateTime,
    lane: Lane,
) -> Result<NewMessage, Rejected> {
    let id = MessageId::in_lane(now, lane);
    let form = match &submission.content {
        Content::Parts(parts) if !submission.recipients.personal.is_empty() => {
            from_personal(limits, &submission, parts, sources, id, now)?
        }
        Content::Parts(parts) => from_parts(&submission, parts, sources, id, now)?,
        Content::Raw(raw) => from_raw(caller, limits, &submission, raw, id, now)?,
    };
    if form.raw.len() > limits.max_message_bytes {
        return Err(Rejected::too_large(limits.max_message_bytes));
    }
    if let Some(sender) = limits.senders.find(caller.tenant, form.from.address.domain()) {
        watch_by_domain(&sender, &mut submission.options);
    }
    let demanded = demanded(caller, limits, form.from.address.domain());
    submission.options.handling.transport = submission.options.handling.transport.or(demanded);
    Ok(message(caller, submission, form, id))
}

/// How the way of a mail is protected by its tenant's, and its sender domain's, own word.
fn demanded(caller: &Caller, limits: &Limits, domain: &str) -> Transport {
    let sender = limits.senders.find(caller.tenant, domain);
    let of_sender = sender.map_or(Transport::AsOffered, |sender| sender.transport);
    limits.streams.transport_of(caller.tenant).or(of_sender)
}

fn message(caller: &Caller, submission: Submission, form: Form, id: MessageId) -> NewMessage {
    let deliveries = match submission.recipients.personal.as_slice() {
        [] => deliveries(&submission, &form.addresses, id),
        personal => personal::deliveries(personal, id),
    };
    let options = submission.options;
    let passed_on_by = options.handling.passed_on_by.clone();
    let handling = Handling {
        form: if form.blueprint.is_some() { StoredForm::Blueprint } else { StoredForm::Finished },
        template: form.template.or(options.handling.template),
        ..own_wishes(options.handling)
    };
    NewMessage {
        key: caller.by.key(),
        outgoing: Arc::new(Outgoing {
            id,
            tenant: caller.tenant,
            stream: options.stream.as_str().to_owned(),
            sender_domain: passed_on_by.unwrap_or_else(|| form.from.address.domain().to_owned()),
            raw: Bytes::from(form.raw),
            blueprint: form.blueprint,
            needs_smtputf8: form.needs_smtputf8,
            eight_bit: form.eight_bit,
            protected: form.protected,
            handling,
            head: OnceCell::new(),
        }),
        message_id: form.message_id,
        sender: form.from.address.as_str().to_owned(),
        subject: form.subject,
        addresses: form.addresses,
        priority: options.priority,
        tags: options.tags,
        metadata: options.metadata,
        // What was due in the past is due now.
        send_at: options.send_at.filter(|at| *at > id.born()),
        ttl: options.ttl,
        sending: options.sending,
        deliveries,
    }
}

/// What a stream has for its mail does not touch what somebody else wrote.
fn own_wishes(handling: Handling) -> Handling {
    match handling.passed_on_by {
        Some(_) => {
            Handling { tracking: Tracking::default(), unsubscribe: Unsubscribe::default(), ..handling }
        }
        None => handling,
    }
}

fn deliveries(submission: &Submission, addresses: &Addresses, id: MessageId) -> Vec<NewDelivery> {
    let in_header = |list: &[String], address: &EmailAddress| {
        let wanted = address.key();
        list.iter()
            .filter_map(|text| Mailbox::parse(text).ok())
            .any(|mailbox| mailbox.address.key() == wanted)
    };
    let is_raw = matches!(submission.content, Content::Raw(_));
    let role = |role: Role, address: &EmailAddress| match role {
        // The envelope of raw MIME does not say who is an addressee: its header does.
        Role::To if is_raw && in_header(&addresses.to, address) => Role::To,
        Role::To if is_raw && in_header(&addresses.cc, address) => Role::Cc,
        Role::To if is_raw => Role::Bcc,
        role => role,
    };
    let distinct = submission.recipients.distinct().into_iter();
    (1..)
        .zip(distinct)
        .map(|(ordinal, (given, recipient))| NewDelivery {
            id: id.delivery(ordinal),
            role: role(given, recipient),
            recipient: recipient.clone(),
            particulars: submission.recipients.particulars.get(&recipient.key()).cloned().unwrap_or_default(),
            suppressed_as: None,
        })
        .collect()
}

fn from_parts(
    submission: &Submission,
    parts: &Parts,
    sources: &Sources,
    id: MessageId,
    now: OffsetDateTime,
) -> Result<Form, Rejected> {
    let from = author(submission)?;
    let rendered =
        parts.rendering.as_ref().map(|rendering| render::once(parts, rendering, sources)).transpose()?;
    let (template, words) = rendered.map_or((None, None), |(template, words)| (template, Some(words)));
    let subject = words.as_ref().map_or(&parts.subject, |words| &words.subject);
    let recipients = &submission.recipients;
    let message_id =
        parts.headers.message_id.clone().unwrap_or_else(|| own_message_id(id, from.address.domain()));
    let draft = Draft {
        from: &from,
        reply_to: &submission.reply_to,
        to: &recipients.to,
        cc: &recipients.cc,
        subject,
        text: words.as_ref().map_or(&parts.text, |words| &words.text).as_deref(),
        html: words.as_ref().map_or(&parts.html, |words| &words.html).as_deref(),
        amp: words.as_ref().and_then(|words| words.amp.as_deref()),
        attachments: &parts.attachments,
        headers: &parts.headers.others,
        message_id: &message_id,
        date: date(submission, parts, now),
        boundary_seed: id.uuid().as_u128(),
    };
    let raw = compose::compose(&draft).map_err(|error| rejected_draft(&error))?;
    let needs_smtputf8 = draft.needs_smtputf8();
    Ok(Form {
        eight_bit: !raw.is_ascii(),
        raw,
        blueprint: None,
        template,
        message_id: format!("<{message_id}>"),
        subject: subject.clone(),
        addresses: Addresses {
            from: from.to_string(),
            reply_to: texts(&submission.reply_to),
            to: texts(&recipients.to),
            cc: texts(&recipients.cc),
            bcc: texts(&recipients.bcc),
        },
        from,
        needs_smtputf8,
        protected: false,
    })
}

/// Each recipient's own mail: looked at for everyone, stored once.
fn from_personal(
    limits: &Limits,
    submission: &Submission,
    parts: &Parts,
    sources: &Sources,
    id: MessageId,
    now: OffsetDateTime,
) -> Result<Form, Rejected> {
    let from = author(submission)?;
    if parts.headers.message_id.is_some() {
        let message = "each recipient's mail has a Message-ID of its own";
        return Err(Rejected::invalid(vec![Violation::new(
            "/headers/Message-ID",
            "not_with_recipients",
            message,
        )]));
    }
    let (wording, template, pointers) = personal::wording(parts, sources)?;
    let blueprint = Blueprint {
        from: from.clone(),
        reply_to: submission.reply_to.clone(),
        wording,
        headers: parts.headers.others.clone(),
        attachments: parts.attachments.clone(),
        date: date(submission, parts, now),
    };
    let personal = submission.recipients.personal.as_slice();
    let examined = personal::examine(&blueprint, id, personal, sources, pointers)?;
    if examined.largest > limits.max_message_bytes {
        return Err(Rejected::too_large(limits.max_message_bytes));
    }
    let raw = blueprint_octets(&blueprint);
    // Each recipient's own address is looked at when it is his turn; these are in every header.
    let in_headers =
        std::iter::once(&from).chain(&submission.reply_to).chain(personal.iter().flat_map(|own| &own.cc));
    let needs_smtputf8 = in_headers.into_iter().any(|mailbox| mailbox.address.needs_smtputf8());
    let addressees = personal.iter().any(|own| own.to.address.needs_smtputf8());
    let lists =
        |list: fn(&Personal) -> &[Mailbox]| personal.iter().flat_map(list).map(ToString::to_string).collect();
    Ok(Form {
        eight_bit: needs_smtputf8 || addressees,
        raw,
        blueprint: Some(Arc::new(blueprint)),
        template,
        message_id: format!("<{}>", own_message_id(id, from.address.domain())),
        subject: examined.subject,
        addresses: Addresses {
            from: from.to_string(),
            reply_to: texts(&submission.reply_to),
            to: lists(|own| std::slice::from_ref(&own.to)),
            cc: lists(|own| &own.cc),
            bcc: lists(|own| &own.bcc),
        },
        from,
        needs_smtputf8,
        protected: false,
    })
}

fn author(submission: &Submission) -> Result<Mailbox, Rejected> {
    let missing = || Rejected::invalid(vec![Violation::new("/from", "required", "the author is needed")]);
    submission.from.clone().ok_or_else(missing)
}

/// What the Date field says: when the mail is to be sent, if the caller does not say otherwise.
fn date(submission: &Submission, parts: &Parts, now: OffsetDateTime) -> OffsetDateTime {
    let send_at = submission.options.send_at.filter(|at| *at > now);
    parts.headers.date.unwrap_or_else(|| send_at.unwrap_or(now))
}

fn from_raw(
    caller: &Caller,
    limits: &Limits,
    submission: &Submission,
    raw: &[u8],
    id: MessageId,
    now: OffsetDateTime,
) -> Result<Form, Rejected> {
    let envelope_domain = submission.from.as_ref().map(|from| from.address.domain());
    let message_id = own_message_id(id, envelope_domain.unwrap_or("postroad.invalid"));
    let accepted =
        raw::accept(raw, &Defaults { date: now, message_id: &message_id }).map_err(rejected_raw)?;
    // Every author is checked, and who is said to have sent it; the envelope's sender was: no one hides behind the
    // first name.
    for author in accepted.from.iter().chain(&accepted.sender) {
        check_sender(caller, limits, author.address.domain(), "/from")?;
    }
    let from = accepted.author.clone();
    let envelope = texts(&submission.recipients.to);
    let (to, cc) = (texts(&accepted.to), texts(&accepted.cc));
    let shown = |address: &String| {
        Mailbox::parse(address).is_ok_and(|mailbox| {
            accepted.to.iter().chain(&accepted.cc).any(|known| known.address.key() == mailbox.address.key())
        })
    };
    let bcc = envelope.into_iter().filter(|address| !shown(address)).collect();
    Ok(Form {
        blueprint: None,
        template: None,
        message_id: format!("<{}>", accepted.message_id),
        subject: accepted.subject.unwrap_or_default(),
        addresses: Addresses { from: from.to_string(), reply_to: Vec::new(), to, cc, bcc },
        from,
        needs_smtputf8: accepted.needs_smtputf8,
        eight_bit: accepted.has_eight_bit,
        protected: accepted.protected,
        raw: traced(submission.options.trace.as_deref(), accepted.bytes),
    })
}

/// The mail below the field that tells how it came in.
fn traced(trace: Option<&str>, bytes: Vec<u8>) -> Vec<u8> {
    match trace {
        Some(trace) => [trace.as_bytes(), &bytes].concat(),
        None => bytes,
    }
}

/// The Message-ID we give: unique by the id, and at the sender's own domain.
fn own_message_id(id: MessageId, domain: &str) -> String {
    // An address literal may stand right of the @ as well (RFC 5322 §3.6.4: no-fold-literal).
    format!("{}@{domain}", id.uuid().simple())
}

fn texts(mailboxes: &[Mailbox]) -> Vec<String> {
    mailboxes.iter().map(ToString::to_string).collect()
}

pub(super) fn rejected_draft(error: &ComposeError) -> Rejected {
    let (pointer, code) = match error {
        ComposeError::Subject(_) => ("/subject", "invalid_subject"),
        ComposeError::Name(_) => ("/from", "invalid_name"),
        ComposeError::MessageId => ("/headers/Message-ID", "invalid_message_id"),
        ComposeError::Date => ("/headers/Date", "invalid_date"),
        ComposeError::ContentIdTwice(_) => ("/attachments", "content_id_twice"),
    };
    Rejected::invalid(vec![Violation::new(pointer, code, error.to_string())])
}

fn rejected_raw(error: RawError) -> Rejected {
    let code = match error {
        RawError::NoFrom | RawError::From(_) | RawError::NoSender | RawError::Sender(_) => "invalid_from",
        RawError::Loop => "mail_loop",
        RawError::ProtectedEndings | RawError::ProtectedLine => "protected_content",
        _ => "invalid_message",
    };
    Rejected::invalid(vec![Violation::new("", code, error.to_string())])
}
