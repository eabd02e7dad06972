//! `/v1/domains/{id}/dmarc`: what receivers report of mail in the name of a domain.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};
use time::Duration;

use crate::domain::id::DomainId;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path, Query};
use crate::store::dmarc::{self, Source};

use super::wire::moment;

/// How far back, if nothing else is asked for.
const USUAL: Duration = Duration::days(30);

fn show(source: &Source) -> Value {
    json!({
        "ip": source.ip.to_string(),
        "messages": source.messages,
        "dkim_aligned": source.dkim_aligned,
        "spf_aligned": source.spf_aligned,
        "aligned": source.aligned,
        "failing": source.messages - source.aligned,
    })
}

/// Sums up the reports of a time.
pub async fn summary(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let id: DomainId = extract::id(&id, "domain")?;
    let view = app.domains.find(principal.tenant(), id).await?;
    let mut query = Query::parse(query.as_deref());
    let until = query.moment("until").unwrap_or_else(|| app.clock.now());
    let since = query.moment("since").unwrap_or(until - USUAL);
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let sums = dmarc::sums(&mut connection, (principal.tenant(), id), (since, until)).await?;
    let address = app.domains.reports_to(&view.domain);
    Ok(Json(json!({
        "since": moment(since),
        "until": moment(until),
        "send_reports_to": address,
        "reports": sums.reports,
        "messages": sums.messages,
        "aligned": sums.aligned,
        "failing": sums.messages - sums.aligned,
        "quarantined": sums.quarantined,
        "rejected": sums.rejected,
        "reporters": sums.reporters.iter()
            .map(|(name, reports)| json!({ "name": name, "reports": reports }))
            .collect::<Vec<_>>(),
        "sources": sums.sources.iter().map(show).collect::<Vec<_>>(),
    })))
}
