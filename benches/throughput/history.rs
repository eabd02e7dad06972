//! Mail of earlier days, put into the tables by SQL: as if it had been accepted, delivered and recorded then.
//!
//! Its rows have the shape of real ones but for the content, of which only the beginning is kept: content is read
//! by key alone, so that its size costs space and no time. Invariant: nothing that follows the queue or the events
//! sees any of it.

use std::ops::Range;

use anyhow::Result;
use sqlx::PgConnection;
use time::{Date, Duration};

use postroad::domain::id::{MAX_DELIVERIES, floor_at};
use postroad::store::partitions;

use super::options::Options;

/// Mails in one statement.
const CHUNK: u64 = 20_000;

/// Fills the days before today, unless an earlier bench has done so in this database.
///
/// # Errors
/// What the database says.
pub async fn fill(connection: &mut PgConnection, options: &Options) -> Result<()> {
    let today: Date =
        sqlx::query_scalar("SELECT (now() AT TIME ZONE 'UTC')::date").fetch_one(&mut *connection).await?;
    let days = u64::from(options.history_days);
    let each = options.history.div_ceil(days);
    sqlx::raw_sql("SET synchronous_commit = off").execute(&mut *connection).await?;
    for ago in 1..=i64::from(options.history_days) {
        let day = today - Duration::days(ago);
        partitions::ensure_day(connection, day).await?;
        let there = count(connection, day).await?;
        for first in (there..each).step_by(usize::try_from(CHUNK)?) {
            insert(connection, today, day, each, first..(first + CHUNK).min(each)).await?;
        }
        eprintln!("throughput: history of {day}: {each} mails, {there} of them from an earlier bench");
    }
    // What autovacuum would do during the measurement is done before it.
    for sql in ["RESET synchronous_commit", "VACUUM (ANALYZE)", "CHECKPOINT"] {
        sqlx::raw_sql(sql).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Mails of a day.
async fn count(connection: &mut PgConnection, day: Date) -> Result<u64> {
    let (from, to) = (day.midnight().assume_utc(), (day + Duration::DAY).midnight().assume_utc());
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM messages WHERE id >= $1 AND id < $2")
        .bind(floor_at(from))
        .bind(floor_at(to))
        .fetch_one(connection)
        .await?;
    Ok(count.try_into()?)
}

/// The mails with these numbers of a day's `each`, with all their rows, in one statement.
async fn insert(
    connection: &mut PgConnection,
    today: Date,
    day: Date,
    each: u64,
    numbers: Range<u64>,
) -> Result<()> {
    const { assert!(MAX_DELIVERIES < 1 << 10, "the ordinal has the last ten bits") };
    sqlx::query(
        r"
        -- A real mail is the pattern: of the days that are not filled, where few are.
        WITH pattern AS MATERIALIZED (
            SELECT m.*, substr(b.raw, 1, 256) AS start FROM messages m
            JOIN bodies b ON b.lane = m.lane AND b.id = m.id WHERE m.id >= $5 ORDER BY m.id DESC LIMIT 1
        ),
        tenant AS MATERIALIZED (
            SELECT array_agg(t.id ORDER BY t.id) AS ids FROM tenants t
        ),
        -- Evenly over the day; lanes and tenants in turn.
        moment AS MATERIALIZED (
            SELECT n, (n % 16)::smallint AS lane, t.ids[1 + n % array_length(t.ids, 1)] AS tenant_id,
                   $1::timestamptz + n * interval '1 day' / $2::bigint AS at
            FROM tenant t, generate_series($3::bigint, $4::bigint - 1) n
        ),
        -- UUIDv7 as postroad makes them: milliseconds, lane, random bits, ordinal (000: message, 001: delivery).
        named AS MATERIALIZED (
            SELECT m.*, lpad(to_hex((extract(epoch FROM m.at) * 1000)::bigint), 12, '0') || '7'
                        || lpad(to_hex(m.lane::int), 3, '0') || 'a' || substr(md5(m.n::text), 1, 12) AS stem
            FROM moment m
        ),
        mail AS MATERIALIZED (
            SELECT n.*, (n.stem || '000')::uuid AS id, (n.stem || '001')::uuid AS delivery_id,
                   'ann.' || lpad((n.n * 7919 % 1000003)::text, 10, '0') || '@customers.example' AS recipient,
                   -- Below every real transaction: no follower is still to read it.
                   n.n / 100 - 2000000000 AS txid
            FROM named n
        ),
        new_messages AS (
            INSERT INTO messages
                (lane, id, tenant_id, key_id, send_at, ttl_seconds, size_bytes, priority, sandbox, needs_smtputf8,
                 eight_bit, protected, message_id, sender, subject, stream, tags, metadata, addresses)
            SELECT m.lane, m.id, m.tenant_id, p.key_id, NULL, p.ttl_seconds, p.size_bytes, p.priority, p.sandbox,
                   p.needs_smtputf8, p.eight_bit, p.protected, '<' || m.stem || '@acme.example>', p.sender,
                   p.subject, p.stream, p.tags, p.metadata, p.addresses
            FROM mail m, pattern p
        ),
        new_bodies AS (
            INSERT INTO bodies (lane, id, raw) SELECT m.lane, m.id, p.start FROM mail m, pattern p
        ),
        new_deliveries AS (
            INSERT INTO deliveries (lane, id, tenant_id, role, recipient)
            SELECT m.lane, m.delivery_id, m.tenant_id, 0, m.recipient FROM mail m
        ),
        new_attempts AS (
            INSERT INTO attempts
                (lane, delivery_id, claim_no, attempt, incarnation, duration_ms, code, started_at, step, result,
                 class, host, ip, tls, enhanced, reply)
            SELECT m.lane, m.delivery_id, 1, 1, 0, 3, 250, m.at, 'body', 'delivered', NULL, '127.0.0.1',
                   '127.0.0.1', NULL, '2.0.0', 'Ok' FROM mail m
        ),
        new_outcomes AS (
            INSERT INTO outcomes (lane, ordinal, delivery_id, tenant_id, status, hard, at, class)
            SELECT m.lane, 0, m.delivery_id, m.tenant_id, 'delivered', false, m.at, NULL FROM mail m
        )
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT m.txid, m.lane, e.type::event_type, m.delivery_id, (m.stem || e.ordinal)::uuid, m.tenant_id, NULL
        FROM mail m, (VALUES ('accepted', '010'), ('delivered', '011')) AS e (type, ordinal)
        ",
    )
    .bind(day.midnight().assume_utc())
    .bind(i64::try_from(each)?)
    .bind(i64::try_from(numbers.start)?)
    .bind(i64::try_from(numbers.end)?)
    .bind(floor_at(today.midnight().assume_utc()))
    .execute(connection)
    .await?;
    Ok(())
}
