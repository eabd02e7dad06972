//! TLS reporting: writes down what was counted, of domains that want to know, and sends the days' reports.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use time::{OffsetDateTime, Time};
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::dns::Resolver;
use crate::domain::tls_result::TlsSession;
use crate::feedback::tls_reports::{NotReported, Reporter};
use crate::mail::tls_report::destinations;
use crate::store::{Database, StoreError, tls_results};

const INTERVAL: Duration = Duration::from_secs(60);
/// Between looks for reports that are due.
const REPORTS: Duration = Duration::from_secs(5);
/// Domains asked at the same time whether they want to know.
const AT_ONCE: usize = 16;
/// Domains asked at one time: what the rest counted is not kept.
const MOST_DOMAINS: usize = 5000;
/// Reports are spread over so long after a day's end (RFC 8460 §4.1: not all at once).
const SPREAD_SECONDS: u64 = 4 * 3600;
/// Other processes write down the last of a day a little later.
const SETTLED: time::Duration = time::Duration::minutes(10);

/// What writes down.
#[derive(Clone)]
pub struct Keeper {
    /// What counts.
    pub delivery: Arc<Delivery>,
    /// Where it is kept.
    pub database: Database,
    /// Knows who wants to know.
    pub resolver: Resolver,
}

/// Writes down until `stop`, and once more then.
pub async fn keep(keeper: Keeper, stop: CancellationToken) {
    let mut going = true;
    while going {
        tokio::select! {
            () = stop.cancelled() => going = false,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        if let Err(error) = keep_once(&keeper, keeper.delivery.clock.now()).await {
            tracing::warn!(error = %error, "what was counted of TLS sessions is lost");
        }
    }
}

/// Writes down what was counted; gives how many kinds of sessions were kept.
///
/// # Errors
/// See [`StoreError`]: what was counted is lost.
pub async fn keep_once(keeper: &Keeper, now: OffsetDateTime) -> Result<usize, StoreError> {
    let counted = keeper.delivery.tls_results.take();
    let mut by_domain: std::collections::BTreeMap<String, Vec<(TlsSession, u64)>> = Default::default();
    for (session, count) in counted {
        by_domain.entry(session.domain.clone()).or_default().push((session, count));
    }
    let wanted = stream::iter(by_domain.into_iter().take(MOST_DOMAINS))
        .map(|(domain, sessions)| async move {
            wants(&keeper.resolver, &domain).await.then_some((domain, sessions))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |kept| kept);
    let wanted: Vec<(String, Vec<(TlsSession, u64)>)> = wanted.collect().await;
    let day_end = now.replace_time(Time::MIDNIGHT) + time::Duration::DAY;
    let mut kept = 0;
    for (domain, sessions) in wanted {
        let mut connection = keeper.database.serve().acquire().await?;
        tls_results::add(&mut connection, now.date(), day_end + SETTLED + spread(&domain), &sessions).await?;
        kept += sessions.len();
    }
    Ok(kept)
}

async fn wants(resolver: &Resolver, domain: &str) -> bool {
    let records = resolver.txt(&format!("_smtp._tls.{domain}")).await;
    records.is_ok_and(|answer| !destinations(&answer.records).is_empty())
}

/// Where in the spread a domain falls: always the same.
fn spread(domain: &str) -> time::Duration {
    let mixed = domain.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    time::Duration::seconds(i64::try_from(mixed % SPREAD_SECONDS).unwrap_or(0))
}

/// Sends reports until `stop`.
pub async fn report(reporter: Reporter, stop: CancellationToken) {
    super::every(REPORTS, &stop, async || {
        if let Err(error) = tick(&reporter, reporter.accept.clock.now()).await {
            tracing::warn!(error = %error, "could not send TLS reports");
        }
    })
    .await;
}

/// Sends what is due.
///
/// # Errors
/// See [`NotReported`]; what was not sent is due again.
pub async fn tick(reporter: &Reporter, now: OffsetDateTime) -> Result<usize, NotReported> {
    reporter.report_due(now).await
}
