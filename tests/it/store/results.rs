//! Results: fenced, whole, and written once.

use postroad::delivery::classify;
use postroad::domain::delivery::Ending;
use postroad::domain::handoff::Claim;
use postroad::domain::outcome::{AttemptReport, BounceClass, Hardness, Step, Suppress};
use postroad::store::Use;
use postroad::store::queue;
use postroad::store::record::{self, Completion, Turn};

use super::*;

fn result(claimed: &Claimed, at: OffsetDateTime, turn: Turn) -> Completion {
    let report = AttemptReport {
        started_at: at,
        duration_ms: 5,
        step: Step::Rcpt,
        host: Some("mx.example.net".to_owned()),
        ip: Some("192.0.2.1".parse().expect("an address")),
        source: None,
        tls: None,
        code: Some(550),
        enhanced: Some("5.1.1".to_owned()),
        text: "no such user".to_owned(),
    };
    Completion {
        delivery: claimed.delivery,
        tenant: claimed.tenant,
        claim_no: claimed.claim_no,
        attempt: 1,
        report: Some(report),
        turn,
        event_data: "{}".to_owned(),
        suppress: None,
        notice: None,
        at,
    }
}

fn delivered() -> Turn {
    Turn::End { ending: Ending::Delivered, class: None, hardness: Hardness::Soft }
}

fn bounced() -> Turn {
    let class = Some(BounceClass::InvalidRecipient);
    Turn::End { ending: Ending::Bounced, class, hardness: Hardness::Hard }
}

async fn number(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(connection).await.expect("asked")
}

#[tokio::test]
async fn a_result_ends_a_delivery_whole() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 1)).await;
    let claimed = claim(&mut connection, 3, terms(1, now, 1)).await;

    let written = record::complete(&mut connection, 1, &[result(&claimed[0], now, delivered())]).await;

    assert_eq!(written.expect("written").len(), 1);
    for (query, rows) in [
        ("SELECT count(*) FROM queue", 0),
        ("SELECT count(*) FROM outcomes WHERE status = 'delivered'", 1),
        ("SELECT count(*) FROM events WHERE type = 'delivered'", 1),
        ("SELECT count(*) FROM attempts WHERE result = 'delivered' AND code = 550", 1),
    ] {
        assert_eq!(number(&mut connection, query).await, rows, "{query}");
    }
}

// K4
#[tokio::test]
async fn a_result_of_an_earlier_claim_changes_nothing() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 1)).await;
    let stale = claim(&mut connection, 3, terms(1, now, 1)).await;
    let current = claim(&mut connection, 3, terms(2, now + Duration::minutes(61), 1)).await;
    let result = result(&stale[0], now, bounced());

    assert!(
        record::complete(&mut connection, 1, std::slice::from_ref(&result)).await.expect("asked").is_empty()
    );
    record::append_stale(&mut connection, 1, &[&result]).await.expect("kept");

    assert_eq!(number(&mut connection, "SELECT count(*) FROM outcomes").await, 0);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM queue WHERE leased_by = 2").await, 1);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM attempts WHERE result = 'stale'").await, 1);
    // The claim that counts can still end it.
    let last = super::results::result(&current[0], now, delivered());
    assert_eq!(record::complete(&mut connection, 2, &[last]).await.expect("written").len(), 1);
}

#[tokio::test]
async fn a_result_that_is_written_twice_counts_once() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 1)).await;
    let claimed = claim(&mut connection, 3, terms(1, now, 1)).await;
    let again = || {
        let due_at = now + Duration::minutes(5);
        result(&claimed[0], now, Turn::Again { due_at, class: BounceClass::Network, delay_notices: 0 })
    };
    assert_eq!(record::complete(&mut connection, 1, &[again()]).await.expect("written").len(), 1);
    // The same batch again, because its answer was lost: the row is the same claim's still, and its attempt is there.
    assert!(record::complete(&mut connection, 1, &[again()]).await.is_err());

    assert_eq!(number(&mut connection, "SELECT count(*) FROM attempts").await, 1);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM events WHERE type = 'deferred'").await, 1);
}

#[tokio::test]
async fn a_dead_address_is_suppressed_by_the_result_and_found_by_the_next_mail() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 1)).await;
    let claimed = claim(&mut connection, 3, terms(1, now, 1)).await;
    let mut bounce = result(&claimed[0], now, bounced());
    bounce.suppress = Some((Suppress::Now, "ann@example.net".to_owned()));
    record::complete(&mut connection, 1, &[bounce]).await.expect("written");

    let other = mailbag::tenant(&mut connection, "other").await;
    let inserted = put(&mut connection, now, vec![Letter::new(tenant, now, 3).to(["ANN@example.net"])]).await;
    let elsewhere = put(&mut connection, now, letters(other, now, 3, 1)).await;

    assert_eq!(
        (inserted.suppressed.len(), elsewhere.suppressed.len()),
        (1, 0),
        "each tenant has its own list"
    );
    assert_eq!(number(&mut connection, "SELECT count(*) FROM events WHERE type = 'suppressed'").await, 1);
}

#[tokio::test]
async fn a_full_mailbox_is_suppressed_at_the_third_bounce_in_a_month() {
    let (_database, mut connection, tenant, now) = begin().await;
    for nth in 1..=3 {
        put(&mut connection, now, letters(tenant, now, 3, 1)).await;
        let claimed = claim(&mut connection, 3, terms(1, now, 1)).await;
        let class = Some(BounceClass::MailboxFull);
        let mut bounce =
            result(&claimed[0], now, Turn::End { ending: Ending::Bounced, class, hardness: Hardness::Soft });
        bounce.suppress = Some((Suppress::After(3), "ann@example.net".to_owned()));
        record::complete(&mut connection, 1, &[bounce]).await.expect("written");
        let suppressed = number(&mut connection, "SELECT count(*) FROM suppressions").await;
        assert_eq!(suppressed, i64::from(nth == 3), "after {nth}");
    }
    assert_eq!(classify::RULES_VERSION, 3);
}

#[tokio::test]
async fn hand_backs_are_uncounted_and_fenced() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 2)).await;
    let claimed = claim(&mut connection, 3, terms(1, now, 2)).await;
    let due_at = now + Duration::seconds(2);
    let back = |row: &Claimed, claim_no| queue::HandBack { delivery: row.delivery, claim_no, due_at };

    let done = queue::hand_back(&mut connection, &[back(&claimed[0], 1), back(&claimed[1], 9)]).await;

    assert_eq!(done.expect("given back"), 1, "the other is a claim that nobody made");
    let uncounted = "SELECT count(*) FROM queue WHERE leased_by IS NULL AND attempts = 0 AND claim_no = 1 AND unresolved = 0";
    assert_eq!(number(&mut connection, uncounted).await, 1);
    assert_eq!(
        number(&mut connection, "SELECT count(*) FROM queue WHERE leased_by = 1 AND attempts = 1").await,
        1
    );
}

#[tokio::test]
async fn only_the_dead_are_rescued_and_only_strays_reclaimed() {
    let (_database, mut connection, tenant, now) = begin().await;
    put(&mut connection, now, letters(tenant, now, 3, 4)).await;
    let dead = claim(&mut connection, 3, terms(1, now, 2)).await;
    let alive = claim(&mut connection, 3, terms(2, now, 2)).await;

    assert_eq!(queue::rescue(&mut connection, Lane::new(3), &[1], now, 100).await.expect("rescued"), 2);
    assert_eq!(ids(&claim(&mut connection, 3, terms(3, now, 10)).await).len(), dead.len());

    let leased = queue::leased_to(&mut connection, 2).await.expect("asked");
    assert_eq!(leased.len(), 2);
    let stray = Claim { delivery: alive[0].delivery, claim_no: 1 };
    let wrong = Claim { delivery: alive[1].delivery, claim_no: 7 };
    assert_eq!(queue::reclaim(&mut connection, 2, &[stray, wrong], now).await.expect("reclaimed"), 1);
    assert_eq!(queue::leased_to(&mut connection, 2).await.expect("asked").len(), 1);
}

#[tokio::test]
async fn results_find_their_rows_by_key_whatever_the_planner_knows_of_the_queue() {
    let (database, mut connection, tenant, now) = begin().await;
    believed_empty(&mut connection, 20_000, now + Duration::days(1)).await;
    put(&mut connection, now, letters(tenant, now, 3, 500)).await;
    let claimed = claim(&mut connection, 3, terms(1, now, 1000)).await;
    assert_eq!(claimed.len(), 500);
    let batch: Vec<_> = claimed.iter().map(|row| result(row, now, delivered())).collect();

    let mut link = database.open().link(Use::Record);
    let mut transaction = link.begin().await.expect("begun");
    let written = record::complete(&mut transaction, 1, &batch).await.expect("written");

    assert_eq!(written.len(), 500);
    let read = "SELECT (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
                FROM pg_stat_xact_user_tables WHERE relname = 'queue'";
    let read: i64 = sqlx::query_scalar(read).fetch_one(&mut *transaction).await.expect("asked");
    println!("N4, a queue of 20,500 that is believed to be empty: 500 results read {read} rows of it");
    assert!(read < 5_000, "{read} rows were read for 500 results");
}
