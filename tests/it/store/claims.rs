//! Claims: disjoint, fair, ordered, and by their index.

use std::collections::HashSet;

use postroad::domain::delivery::Priority;
use postroad::store::Use;
use sqlx::Row;

use super::*;

#[tokio::test]
async fn eight_claimers_at_once_share_the_rows_and_none_twice() {
    let (database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 400)).await;

    let claimers = (1..=8).map(|incarnation| {
        let database = database.clone();
        tokio::spawn(async move {
            let mut connection = database.connect().await;
            let mut mine = Vec::new();
            // A claim that meets only rows in other hands comes back empty: it is asked again until all are gone.
            for _ in 0..40 {
                mine.extend(ids(&claim(&mut connection, 3, terms(incarnation, now, 20)).await));
            }
            mine
        })
    });
    let mut all = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        all.extend(claimer.await.expect("claimed"));
    }

    assert_eq!(all.len(), 400);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 400);
}

#[tokio::test]
async fn a_claim_counts_the_attempt_raises_the_fence_and_sets_the_lease() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 1)).await;

    let first = claim(&mut connection, 3, terms(7, now, 10)).await;
    assert_eq!((first[0].claim_no, first[0].attempts), (1, 1));
    assert!(claim(&mut connection, 3, terms(8, now, 10)).await.is_empty(), "it is in somebody's hands");

    // The lease has run out.
    let later = now + Duration::minutes(61);
    let second = claim(&mut connection, 3, terms(8, later, 10)).await;
    assert_eq!((second[0].claim_no, second[0].attempts), (2, 2));
    let leased_by: i32 =
        sqlx::query_scalar("SELECT leased_by FROM queue").fetch_one(&mut connection).await.expect("one row");
    assert_eq!(leased_by, 8);
}

#[tokio::test]
async fn tenants_share_a_claim_however_much_one_of_them_has() {
    let (_database, mut connection, bulk, now) = begin().await;
    let small = mailbag::tenant(&mut connection, "small").await;
    put(&mut connection, now, letters(bulk, now, 3, 300)).await;
    put(&mut connection, now, letters(small, now, 3, 10)).await;

    let claimed = claim(&mut connection, 3, terms(1, now, 40)).await;

    let of_small = claimed.iter().filter(|row| row.tenant == small).count();
    assert_eq!((claimed.len(), of_small), (30, 10), "half of it each, as far as they have mail");
}

#[tokio::test]
async fn high_goes_first_and_low_is_never_starved() {
    let (_database, mut connection, tenant, now) = begin().await;
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let letters = letters(tenant, now, 3, 100).into_iter().map(|letter| letter.priority(priority));
        put(&mut connection, now, letters.collect()).await;
    }

    let claimed = claim(&mut connection, 3, terms(1, now, 120)).await;

    let count = |priority| claimed.iter().filter(|row| row.priority == priority).count();
    assert_eq!((count(0), count(1), count(2)), (100, 14, 6), "a twentieth is kept for low");
}

#[tokio::test]
async fn mail_of_a_suspended_tenant_is_not_claimed() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 5)).await;
    sqlx::query("UPDATE tenants SET suspended_at = now()").execute(&mut connection).await.expect("suspended");
    assert!(claim(&mut connection, 3, terms(1, now, 10)).await.is_empty());

    sqlx::query("UPDATE tenants SET suspended_at = NULL").execute(&mut connection).await.expect("resumed");
    assert_eq!(claim(&mut connection, 3, terms(1, now, 10)).await.len(), 5);
}

#[tokio::test]
async fn what_was_claimed_three_times_without_a_result_is_claimed_alone() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 2)).await;
    let mut at = now;
    for _ in 0..3 {
        assert_eq!(claim(&mut connection, 3, terms(1, at, 10)).await.len(), 2);
        at += Duration::minutes(61);
    }

    assert!(claim(&mut connection, 3, terms(1, at, 10)).await.is_empty(), "suspects are left out");
    let suspect = claim::claim_suspect(&mut connection, Lane::new(3), terms(1, at, 1)).await.expect("asked");
    assert_eq!(suspect.expect("one of them").unresolved, 4);
}

#[tokio::test]
async fn a_claim_finds_its_rows_by_the_index_however_long_the_queue_is() {
    let (database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 500)).await;
    sqlx::raw_sql(
        "INSERT INTO queue (due_at, expires_at, claim_no, attempts, lane, priority, unresolved, delay_notices,
                            cancel_requested, delivery_id, tenant_id, domain)
         SELECT now() + interval '1 day', now() + interval '3 days', 0, 0, 3, 1, 0, 0, false, gen_random_uuid(),
                (SELECT id FROM tenants LIMIT 1), 'example.net'
         FROM generate_series(1, 100000);
         ANALYZE queue",
    )
    .execute(&mut connection)
    .await
    .expect("a long queue");

    let explain = "EXPLAIN (ANALYZE, FORMAT JSON) SELECT q.delivery_id FROM queue q
                   WHERE q.lane = 3 AND q.tenant_id = (SELECT id FROM tenants LIMIT 1) AND q.priority = 1
                     AND q.due_at <= now() + interval '1 minute' AND q.unresolved < 3
                   ORDER BY q.due_at LIMIT 100 FOR UPDATE SKIP LOCKED";
    let plan: serde_json::Value =
        sqlx::query(explain).fetch_one(&mut connection).await.expect("explained").get(0);
    let plan = plan.to_string();
    assert!(plan.contains("queue_due") && !plan.contains("\"Sort\""), "{plan}");

    // What the claim itself reads, on a connection as workers have it.
    let mut link = database.open().link(Use::Claim);
    let mut transaction = link.begin().await.expect("begun");
    assert_eq!(claim(&mut transaction, 3, terms(1, now, 1000)).await.len(), 500);
    let read = "SELECT (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
                FROM pg_stat_xact_user_tables WHERE relname = 'queue'";
    let read: i64 = sqlx::query_scalar(read).fetch_one(&mut *transaction).await.expect("asked");
    assert!(read < 10_000, "{read} rows were read of 100,500");
}

// Its session gives it ten seconds; a plan that chooses anew for each row of the lane takes longer.
#[tokio::test]
async fn a_claim_ends_in_time_in_a_queue_that_is_believed_to_be_empty() {
    let (database, mut connection, _, now) = begin().await;
    believed_empty(&mut connection, 80_000, now - Duration::minutes(1)).await;

    let mut link = database.open().link(Use::Claim);
    let claimed = claim(link.get().await.expect("connected"), 3, terms(1, now, 500)).await;

    assert_eq!(claimed.len(), 500);
}
