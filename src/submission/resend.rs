//! Sending a stored message again: the same content to the same recipients, as a new message with a new date
//! and Message-ID, so that receivers do not take it for a copy.

use bytes::Bytes;
use time::Duration;

use crate::domain::delivery::Priority;
use crate::domain::handling::Handling;
use crate::domain::id::{MessageId, TenantId};
use crate::domain::submission::{Content, Options, Recipients, Sending, StreamName, Submission};
use crate::mail::{EmailAddress, Mailbox, identity};
use crate::store::StoreError;
use crate::store::messages::{self, MessageRow};

use super::{Accept, AcceptError, Answer, Caller, Request};

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
    recipients: Vec<String>,
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
    let submission = Submission {
        from: None,
        reply_to: Vec::new(),
        recipients: Recipients { to: mailboxes(&original.recipients), ..Recipients::default() },
        content: Content::Raw(Bytes::from(identity::without_identity(&raw))),
        options: options(&original.row),
    };
    let request = Request { items: vec![Ok(submission)], key: None };
    accept.accept(caller, request).await.map(Resent::Answer)
}

async fn read(accept: &Accept, tenant: TenantId, message: MessageId) -> Result<Option<Original>, StoreError> {
    let mut connection = accept.database.serve().acquire().await?;
    let Some(row) = messages::find(&mut connection, tenant, message).await? else { return Ok(None) };
    let raw = messages::raw(&mut connection, tenant, message).await?;
    let born = messages::born(&mut connection, tenant, message, accept.clock.now()).await?;
    Ok(Some(Original { row, raw, recipients: born.into_iter().map(|delivery| delivery.recipient).collect() }))
}

fn mailboxes(recipients: &[String]) -> Vec<Mailbox> {
    let addresses = recipients.iter().filter_map(|text| EmailAddress::parse(text).ok());
    addresses.map(|address| Mailbox { name: None, address }).collect()
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
    options
}
