//! Where an event counts: its dimensions and their values, with as many different values as are bearable.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use crate::domain::id::TenantId;
use crate::domain::provider;
use crate::domain::stats::{Dimension, Fact, Grain, Place, Tally};

/// Different values of a dimension that a tenant may have in a day. Those that come later count together.
pub const MAX_VALUES: usize = 500;
/// What they count as.
pub const OTHER: &str = "(other)";
/// The longest value: longer ones are cut.
const MAX_VALUE: usize = 200;

/// The values of a day, of a tenant's dimension.
pub type Known = HashMap<(TenantId, OffsetDateTime, Dimension), HashSet<String>>;

/// The provider of the recipient: the one that its domain is known for, the one that was learnt, or the domain.
pub fn provider_of<'a>(fact: &'a Fact, learnt: &'a HashMap<String, String>) -> &'a str {
    let domain = fact.recipient_domain.as_str();
    provider::of_domain(domain).or_else(|| learnt.get(domain).map(String::as_str)).unwrap_or(domain)
}

/// Counts an event wherever it counts, by hour and by day.
pub fn count(tally: &mut Tally, known: &mut Known, fact: &Fact, provider: &str) {
    for (dimension, value) in fact.places(provider) {
        let value = bounded(known, fact, dimension, value);
        for grain in Grain::ALL {
            enter(tally, fact, grain, dimension, value.clone());
        }
    }
}

/// Counts an event by one dimension and in one length of interval, for who asks for no more.
pub fn count_by(
    (dimension, grain): (Dimension, Grain),
    tally: &mut Tally,
    known: &mut Known,
    fact: &Fact,
    provider: &str,
) {
    for (of, value) in fact.places(provider) {
        if of == dimension {
            let value = bounded(known, fact, dimension, value);
            enter(tally, fact, grain, dimension, value);
        }
    }
}

fn enter(tally: &mut Tally, fact: &Fact, grain: Grain, dimension: Dimension, value: String) {
    let place = Place { tenant: fact.tenant, grain, dimension, start: grain.start(fact.at), value };
    tally.entry(place).or_default().count(fact);
}

fn bounded(known: &mut Known, fact: &Fact, dimension: Dimension, value: String) -> String {
    if dimension == Dimension::All {
        return value;
    }
    let value = match value.char_indices().nth(MAX_VALUE) {
        Some((at, _)) => value[..at].to_owned(),
        None => value,
    };
    let values = known.entry((fact.tenant, Grain::Day.start(fact.at), dimension)).or_default();
    if values.contains(&value) {
        return value;
    }
    if values.len() >= MAX_VALUES {
        return OTHER.to_owned();
    }
    values.insert(value.clone());
    value
}
