//! Retention: whole days leave, but never with mail that is still queued, and never half.

use postroad::store::partitions;

use super::*;

async fn count(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(connection).await.expect("asked")
}

/// Letters born so many days ago, in partitions of their own.
async fn born(
    connection: &mut PgConnection,
    tenant: TenantId,
    now: OffsetDateTime,
    days: i64,
) -> Vec<DeliveryId> {
    let birth = now - Duration::days(days);
    partitions::ensure_day(connection, birth.date()).await.expect("made");
    let letters = letters(tenant, birth, 3, 3);
    let ids = letters.iter().map(|letter| letter.id.delivery(1)).collect();
    put(connection, birth, letters).await;
    ids
}

async fn unqueue(connection: &mut PgConnection, deliveries: &[DeliveryId]) {
    let ids: Vec<_> = deliveries.iter().map(|id| id.uuid()).collect();
    sqlx::query("DELETE FROM queue WHERE delivery_id = ANY ($1)")
        .bind(ids)
        .execute(connection)
        .await
        .expect("gone");
}

#[tokio::test]
async fn days_leave_whole_when_their_time_is_over_and_others_stay() {
    let (_database, mut connection, tenant, now) = begin().await;
    let old = born(&mut connection, tenant, now, 50).await;
    let young = born(&mut connection, tenant, now, 10).await;
    unqueue(&mut connection, &[old, young].concat()).await;

    let before = now - Duration::days(45);
    let dropped = partitions::drop_older(&mut connection, before, before).await.expect("dropped");

    assert_eq!(dropped.len(), 8, "{dropped:?}: one of each table");
    assert_eq!(count(&mut connection, "SELECT count(*) FROM messages").await, 3);
    assert_eq!(count(&mut connection, "SELECT count(*) FROM bodies").await, 3);
}

#[tokio::test]
async fn content_may_leave_before_history() {
    let (_database, mut connection, tenant, now) = begin().await;
    let old = born(&mut connection, tenant, now, 20).await;
    unqueue(&mut connection, &old).await;

    let (history, content) = (now - Duration::days(45), now - Duration::days(7));
    let dropped = partitions::drop_older(&mut connection, history, content).await.expect("dropped");

    assert_eq!(dropped.len(), 2, "{dropped:?}: bodies, and mail that came in");
    assert_eq!(count(&mut connection, "SELECT count(*) FROM messages").await, 3);
    assert_eq!(count(&mut connection, "SELECT count(*) FROM bodies").await, 0);
}

#[tokio::test]
async fn a_day_from_which_mail_is_still_queued_stays_with_all_after_it() {
    let (_database, mut connection, tenant, now) = begin().await;
    let oldest = born(&mut connection, tenant, now, 60).await;
    let queued = born(&mut connection, tenant, now, 50).await;
    let later = born(&mut connection, tenant, now, 48).await;
    unqueue(&mut connection, &[oldest, later, queued[1..].to_vec()].concat()).await;

    let before = now - Duration::days(45);
    let dropped = partitions::drop_older(&mut connection, before, before).await.expect("dropped");

    assert_eq!(dropped.len(), 8, "{dropped:?}: only what is older than the queued mail");
    let claimed = claim(&mut connection, 3, terms(1, now, 10)).await;
    assert_eq!(ids(&claimed), queued[..1]);
    assert_eq!(claim::load_messages(&mut connection, &[queued[0].message()]).await.expect("read").len(), 1);
}

// K1: a process that was killed between detaching and dropping.
#[tokio::test]
async fn what_was_left_detached_is_dropped_by_the_next() {
    let (_database, mut connection, tenant, now) = begin().await;
    let old = born(&mut connection, tenant, now, 50).await;
    unqueue(&mut connection, &old).await;
    let name: String = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
         WHERE c.relname LIKE 'events_p%' ORDER BY c.relname LIMIT 1",
    )
    .fetch_one(&mut connection)
    .await
    .expect("a partition");
    let detach = sqlx::AssertSqlSafe(format!("ALTER TABLE events DETACH PARTITION {name}"));
    sqlx::query(detach).execute(&mut connection).await.expect("detached");

    let before = now - Duration::days(45);
    partitions::drop_older(&mut connection, before, before).await.expect("dropped");

    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%_p' || to_char(now() - interval '50 days', 'YYYYMMDD')";
    assert_eq!(count(&mut connection, left).await, 0);
}

#[tokio::test]
async fn partitions_are_made_a_week_ahead_by_however_many_at_once() {
    let (database, mut connection, _tenant, now) = begin().await;
    let day = now.date() + Duration::days(30);
    let makers = (0..6).map(|_| {
        let database = database.clone();
        tokio::spawn(
            async move { partitions::ensure(&mut database.connect().await, day).await.expect("made") },
        )
    });
    let mut made = 0;
    for maker in makers.collect::<Vec<_>>() {
        made += maker.await.expect("made");
    }
    assert_eq!(made, 8 * (1 + 1 + partitions::DAYS_AHEAD as usize), "each once");
    for ahead in 0..=partitions::DAYS_AHEAD {
        assert!(partitions::exist(&mut connection, day + Duration::days(ahead)).await.expect("asked"));
    }
}
