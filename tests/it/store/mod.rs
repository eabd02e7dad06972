//! The queue as the store keeps it: claims, fences, results, retention; on a real Postgres, without a service.

mod claims;
mod partitions;
mod results;
mod sessions;
mod vacuum;

use postroad::domain::id::{DeliveryId, Lane, TenantId};
use postroad::store::PgConnection;
use postroad::store::claim::{self, Claimed, Terms};
use time::{Duration, OffsetDateTime};

use crate::support::database::TestDatabase;
use crate::support::mailbag::{self, Letter, now, put};

/// A database with one tenant.
async fn begin() -> (TestDatabase, PgConnection, TenantId, OffsetDateTime) {
    let database = TestDatabase::fresh().await;
    let mut connection = database.connect().await;
    let tenant = mailbag::tenant(&mut connection, "acme").await;
    let now = now(&mut connection).await;
    (database, connection, tenant, now)
}

fn terms(incarnation: i32, now: OffsetDateTime, limit: i64) -> Terms {
    Terms { now, lease_until: now + Duration::minutes(60), incarnation, limit }
}

async fn claim(connection: &mut PgConnection, lane: u16, terms: Terms) -> Vec<Claimed> {
    claim::claim(connection, Lane::new(lane), terms).await.expect("claimed")
}

fn ids(claimed: &[Claimed]) -> Vec<DeliveryId> {
    claimed.iter().map(|row| row.delivery).collect()
}

/// So many letters of a tenant in a lane.
fn letters(tenant: TenantId, now: OffsetDateTime, lane: u16, count: usize) -> Vec<Letter> {
    (0..count).map(|_| Letter::new(tenant, now, lane)).collect()
}

/// Puts so many rows into lane 3 of which the planner knows nothing: as after a quiet hour, a vacuum has just seen the
/// queue empty.
async fn believed_empty(connection: &mut PgConnection, rows: i64, due_at: OffsetDateTime) {
    let fill = "INSERT INTO queue (due_at, expires_at, claim_no, attempts, lane, priority, unresolved, delay_notices,
                                   cancel_requested, delivery_id, tenant_id, domain)
                SELECT $2, $2 + interval '3 days', 0, 0, 3, 1, 0, 0, false, gen_random_uuid(), t.id, 'example.net'
                FROM generate_series(1, $1), tenants t WHERE t.name = 'acme'";
    let set = "ALTER TABLE queue SET (autovacuum_enabled = false)";
    sqlx::query(set).execute(&mut *connection).await.expect("set");
    sqlx::query(fill).bind(rows).bind(due_at).execute(&mut *connection).await.expect("filled");
    for statement in ["DELETE FROM queue", "VACUUM (TRUNCATE FALSE) queue"] {
        sqlx::query(statement).execute(&mut *connection).await.expect(statement);
    }
    sqlx::query(fill).bind(rows).bind(due_at).execute(connection).await.expect("filled");
}
