//! `/v1/captured`: what the capture route received, byte for byte as it came over SMTP.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::id::CapturedId;
use crate::http::App;
use crate::http::auth::Principal;
use crate::http::error::Problem;
use crate::http::extract::{self, Path};
use crate::store::captured::{self, Captured};

use super::wire::{Page, Paging, moment};

const WHAT: &str = "captured mail";

fn show(mail: &Captured) -> Value {
    json!({
        "id": mail.id.to_string(),
        "received_at": moment(mail.id.born()),
        "message_id": mail.delivery.map(|id| id.message().to_string()),
        "delivery_id": mail.delivery.map(|id| id.to_string()),
        "return_path": mail.return_path,
        "recipients": mail.recipients,
        "tls": mail.tls,
        "size_bytes": mail.size,
    })
}

/// A page of the tenant's captured mail, newest first.
pub async fn list(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    paging: Paging<CapturedId>,
) -> Result<Json<Page<Value>>, Problem> {
    let mut connection = app.database.serve().acquire().await?;
    let rows = captured::list(&mut connection, principal.tenant(), paging.from, paging.wanted()).await?;
    Ok(Json(paging.page(rows, |mail| mail.id, |mail| show(&mail))))
}

/// One captured mail's content.
pub async fn raw(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: CapturedId = extract::id(&id, WHAT)?;
    let mut connection = app.database.serve().acquire().await?;
    let raw = captured::raw(&mut connection, principal.tenant(), id).await?;
    let raw = raw.ok_or_else(|| Problem::not_found(WHAT))?;
    let headers = [(header::CONTENT_TYPE, "message/rfc822"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, raw).into_response())
}
