//! Sending a stored message again: the same content to the same recipients, as a new message with a new date
//! and Message-ID, so that receivers do not take it for a copy.

use bytes::Bytes;
use time::Duration;

use crate::domain::blueprint::{Blueprint, Marked, Template, Wording};
use crate::domain::delivery::{Priority, Role};
use crate::domain::handling::{Form, Handling, Particulars};
use crate::domain::id::{MessageId, TenantId};
use crate::domain::submission::{
    Content, Options, Parts, Personal, Recipients, Rendering, Sending, StreamName, Submission, Watch, Words,
};
use crate::mail::{CustomHeaders, EmailAddress, Mailbox, identity};
use crate::render::{Gaps, Rendered};
use crate::store::StoreError;
use crate::store::blueprint::blueprint;
use crate::store::messages::{self, MessageRow};
use crate::store::recipients::{self, Recipient};

use super::{Accept, AcceptError, Answer, Caller, Request, Unit};

/// What became of it.
#[derive(Debug)]
pub enum Resent {
    /// The tenant has no such message.
    NotFound,
    /// Its content has left by retention.
    NoContent,
    /// As for any submission.
    Answer(Answer),
}

struct Original {
    row: MessageRow,
    raw: Option<Vec<u8>>,
    recipients: Vec<Recipient>,
}

/// Sends a message again.
///
/// # Errors
/// See [`AcceptError`].
pub async fn resend(accept: &Accept, caller: &Caller, message: MessageId) -> Result<Resent, AcceptError> {
    let Some(original) = read(accept, caller.tenant, message).await? else {
        return Ok(Resent::NotFound);
    };
    let Some(raw) = original.raw else { return Ok(Resent::NoContent) };
    let options = options(&original.row);
    let submission = match options.handling.form {
        Form::Finished => as_it_was(&raw, &original.recipients, options),
        Form::Blueprint => match blueprint(&raw) {
            Some(blueprint) => personal(blueprint, original.recipients, options),
            None => return Ok(Resent::NoContent),
        },
    };
    let request = Request { items: vec![Ok(submission)], key: None, unit: Unit::Each };
    accept.accept(caller, request).await.map(Resent::Answer)
}

async fn read(accept: &Accept, tenant: TenantId, message: MessageId) -> Result<Option<Original>, StoreError> {
    let mut connection = accept.database.serve().acquire().await?;
    let Some(row) = messages::find(&mut connection, tenant, message).await? else { return Ok(None) };
    let raw = messages::raw(&mut connection, tenant, message).await?;
    let recipients = recipients::of(&mut connection, tenant, message).await?;
    Ok(Some(Original { row, raw, recipients }))
}

fn as_it_was(raw: &[u8], recipients: &[Recipient], options: Options) -> Submission {
    Submission {
        from: None,
        reply_to: Vec::new(),
        recipients: Recipients {
            to: recipients.iter().filter_map(mailbox).collect(),
            ..Recipients::default()
        },
        content: Content::Raw(Bytes::from(identity::without_identity(raw))),
        options,
    }
}

fn mailbox(recipient: &Recipient) -> Option<Mailbox> {
    let address = EmailAddress::parse(&recipient.address).ok()?;
    Some(Mailbox { name: None, address })
}

/// The same blueprint for the same recipients: each mail is composed anew, with another date and Message-ID.
fn personal(blueprint: Blueprint, recipients: Vec<Recipient>, options: Options) -> Submission {
    let Blueprint { from, reply_to, wording, headers, attachments, date: _ } = blueprint;
    let headers = CustomHeaders { others: headers, ..CustomHeaders::default() };
    let parts = match wording {
        Wording::Verbatim(Rendered { subject, text, html, amp: _ }) => {
            Parts { subject, text, html, headers, attachments, rendering: None }
        }
        Wording::Tokens(marked) => {
            let Marked { contents: Rendered { subject, text, html, amp: _ }, variables } = *marked;
            let rendering = Some(Box::new(Rendering { of: Words::Tokens, variables, gaps: Gaps::Empty }));
            Parts { subject, text, html, headers, attachments, rendering }
        }
        Wording::Template(template) => {
            let Template { source, variables, gaps, .. } = *template;
            let of = Words::Stored(Box::new(source));
            let rendering = Some(Box::new(Rendering { of, variables, gaps }));
            Parts { headers, attachments, rendering, ..Parts::default() }
        }
    };
    Submission {
        from: Some(from),
        reply_to,
        recipients: Recipients { personal: own_mails(recipients), ..Recipients::default() },
        content: Content::Parts(parts),
        options,
    }
}

/// The deliveries of one mail together again.
fn own_mails(recipients: Vec<Recipient>) -> Vec<Personal> {
    let mut mails: Vec<(u16, Personal)> = Vec::new();
    for recipient in recipients {
        let blind = mailbox(&recipient).filter(|_| recipient.role == Role::Bcc);
        let Particulars { variables, metadata, own, .. } = recipient.particulars;
        let Some(own) = own else { continue };
        if mails.last().is_none_or(|(ordinal, _)| *ordinal != own.ordinal) {
            let mail = Personal { to: own.to, cc: own.cc, bcc: Vec::new(), variables, metadata };
            mails.push((own.ordinal, mail));
        }
        if let Some((_, mail)) = mails.last_mut() {
            mail.bcc.extend(blind);
        }
    }
    mails.into_iter().map(|(_, mail)| mail).collect()
}

fn options(row: &MessageRow) -> Options {
    let mut options = Options { tags: row.tags.clone(), ..Options::default() };
    options.priority = Priority::from_number(row.priority);
    options.ttl = Duration::seconds(row.ttl_seconds.into());
    if let Ok(stream) = StreamName::parse(&row.stream) {
        options.stream = stream;
    }
    if row.sandbox {
        options.sending = Sending::Sandbox;
    }
    let entries = row.metadata.as_object().into_iter().flatten();
    options.metadata =
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    // Whoever handed it in first awaits no notices about what somebody else sends again.
    options.handling = Handling { envelope: None, ..row.handling() };
    // What is watched was decided when it was accepted.
    options.watch = Watch::AsSaid;
    options
}
