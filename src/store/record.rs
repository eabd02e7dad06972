//! Results: what became of claimed mail, written in batches. They cross tenants.
//!
//! Invariant: every write names the claim it belongs to (`claim_no`), and a row that has been claimed again
//! since, or is gone, is not touched. A delivery's outcome, its event, its attempt and its suppression are
//! written by the statement that removes its queue row, or not at all.

use std::collections::HashSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::delivery::Ending;
use crate::domain::id::{DeliveryId, EventId, Id, SuppressionId, TenantId};
use crate::domain::notice::NoticeKind;
use crate::domain::outcome::{AttemptReport, BounceClass, Hardness, Suppress};

use super::StoreError;

/// The result of one claim.
#[derive(Debug)]
pub struct Completion {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Whose.
    pub tenant: TenantId,
    /// The claim it belongs to.
    pub claim_no: i32,
    /// The number of the attempt.
    pub attempt: u32,
    /// The attempt, if one was made.
    pub report: Option<AttemptReport>,
    /// What follows.
    pub turn: Turn,
    /// What the event tells: a JSON object as text.
    pub event_data: String,
    /// The recipient in canonical form, if the result may suppress it.
    pub suppress: Option<(Suppress, String)>,
    /// What may have to be told to who submitted it.
    pub notice: Option<NoticeKind>,
    /// When it became known.
    pub at: OffsetDateTime,
}

/// What follows from a result.
#[derive(Debug, Clone, Copy)]
pub enum Turn {
    /// The delivery has ended.
    End {
        /// How.
        ending: Ending,
        /// Of what class.
        class: Option<BounceClass>,
        /// Whether the address is dead.
        hardness: Hardness,
    },
    /// It is tried again; unless its sender took it back, then it ends here.
    Again {
        /// When.
        due_at: OffsetDateTime,
        /// Why.
        class: BounceClass,
        /// How many delay thresholds have been told.
        delay_notices: i16,
    },
}

/// Writes a batch of results in one transaction of its own (one statement, autocommit).
///
/// Gives the deliveries whose results were written. The others were claimed again, have ended, or were
/// changed at this very moment: try those once more, then [`append_stale`].
///
/// # Errors
/// Nothing was written, but for [`StoreError::Unavailable`], after which nobody knows: writing the batch again
/// is safe, since what was written has a new fence.
pub async fn complete(
    connection: &mut PgConnection,
    incarnation: i32,
    batch: &[Completion],
) -> Result<HashSet<DeliveryId>, StoreError> {
    let columns = Columns::of(batch);
    let rows = sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT r.lane, r.delivery_id, r.tenant_id, r.claim_no, r.status, r.class, r.hard, r.due_at,
                   r.delay_notices, r.at, r.attempt, r.result, r.started_at, r.duration_ms, r.step, r.host, r.ip,
                   r.tls, r.code, r.enhanced, r.reply, r.event_id, r.event_data, r.suppress_after, r.address,
                   r.suppression_id, r.notice, r.source
            FROM unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::text[], $7::bool[],
                        $8::timestamptz[], $9::smallint[], $10::timestamptz[], $11::int[], $12::text[],
                        $13::timestamptz[], $14::int[], $15::text[], $16::text[], $17::text[], $18::text[],
                        $19::smallint[], $20::text[], $21::text[], $22::uuid[], $23::text[], $24::smallint[],
                        $25::text[], $26::uuid[], $28::text[], $29::text[])
                AS r (lane, delivery_id, tenant_id, claim_no, status, class, hard, due_at, delay_notices, at,
                      attempt, result, started_at, duration_ms, step, host, ip, tls, code, enhanced, reply,
                      event_id, event_data, suppress_after, address, suppression_id, notice, source)
        ),
        -- What has ended, or was to be tried again but is taken back. The fence is the claim's number.
        ended AS (
            DELETE FROM queue q USING input i
            WHERE q.lane = i.lane AND q.delivery_id = i.delivery_id AND q.claim_no = i.claim_no
              AND (i.status IS NOT NULL OR q.cancel_requested)
            RETURNING i.*, coalesce(i.status, 'canceled') AS ending
        ),
        -- What is tried again.
        again AS (
            UPDATE queue q
            SET due_at = i.due_at, leased_by = NULL, unresolved = 0, delay_notices = i.delay_notices,
                source = coalesce(i.source, q.source)
            FROM input i
            WHERE q.lane = i.lane AND q.delivery_id = i.delivery_id AND q.claim_no = i.claim_no
              AND i.status IS NULL AND NOT q.cancel_requested
            RETURNING i.*
        ),
        tried AS (
            INSERT INTO attempts
                (lane, delivery_id, claim_no, attempt, incarnation, duration_ms, code, started_at, step, result,
                 class, host, ip, tls, enhanced, reply, source)
            SELECT t.lane, t.delivery_id, t.claim_no, t.attempt, $27, t.duration_ms, t.code, t.started_at,
                   t.step, t.result, t.class, t.host, t.ip::inet, t.tls, t.enhanced, t.reply, t.source
            FROM (SELECT e.lane, e.delivery_id, e.claim_no, e.attempt, e.duration_ms, e.code, e.started_at,
                         e.step, e.result, e.class, e.host, e.ip, e.tls, e.enhanced, e.reply, e.source FROM ended e
                  UNION ALL
                  SELECT a.lane, a.delivery_id, a.claim_no, a.attempt, a.duration_ms, a.code, a.started_at,
                         a.step, a.result, a.class, a.host, a.ip, a.tls, a.enhanced, a.reply, a.source FROM again a) t
            WHERE t.step IS NOT NULL
        ),
        closed AS (
            INSERT INTO outcomes (lane, ordinal, delivery_id, tenant_id, status, hard, at, class)
            SELECT e.lane, 0, e.delivery_id, e.tenant_id, e.ending::delivery_status, e.hard, e.at, e.class
            FROM ended e
        ),
        told AS (
            INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
            SELECT x.txid, t.lane, t.type::event_type, t.delivery_id, t.event_id, t.tenant_id, t.data::jsonb
            FROM (SELECT e.lane, e.ending AS type, e.delivery_id, e.event_id, e.tenant_id, e.event_data AS data
                  FROM ended e
                  UNION ALL
                  SELECT a.lane, 'deferred', a.delivery_id, a.event_id, a.tenant_id, a.event_data FROM again a) t,
                 (SELECT txid_current() AS txid) x
        ),
        -- What submitters by SMTP may have to be told; not of what was taken back.
        noticed AS (
            INSERT INTO notices (event_id, lane, delivery_id, tenant_id, kind, due_at)
            SELECT t.event_id, t.lane, t.delivery_id, t.tenant_id, t.notice, t.at
            FROM (SELECT e.event_id, e.lane, e.delivery_id, e.tenant_id, e.notice, e.at FROM ended e
                  WHERE e.status IS NOT NULL
                  UNION ALL
                  SELECT a.event_id, a.lane, a.delivery_id, a.tenant_id, a.notice, a.at FROM again a) t
            WHERE t.notice IS NOT NULL
        ),
        -- Evidence about the address: at once, or when enough of the same class came within 30 days.
        suppressed AS (
            INSERT INTO suppressions (tenant_id, id, address, stream, reason, delivery_id)
            SELECT e.tenant_id, e.suppression_id, e.address, '', 'bounce', e.delivery_id
            FROM ended e
            WHERE e.address IS NOT NULL
              AND (e.suppress_after <= 1 OR e.suppress_after <= 1 + (
                    SELECT count(*) FROM deliveries d
                    JOIN outcomes o ON o.lane = d.lane AND o.delivery_id = d.id
                    WHERE d.tenant_id = e.tenant_id AND lower(d.recipient) = e.address
                      AND o.status = 'bounced' AND o.class = e.class AND o.at > e.at - interval '30 days'))
            ON CONFLICT DO NOTHING
        )
        SELECT e.delivery_id AS "delivery_id!" FROM ended e
        UNION ALL
        SELECT a.delivery_id FROM again a
        "#,
        &columns.lanes,
        &columns.deliveries,
        &columns.tenants,
        &columns.claims,
        &columns.statuses as _,
        &columns.classes as _,
        &columns.hard,
        &columns.due_at as _,
        &columns.delay_notices,
        &columns.at,
        &columns.attempts,
        &columns.results as _,
        &columns.started_at as _,
        &columns.durations as _,
        &columns.steps as _,
        &columns.hosts as _,
        &columns.ips as _,
        &columns.tls as _,
        &columns.codes as _,
        &columns.enhanced as _,
        &columns.replies as _,
        &columns.events,
        &columns.event_data as _,
        &columns.suppress_after,
        &columns.addresses as _,
        &columns.suppressions,
        incarnation,
        &columns.notices as _,
        &columns.sources as _,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Id::from_uuid).collect())
}

/// Keeps the attempts of refused results, for the tenant to read: they happened.
///
/// # Errors
/// See [`StoreError`].
pub async fn append_stale(
    connection: &mut PgConnection,
    incarnation: i32,
    stale: &[&Completion],
) -> Result<(), StoreError> {
    for completion in stale {
        let Some(report) = &completion.report else { continue };
        sqlx::query!(
            r#"
            INSERT INTO attempts
                (lane, delivery_id, claim_no, attempt, incarnation, duration_ms, code, started_at, step, result,
                 class, host, ip, tls, enhanced, reply, source)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'stale', NULL, $10, $11::text::inet, $12, $13, $14, $15)
            ON CONFLICT DO NOTHING
            "#,
            completion.delivery.lane().number(),
            completion.delivery.uuid(),
            completion.claim_no,
            attempt_number(completion.attempt),
            incarnation,
            report.duration_ms,
            report.code.map(i16_of),
            report.started_at,
            report.step.as_str(),
            report.host,
            report.ip.map(|ip| ip.to_string()),
            report.tls,
            report.enhanced,
            report.text,
            report.source.map(|ip| ip.to_string()),
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn i16_of(code: u16) -> i16 {
    i16::try_from(code).unwrap_or(i16::MAX)
}

fn attempt_number(attempt: u32) -> i32 {
    i32::try_from(attempt).unwrap_or(i32::MAX)
}

#[derive(Default)]
struct Columns<'a> {
    lanes: Vec<i16>,
    deliveries: Vec<Uuid>,
    tenants: Vec<Uuid>,
    claims: Vec<i32>,
    statuses: Vec<Option<&'static str>>,
    classes: Vec<Option<&'static str>>,
    hard: Vec<bool>,
    due_at: Vec<Option<OffsetDateTime>>,
    delay_notices: Vec<i16>,
    at: Vec<OffsetDateTime>,
    attempts: Vec<i32>,
    results: Vec<&'static str>,
    started_at: Vec<Option<OffsetDateTime>>,
    durations: Vec<Option<i32>>,
    steps: Vec<Option<&'static str>>,
    hosts: Vec<Option<&'a str>>,
    ips: Vec<Option<String>>,
    tls: Vec<Option<&'a str>>,
    codes: Vec<Option<i16>>,
    enhanced: Vec<Option<&'a str>>,
    replies: Vec<Option<&'a str>>,
    events: Vec<Uuid>,
    event_data: Vec<&'a str>,
    suppress_after: Vec<i16>,
    addresses: Vec<Option<&'a str>>,
    suppressions: Vec<Uuid>,
    notices: Vec<Option<&'static str>>,
    sources: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [Completion]) -> Columns<'a> {
        let mut columns = Columns::default();
        for completion in batch {
            columns.push_result(completion);
            columns.push_report(completion.report.as_ref());
        }
        columns
    }

    fn push_result(&mut self, completion: &'a Completion) {
        self.lanes.push(completion.delivery.lane().number());
        self.deliveries.push(completion.delivery.uuid());
        self.tenants.push(completion.tenant.uuid());
        self.claims.push(completion.claim_no);
        self.at.push(completion.at);
        self.attempts.push(attempt_number(completion.attempt));
        self.push_turn(completion.turn);
        self.events.push(EventId::of(completion.at, completion.delivery).uuid());
        self.event_data.push(&completion.event_data);
        let (after, address) = match &completion.suppress {
            None | Some((Suppress::Never, _)) => (0, None),
            Some((Suppress::Now, address)) => (1, Some(address.as_str())),
            Some((Suppress::After(times), address)) => (i16::from(*times), Some(address.as_str())),
        };
        self.suppress_after.push(after);
        self.addresses.push(address);
        self.suppressions.push(SuppressionId::new(completion.at).uuid());
        self.notices.push(completion.notice.map(NoticeKind::as_str));
    }

    fn push_turn(&mut self, turn: Turn) {
        match turn {
            Turn::End { ending, class, hardness } => {
                self.statuses.push(Some(ending.as_str()));
                self.results.push(ending.as_str());
                self.classes.push(class.map(BounceClass::as_str));
                self.hard.push(hardness == Hardness::Hard);
                self.due_at.push(None);
                self.delay_notices.push(0);
            }
            Turn::Again { due_at, class, delay_notices } => {
                self.statuses.push(None);
                self.results.push("deferred");
                self.classes.push(Some(class.as_str()));
                self.hard.push(false);
                self.due_at.push(Some(due_at));
                self.delay_notices.push(delay_notices);
            }
        }
    }

    fn push_report(&mut self, report: Option<&'a AttemptReport>) {
        self.started_at.push(report.map(|report| report.started_at));
        self.durations.push(report.map(|report| report.duration_ms));
        self.steps.push(report.map(|report| report.step.as_str()));
        self.hosts.push(report.and_then(|report| report.host.as_deref()));
        self.ips.push(report.and_then(|report| report.ip).map(|ip| ip.to_string()));
        self.tls.push(report.and_then(|report| report.tls.as_deref()));
        self.codes.push(report.and_then(|report| report.code).map(i16_of));
        self.enhanced.push(report.and_then(|report| report.enhanced.as_deref()));
        self.replies.push(report.map(|report| report.text.as_str()));
        self.sources.push(report.and_then(|report| report.source).map(|ip| ip.to_string()));
    }
}
