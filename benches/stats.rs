//! How fast statistics are counted and told, and events handed to webhooks, with many events stored: rates and times,
//! a line each.
//!
//! `cargo bench --bench stats -- --database-url URL [--events 10000000] [--days 30]` fills an empty database (one of
//! `scripts/scratch-postgres.sh` will do) with mail spread over so many days, two events each; counts them as the
//! roll-up does; asks what a dashboard asks, with and without events that are not counted yet; and then makes calls of
//! a webhook out of new events, as the dispatcher does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use sqlx::PgConnection;
use time::OffsetDateTime;

use postroad::domain::id::{TenantId, WebhookId};
use postroad::domain::stats::{Dimension, Grain};
use postroad::domain::tenant::TenantName;
use postroad::reporting::figures::{self, Question};
use postroad::reporting::rollup::{self, Memory, Rolled};
use postroad::store::webhooks::{self, StoredWebhook};
use postroad::store::{Database, Link, Use, calls, migrate, nodes, partitions, tenants};

/// Mails in one statement.
const CHUNK: i64 = 20_000;
/// Mails in the last transaction that is counted.
const FEW: i64 = 10;
/// Mails whose two events are not counted yet: as many as an answer reads.
const FRESH: i64 = 500;
/// How often each question is asked.
const TIMES: usize = 50;
/// Events that become calls, and how many in one transaction.
const DISPATCHED: i64 = 200_000;
const PAGE: i64 = 5000;

#[derive(Debug, Parser)]
struct Options {
    /// An empty database.
    #[arg(long)]
    database_url: String,
    /// Events, two for each mail.
    #[arg(long, default_value_t = 1_000_000)]
    events: i64,
    /// Over how many days they are spread.
    #[arg(long, default_value_t = 30)]
    days: i64,
    /// Fills the database, and that is all.
    #[arg(long, conflicts_with = "filled")]
    fill_only: bool,
    /// The database was filled by a run with the same figures before.
    #[arg(long)]
    filled: bool,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let database = Database::new(Database::parse(&options.database_url)?);
    migrate::migrate(&database).await?;
    let mut link = database.link(Use::Maintain);
    let now = nodes::database_time(link.get().await?).await?;
    let mails = options.events / 2;
    let tenant = match options.filled {
        true => {
            let filled = "SELECT id FROM tenants WHERE name LIKE 'bench-%'";
            TenantId::from_uuid(sqlx::query_scalar(filled).fetch_one(link.get().await?).await?)
        }
        false => fill(&mut link, &options, now).await?,
    };
    if options.fill_only {
        return Ok(());
    }
    let mut counting = database.link(Use::Claim);
    count(&mut counting, now).await?;
    let (start, step) = (now - time::Duration::MINUTE, time::Duration::milliseconds(10));
    let (few, fresh) = (mails + FEW, mails + FEW + FRESH);
    // As in life, the counting stands in a transaction of a few, not amid one of the thousands that filled.
    insert(link.get().await?, tenant, Mails { first: mails, end: few, start, step }).await?;
    count(&mut counting, now).await?;
    ask_all(&database, tenant, now, options.days, "counted").await?;
    insert(link.get().await?, tenant, Mails { first: few, end: fresh, start, step }).await?;
    ask_all(&database, tenant, now, options.days, "with 1,000 events not counted yet").await?;

    webhooks::insert(link.get().await?, &webhook(tenant, now)).await?;
    for first in (0..DISPATCHED / 2).step_by(usize::try_from(CHUNK)?) {
        let first = fresh + first;
        insert(link.get().await?, tenant, Mails { first, end: first + CHUNK, start, step: step / 100 })
            .await?;
    }
    // The server closes a connection that waits as long as the first has.
    dispatch(&mut database.link(Use::Claim), now).await
}

/// Stores mails of a new tenant, two events each.
async fn fill(link: &mut Link, options: &Options, now: OffsetDateTime) -> Result<TenantId> {
    let tenant = TenantId::new(now);
    let name = TenantName::parse(&format!("bench-{}", now.unix_timestamp())).context("a name")?;
    tenants::insert(link.get().await?, tenant, &name, now).await?;
    for ago in -1..=options.days {
        partitions::ensure_day(link.get().await?, now.date() - time::Duration::days(ago)).await?;
    }
    let (began, mails) = (Instant::now(), options.events / 2);
    let start = now - time::Duration::days(options.days);
    let step = time::Duration::days(options.days) / f64::from(u32::try_from(mails)?);
    for first in (0..mails).step_by(usize::try_from(CHUNK)?) {
        let mails = Mails {
            first,
            end: (first + CHUNK).min(mails),
            start: start + step * i32::try_from(first)?,
            step,
        };
        insert(link.get().await?, tenant, mails).await?;
    }
    sqlx::raw_sql("VACUUM (ANALYZE) events, messages, deliveries").execute(link.get().await?).await?;
    eprintln!("stats: {} events stored in {:.0?}", options.events, began.elapsed());
    Ok(tenant)
}

/// Makes calls out of all events that no call was made of.
async fn dispatch(link: &mut Link, now: OffsetDateTime) -> Result<()> {
    let (began, mut made) = (Instant::now(), 0);
    loop {
        let mut transaction = link.begin().await?;
        let after = calls::lock_follower(&mut transaction).await?.context("the reader's place is free")?;
        let done = calls::dispatch(&mut transaction, after, now, PAGE).await?;
        transaction.commit().await?;
        made += done.calls;
        if !done.more {
            break;
        }
    }
    let took = began.elapsed();
    println!(
        "stats: {made} calls of a webhook made in {took:.1?}: {:.0}/s",
        made as f64 / took.as_secs_f64()
    );
    Ok(())
}

fn webhook(tenant: TenantId, now: OffsetDateTime) -> StoredWebhook {
    StoredWebhook {
        id: WebhookId::new(now),
        tenant,
        url: "https://acme.example/hook".to_owned(),
        description: String::new(),
        format: "postroad".to_owned(),
        types: None,
        streams: None,
        tags: None,
        batch_size: 1,
        secret_sealed: vec![0; 32],
        previous: None,
        created_at: now,
        disabled: None,
        failing_since: None,
    }
}

async fn count(link: &mut Link, now: OffsetDateTime) -> Result<()> {
    let (began, mut memory, mut counted) = (Instant::now(), Memory::default(), 0);
    while let Rolled::Counted(events @ 1..) = rollup::batch(link, &mut memory, now).await? {
        counted += events;
    }
    let took = began.elapsed();
    println!("stats: {counted} events counted in {took:.1?}: {:.0}/s", counted as f64 / took.as_secs_f64());
    Ok(())
}

async fn ask_all(
    database: &Database,
    tenant: TenantId,
    now: OffsetDateTime,
    days: i64,
    state: &str,
) -> Result<()> {
    for (what, grain, back, dimension) in [
        ("a day by hour", Grain::Hour, 1, Dimension::All),
        ("a month by day", Grain::Day, days, Dimension::All),
        ("a month by hour", Grain::Hour, days.min(31), Dimension::All),
        ("a month by day and tag", Grain::Day, days, Dimension::Tag),
        ("a month by hour and tag", Grain::Hour, days.min(31), Dimension::Tag),
        ("a month by day and provider", Grain::Day, days, Dimension::Provider),
    ] {
        let from = now - time::Duration::days(back);
        let question = Question { from, to: now, grain, dimension, values: Vec::new(), limit: 10 };
        let mut times = Vec::with_capacity(TIMES);
        let mut rows = 0;
        for _ in 0..TIMES {
            let began = Instant::now();
            rows = figures::answer(database, tenant, &question, now).await?.rows.len();
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let (median, slowest): (Duration, Duration) = (times[TIMES / 2], times[TIMES - 1]);
        println!(
            "stats: {what}, {state}: {rows} rows, median {median:.1?}, slowest of {TIMES} {slowest:.1?}"
        );
    }
    Ok(())
}

/// Numbered mails, the first at `start`, each `step` after the one before.
struct Mails {
    first: i64,
    end: i64,
    start: OffsetDateTime,
    step: time::Duration,
}

/// Stores mails with both of their events.
async fn insert(connection: &mut PgConnection, tenant: TenantId, mails: Mails) -> Result<()> {
    sqlx::query(
        r"
        WITH moment AS MATERIALIZED (
            SELECT n, (n % 16)::smallint AS lane, $2::timestamptz + (n - $4) * $3::bigint * interval '1 microsecond' AS at
            FROM generate_series($4::bigint, $5::bigint - 1) n
        ),
        -- UUIDv7 as postroad makes them: milliseconds, lane, random bits, ordinal (000: message, 001: delivery).
        named AS MATERIALIZED (
            SELECT m.*, lpad(to_hex((extract(epoch FROM m.at) * 1000)::bigint), 12, '0') || '7'
                        || lpad(to_hex(m.lane::int), 3, '0') || '8' || substr(md5(m.n::text), 1, 12) AS stem
            FROM moment m
        ),
        new_messages AS (
            INSERT INTO messages
                (lane, id, tenant_id, ttl_seconds, size_bytes, priority, sandbox, needs_smtputf8, eight_bit, protected,
                 message_id, sender, subject, stream, tags, metadata, addresses)
            SELECT m.lane, (m.stem || '000')::uuid, $1, 259200, 2048, 1, false, false, false, false,
                   '<' || m.stem || '@acme.example>', 'hello@acme' || m.n % 7 || '.example', 'Hello', 'transactional',
                   ARRAY['tag-' || m.n % 200], '{}', '{}' FROM named m
        ),
        new_deliveries AS (
            INSERT INTO deliveries (lane, id, tenant_id, role, recipient)
            SELECT m.lane, (m.stem || '001')::uuid, $1, 0, 'u' || m.n || '@domain' || m.n % 300 || '.example' FROM named m
        )
        INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
        SELECT (SELECT txid_current()), m.lane, e.type::event_type, (m.stem || '001')::uuid, (m.stem || e.ordinal)::uuid, $1, NULL
        FROM named m, (VALUES ('accepted', '010'), ('delivered', '011')) AS e (type, ordinal)
        ",
    )
    .bind(tenant.uuid())
    .bind(mails.start)
    .bind(i64::try_from(mails.step.whole_microseconds())?)
    .bind(mails.first)
    .bind(mails.end)
    .execute(connection)
    .await?;
    Ok(())
}
