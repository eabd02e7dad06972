//! Mail that is kept: for a route, or for whoever runs this installation. The mail, its event, and what it is still to
//! bring about (being posted or passed on) are written together.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::filter::Measure;
use crate::domain::id::{InboundId, InboundRouteId, TenantId};
use crate::domain::inbound::{Action, InboundRoute};
use crate::mail::{returned, trace};
use crate::store::inbound::{self, NewInbound};
use crate::store::inbound_calls::{self, CallKind};
use crate::store::{PgConnection, StoreError};

use super::inbox::Examined;
use super::screen::Screened;

/// The most characters of a field that are kept beside the mail.
const MAX_FIELD: usize = 998;

/// Keeps a mail for a tenant, unless a filter says otherwise: then its event alone is written.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn keep(
    connection: &mut PgConnection,
    (examined, screened): (&Examined<'_>, &Screened),
    owner: Owner<'_>,
    recipient: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let id = InboundId::new(now);
    let mail = examined.mail;
    let raw = examined.with_trace(&id.to_string(), recipient, screened, now);
    let new = NewInbound {
        id,
        tenant: owner.tenant(),
        route: owner.route().map(|route| route.id),
        peer: mail.peer,
        helo: mail.helo,
        tls: mail.tls,
        sender: mail.sender,
        recipient,
        author: field(mail.raw, "From"),
        subject: field(mail.raw, "Subject"),
        message_id: field(mail.raw, "Message-ID"),
        verdicts: examined.verdicts.json.clone(),
        kind: returned::kind(mail.raw, mail.envelope()),
        filtered: screened.stored(),
        raw: &raw,
    };
    inbound::tell(connection, &new, &event(&new, owner, screened)).await?;
    if screened.fate.is_some() {
        return Ok(());
    }
    inbound::insert(connection, &new).await?;
    match owner.call() {
        Some(kind) => inbound_calls::insert(connection, (new.tenant, id), new.route, kind, now).await,
        None => Ok(()),
    }
}

/// Whose a mail is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// The tenant's of a route.
    Route(&'a InboundRoute),
    /// Whoever runs this installation: the tenant it began with.
    Operator(TenantId),
    /// The same, for somebody whose mail was passed on: it goes back to him.
    Stranger(TenantId),
}

impl<'a> Owner<'a> {
    fn tenant(self) -> TenantId {
        match self {
            Owner::Route(route) => route.tenant,
            Owner::Operator(tenant) | Owner::Stranger(tenant) => tenant,
        }
    }

    fn route(self) -> Option<&'a InboundRoute> {
        match self {
            Owner::Route(route) => Some(route),
            Owner::Operator(_) | Owner::Stranger(_) => None,
        }
    }

    /// What is still to be done with it.
    fn call(self) -> Option<CallKind> {
        match self {
            Owner::Stranger(_) => Some(CallKind::Return),
            Owner::Operator(_) => None,
            Owner::Route(route) => match route.action {
                Action::Webhook { .. } => Some(CallKind::Webhook),
                Action::Forward(_) => Some(CallKind::Forward),
                Action::Store | Action::Reject => None,
            },
        }
    }

    fn action(self) -> &'static str {
        match self {
            Owner::Route(route) => route.action.as_str(),
            Owner::Operator(_) => "store",
            Owner::Stranger(_) => "return",
        }
    }
}

fn event(mail: &NewInbound<'_>, owner: Owner<'_>, screened: &Screened) -> Value {
    json!({
        "inbound_id": mail.id.to_string(),
        "route_id": mail.route.map(|id: InboundRouteId| id.to_string()),
        "action": screened.fate.map_or(owner.action(), Measure::as_str),
        "kind": mail.kind,
        "filters": screened.notes,
        "sender": mail.sender,
        "recipient": mail.recipient,
        "from": mail.author,
        "subject": mail.subject,
        "size_bytes": mail.raw.len(),
    })
}

/// A field's text, decoded and made safe to store and to show.
fn field(raw: &[u8], name: &str) -> String {
    let text = trace::decoded(raw, name).unwrap_or_default();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_FIELD).collect()
}
