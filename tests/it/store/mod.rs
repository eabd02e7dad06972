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
