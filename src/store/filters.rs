//! Filters of mail that comes in: their stored form, which is also the API's; and a tenant's own.

use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::filter::{Check, Filter, Measure, Test};
use crate::domain::id::{Id, TenantId};

use super::StoreError;

/// As the columns hold them.
pub fn filters_value(filters: &[Filter]) -> Value {
    filters.iter().map(filter_value).collect()
}

fn filter_value(filter: &Filter) -> Value {
    let mut value = match &filter.test {
        Test::Network(networks) => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            json!({ "if": "network", "networks": networks })
        }
        Test::Blocklist(zone) => json!({ "if": "blocklist", "zone": zone }),
        Test::Size(most) => json!({ "if": "size", "over_bytes": most }),
        Test::Header { name, pattern } => json!({ "if": "header", "name": name, "pattern": pattern }),
        Test::Authentication { check, results } => {
            json!({ "if": "authentication", "check": check.as_str(), "results": results })
        }
        Test::Rspamd(score) => json!({ "if": "rspamd", "score": score }),
    };
    value["then"] = filter.measure.as_str().into();
    value
}

/// Reads what [`filters_value`] wrote. What a newer version wrote is passed over.
pub fn filters(stored: &Value) -> Vec<Filter> {
    stored.as_array().into_iter().flatten().filter_map(filter).collect()
}

fn filter(stored: &Value) -> Option<Filter> {
    let text = |name: &str| stored[name].as_str().map(str::to_owned);
    let texts = |name: &str| stored[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    let test = match stored["if"].as_str()? {
        "network" => Test::Network(texts("networks").filter_map(|text| text.parse().ok()).collect()),
        "blocklist" => Test::Blocklist(text("zone")?),
        "size" => Test::Size(stored["over_bytes"].as_u64()?),
        "header" => Test::Header { name: text("name")?, pattern: text("pattern")? },
        "authentication" => Test::Authentication {
            check: Check::parse(stored["check"].as_str()?)?,
            results: texts("results").map(str::to_owned).collect(),
        },
        "rspamd" => Test::Rspamd(stored["score"].as_f64()),
        _ => return None,
    };
    Some(Filter { test, measure: Measure::parse(stored["then"].as_str()?)? })
}

/// A tenant's own filters; `None`: it has never said.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_tenant(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Option<(Vec<Filter>, OffsetDateTime)>, StoreError> {
    let row =
        sqlx::query!("SELECT filters, changed_at FROM inbound_filters WHERE tenant_id = $1", tenant.uuid())
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|row| (filters(&row.filters), row.changed_at)))
}

/// Sets a tenant's own filters.
///
/// # Errors
/// See [`StoreError`].
pub async fn set(
    connection: &mut PgConnection,
    tenant: TenantId,
    filters: &[Filter],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO inbound_filters (tenant_id, filters, changed_at) VALUES ($1, $2, $3)
        ON CONFLICT (tenant_id) DO UPDATE SET filters = EXCLUDED.filters, changed_at = EXCLUDED.changed_at
        "#,
        tenant.uuid(),
        filters_value(filters),
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// All tenants' own filters: what the door takes mail by.
///
/// # Errors
/// See [`StoreError`].
pub async fn of_all_tenants(
    connection: &mut PgConnection,
) -> Result<Vec<(TenantId, Vec<Filter>)>, StoreError> {
    let rows = sqlx::query!("SELECT tenant_id, filters FROM inbound_filters").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (Id::from_uuid(row.tenant_id), filters(&row.filters))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let all = vec![
            Filter {
                test: Test::Network(vec!["192.0.2.0/24".parse().expect("a network")]),
                measure: Measure::Drop,
            },
            Filter { test: Test::Blocklist("bl.example".into()), measure: Measure::Tag },
            Filter { test: Test::Size(7), measure: Measure::Reject },
            Filter {
                test: Test::Header { name: "Subject".into(), pattern: "*x*".into() },
                measure: Measure::Tag,
            },
            Filter {
                test: Test::Authentication { check: Check::Dmarc, results: vec!["fail".into()] },
                measure: Measure::Reject,
            },
            Filter { test: Test::Rspamd(Some(6.5)), measure: Measure::Tag },
            Filter { test: Test::Rspamd(None), measure: Measure::Drop },
        ];
        assert_eq!(filters(&filters_value(&all)), all);
        assert_eq!(filters(&json!([{ "if": "hologram", "then": "tag" }])), []);
        assert_eq!(filters(&json!({})), []);
    }
}
