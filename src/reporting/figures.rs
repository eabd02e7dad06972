//! Figures: what a tenant asks for, from the counters and from the events that are not counted yet, in one
//! snapshot. An answer is right up to the last event, or says up to when it is.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::domain::id::{EventId, TenantId};
use crate::domain::stats::{Cell, Counter, Dimension, Grain, Tally};
use crate::store::stats::{self, Series, Tail};
use crate::store::{Database, StoreError};

use super::rollup;

/// Events of the tenant that are counted while somebody waits. Behind by more, an answer is as old as the counters,
/// which follow within a second.
const TAIL: i64 = 1000;
/// The same for events of all tenants, which have to be passed over.
const PASSED: i64 = 10_000;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    /// From this moment on, rounded down to whole intervals.
    pub from: OffsetDateTime,
    /// Before this moment, rounded up.
    pub to: OffsetDateTime,
    /// In intervals of this length.
    pub grain: Grain,
    /// By what.
    pub dimension: Dimension,
    /// Only these values of the dimension; empty: those with the most mail.
    pub values: Vec<String>,
    /// How many values at most.
    pub limit: usize,
}

/// The answer.
#[derive(Debug)]
pub struct Figures {
    /// By interval and value, in this order; where nothing happened, nothing stands.
    pub rows: Vec<(OffsetDateTime, String, Cell)>,
    /// Over all intervals by value, the largest first.
    pub totals: Vec<(String, Cell)>,
    /// Every event of a transaction that ended before is counted.
    pub as_of: OffsetDateTime,
}

impl Question {
    /// The first interval.
    pub fn first(&self) -> OffsetDateTime {
        self.grain.start(self.from)
    }

    /// Behind the last interval.
    pub fn end(&self) -> OffsetDateTime {
        let start = self.grain.start(self.to);
        if start < self.to { start + self.grain.length() } else { start }
    }
}

/// Answers a question.
///
/// # Errors
/// See [`StoreError`].
pub async fn answer(
    database: &Database,
    tenant: TenantId,
    question: &Question,
    now: OffsetDateTime,
) -> Result<Figures, StoreError> {
    let mut snapshot = database.snapshot().await?;
    stats::plan_for_few(&mut snapshot).await?;
    let cursor = stats::cursor(&mut snapshot).await?;
    let backlog = stats::backlog(&mut snapshot, tenant, cursor, PASSED + 1).await?;
    let (tally, as_of) = if backlog.all > PASSED || backlog.own > TAIL {
        // Counting lags behind: better an earlier answer than a slow one, or one of unknown age.
        (Tally::new(), EventId::from_uuid(cursor.id).at())
    } else if backlog.own == 0 {
        (Tally::new(), now)
    } else {
        let tail = Tail {
            tenant: Some(tenant),
            after: cursor,
            horizon: None,
            limit: backlog.own,
            recipients: question.dimension == Dimension::Provider,
        };
        let tail = stats::uncounted(&mut snapshot, tail).await?;
        let asked = (question.dimension, question.grain);
        (rollup::preview(&mut snapshot, &tail.facts, asked).await?, now)
    };
    stats::plan_for_counters(&mut snapshot).await?;
    let (first, end) = (question.first(), question.end());
    let values = match question.dimension {
        Dimension::All => vec![String::new()],
        _ if !question.values.is_empty() => question.values.clone(),
        dimension => {
            let fresh = fresh_weights(&tally, question);
            let names: Vec<String> = fresh.keys().cloned().collect();
            let (span, limit) = ((first, end), question.limit as i64);
            let stored = stats::largest(&mut snapshot, tenant, dimension, span, limit, &names).await?;
            heaviest(stored, fresh, question.limit)
        }
    };
    let series =
        Series { grain: question.grain, dimension: question.dimension, from: first, to: end, values };
    let stored = stats::read(&mut snapshot, tenant, &series).await?;
    snapshot.rollback().await?;
    let fresh = tally
        .into_iter()
        .filter(|(place, _)| (first..end).contains(&place.start) && series.values.contains(&place.value));
    Ok(assemble(stored.into_iter().chain(fresh), question.limit, as_of))
}

/// What the events that are not counted yet add to each value's weight.
fn fresh_weights(tally: &Tally, question: &Question) -> BTreeMap<String, i64> {
    let span = question.first()..question.end();
    let mut weights = BTreeMap::new();
    for (place, cell) in tally.iter().filter(|(place, _)| span.contains(&place.start)) {
        *weights.entry(place.value.clone()).or_default() += weight(cell);
    }
    weights
}

/// The values with the most mail, so many of them, from what is stored of each and what is fresh.
fn heaviest(stored: Vec<(String, i64)>, mut weights: BTreeMap<String, i64>, limit: usize) -> Vec<String> {
    for (value, weight) in stored {
        *weights.entry(value).or_default() += weight;
    }
    let mut values: Vec<(String, i64)> = weights.into_iter().collect();
    values.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    values.into_iter().take(limit).map(|(value, _)| value).collect()
}

fn assemble(
    cells: impl Iterator<Item = (crate::domain::stats::Place, Cell)>,
    limit: usize,
    as_of: OffsetDateTime,
) -> Figures {
    let mut rows: BTreeMap<(OffsetDateTime, String), Cell> = BTreeMap::new();
    let mut totals: BTreeMap<String, Cell> = BTreeMap::new();
    for (place, cell) in cells {
        totals.entry(place.value.clone()).or_default().merge(&cell);
        rows.entry((place.start, place.value)).or_default().merge(&cell);
    }
    let mut totals: Vec<(String, Cell)> = totals.into_iter().collect();
    totals.sort_by_key(|(_, cell)| std::cmp::Reverse(weight(cell)));
    totals.truncate(limit);
    let rows = rows
        .into_iter()
        .filter(|((_, value), _)| totals.iter().any(|(kept, _)| kept == value))
        .map(|((start, value), cell)| (start, value, cell));
    Figures { rows: rows.collect(), totals, as_of }
}

/// As `store::stats::largest` weighs.
fn weight(cell: &Cell) -> i64 {
    [Counter::Accepted, Counter::Deferred, Counter::Bounced]
        .iter()
        .map(|counter| cell.counts.get(*counter))
        .sum()
}
