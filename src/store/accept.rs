//! The one statement of accept: a group of requests becomes durable, or none of it does.
//!
//! One data-modifying CTE over arrays, so one round trip and one commit for up to some hundred requests.
//! Invariant: a request whose idempotency row lost against an earlier one inserts nothing at all.

use std::collections::HashSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::id::{DeliveryId, EventId, Id, Lane, MessageId, TenantId};
use crate::domain::message::{Addresses, NewDelivery, NewMessage};
use crate::domain::submission::Sending;

use super::StoreError;

/// What one request brings: committed together.
#[derive(Debug)]
pub struct Parcel {
    /// Its idempotency record, if the caller gave a key.
    pub idempotency: Option<NewIdempotency>,
    /// Its messages; the first one's id names the parcel.
    pub messages: Vec<Birth>,
}

/// A message, and whether it is born in this process's hands.
#[derive(Debug)]
pub struct Birth {
    /// What is stored.
    pub message: NewMessage,
    /// The incarnation that holds its lease from the start; `None`: it waits in the table until it is due.
    pub leased_by: Option<i32>,
}

/// A request's claim to its Idempotency-Key.
#[derive(Debug, Clone)]
pub struct NewIdempotency {
    /// Whose key.
    pub tenant: TenantId,
    /// The caller's key.
    pub key: String,
    /// From tenant and key.
    pub lane: Lane,
    /// SHA-256 over the canonical submission.
    pub fingerprint: [u8; 32],
    /// The outcome of accept, from which a door renders its answer again.
    pub answer: serde_json::Value,
}

/// The moments an insert needs.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    /// Now.
    pub now: OffsetDateTime,
    /// When the leases of mail that is born leased end.
    pub lease_until: OffsetDateTime,
}

/// What the database decided.
#[derive(Debug, Default)]
pub struct Inserted {
    /// First messages of parcels whose idempotency record was already there: nothing of them was stored.
    pub lost: HashSet<MessageId>,
    /// Deliveries that were stored as suppressed.
    pub suppressed: HashSet<DeliveryId>,
}

impl Parcel {
    /// The id of the first message: names the parcel within its statement.
    pub fn first(&self) -> Option<MessageId> {
        self.messages.first().map(|birth| birth.message.id())
    }
}

/// Stores a group of parcels in one transaction of its own (one statement, autocommit).
///
/// `notify` is sent as the payload of `postroad_due`, for processes that should look at the queue.
///
/// # Errors
/// Nothing was stored, but for [`StoreError::Unavailable`], after which nobody knows.
pub async fn insert(
    connection: &mut PgConnection,
    moments: Moments,
    parcels: &[Parcel],
    notify: Option<&str>,
) -> Result<Inserted, StoreError> {
    let keys = KeyColumns::of(parcels);
    let messages = MessageColumns::of(parcels);
    let deliveries = DeliveryColumns::of(parcels, moments);
    let row = sqlx::query!(
        r#"
        -- Idempotency first: it decides what the rest may insert.
        WITH won AS (
            INSERT INTO idempotency (lane, tenant_id, key, first_id, fingerprint, created_at, answer)
            SELECT k.lane, k.tenant_id, k.key, k.first_id, k.fingerprint, $1, k.answer::jsonb
            FROM unnest($2::smallint[], $3::uuid[], $4::text[], $5::uuid[], $6::bytea[], $7::text[])
                AS k (lane, tenant_id, key, first_id, fingerprint, answer)
            ON CONFLICT DO NOTHING
            RETURNING first_id
        ),
        new_messages AS (
            INSERT INTO messages
                (lane, id, tenant_id, key_id, send_at, ttl_seconds, size_bytes, priority, sandbox,
                 needs_smtputf8, eight_bit, protected, message_id, sender, subject, stream, tags, metadata,
                 addresses, handling)
            SELECT m.lane, m.id, m.tenant_id, m.key_id, m.send_at, m.ttl_seconds, m.size_bytes, m.priority,
                   m.sandbox, m.needs_smtputf8, m.eight_bit, m.protected, m.message_id, m.sender, m.subject,
                   m.stream, m.tags::text[], m.metadata::jsonb, m.addresses::jsonb,
                   m.handling::jsonb
            FROM unnest($8::smallint[], $9::uuid[], $10::uuid[], $11::uuid[], $12::timestamptz[], $13::int[],
                        $14::int[], $15::smallint[], $16::bool[], $17::bool[], $18::bool[], $19::bool[],
                        $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[],
                        $26::text[], $27::uuid[], $46::text[])
                AS m (lane, id, tenant_id, key_id, send_at, ttl_seconds, size_bytes, priority, sandbox,
                      needs_smtputf8, eight_bit, protected, message_id, sender, subject, stream, tags,
                      metadata, addresses, parcel, handling)
            WHERE m.parcel IS NULL OR m.parcel IN (SELECT w.first_id FROM won w)
        ),
        new_bodies AS (
            INSERT INTO bodies (lane, id, raw)
            SELECT b.lane, b.id, b.raw
            FROM unnest($8::smallint[], $9::uuid[], $28::bytea[], $27::uuid[]) AS b (lane, id, raw, parcel)
            WHERE b.parcel IS NULL OR b.parcel IN (SELECT w.first_id FROM won w)
        ),
        -- Each delivery with its fate at birth: suppressed, sandboxed, or queued.
        fate AS MATERIALIZED (
            SELECT d.lane, d.id, d.tenant_id, d.priority, d.due_at, d.expires_at, d.leased_by, d.role,
                   d.recipient, d.particulars, d.domain, d.accepted_event, d.ended_event,
                   CASE WHEN EXISTS (SELECT 1 FROM suppressions s
                                     WHERE s.tenant_id = d.tenant_id AND s.address = d.address
                                       AND s.stream IN ('', d.stream)) THEN 'suppressed'
                        WHEN d.sandbox THEN 'delivered' END AS ended
            FROM unnest($29::smallint[], $30::uuid[], $31::uuid[], $32::smallint[], $33::timestamptz[],
                        $34::timestamptz[], $35::int[], $36::smallint[], $37::text[], $38::text[], $39::text[],
                        $40::text[], $41::bool[], $42::uuid[], $43::uuid[], $44::uuid[], $47::text[])
                AS d (lane, id, tenant_id, priority, due_at, expires_at, leased_by, role, recipient, address,
                      domain, stream, sandbox, accepted_event, ended_event, parcel, particulars)
            WHERE d.parcel IS NULL OR d.parcel IN (SELECT w.first_id FROM won w)
        ),
        new_deliveries AS (
            INSERT INTO deliveries (lane, id, tenant_id, role, recipient, particulars)
            SELECT f.lane, f.id, f.tenant_id, f.role, f.recipient, f.particulars::jsonb FROM fate f
        ),
        -- Mail that is born leased counts its first attempt now, before any dial.
        queued AS (
            INSERT INTO queue
                (due_at, expires_at, leased_by, claim_no, attempts, lane, priority, unresolved, delay_notices,
                 cancel_requested, delivery_id, tenant_id, domain)
            SELECT f.due_at, f.expires_at, f.leased_by, (f.leased_by IS NOT NULL)::int,
                   (f.leased_by IS NOT NULL)::int, f.lane, f.priority, (f.leased_by IS NOT NULL)::int, 0, false,
                   f.id, f.tenant_id, f.domain
            FROM fate f WHERE f.ended IS NULL
        ),
        ended AS (
            INSERT INTO outcomes (lane, ordinal, delivery_id, tenant_id, status, hard, at, class)
            SELECT f.lane, 0, f.id, f.tenant_id, f.ended::delivery_status, false, $1, NULL
            FROM fate f WHERE f.ended IS NOT NULL
        ),
        told AS (
            INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
            SELECT t.txid, f.lane, 'accepted', f.id, f.accepted_event, f.tenant_id, NULL
            FROM fate f, (SELECT txid_current() AS txid) t
            UNION ALL
            SELECT t.txid, f.lane, f.ended::event_type, f.id, f.ended_event, f.tenant_id,
                   CASE WHEN f.ended = 'delivered' THEN '{"sandbox": true}'::jsonb END
            FROM fate f, (SELECT txid_current() AS txid) t WHERE f.ended IS NOT NULL
        )
        SELECT (SELECT array_agg(w.first_id) FROM won w) AS won,
               (SELECT array_agg(f.id) FROM fate f WHERE f.ended = 'suppressed') AS suppressed,
               CASE WHEN $45::text IS NOT NULL THEN pg_notify('postroad_due', $45)::text END AS told
        "#,
        moments.now,
        &keys.lanes,
        &keys.tenants,
        &keys.keys as _,
        &keys.firsts,
        &keys.fingerprints as _,
        &keys.answers,
        &messages.lanes,
        &messages.ids,
        &messages.tenants,
        &messages.keys as _,
        &messages.send_at as _,
        &messages.ttls,
        &messages.sizes,
        &messages.priorities,
        &messages.sandboxes,
        &messages.smtputf8,
        &messages.eight_bit,
        &messages.protected,
        &messages.message_ids as _,
        &messages.senders as _,
        &messages.subjects as _,
        &messages.streams as _,
        &messages.tags,
        &messages.metadata,
        &messages.addresses,
        &messages.parcels as _,
        &messages.bodies as _,
        &deliveries.lanes,
        &deliveries.ids,
        &deliveries.tenants,
        &deliveries.priorities,
        &deliveries.due_at,
        &deliveries.expires_at,
        &deliveries.leased_by as _,
        &deliveries.roles,
        &deliveries.recipients as _,
        &deliveries.addresses,
        &deliveries.domains as _,
        &deliveries.streams as _,
        &deliveries.sandboxes,
        &deliveries.accepted_events,
        &deliveries.ended_events,
        &deliveries.parcels as _,
        notify,
        &messages.handling as _,
        &deliveries.particulars as _,
    )
    .fetch_one(connection)
    .await?;

    let won: HashSet<Uuid> = row.won.unwrap_or_default().into_iter().collect();
    let lost = keys.firsts.iter().filter(|first| !won.contains(first)).copied().map(Id::from_uuid).collect();
    let suppressed = row.suppressed.unwrap_or_default().into_iter().map(Id::from_uuid).collect();
    Ok(Inserted { lost, suppressed })
}

/// Columns of the idempotency records, sorted by tenant and key: two writers that meet equal keys wait for
/// each other in one order and never deadlock.
#[derive(Default)]
struct KeyColumns<'a> {
    lanes: Vec<i16>,
    tenants: Vec<Uuid>,
    keys: Vec<&'a str>,
    firsts: Vec<Uuid>,
    fingerprints: Vec<&'a [u8]>,
    answers: Vec<String>,
}

impl<'a> KeyColumns<'a> {
    fn of(parcels: &'a [Parcel]) -> KeyColumns<'a> {
        let mut keyed: Vec<_> = parcels
            .iter()
            .filter_map(|parcel| Some((parcel.idempotency.as_ref()?, parcel.first()?)))
            .collect();
        keyed.sort_by(|(a, _), (b, _)| (a.lane, a.tenant, &a.key).cmp(&(b.lane, b.tenant, &b.key)));
        let mut columns = KeyColumns::default();
        for (record, first) in keyed {
            columns.lanes.push(record.lane.number());
            columns.tenants.push(record.tenant.uuid());
            columns.keys.push(&record.key);
            columns.firsts.push(first.uuid());
            columns.fingerprints.push(&record.fingerprint);
            columns.answers.push(record.answer.to_string());
        }
        columns
    }
}

#[derive(Default)]
struct MessageColumns<'a> {
    lanes: Vec<i16>,
    ids: Vec<Uuid>,
    tenants: Vec<Uuid>,
    keys: Vec<Option<Uuid>>,
    send_at: Vec<Option<OffsetDateTime>>,
    ttls: Vec<i32>,
    sizes: Vec<i32>,
    priorities: Vec<i16>,
    sandboxes: Vec<bool>,
    smtputf8: Vec<bool>,
    eight_bit: Vec<bool>,
    protected: Vec<bool>,
    message_ids: Vec<&'a str>,
    senders: Vec<&'a str>,
    subjects: Vec<&'a str>,
    streams: Vec<&'a str>,
    tags: Vec<String>,
    metadata: Vec<String>,
    addresses: Vec<String>,
    handling: Vec<Option<String>>,
    parcels: Vec<Option<Uuid>>,
    bodies: Vec<&'a [u8]>,
}

impl<'a> MessageColumns<'a> {
    fn of(parcels: &'a [Parcel]) -> MessageColumns<'a> {
        let mut columns = MessageColumns::default();
        for parcel in parcels {
            let name = parcel_name(parcel);
            for birth in &parcel.messages {
                columns.push(&birth.message, name);
            }
        }
        columns
    }

    fn push(&mut self, message: &'a NewMessage, parcel: Option<Uuid>) {
        let outgoing = &message.outgoing;
        self.lanes.push(outgoing.id.lane().number());
        self.ids.push(outgoing.id.uuid());
        self.tenants.push(outgoing.tenant.uuid());
        self.keys.push(message.key.map(Id::uuid));
        self.send_at.push(message.send_at);
        self.ttls.push(i32::try_from(message.ttl.whole_seconds()).unwrap_or(i32::MAX));
        self.sizes.push(i32::try_from(outgoing.raw.len()).unwrap_or(i32::MAX));
        self.priorities.push(message.priority.number());
        self.sandboxes.push(message.sending == Sending::Sandbox);
        self.smtputf8.push(outgoing.needs_smtputf8);
        self.eight_bit.push(outgoing.eight_bit);
        self.protected.push(outgoing.protected);
        self.message_ids.push(&message.message_id);
        self.senders.push(&message.sender);
        self.subjects.push(&message.subject);
        self.streams.push(&outgoing.stream);
        self.tags.push(array_literal(&message.tags));
        self.metadata.push(json_text(&message.metadata));
        self.addresses.push(addresses_text(&message.addresses));
        self.handling.push(super::handling::handling_text(&outgoing.handling));
        self.parcels.push(parcel);
        self.bodies.push(&outgoing.raw);
    }
}

#[derive(Default)]
struct DeliveryColumns<'a> {
    lanes: Vec<i16>,
    ids: Vec<Uuid>,
    tenants: Vec<Uuid>,
    priorities: Vec<i16>,
    due_at: Vec<OffsetDateTime>,
    expires_at: Vec<OffsetDateTime>,
    leased_by: Vec<Option<i32>>,
    roles: Vec<i16>,
    recipients: Vec<&'a str>,
    addresses: Vec<String>,
    domains: Vec<&'a str>,
    streams: Vec<&'a str>,
    sandboxes: Vec<bool>,
    accepted_events: Vec<Uuid>,
    ended_events: Vec<Uuid>,
    particulars: Vec<Option<String>>,
    parcels: Vec<Option<Uuid>>,
}

impl<'a> DeliveryColumns<'a> {
    fn of(parcels: &'a [Parcel], moments: Moments) -> DeliveryColumns<'a> {
        let mut columns = DeliveryColumns::default();
        for parcel in parcels {
            let name = parcel_name(parcel);
            for birth in &parcel.messages {
                for delivery in &birth.message.deliveries {
                    columns.push(birth, delivery, name, moments);
                }
            }
        }
        columns
    }

    fn push(&mut self, birth: &'a Birth, delivery: &'a NewDelivery, parcel: Option<Uuid>, moments: Moments) {
        let message = &birth.message;
        self.lanes.push(delivery.id.lane().number());
        self.ids.push(delivery.id.uuid());
        self.tenants.push(message.tenant().uuid());
        self.priorities.push(message.priority.number());
        self.due_at.push(if birth.leased_by.is_some() { moments.lease_until } else { message.due_at() });
        self.expires_at.push(message.expires_at());
        self.leased_by.push(birth.leased_by);
        self.roles.push(delivery.role.number());
        self.recipients.push(delivery.recipient.as_str());
        self.addresses.push(delivery.suppressed_as.clone().unwrap_or_else(|| delivery.recipient.key()));
        self.domains.push(delivery.recipient.domain());
        self.streams.push(&message.outgoing.stream);
        self.sandboxes.push(message.sending == Sending::Sandbox);
        // A microsecond apart, so that accepted always sorts first.
        self.accepted_events.push(EventId::of(moments.now, delivery.id).uuid());
        let after = moments.now + time::Duration::microseconds(1);
        self.ended_events.push(EventId::of(after, delivery.id).uuid());
        self.particulars.push(super::handling::particulars_text(&delivery.particulars));
        self.parcels.push(parcel);
    }
}

/// NULL for parcels without a key: they depend on nobody.
fn parcel_name(parcel: &Parcel) -> Option<Uuid> {
    parcel.idempotency.as_ref().and(parcel.first()).map(Id::uuid)
}

/// A one-dimensional array as PostgreSQL writes it: arrays of arrays cannot be unnested row by row.
fn array_literal(texts: &[String]) -> String {
    let quoted: Vec<String> =
        texts.iter().map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    format!("{{{}}}", quoted.join(","))
}

fn json_text(metadata: &std::collections::BTreeMap<String, String>) -> String {
    if metadata.is_empty() {
        return "{}".to_owned();
    }
    let object = metadata.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    serde_json::Value::Object(object).to_string()
}

fn addresses_text(addresses: &Addresses) -> String {
    let mut object = serde_json::Map::new();
    object.insert("from".to_owned(), addresses.from.clone().into());
    let lists = [
        ("reply_to", &addresses.reply_to),
        ("to", &addresses.to),
        ("cc", &addresses.cc),
        ("bcc", &addresses.bcc),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        object.insert(name.to_owned(), list.clone().into());
    }
    serde_json::Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_quote_what_would_break_them() {
        assert_eq!(array_literal(&[]), "{}");
        let tags = [r#"a"b"#.to_owned(), r"c\d".to_owned(), "NULL".to_owned(), "e,f}".to_owned()];
        assert_eq!(array_literal(&tags), r#"{"a\"b","c\\d","NULL","e,f}"}"#);
    }
}
