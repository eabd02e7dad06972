//! How much a tenant has sent in the present day and month, beside what it may: from the statistics, right up to the
//! last event.

use time::OffsetDateTime;

use crate::domain::id::TenantId;
use crate::domain::quota::{Limits, Period};
use crate::domain::stats::{Counter, Dimension, Grain};
use crate::store::{Database, StoreError, quotas};

use super::figures::{self, Question};

/// What was sent, and what may be.
#[derive(Debug, Clone)]
pub struct Usage {
    /// What the tenant is limited to.
    pub limits: Limits,
    /// Recipients accepted today (UTC).
    pub day: i64,
    /// Recipients accepted this month (UTC).
    pub month: i64,
    /// Everything before this moment is counted.
    pub as_of: OffsetDateTime,
}

/// Reads it.
///
/// # Errors
/// See [`StoreError`].
pub async fn read(database: &Database, tenant: TenantId, now: OffsetDateTime) -> Result<Usage, StoreError> {
    let mut connection = database.serve().acquire().await?;
    let limits = quotas::find(&mut connection, tenant).await?;
    drop(connection);
    let (today, month) = (Period::Day.start(now), Period::Month.start(now));
    let question = Question {
        from: month,
        to: Period::Day.end(today),
        grain: Grain::Day,
        dimension: Dimension::All,
        values: Vec::new(),
        limit: 1,
    };
    let figures = figures::answer(database, tenant, &question, now).await?;
    let accepted = |since: OffsetDateTime| {
        let rows = figures.rows.iter().filter(|(start, _, _)| *start >= since);
        rows.map(|(_, _, cell)| cell.counts.get(Counter::Accepted)).sum()
    };
    Ok(Usage { limits, day: accepted(today), month: accepted(month), as_of: figures.as_of })
}
