//! Mail that is kept: for a route, or for whoever runs this installation. The mail, its event, and the call it is
//! posted with are written together.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::domain::id::{InboundId, InboundRouteId, TenantId};
use crate::domain::inbound::{Action, InboundRoute};
use crate::mail::trace;
use crate::store::inbound::{self, NewInbound};
use crate::store::{PgConnection, StoreError};

use super::inbox::Examined;

/// The most characters of a field that are kept beside the mail.
const MAX_FIELD: usize = 998;

/// Keeps a mail for a tenant.
///
/// # Errors
/// See [`StoreError`].
pub(super) async fn keep(
    connection: &mut PgConnection,
    examined: &Examined<'_>,
    owner: Owner<'_>,
    recipient: &str,
    now: OffsetDateTime,
) -> Result<InboundId, StoreError> {
    let id = InboundId::new(now);
    let mail = examined.mail;
    let raw = examined.with_trace(&id.to_string(), recipient, now);
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
        raw: &raw,
    };
    inbound::insert(connection, &new).await?;
    inbound::tell(connection, &new, &event(&new, owner)).await?;
    if let Some(route) = owner.route()
        && matches!(route.action, Action::Webhook { .. })
    {
        inbound::call(connection, new.tenant, id, route.id, now).await?;
    }
    Ok(id)
}

/// Whose a mail is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// The tenant's of a route.
    Route(&'a InboundRoute),
    /// Whoever runs this installation: the tenant it began with.
    Operator(TenantId),
}

impl<'a> Owner<'a> {
    fn tenant(self) -> TenantId {
        match self {
            Owner::Route(route) => route.tenant,
            Owner::Operator(tenant) => tenant,
        }
    }

    fn route(self) -> Option<&'a InboundRoute> {
        match self {
            Owner::Route(route) => Some(route),
            Owner::Operator(_) => None,
        }
    }
}

fn event(mail: &NewInbound<'_>, owner: Owner<'_>) -> Value {
    json!({
        "inbound_id": mail.id.to_string(),
        "route_id": mail.route.map(|id: InboundRouteId| id.to_string()),
        "action": owner.route().map_or("store", |route| route.action.as_str()),
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
