//! The sender's domain, with keys that sign. It is added through the API; that it is proved, which needs DNS, is
//! written into the database.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::options::Dkim;
use super::postgres::Postgres;
use super::service::KEY;

/// The domain that the load sends as.
const DOMAIN: &str = "acme.example";
/// Nodes learn of a change twice a second.
const LEARN: Duration = Duration::from_secs(2);

/// Lets the tenant `default` send as the domain, signed as asked for.
///
/// # Errors
/// A sentence.
pub async fn set_up(dkim: Dkim, http: SocketAddr, postgres: &mut Postgres) -> Result<()> {
    if dkim == Dkim::None {
        return Ok(());
    }
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client.post(format!("http://{http}/v1/domains")).bearer_auth(KEY);
    let status = request.json(&json!({ "name": DOMAIN })).send().await?.status();
    // In a database that is used again it is there already.
    ensure!(status.is_success() || status.as_u16() == 409, "the domain could not be added: {status}");
    prove(dkim, postgres).await?;
    tokio::time::sleep(LEARN).await;
    Ok(())
}

async fn prove(dkim: Dkim, postgres: &mut Postgres) -> Result<()> {
    let algorithms: Vec<String> = dkim.algorithms().iter().map(|name| (*name).to_owned()).collect();
    sqlx::query(
        "WITH raised AS (UPDATE revisions SET value = value + 1 WHERE name = 'domains' RETURNING value),
              signing AS (
                  UPDATE domain_keys k SET published = true,
                         state = CASE WHEN k.algorithm = ANY ($2) THEN 'active' ELSE 'next' END
                  FROM domains d WHERE d.tenant_id = k.tenant_id AND d.id = k.domain_id AND d.name = $1
              )
         UPDATE domains SET status = 'verified', verified_at = now(), check_due_at = NULL, revision = raised.value
         FROM raised WHERE name = $1",
    )
    .bind(DOMAIN)
    .bind(algorithms)
    .execute(postgres.connection())
    .await?;
    Ok(())
}
