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
    let (day, hour) = (Grain::Day.start(fact.at), Grain::Hour.start(fact.at));
    for (dimension, value) in fact.places(provider) {
        let value = bounded(known, (fact.tenant, day, dimension), value);
        for (grain, start) in [(Grain::Hour, hour), (Grain::Day, day)] {
            let place = Place { tenant: fact.tenant, grain, dimension, start, value: value.clone() };
            tally.entry(place).or_default().count(fact);
        }
    }
}

fn bounded(known: &mut Known, place: (TenantId, OffsetDateTime, Dimension), value: String) -> String {
    if place.2 == Dimension::All {
        return value;
    }
    let value = match value.char_indices().nth(MAX_VALUE) {
        Some((at, _)) => value[..at].to_owned(),
        None => value,
    };
    let values = known.entry(place).or_default();
    if values.contains(&value) {
        return value;
    }
    if values.len() >= MAX_VALUES {
        return OTHER.to_owned();
    }
    values.insert(value.clone());
    value
}
