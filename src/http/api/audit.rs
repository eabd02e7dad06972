//! `/v1/audit`: who changed what, from where, and how it was before.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use serde_json::{Value, json};

use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::Query;
use crate::store::audit::{self, AuditFilter, Written};

use super::wire::{Page, moment};

fn show(entry: &Written) -> Value {
    json!({
        "id": entry.id.to_string(),
        "created_at": moment(entry.id.born()),
        "actor": entry.actor,
        "ip": entry.ip,
        "action": entry.action,
        "resource": (!entry.resource.is_empty()).then_some(&entry.resource),
        "before": entry.before,
        "after": entry.after,
    })
}

/// A page of the tenant's log, newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Value>>, Problem> {
    let mut query = Query::parse(query.as_deref());
    let filter = AuditFilter {
        actor: query.text("actor"),
        action: query.text("action"),
        resource: query.text("resource"),
        since: query.moment("since"),
        until: query.moment("until"),
    };
    let (limit, before) = (query.limit(), query.cursor());
    query.finish()?;
    let mut connection = app.database.serve().acquire().await?;
    let rows = audit::list(&mut connection, principal.tenant(), &filter, before, limit as i64 + 1).await?;
    Ok(Json(Page::of(rows, limit, |entry| entry.id.to_string(), |entry| show(&entry))))
}
