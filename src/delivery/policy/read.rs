//! The table of paces as a file: TOML in, policies out. What is misspelt is an error, never ignored.

use std::sync::Arc;

use serde::Deserialize;
use time::Duration;
use toml::{Table, Value};

use crate::domain::pacing::{Effect, Limits, Rate};

use super::{DEFAULT, Feedback, Policies, Policy, Provider, RELAY, Rule};

const SHIPPED: &str = include_str!("../../../assets/pacing.toml");

/// Why a table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPacing(String);

fn bad(place: &str, what: impl std::fmt::Display) -> BadPacing {
    BadPacing(format!("{place}: {what}"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Section,
    relay: Section,
    #[serde(default)]
    provider: std::collections::BTreeMap<String, Section>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    relays: Vec<String>,
    #[serde(default)]
    mx: Vec<String>,
    connections: Option<u32>,
    start: Option<u32>,
    mails_per_connection: Option<u32>,
    new_connections: Option<String>,
    mails: Option<String>,
    idle: Option<String>,
    warmup: Option<Vec<u32>>,
    #[serde(default)]
    feedback: Vec<Told>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    reply: String,
    suspend: Option<String>,
    slow: Option<Slow>,
    after: Option<usize>,
    within: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slow {
    mails: Option<String>,
    connections: Option<u32>,
    #[serde(rename = "for")]
    lasting: String,
}

/// Connections where nobody says how many: only relays, whose owners do.
const UNNAMED: u32 = 10_000;
const MAILS_PER_CONNECTION: u32 = 100;
/// Days of a warm-up.
const LONGEST_WARMUP: usize = 365;

/// The shipped table, with the operator's own laid over it.
pub(super) fn read(own: Option<&str>) -> Result<Policies, BadPacing> {
    let mut table: Table =
        SHIPPED.parse().map_err(|error: toml::de::Error| bad("the shipped table", error.message()))?;
    if let Some(own) = own {
        let own: Table = own.parse().map_err(|error: toml::de::Error| bad("no TOML", error.message()))?;
        lay_over(&mut table, own);
    }
    let file: File =
        table.try_into().map_err(|error: toml::de::Error| BadPacing(error.to_string().trim().to_owned()))?;
    policies(file)
}

/// Tables key by key; everything else is replaced.
fn lay_over(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn policies(file: File) -> Result<Policies, BadPacing> {
    let unlimited = Limits {
        connections: UNNAMED,
        start: UNNAMED,
        mails_per_connection: MAILS_PER_CONNECTION,
        dials: None,
        mails: None,
        idle: None,
    };
    let default = policy(DEFAULT, &file.default, unlimited, (Vec::new(), Arc::default()))?;
    let relay = policy(RELAY, &file.relay, unlimited, (Vec::new(), Arc::default()))?;
    let mut providers = Vec::with_capacity(file.provider.len());
    for (name, section) in file.provider {
        let as_mx = policy(
            &name,
            &section,
            default.limits,
            (rules(DEFAULT, &file.default)?, Arc::clone(&default.warmup)),
        )?;
        let as_relay = policy(&name, &section, relay.limits, (rules(RELAY, &file.relay)?, Arc::default()))?;
        let names_connections = section.connections.is_some();
        let Section { domains, relays, mx, .. } = section;
        providers.push(Provider { domains, relays, mx, as_mx, as_relay, names_connections });
    }
    Ok(Policies { default, relay, providers })
}

fn policy(
    name: &str,
    section: &Section,
    base: Limits,
    (general, warmup): (Vec<Rule>, Arc<[u32]>),
) -> Result<Policy, BadPacing> {
    let rate = |key: &str, text: &Option<String>, base: Option<Rate>| match text {
        Some(text) => text.parse().map(Some).map_err(|error| bad(&format!("{name}.{key}"), error)),
        None => Ok(base),
    };
    let positive = |key: &str, number: Option<u32>, base: u32| match number {
        Some(0) => Err(bad(&format!("{name}.{key}"), "a number above 0 is needed")),
        number => Ok(number.unwrap_or(base)),
    };
    let limits = Limits {
        connections: positive("connections", section.connections, base.connections)?,
        start: positive("start", section.start, base.start)?,
        mails_per_connection: positive(
            "mails_per_connection",
            section.mails_per_connection,
            base.mails_per_connection,
        )?,
        dials: rate("new_connections", &section.new_connections, base.dials)?,
        mails: rate("mails", &section.mails, base.mails)?,
        idle: section.idle.as_deref().map(|text| duration(name, text)).transpose()?.or(base.idle),
    };
    let mut rules = rules(name, section)?;
    rules.extend(general);
    let feedback = Feedback::new(rules).map_err(|error| bad(&format!("{name}.feedback"), error))?;
    let warmup = match &section.warmup {
        Some(days) if days.contains(&0) || days.len() > LONGEST_WARMUP => {
            return Err(bad(&format!("{name}.warmup"), "at most 365 numbers above 0 are needed"));
        }
        Some(days) => Arc::from(days.as_slice()),
        None => warmup,
    };
    Ok(Policy { provider: name.to_owned(), limits, feedback: Arc::new(feedback), warmup })
}

fn rules(name: &str, section: &Section) -> Result<Vec<Rule>, BadPacing> {
    section.feedback.iter().map(|told| rule(&format!("{name}.feedback"), told)).collect()
}

fn rule(place: &str, told: &Told) -> Result<Rule, BadPacing> {
    let effect = match (&told.suspend, &told.slow) {
        (Some(lasting), None) => Effect::Suspend { lasting: duration(place, lasting)? },
        (None, Some(slow)) => Effect::Slow {
            mails: slow.mails.as_deref().map(str::parse).transpose().map_err(|error| bad(place, error))?,
            connections: slow.connections.map(|connections| connections.max(1)),
            lasting: duration(place, &slow.lasting)?,
        },
        _ => return Err(bad(place, format!("{:?} wants one of suspend and slow", told.reply))),
    };
    let within = told.within.as_deref().map_or(Ok(Duration::HOUR), |text| duration(place, text))?;
    Ok(Rule { reply: told.reply.clone(), effect, after: told.after.unwrap_or(1).max(1), within })
}

/// `90s`, `15min`, `2h`.
fn duration(place: &str, text: &str) -> Result<Duration, BadPacing> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..split].parse::<i64>().ok().filter(|number| (1..=100_000).contains(number));
    let unit = match &text[split..] {
        "s" => Some(Duration::SECOND),
        "min" => Some(Duration::MINUTE),
        "h" => Some(Duration::HOUR),
        _ => None,
    };
    let product = number.zip(unit).map(|(number, unit)| unit * number as f64);
    product.ok_or_else(|| bad(place, format!("{text:?} is no time, such as 90s, 15min or 2h")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_can_be_read_and_what_is_wrong_with_another_is_told() {
        read(None).expect("the shipped table");
        let cases = [
            ("[default]\nconections = 1", "conections"),
            ("[default]\nconnections = 0", "default.connections"),
            ("[provider.x]\nmails = '10/week'", "x.mails"),
            ("[[provider.x.feedback]]\nreply = '('\nsuspend = '1h'", "x.feedback"),
            ("[[provider.x.feedback]]\nreply = 'a'", "suspend and slow"),
            ("[[provider.x.feedback]]\nreply = 'a'\nsuspend = 'soon'", "no time"),
            ("[default]\nwarmup = [10, 0]", "default.warmup"),
            ("nonsense", "no TOML"),
        ];
        for (own, told) in cases {
            let error = read(Some(own)).expect_err(own).to_string();
            assert!(error.contains(told), "{own}: {error}");
        }
    }
}
