//! Statistics: the counters, how far they have been counted, and the events that are still to be counted.
//!
//! Invariant: `stats` says exactly what the events up to `stats_cursor` say. Whoever changes the one changes the
//! other in the same transaction, under the lock of the cursor's row.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId, Id, TenantId};
use crate::domain::stats::{Cell, Counts, Dimension, Fact, Grain, Place, Tally, Times};

use super::StoreError;
use super::events::Position;

/// Takes the lock on the cursor and gives its position; `None`: somebody else is counting just now.
///
/// # Errors
/// See [`StoreError`].
pub async fn lock_cursor(connection: &mut PgConnection) -> Result<Option<Position>, StoreError> {
    let row = sqlx::query!("SELECT txid, event_id FROM stats_cursor FOR UPDATE SKIP LOCKED")
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| Position { txid: row.txid, id: row.event_id }))
}

/// The cursor's position, to read beside the counters in one snapshot.
///
/// # Errors
/// See [`StoreError`].
pub async fn cursor(connection: &mut PgConnection) -> Result<Position, StoreError> {
    let row = sqlx::query!("SELECT txid, event_id FROM stats_cursor").fetch_one(connection).await?;
    Ok(Position { txid: row.txid, id: row.event_id })
}

/// Moves the cursor, in the transaction that holds its lock.
///
/// # Errors
/// See [`StoreError`].
pub async fn move_cursor(connection: &mut PgConnection, to: Position) -> Result<(), StoreError> {
    sqlx::query!("UPDATE stats_cursor SET txid = $1, event_id = $2", to.txid, to.id)
        .execute(connection)
        .await?;
    Ok(())
}

/// How many events are still to be counted, as far as one has looked.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Of all tenants.
    pub all: i64,
    /// Those of them that are the tenant's.
    pub own: i64,
}

/// Looks how many events there are from `after` on, `limit` of them at most, and how many of those are a tenant's.
///
/// # Errors
/// See [`StoreError`].
pub async fn backlog(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: Position,
    limit: i64,
) -> Result<Backlog, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT count(*) AS "all!", count(*) FILTER (WHERE b.tenant_id = $1) AS "own!"
        FROM (SELECT e.tenant_id FROM events e
              WHERE e.txid >= $2 AND (e.txid > $2 OR e.id > $3)
              ORDER BY e.txid, e.id LIMIT $4) b
        "#,
        tenant.uuid(),
        after.txid,
        after.id,
        limit,
    )
    .fetch_one(connection)
    .await?;
    Ok(Backlog { all: row.all, own: row.own })
}

/// Events that are still to be counted.
#[derive(Debug, Default)]
pub struct Uncounted {
    /// What they say. Mail of test keys does not count, nor what is known only by its event.
    pub facts: Vec<Fact>,
    /// How many events were read.
    pub read: usize,
    /// Where a reader stands that has read them; `None`: there were none.
    pub position: Option<Position>,
}

/// Which of the events that are still to be counted.
#[derive(Debug, Clone, Copy)]
pub struct Tail {
    /// Of one tenant, or of all.
    pub tenant: Option<TenantId>,
    /// From here on.
    pub after: Position,
    /// Up to here, or, without one, all that the snapshot sees.
    pub horizon: Option<Position>,
    /// So many at most.
    pub limit: i64,
    /// With the domains of their recipients, which have to be looked up; without, these are empty.
    pub recipients: bool,
}

/// The next events of the tail. Without a tenant it crosses tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn uncounted(connection: &mut PgConnection, tail: Tail) -> Result<Uncounted, StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH page AS MATERIALIZED (
            SELECT e.txid, e.lane, e.type, e.delivery_id, e.id, e.tenant_id, e.data
            FROM events e
            WHERE e.txid >= $1 AND (e.txid > $1 OR e.id > $2) AND ($3::bigint IS NULL OR e.txid < $3)
              AND ($4::uuid IS NULL OR e.tenant_id = $4)
            ORDER BY e.txid, e.id LIMIT $5
        )
        SELECT p.txid AS "txid!", p.id AS "id!", p.tenant_id AS "tenant_id!", p.type::text AS "kind!",
               p.delivery_id AS "delivery_id!",
               p.data ->> 'class' AS class, p.data -> 'hard' = 'true' AS hard, p.data -> 'first' = 'true' AS first,
               p.data -> 'machine' = 'true' AS machine, p.data -> 'smtp' ->> 'host' AS host,
               d.recipient AS "recipient?", m.sandbox AS "sandbox?", m.stream AS "stream?", m.tags AS "tags?",
               m.sender AS "sender?", m.send_at AS "send_at?", m.handling -> 'template' ->> 'id' AS template
        FROM page p
        -- OFFSET 0: each is looked up by its key. Left to itself the planner may read a whole day instead.
        LEFT JOIN LATERAL (SELECT x.recipient FROM deliveries x
                           WHERE $6 AND x.lane = p.lane AND x.id = p.delivery_id OFFSET 0) d ON true
        LEFT JOIN LATERAL (SELECT y.sandbox, y.stream, y.tags, y.sender, y.send_at, y.handling FROM messages y
                           WHERE y.lane = p.lane AND y.id = message_of(p.delivery_id) OFFSET 0) m ON true
        "#,
        tail.after.txid,
        tail.after.id,
        tail.horizon.map(|horizon| horizon.txid),
        tail.tenant.map(Id::uuid),
        tail.limit,
        tail.recipients,
    )
    .fetch_all(connection)
    .await?;
    let mut uncounted = Uncounted { read: rows.len(), ..Uncounted::default() };
    for row in rows {
        let position = Position { txid: row.txid, id: row.id };
        let last = uncounted.position.get_or_insert(position);
        if (position.txid, position.id) > (last.txid, last.id) {
            *last = position;
        }
        let delivery: DeliveryId = Id::from_uuid(row.delivery_id);
        let message = row.stream.zip(row.tags).zip(row.sender).filter(|_| row.sandbox == Some(false));
        let Ok(kind) = row.kind.parse() else { continue };
        // Mail that came in has no message.
        let received = || (kind == EventType::Received).then(Default::default);
        let Some(((stream, tags), sender)) = message.or_else(received) else { continue };
        uncounted.facts.push(Fact {
            tenant: Id::from_uuid(row.tenant_id),
            kind,
            delivery,
            at: EventId::from_uuid(row.id).at(),
            since: row.send_at.unwrap_or_else(|| delivery.born()),
            stream,
            tags,
            sender_domain: domain_of(&sender),
            recipient_domain: domain_of(&row.recipient.unwrap_or_default()),
            template: row.template,
            class: row.class,
            hard: row.hard.unwrap_or(false),
            first: row.first.unwrap_or(false),
            machine: row.machine.unwrap_or(false),
            host: row.host,
        });
    }
    Ok(uncounted)
}

/// What stands after the last `@`, in lower case.
fn domain_of(address: &str) -> String {
    address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase()
}

/// Adds to the counters, in the transaction that moves the cursor.
///
/// # Errors
/// See [`StoreError`].
pub async fn add(connection: &mut PgConnection, tally: &Tally) -> Result<(), StoreError> {
    let columns = Columns::of(tally);
    sqlx::query!(
        r#"
        INSERT INTO stats AS s (tenant_id, grain, dimension, start, value, counts, times)
        SELECT n.tenant_id, n.grain, n.dimension, n.start, n.value, n.counts::bigint[], n.times::bigint[]
        FROM unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::timestamptz[], $5::text[], $6::text[],
                    $7::text[]) AS n (tenant_id, grain, dimension, start, value, counts, times)
        ON CONFLICT (tenant_id, grain, dimension, start, value) DO UPDATE
        SET counts = add_counts(s.counts, excluded.counts),
            times = coalesce(add_counts(s.times, excluded.times), '{}')
        "#,
        &columns.tenants,
        &columns.grains,
        &columns.dimensions,
        &columns.starts,
        &columns.values as _,
        &columns.counts,
        &columns.times,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(Default)]
struct Columns<'a> {
    tenants: Vec<Uuid>,
    grains: Vec<i16>,
    dimensions: Vec<i16>,
    starts: Vec<OffsetDateTime>,
    values: Vec<&'a str>,
    counts: Vec<String>,
    times: Vec<String>,
}

impl<'a> Columns<'a> {
    fn of(tally: &'a Tally) -> Columns<'a> {
        let mut columns = Columns::default();
        for (place, cell) in tally {
            columns.tenants.push(place.tenant.uuid());
            columns.grains.push(place.grain.number());
            columns.dimensions.push(place.dimension.number());
            columns.starts.push(place.start);
            columns.values.push(&place.value);
            columns.counts.push(literal(cell.counts.as_slice()));
            columns.times.push(literal(cell.times.as_slice()));
        }
        columns
    }
}

/// As Postgres writes an array.
fn literal(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

/// The values that are counted already on these days, for some tenants. Crosses tenants.
///
/// # Errors
/// See [`StoreError`].
pub async fn known_values(
    connection: &mut PgConnection,
    days: &[(TenantId, OffsetDateTime)],
) -> Result<HashMap<(TenantId, OffsetDateTime, Dimension), HashSet<String>>, StoreError> {
    let tenants: Vec<Uuid> = days.iter().map(|(tenant, _)| tenant.uuid()).collect();
    let starts: Vec<OffsetDateTime> = days.iter().map(|(_, start)| *start).collect();
    let rows = sqlx::query!(
        r#"
        SELECT s.tenant_id, s.start, s.dimension, s.value
        FROM unnest($1::uuid[], $2::timestamptz[]) AS w (tenant_id, start)
        CROSS JOIN generate_series(1, 6) AS g (dimension)
        JOIN stats s ON s.tenant_id = w.tenant_id AND s.grain = 1 AND s.dimension = g.dimension AND s.start = w.start
        "#,
        &tenants,
        &starts,
    )
    .fetch_all(connection)
    .await?;
    let mut known: HashMap<_, HashSet<String>> = HashMap::new();
    for row in rows {
        let place = (Id::from_uuid(row.tenant_id), row.start, Dimension::from_number(row.dimension));
        known.entry(place).or_default().insert(row.value);
    }
    Ok(known)
}

/// What is asked of the counters.
#[derive(Debug, Clone)]
pub struct Series {
    /// In intervals of this length.
    pub grain: Grain,
    /// By what.
    pub dimension: Dimension,
    /// From the interval that begins here.
    pub from: OffsetDateTime,
    /// Before the interval that begins here.
    pub to: OffsetDateTime,
    /// Of these values of the dimension.
    pub values: Vec<String>,
}

/// The values of a dimension with the most mail between two moments, by whole days, and those that are `asked` for
/// besides: each with how much mail that was, in no order.
///
/// # Errors
/// See [`StoreError`].
pub async fn largest(
    connection: &mut PgConnection,
    tenant: TenantId,
    dimension: Dimension,
    (from, to): (OffsetDateTime, OffsetDateTime),
    limit: i64,
    asked: &[String],
) -> Result<Vec<(String, i64)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        WITH sums AS MATERIALIZED (
            -- accepted, deferred, bounced
            SELECT s.value, sum(s.counts[1] + s.counts[2] + s.counts[4])::bigint AS weight FROM stats s
            WHERE s.tenant_id = $1 AND s.grain = 1 AND s.dimension = $2 AND s.start >= $3 AND s.start < $4
            GROUP BY s.value
        ), most AS (SELECT * FROM sums ORDER BY weight DESC, value LIMIT $5)
        SELECT value AS "value!", weight AS "weight!" FROM most
        UNION
        SELECT value, weight FROM sums WHERE value = ANY ($6)
        "#,
        tenant.uuid(),
        dimension.number(),
        Grain::Day.start(from),
        to,
        limit,
        asked,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.value, row.weight)).collect())
}

/// The counters of a series, in no order.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(
    connection: &mut PgConnection,
    tenant: TenantId,
    series: &Series,
) -> Result<Vec<(Place, Cell)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.start, s.value, s.counts, s.times FROM stats s
        WHERE s.tenant_id = $1 AND s.grain = $2 AND s.dimension = $3 AND s.start >= $4 AND s.start < $5
          AND s.value = ANY ($6)
        "#,
        tenant.uuid(),
        series.grain.number(),
        series.dimension.number(),
        series.from,
        series.to,
        &series.values,
    )
    .fetch_all(connection)
    .await?;
    let cell = |counts: Vec<i64>, times| Cell {
        counts: Counts::from_stored(&counts),
        times: Times::from_stored(times),
    };
    let (grain, dimension) = (series.grain, series.dimension);
    Ok(rows
        .into_iter()
        .map(|row| {
            let place = Place { tenant, grain, dimension, start: row.start, value: row.value };
            (place, cell(row.counts, row.times))
        })
        .collect())
}

/// Plans for few events joined to large tables by key, for the rest of a transaction that only reads, or until
/// [`plan_for_counters`]. The plans are kept: to plan over all partitions anew takes longer than to look at the few.
///
/// # Errors
/// See [`StoreError`].
pub async fn plan_for_few(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        SELECT set_config('enable_seqscan', 'off', true) AS seqscan,
               set_config('enable_hashjoin', 'off', true) AS hashjoin,
               set_config('enable_mergejoin', 'off', true) AS mergejoin,
               set_config('plan_cache_mode', 'force_generic_plan', true) AS cache
        "#
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Plans for the counters, of which a question may want a few or a month's: by what is asked, as sessions that serve do
/// unless [`plan_for_few`] said otherwise.
///
/// # Errors
/// See [`StoreError`].
pub async fn plan_for_counters(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!("SELECT set_config('plan_cache_mode', 'force_custom_plan', true) AS cache")
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Who keeps the mailboxes of these domains, as far as it has been learnt.
///
/// # Errors
/// See [`StoreError`].
pub async fn providers(
    connection: &mut PgConnection,
    domains: &[&str],
) -> Result<HashMap<String, String>, StoreError> {
    let rows = sqlx::query!(
        "SELECT domain, provider FROM recipient_providers WHERE domain = ANY ($1::text[])",
        domains as _,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.domain, row.provider)).collect())
}

/// Remembers who keeps the mailboxes of some domains.
///
/// # Errors
/// See [`StoreError`].
pub async fn learn_providers(
    connection: &mut PgConnection,
    learnt: &HashMap<&str, &str>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let (domains, names): (Vec<&str>, Vec<&str>) = learnt.iter().unzip();
    sqlx::query!(
        r#"
        INSERT INTO recipient_providers AS r (domain, provider, learnt_at)
        SELECT n.domain, n.provider, $3 FROM unnest($1::text[], $2::text[]) AS n (domain, provider)
        ON CONFLICT (domain) DO UPDATE SET provider = excluded.provider, learnt_at = excluded.learnt_at
        -- Written again only once a day: it keeps a domain in use from being forgotten.
        WHERE r.provider <> excluded.provider OR r.learnt_at < excluded.learnt_at - interval '1 day'
        "#,
        &domains as _,
        &names as _,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets up to `limit` counters of intervals that began before a moment.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_older(
    connection: &mut PgConnection,
    grain: Grain,
    before: OffsetDateTime,
    limit: i64,
) -> Result<u64, StoreError> {
    let forgotten = sqlx::query!(
        r#"
        DELETE FROM stats WHERE (tenant_id, grain, dimension, start, value) IN (
            SELECT s.tenant_id, s.grain, s.dimension, s.start, s.value FROM stats s
            WHERE s.grain = $1 AND s.start < $2 LIMIT $3)
        "#,
        grain.number(),
        before,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(forgotten.rows_affected())
}

/// Forgets who keeps the mailboxes of domains that no mail has gone to since a moment.
///
/// # Errors
/// See [`StoreError`].
pub async fn forget_providers(
    connection: &mut PgConnection,
    before: OffsetDateTime,
) -> Result<u64, StoreError> {
    let forgotten = sqlx::query!("DELETE FROM recipient_providers WHERE learnt_at < $1", before)
        .execute(connection)
        .await?;
    Ok(forgotten.rows_affected())
}
