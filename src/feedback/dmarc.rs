//! Aggregate reports of DMARC that come in: kept for whoever holds the domain they are about.
//!
//! A report whose own sender fails DMARC is forged, and has no effect. What nobody here holds is passed over.

use time::OffsetDateTime;

use crate::domain::identity::self_and_above;
use crate::mail::dmarc_report::{self, AggregateReport};
use crate::store::{PgConnection, StoreError, dmarc};

use super::authenticate::Verdicts;

/// Reads the report in a mail, off the runtime's threads: it may unpack to megabytes.
pub(super) async fn read(raw: &[u8]) -> Option<AggregateReport> {
    let raw = raw.to_vec();
    // A panic in there is passed on.
    tokio::task::spawn_blocking(move || dmarc_report::read(&raw))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Keeps a report. One that is there already changes nothing.
pub(super) async fn apply(
    connection: &mut PgConnection,
    report: &AggregateReport,
    verdicts: &Verdicts,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    if verdicts.json["dmarc"] == "fail" {
        tracing::info!("a DMARC report whose sender is forged is passed over");
        return Ok(());
    }
    let names: Vec<String> = self_and_above(&report.domain).map(str::to_owned).collect();
    if let Some(holder) = dmarc::holder(connection, &names).await? {
        dmarc::keep(connection, holder, report, now).await?;
    }
    Ok(())
}
