//! N4: the queue stays small where the database's own vacuum never comes.

use std::time::{Duration, Instant};

use postroad::store::vacuum;

use super::*;

/// Rows come and go, as mail does; gives the octets that the queue has then.
async fn churn(connection: &mut PgConnection) -> i64 {
    let statements = "
        INSERT INTO queue (due_at, expires_at, claim_no, attempts, lane, priority, unresolved, delay_notices,
                           cancel_requested, delivery_id, tenant_id, domain)
        SELECT now(), now() + interval '1 day', 0, 0, n % 16, 1, 0, 0, false, gen_random_uuid(), t.id, 'example.net'
        FROM generate_series(1, 5000) n, tenants t WHERE t.name = 'acme';
        UPDATE queue SET claim_no = 1, due_at = now() + interval '90 s';
        DELETE FROM queue";
    sqlx::raw_sql(statements).execute(&mut *connection).await.expect("churned");
    sqlx::query_scalar("SELECT pg_total_relation_size('queue')").fetch_one(connection).await.expect("a size")
}

#[tokio::test]
async fn what_left_the_queue_is_taken_away_although_the_database_never_does() {
    let (_database, mut connection, _, _) = begin().await;
    let never = "ALTER TABLE queue SET (autovacuum_enabled = false)";
    sqlx::query(never).execute(&mut connection).await.expect("set");

    let mut sizes = Vec::new();
    for _ in 0..5 {
        sizes.push(churn(&mut connection).await);
        // What a session has done is counted within a second or so of its end.
        let began = Instant::now();
        while !vacuum::queue(&mut connection, Duration::ZERO).await.expect("asked") {
            assert!(began.elapsed() < Duration::from_secs(60), "it is never due");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    println!("N4, no vacuum of the database's own: octets after each 5000 rows: {sizes:?}");
    assert!(sizes[4] < sizes[0] * 2, "{sizes:?}");
    // What was counted late is one more turn; then there is nothing to do.
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        if !vacuum::queue(&mut connection, Duration::ZERO).await.expect("asked") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it is due for ever");
    }
}
