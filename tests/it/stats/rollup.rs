//! The roll-up: exactly once, whoever counts, wherever it breaks, and whatever commits late.

use std::time::Instant;

use sqlx::{Connection, Executor, PgConnection};
use time::OffsetDateTime;

use postroad::domain::id::TenantId;
use postroad::domain::stats::{Counter, Dimension, Grain};
use postroad::reporting::figures::{self, Question};
use postroad::reporting::rollup::{self, Memory, Rolled};
use postroad::store::{Database, Use, stats};

use crate::support::client::PATIENCE;
use crate::support::database::TestDatabase;
use crate::support::mailbag::{self, Letter};

async fn put(connection: &mut PgConnection, tenant: TenantId, now: OffsetDateTime, from: u32, count: u32) {
    let letter = |n: u32| {
        let mut letter = Letter::new(tenant, now, (n % 16) as u16).to([format!("u{n}@example.net")]);
        letter.tags = vec![format!("tag-{}", n % 700)];
        letter
    };
    mailbag::put(connection, now, (from..from + count).map(letter).collect()).await;
}

/// Counts until this tenant's counters say so much, which takes as long as transactions of other tests are open:
/// the horizon is that of the whole server.
async fn roll_up_to(
    database: &Database,
    memory: &mut Memory,
    tenant: TenantId,
    now: OffsetDateTime,
    wanted: i64,
) {
    let began = Instant::now();
    let mut connection = database.serve().acquire().await.expect("connected");
    while stored(&mut connection, tenant).await < wanted {
        assert!(began.elapsed() < PATIENCE, "events are not counted");
        roll_up(database, memory, now).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(stored(&mut connection, tenant).await, wanted);
}

/// Counts everything that can be counted.
async fn roll_up(database: &Database, memory: &mut Memory, now: OffsetDateTime) -> usize {
    let mut link = database.link(Use::Claim);
    let mut counted = 0;
    loop {
        match rollup::batch(&mut link, memory, now).await.expect("counted") {
            Rolled::Counted(0) => return counted,
            Rolled::Counted(events) => counted += events,
            Rolled::Elsewhere => tokio::task::yield_now().await,
        }
    }
}

/// What the counters alone say, over everything.
async fn stored(connection: &mut PgConnection, tenant: TenantId) -> i64 {
    let query = sqlx::query_scalar(
        "SELECT coalesce(sum(counts[1]), 0)::bigint FROM stats WHERE tenant_id = $1 AND grain = 0 AND dimension = 0",
    );
    query.bind(tenant.uuid()).fetch_one(connection).await.expect("a sum")
}

/// How much there was, all in all.
fn question(now: OffsetDateTime) -> Question {
    Question {
        from: now - time::Duration::DAY,
        to: now + time::Duration::DAY,
        grain: Grain::Hour,
        dimension: Dimension::All,
        values: Vec::new(),
        limit: 1,
    }
}

/// What an answer says.
async fn told(database: &Database, tenant: TenantId, now: OffsetDateTime) -> i64 {
    let figures = figures::answer(database, tenant, &question(now), now).await.expect("answered");
    figures.totals.iter().map(|(_, cell)| cell.counts.get(Counter::Accepted)).sum()
}

#[tokio::test]
async fn every_event_counts_once_though_counters_race_and_are_killed() {
    const EVENTS: u32 = 12_000;
    let test = TestDatabase::fresh().await;
    let (database, mut connection) = (test.open(), test.connect().await);
    let now = mailbag::now(&mut connection).await;
    let tenant = mailbag::tenant(&mut connection, "counted").await;
    for part in 0..EVENTS / 500 {
        put(&mut connection, tenant, now, part * 500, 500).await;
    }

    let counter = || {
        let database = database.clone();
        tokio::spawn(async move {
            let (mut link, mut memory) = (database.link(Use::Claim), Memory::default());
            let (mut broken, mut batches) = (0, 0);
            loop {
                match rollup::batch(&mut link, &mut memory, now).await {
                    Ok(Rolled::Counted(0)) => return (broken, batches),
                    Ok(Rolled::Counted(_)) => batches += 1,
                    Ok(Rolled::Elsewhere) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                    Err(_) => {
                        broken += 1;
                        link.broken();
                    }
                }
            }
        })
    };
    let counters = [counter(), counter(), counter()];
    // Whoever is about to write counters is killed in the midst of it, some times.
    let mut killed = 0;
    while killed < 6 && !counters.iter().all(|counter| counter.is_finished()) {
        let victims = sqlx::query_scalar::<_, bool>(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'postroad' AND backend_xid IS NOT NULL",
        );
        killed += victims.fetch_all(&mut connection).await.expect("asked").len();
    }
    let mut broken = 0;
    for counter in counters {
        broken += counter.await.expect("it counts").0;
    }
    roll_up_to(&database, &mut Memory::default(), tenant, now, i64::from(EVENTS)).await;

    assert_eq!(told(&database, tenant, now).await, i64::from(EVENTS));
    assert!(killed > 0 && broken > 0, "somebody was killed while counting");
    println!("roll-up: {EVENTS} events counted once by three, {killed} killed, {broken} batches broken");
    let by_tag = sqlx::query_as::<_, (i64, i64)>(
        "SELECT count(DISTINCT value), sum(counts[1])::bigint FROM stats WHERE tenant_id = $1 AND grain = 1 AND dimension = 2",
    );
    let (tags, mails) = by_tag.bind(tenant.uuid()).fetch_one(&mut connection).await.expect("sums");
    // Two counters that do not know of each other may each let some through.
    assert!((501..=503).contains(&tags), "500 tags and the rest, these are {tags}");
    assert_eq!(mails, i64::from(EVENTS));
    database.close().await;
    test.drop_now().await;
}

#[tokio::test]
async fn what_commits_late_is_told_at_once_and_counted_later() {
    let test = TestDatabase::fresh().await;
    let (database, mut early) = (test.open(), test.connect().await);
    let mut late = test.connect().await;
    let now = mailbag::now(&mut early).await;
    let tenant = mailbag::tenant(&mut early, "late").await;
    let mut memory = Memory::default();

    let mut open = late.begin().await.expect("begun");
    put(&mut open, tenant, now, 0, 3).await;
    put(&mut early, tenant, now, 100, 5).await;
    assert_eq!(roll_up(&database, &mut memory, now).await, 0, "nothing above the oldest running transaction");
    assert_eq!(told(&database, tenant, now).await, 5, "but told it is");
    open.commit().await.expect("committed");
    assert_eq!(told(&database, tenant, now).await, 8);
    roll_up_to(&database, &mut memory, tenant, now, 8).await;

    assert_eq!(told(&database, tenant, now).await, 8);
    assert_eq!(roll_up(&database, &mut memory, now).await, 0);
    database.close().await;
    test.drop_now().await;
}

#[tokio::test]
async fn an_answer_that_would_take_long_is_an_earlier_one_and_says_so() {
    let test = TestDatabase::fresh().await;
    let (database, mut connection) = (test.open(), test.connect().await);
    let now = mailbag::now(&mut connection).await;
    let few = mailbag::tenant(&mut connection, "few").await;
    let many = mailbag::tenant(&mut connection, "many").await;
    put(&mut connection, few, now, 0, 3).await;
    put(&mut connection, many, now, 0, 1).await;
    let mut memory = Memory::default();
    roll_up_to(&database, &mut memory, few, now, 3).await;
    roll_up_to(&database, &mut memory, many, now, 1).await;
    put(&mut connection, few, now, 3, 1).await;
    // One event again and again: 1,000 of a tenant are counted while it waits, 10,000 of all are passed over.
    let mut again = async |from: i32, to: i32| {
        let copies = sqlx::query(
            "INSERT INTO events (txid, lane, type, delivery_id, id, tenant_id, data)
             SELECT (SELECT txid_current()), lane, type, delivery_id,
                    (left(id::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, tenant_id, data
             FROM (SELECT * FROM events WHERE tenant_id = $1 ORDER BY txid LIMIT 1) e, generate_series($2, $3) n",
        );
        copies.bind(many.uuid()).bind(from).bind(to).execute(&mut connection).await.expect("copied");
    };

    again(1, 1000).await;
    assert_eq!((told(&database, few, now).await, told(&database, many, now).await), (4, 1001));
    again(1001, 1001).await;
    assert_eq!(
        (told(&database, few, now).await, told(&database, many, now).await),
        (4, 1),
        "its own backlog"
    );
    again(1002, 10_000).await;
    assert_eq!((told(&database, few, now).await, told(&database, many, now).await), (3, 1), "the others'");
    let later = now + time::Duration::HOUR;
    let asked = figures::answer(&database, few, &question(now), later).await.expect("answered");
    assert!(asked.as_of < later, "{}", asked.as_of);

    roll_up_to(&database, &mut memory, many, now, 10_001).await;
    assert_eq!((told(&database, few, now).await, told(&database, many, now).await), (4, 10_001));
    database.close().await;
    test.drop_now().await;
}

#[tokio::test]
async fn hours_leave_with_the_history_and_days_stay() {
    let test = TestDatabase::fresh().await;
    let (database, mut connection) = (test.open(), test.connect().await);
    let now = mailbag::now(&mut connection).await;
    let tenant = mailbag::tenant(&mut connection, "old").await;
    put(&mut connection, tenant, now, 0, 1).await;
    roll_up_to(&database, &mut Memory::default(), tenant, now, 1).await;
    let later = now + time::Duration::days(50);
    assert_eq!(stats::forget_older(&mut connection, Grain::Hour, later, 1000).await.expect("done"), 5);
    assert_eq!(stats::forget_older(&mut connection, Grain::Hour, later, 1000).await.expect("done"), 0);
    connection.execute("SELECT 1 / count(*) FROM stats WHERE grain = 1").await.expect("days are still there");
    database.close().await;
    test.drop_now().await;
}
