//! What was found of the addresses that mail leaves from, when it was looked up last (`worker/standing`).

use serde_json::Value;

use crate::store::reputation::{self, Standings};
use crate::store::{PgConnection, StoreError};

use super::{Finding, bad, good};

/// Each address whose name does not lead back, or that is listed; or that all is well.
pub(super) async fn examine(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    let ips = reputation::standings_of_ips(connection).await?;
    if ips.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<Finding> = ips.iter().flat_map(troubles).collect();
    if found.is_empty() {
        let text = format!("{} looked up: names lead back, and no blocklist has them", ips.len());
        return Ok(vec![good("addresses", text)]);
    }
    Ok(found)
}

fn troubles(of: &Standings) -> Vec<Finding> {
    let ip = &of.name;
    let mut found = Vec::new();
    if of.findings.pointer("/fcrdns/status").and_then(Value::as_str) == Some("mismatch") {
        let names = of.findings.pointer("/fcrdns/names").and_then(Value::as_array);
        let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let text = format!(
            "{ip} leads to {names}, and not to its EHLO name and back: make both records; many receivers refuse mail \
             without"
        );
        found.push(bad("addresses", text));
    }
    let zones = of.findings["zones"].as_array().into_iter().flatten();
    for zone in zones.filter(|zone| zone["status"] == "listed") {
        let text = |name: &str| zone[name].as_str().unwrap_or_default().to_owned();
        let text = format!("{} lists {ip}: {}; ask there to be taken off", text("zone"), text("text"));
        found.push(bad("addresses", text));
    }
    found
}
