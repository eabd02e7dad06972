//! `/v1/inbound-filters`: what all mail of a tenant is looked at for when it comes in; and how filters are written.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::account::inbound_filters as operation;
use crate::domain::filter::{Check, Filter, MAX_FILTERS, MAX_LISTED, MAX_TEXT, Measure, RESULTS, Test};
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract;
use crate::http::fields::{Fields, parse_domain};
use crate::store::filters::{self, filters_value};
use crate::submission::Violation;

use super::wire::moment;

const MAX_BODY: usize = 64 * 1024;

/// The tenant's filters.
pub async fn read(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Value>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let stored = filters::of_tenant(&mut connection, principal.tenant()).await?;
    let (filters, changed_at) = stored.unzip();
    let filters = filters_value(&filters.unwrap_or_default());
    Ok(Json(json!({ "filters": filters, "changed_at": changed_at.map(moment) })))
}

/// Replaces them.
pub async fn set(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body = app.budget.read(&headers, body, MAX_BODY).await?;
    let value = extract::json(&headers, &body.bytes)?;
    let mut fields = Fields::of(value, "").map_err(|violation| Problem::invalid(vec![violation]))?;
    if !fields.is_given("filters") {
        fields.wrong("filters", "required", "it is needed");
    }
    let wanted = decode(&mut fields, "filters");
    let errors = fields.finish();
    let wanted = wanted.filter(|_| errors.is_empty()).ok_or_else(|| Problem::invalid(errors))?;
    let now = app.clock.now();
    operation::set(&app.database, &principal.actor(), principal.tenant(), &wanted, now).await?;
    Ok(Json(json!({ "filters": filters_value(&wanted), "changed_at": moment(now) })))
}

/// Reads a list of filters; `None`: there is none, or something is wrong with it.
pub fn decode(fields: &mut Fields, name: &str) -> Option<Vec<Filter>> {
    let list = fields.list(name, MAX_FILTERS)?;
    let mut read = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let base = format!("{}/{index}", fields.pointer(name));
        match Fields::of(value, &base) {
            Ok(mut one) => {
                read.extend(filter(&mut one));
                fields.absorb(one);
            }
            Err(violation) => fields.wrong_at(violation),
        }
    }
    (!fields.is_wrong(name)).then_some(read)
}

fn filter(fields: &mut Fields) -> Option<Filter> {
    let kind = fields.required_text("if");
    let measure = fields.required_text("then").and_then(|text| {
        let measure = Measure::parse(&text);
        if measure.is_none() {
            fields.wrong("then", "invalid_measure", "then is reject, tag or drop");
        }
        measure
    });
    let test = test(fields, &kind?);
    Some(Filter { test: test?, measure: measure? })
}

fn test(fields: &mut Fields, kind: &str) -> Option<Test> {
    match kind {
        "network" => networks(fields).map(Test::Network),
        "blocklist" => {
            let zone = short_text(fields, "zone")?;
            let zone = parse_domain(&zone).filter(|zone| !zone.starts_with('['));
            if zone.is_none() {
                fields.wrong("zone", "invalid_domain", "the domain of a blocklist is needed");
            }
            zone.map(Test::Blocklist)
        }
        "size" => {
            if !fields.is_given("over_bytes") {
                fields.wrong("over_bytes", "required", "it is needed");
            }
            let most = fields.number("over_bytes", 0..=1 << 30)?;
            u64::try_from(most).ok().map(Test::Size)
        }
        "header" => {
            let (name, pattern) = (short_text(fields, "name"), short_text(fields, "pattern"));
            let is_name = |name: &String| name.bytes().all(|c| c.is_ascii_graphic() && c != b':');
            if name.as_ref().is_some_and(|name| !is_name(name)) {
                fields.wrong("name", "invalid_header", "the name of a header field is needed");
                return None;
            }
            Some(Test::Header { name: name?, pattern: pattern? })
        }
        "authentication" => authentication(fields),
        "rspamd" => rspamd(fields),
        _ => {
            let kinds = "network, blocklist, size, header, authentication or rspamd";
            fields.wrong("if", "invalid_filter", format!("if is {kinds}"));
            // Nobody knows what else would be wrong.
            fields.rest();
            None
        }
    }
}

fn short_text(fields: &mut Fields, name: &str) -> Option<String> {
    let text = fields.required_text(name)?;
    if (1..=MAX_TEXT).contains(&text.len()) {
        return Some(text);
    }
    fields.wrong(name, "out_of_range", format!("1 to {MAX_TEXT} octets are allowed"));
    None
}

fn required_list(fields: &mut Fields, name: &str) -> Option<Vec<String>> {
    let list = fields.texts(name, MAX_LISTED).unwrap_or_default();
    if list.is_empty() && !fields.is_wrong(name) {
        fields.wrong(name, "required", "at least one is needed");
    }
    (!fields.is_wrong(name)).then_some(list)
}

fn networks(fields: &mut Fields) -> Option<Vec<IpNet>> {
    let mut networks = Vec::new();
    for (index, text) in required_list(fields, "networks")?.iter().enumerate() {
        let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        match text.parse().or_else(|_| address()) {
            Ok(network) => networks.push(network),
            Err(_) => {
                let pointer = format!("{}/{index}", fields.pointer("networks"));
                let message = "a network is written as 192.0.2.0/24 or 2001:db8::/32";
                fields.wrong_at(Violation::new(pointer, "invalid_network", message));
            }
        }
    }
    (!fields.is_wrong("networks")).then_some(networks)
}

fn authentication(fields: &mut Fields) -> Option<Test> {
    let check = fields.required_text("check").and_then(|text| {
        let check = Check::parse(&text);
        if check.is_none() {
            fields.wrong("check", "invalid_check", "check is spf, dkim, dmarc or arc");
        }
        check
    });
    let results = required_list(fields, "results")?;
    for (index, result) in results.iter().enumerate() {
        if !RESULTS.contains(&result.as_str()) {
            let pointer = format!("{}/{index}", fields.pointer("results"));
            let message = format!("a result is one of {}", RESULTS.join(", "));
            fields.wrong_at(Violation::new(pointer, "invalid_result", message));
        }
    }
    Some(Test::Authentication { check: check?, results })
}

fn rspamd(fields: &mut Fields) -> Option<Test> {
    let Some(score) = fields.take("score") else { return Some(Test::Rspamd(None)) };
    let score = score.as_f64().filter(|score| (-1000.0..=1000.0).contains(score));
    if score.is_none() {
        fields.wrong("score", "out_of_range", "a number from -1000 to 1000 is needed");
    }
    score.map(|score| Test::Rspamd(Some(score)))
}
